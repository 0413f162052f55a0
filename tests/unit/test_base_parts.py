"""What whole stages are made from: two Dockerfiles with the same parts are built alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.base_parts import base_parts, names_folder
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.model.fingerprint import Part
from kiro_invoke.model.service import Project, Service

SERVICE = Service("a", Path("/r/a"), "a", "cargo", None, Path("/r/a/D"))
PROJECT = Project(Path("/r"), "p", (SERVICE,))


def parts(text: str, project: Project = PROJECT) -> Mapping[Part, str]:
    return base_parts(Recipe(SERVICE, Profile.DEV, Path("/r/a/D"), parse(text)), project)


DIFFERENT = {
    "a platform": ("FROM --platform=linux/amd64 rust:1 AS a\n", "FROM --platform=linux/arm64 rust:1 AS a\n"),
    "spaces in quotes": ('FROM x\nRUN echo "a  b" > /f\n', 'FROM x\nRUN echo "a b" > /f\n'),
    "a number means another stage": (
        "FROM x AS a\nRUN one\nFROM y AS b\nRUN two\nFROM z AS last\nCOPY --from=0 /f /f\n",
        "FROM y AS b\nRUN two\nFROM x AS a\nRUN one\nFROM z AS last\nCOPY --from=0 /f /f\n",
    ),
    "a name means an image or a stage": (
        "FROM x AS node\nRUN a\nFROM node AS z\nRUN b\nFROM z AS last\n",
        "FROM node AS z\nRUN b\nFROM x AS node\nRUN a\nFROM z AS last\n",
    ),
    "a line moves from one heredoc to the next": (
        "FROM x\nCOPY <<a <<b /d/\n1\n2\na\n3\nb\n", "FROM x\nCOPY <<a <<b /d/\n1\na\n2\n3\nb\n",
    ),
    "a comment in a heredoc": ("FROM x\nRUN <<a\n# 1\na\n", "FROM x\nRUN <<a\n# 2\na\n"),
    "the order of arguments": ("ARG V=1\nARG T=$V\nFROM x:$T\n", "ARG T=$V\nARG V=1\nFROM x:$T\n"),
    "an argument given twice": ("ARG V=1\nARG T=$V\nARG V=2\nFROM x:$T\n", "ARG V=2\nARG T=$V\nFROM x:$T\n"),
    "quotes of an argument": ("ARG V=1\nARG T='$V'\nFROM x:$T\n", "ARG V=1\nARG T=$V\nFROM x:$T\n"),
    "a default": ("ARG V=1\nFROM x:$V\n", "ARG V=2\nFROM x:$V\n"),
    "the frontend": ("# syntax=a\nFROM x\n", "# syntax=b\nFROM x\n"),
    "the frontend, in its other form": ("// syntax=a\nFROM x\n", "// syntax=b\nFROM x\n"),
    "the frontend, behind a first line of its own": ("#!a\n# syntax=a\nFROM x\n", "#!a\n# syntax=b\nFROM x\n"),
    "the escape": ("FROM x\nRUN a\n", "# escape=`\nFROM x\nRUN a\n"),
    "the last stage": ("FROM x AS a\nFROM x AS b\n", "FROM x AS b\nFROM x AS a\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_is_built_otherwise_has_other_parts(name: str) -> None:
    one, two = DIFFERENT[name]
    assert parts(one) != parts(two)


SAME = {
    "comments": ("# a\nFROM x\n# b\nRUN a\n", "FROM x\nRUN a\n# c\n"),
    "blank lines": ("FROM x\n\n\nRUN a\n", "FROM x\nRUN a"),
    "a comment between continued lines": ("FROM x\nRUN a \\\n# b\n  c\n", "FROM x\nRUN a \\\n  c\n"),
    "line ends": ("FROM x\r\nRUN a\r\n", "FROM x\nRUN a\n"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_built_alike_has_the_same_parts(name: str) -> None:
    one, two = SAME[name]
    assert parts(one) == parts(two)


@pytest.mark.parametrize(
    ("text", "name", "counts"),
    [
        ("FROM x\nARG A\n", "A", True), ("ARG A=1\nFROM x:$A\n", "A", True), ("FROM x\n", "A", False),
        ("FROM x\nARG AB\n", "A", False), ("FROM x\nARG B=1 A=2\n", "A", True),
        ('FROM x\nARG "A"\n', "A", True), ("FROM x\nONBUILD ARG A\n", "A", True),
        ("FROM x\n", "SOURCE_DATE_EPOCH", True), ("FROM x\n", "BUILDKIT_INLINE_CACHE", True),
    ],
)  # fmt: skip
def test_a_given_argument_counts_where_it_is_heeded(text: str, name: str, counts: bool) -> None:
    given = replace(PROJECT, build_args=((name, "s3cr3t"),))
    assert (parts(text, given) != parts(text)) is counts
    assert "s3cr3t" not in str(parts(text, given))


def test_another_base_image_counts_where_the_file_stands_on_it() -> None:
    replaced = replace(PROJECT, base_images=(("x", "other/x"),))
    assert parts("FROM x\n", replaced) != parts("FROM x\n")
    assert parts("FROM y\n", replaced) == parts("FROM y\n")


@pytest.mark.parametrize(
    ("instruction", "named"),
    [
        ("COPY target/release/app /app", True), ("COPY ./target /t", True), ("ADD /target/x y /d/", True),
        ('COPY ["target/release/app", "/app"]', True), ("COPY */release/app /app", True), ("COPY . .", False),
        ("COPY --from=build /app/target/x /x", False), ("COPY src targets /d/", False),
        ("RUN --mount=type=bind,source=target,target=/t x", True),
        ("RUN --mount=type=bind,from=b,source=target,target=/t x", False), ("RUN ls target", False),
        ('COPY ["a","target/app","/x"]', True), ("COPY 'target/app' /x", True), ("COPY src/../target/app /x", True),
        ("ONBUILD COPY target/app /x", True), ("COPY ${OUT}/app /x", True),
        ("RUN --mount=type=bind,source=$OUT,target=/t x", True), ("RUN echo $OUT", False),
    ],
)  # fmt: skip
def test_a_folder_that_is_taken_by_its_name(instruction: str, named: bool) -> None:
    assert names_folder(parse(f"FROM x AS build\nFROM y AS b\n{instruction}\n"), "target") is named
