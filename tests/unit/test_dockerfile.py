"""Reading Dockerfiles: each odd form here was tried on BuildKit, whose reading is the one that counts."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_invoke.builds.dockerfile import Instruction, expand, parse

MULTI = """\
# syntax=docker/dockerfile:1
ARG DEBIAN=debian:13-slim
FROM ${DEBIAN} AS base
RUN one

FROM base AS build
COPY --from=tools /bin/tool /bin/tool
RUN --mount=type=cache,target=/c,from=seed,source=/empty two

FROM busybox:1 AS tools
FROM alpine:3 AS seed
FROM scratch AS final
COPY --link --from=build /out /
FROM base AS test
"""


def only(text: str) -> tuple[Instruction, ...]:
    """The instructions of a Dockerfile with one stage."""
    (stage,) = parse(f"FROM x\n{text}").stages
    return stage.instructions


def words(text: str) -> list[tuple[str, str]]:
    return [(instruction.keyword, instruction.rest) for instruction in only(text)]


# --- stages


def test_stages_are_read_in_order_with_their_bases_and_lines() -> None:
    found = [(stage.name, stage.base, stage.line) for stage in parse(MULTI).stages]
    assert found == [
        ("base", "${DEBIAN}", 3),
        ("build", "base", 6),
        ("tools", "busybox:1", 10),
        ("seed", "alpine:3", 11),
        ("final", "scratch", 12),
        ("test", "base", 14),
    ]


@pytest.mark.parametrize(
    ("line", "name", "base"),
    [
        ("FROM debian", "0", "debian"),
        ("from debian as Build", "build", "debian"),
        ("FROM debian As BUILD", "build", "debian"),
        ("FROM --platform=$BUILDPLATFORM debian AS build", "build", "debian"),
        ("FROM --platform=linux/amd64   debian:13   AS   build   ", "build", "debian:13"),
        ("\tFROM\tdebian\tAS\tbuild", "build", "debian"),
        ("FROM debian@sha256:abc AS b.u-i_ld", "b.u-i_ld", "debian@sha256:abc"),
        ("FROM registry.example.com:5000/team/debian:13", "0", "registry.example.com:5000/team/debian:13"),
        ("FROM \\\n  debian \\\n  # the stage\n  AS build", "build", "debian"),
    ],
)
def test_from(line: str, name: str, base: str) -> None:
    (stage,) = parse(line).stages
    assert (stage.name, stage.base) == (name, base)


def test_a_from_that_makes_no_sense_is_left_to_buildkit() -> None:
    (stage,) = parse("FROM a AS b AS c\nRUN x").stages
    assert (stage.name, stage.base) == ("0", "a AS b AS c")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "ARG X=1\n", "\ufeff"])
def test_a_file_without_from_has_no_stages(text: str) -> None:
    assert parse(text).stages == ()


def test_a_stage_is_found_by_name_in_any_case_and_by_index() -> None:
    found = parse("FROM a AS One\nFROM b\nFROM c AS two\n")
    assert [found.stage(name) for name in ("ONE", "one", "0")] == [found.stages[0]] * 3
    assert found.stage("1") is found.stages[1]
    assert found.stage("2") is found.stages[2]
    assert found.stage("3") is None
    assert found.stage("three") is None


def test_of_two_stages_of_one_name_the_last_counts() -> None:
    found = parse("FROM a AS x\nRUN 1\nFROM b AS X\nRUN 2\nFROM x AS y\n")
    assert found.stage("x") is found.stages[1]


def test_only_named_stages_can_be_asked_for() -> None:
    assert [stage.is_named for stage in parse("FROM a AS one\nFROM b\n").stages] == [True, False]


# --- what stages take from


def test_a_stage_takes_from_its_base_from_copies_and_from_mounts() -> None:
    assert [stage.sources for stage in parse(MULTI).stages] == [
        ("${DEBIAN}",),
        ("base", "tools", "seed"),
        ("busybox:1",),
        ("alpine:3",),
        ("scratch", "build"),
        ("base",),
    ]


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        ("COPY --from=0 /a /b", ("0",)),
        ("COPY --chown=1:1 --from=img:1 /a /b", ("img:1",)),
        ('COPY --from=img ["/a b", "/c"]', ("img",)),
        ('COPY --from="img" /a /b', ("img",)),
        ("copy --from=img /a /b", ("img",)),
        ("COPY --from=img \\\n  --link \\\n /a /b", ("img",)),
        ("ADD --from=img /a /b", ("img",)),
        ("COPY a --from=img b", ()),
        ("COPY /a /b", ()),
        ("RUN --mount=from=img,target=/x true", ("img",)),
        ("RUN --mount=type=bind,FROM=img,target=/x true", ("img",)),
        ('RUN --mount=type=bind,"from=img",target=/x true', ("img",)),
        ("RUN --network=none --mount=from=a,target=/x --mount=from=b,target=/y true", ("a", "b")),
        ("RUN --mount=type=cache,target=/x true", ()),
        ("RUN echo --mount=type=bind,from=img,target=/x", ()),
        ("RUN echo --from=img", ()),
        ("ENV X=--from=img", ()),
        ("ONBUILD COPY --from=img /a /b", ()),
    ],
)
def test_sources(line: str, sources: tuple[str, ...]) -> None:
    (instruction,) = only(line)
    assert instruction.sources == sources


def test_mounts_are_read_whole() -> None:
    line = 'RUN --mount="type=cache,target=/q r,sharing=locked" --mount=type=secret,id=key,required --network=none x'
    (instruction,) = only(line)
    assert instruction.mounts == (
        {"type": "cache", "target": "/q r", "sharing": "locked"},
        {"type": "secret", "id": "key", "required": ""},
    )


def test_building_a_target_reaches_all_that_it_takes_from_and_nothing_else() -> None:
    found = parse(MULTI)
    assert found.reachable("final") == {"final", "build", "base", "tools", "seed"}
    assert found.reachable("test") == {"test", "base"}
    assert found.reachable("TEST", "2") == {"test", "base", "tools"}
    assert found.reachable("nowhere") == frozenset()


def test_stages_that_take_from_each_other_end() -> None:
    found = parse("FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nCOPY --from=x / /\n")
    assert found.reachable("x") == {"x", "y"}


def test_the_leaves_are_what_nothing_takes_from() -> None:
    assert parse(MULTI).leaves() == ("final", "test")


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("FROM a\n", ("0",)),
        ("FROM a AS x\nFROM b\n", ("x", "1")),
        ("FROM a\nFROM b AS x\n", ("x",)),  # no build can ask for a stage without a name
        ("FROM a\nFROM b\nCOPY --from=0 / /\n", ("1",)),
        ("FROM a AS last\nFROM last AS test\nFROM last AS other\n", ("test", "other")),
        ("FROM a AS first\nFROM b AS last\nFROM first\nCOPY --from=last / /\n", ("2",)),
        ("FROM node AS node\nFROM debian AS final\n", ("node", "final")),
        ("ARG KIND=fast\nFROM a AS fast\nFROM b AS slow\nFROM ${KIND} AS final\n", ("slow", "final")),
    ],
)
def test_leaves(text: str, leaves: tuple[str, ...]) -> None:
    assert parse(text).leaves() == leaves


def test_a_stage_may_have_its_base_images_name() -> None:
    found = parse("FROM node AS node\nRUN x\nFROM node AS final\n")
    assert found.bases({}) == ("node",)
    assert found.reachable("node") == {"node"}
    assert found.reachable("final") == {"final", "node"}


# --- images from outside


def test_bases_are_the_images_that_no_stage_makes() -> None:
    assert parse(MULTI).bases({}) == ("debian:13-slim", "busybox:1", "alpine:3")


@pytest.mark.parametrize(
    ("arguments", "base", "given", "refs"),
    [
        ("ARG V=1", "rust:$V", {}, ("rust:1",)),
        ("ARG V=1", "rust:${V}-slim", {}, ("rust:1-slim",)),
        ("ARG V=1", "rust:$V", {"V": "2"}, ("rust:2",)),
        ("ARG V", "rust:${V:-3}", {}, ("rust:3",)),
        ("ARG V=", "rust:${V:-3}", {}, ("rust:3",)),
        ("ARG V=", "rust:x${V-3}", {}, ("rust:x",)),
        ("ARG V", "rust:${V:-3}", {"V": "4"}, ("rust:4",)),
        ("ARG V=1", "rust:1${V:+-slim}", {}, ("rust:1-slim",)),
        ("ARG V", "rust:1${V:+-slim}", {}, ("rust:1",)),
        ("ARG V=1\nARG R=rust:${V}-slim", "$R", {}, ("rust:1-slim",)),
        ("ARG V=1\nARG R=rust:${V}-slim", "$R", {"V": "2"}, ("rust:2-slim",)),
        ("ARG A=1 B=rust", "$B:$A", {}, ("rust:1",)),
        ("ARG R=\"rust:1\" S='x'", "$R-$S", {}, ("rust:1-x",)),
        ("ARG A\nARG B=2", "rust:${A:-${B}}", {}, ("rust:2",)),
        ("ARG A=1\nARG B=2", "rust:${A:-${B}}", {}, ("rust:1",)),
        ("ARG R=rust:1", '"$R"', {}, ("rust:1",)),
        ("arg R=rust:1", "$R", {}, ("rust:1",)),
        ("", "rust:1", {"V": "2"}, ("rust:1",)),
        ("", "scratch", {}, ()),
        # only the engine knows these: it asks for the image itself
        ("", "rust:$TARGETARCH", {}, ()),
        ("ARG V", "rust:$V", {}, ()),
        ("ARG V=1", "rust:${V%x}", {}, ()),
    ],
)
def test_bases(arguments: str, base: str, given: Mapping[str, str], refs: tuple[str, ...]) -> None:
    assert parse(f"{arguments}\nFROM {base}\nRUN x\n").bases(given) == refs


def test_a_build_argument_that_the_file_does_not_declare_changes_nothing() -> None:
    assert parse("FROM rust:${V:-1}").bases({"V": "2"}) == ("rust:1",)


def test_an_argument_within_a_stage_is_none_of_the_file() -> None:
    found = parse("ARG A=1\nFROM x\nARG B=2\n")
    assert dict(found.arguments) == {"A": "1"}


def test_an_argument_without_default_is_declared() -> None:
    assert dict(parse("ARG A\nARG B=\nFROM x").arguments) == {"A": None, "B": ""}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A", "1"),
        ("${A}", "1"),
        ("$A$A", "11"),
        ("$Ab", ""),
        ("${A}b", "1b"),
        ("${N:-x}", "x"),
        ("${E:-x}${E-x}", "x"),
        ("${E:+x}${E+x}", "x"),
        ("${N:+x}", ""),
        ("$", "$"),
        ("'$A'", "1"),
    ],
)
def test_expand(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "E": ""}) == value


# --- lines


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RUN a \\\n b", [("RUN", "a b")]),
        ("RUN a \\   \n b", [("RUN", "a b")]),
        ("RUN a \\\n# no\n  # no \\\n\n b", [("RUN", "a b")]),
        ("RUN fo\\\nur", [("RUN", "four")]),
        ("RUN a \\", [("RUN", "a")]),
        ("RUN a # b", [("RUN", "a # b")]),
        ("  run a", [("RUN", "a")]),
        ("RUN\ta", [("RUN", "a")]),
        ("  # no\nRUN a", [("RUN", "a")]),
        ("STOPSIGNAL", [("STOPSIGNAL", "")]),
        ("RUN a\x0cb\x85c\u2028d", [("RUN", "a b c d")]),
    ],
)
def test_lines(text: str, found: list[tuple[str, str]]) -> None:
    assert words(text) == found


def test_instructions_know_their_first_and_last_line() -> None:
    text = "# c\nFROM x\n\nRUN a \\\n  # c\n  b\nRUN <<E\n1\nE\n\nRUN c\n"
    (stage,) = parse(text).stages
    assert [(i.line, i.last_line) for i in stage.instructions] == [(4, 6), (7, 9), (11, 11)]


def test_a_form_feed_does_not_shift_lines() -> None:
    (_, last) = only("RUN a\x0cb\nRUN c")
    assert last.line == 3


def test_carriage_returns_and_a_byte_order_mark_are_no_text() -> None:
    windows = "\ufeff" + MULTI.replace("\n", "\r\n")
    assert parse(windows) == parse(MULTI)


def test_carriage_returns_in_heredocs() -> None:
    instructions = only("RUN <<EOF\r\none\r\nEOF\r\nRUN two\r\n")
    assert [(i.rest, i.heredoc) for i in instructions] == [("<<EOF", "one"), ("two", "")]


# --- directives


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("# syntax=docker/dockerfile:1\nFROM x", {"syntax": "docker/dockerfile:1"}),
        ("#Syntax = a:1 \n# escape=`\nFROM x", {"syntax": "a:1", "escape": "`"}),
        ("\ufeff# syntax=a:1\r\nFROM x", {"syntax": "a:1"}),
        ("# a comment\n# syntax=a:1\nFROM x", {}),
        ("\n# syntax=a:1\nFROM x", {}),
        ("FROM x\n# syntax=a:1\n", {}),
    ],
)
def test_directives(text: str, directives: dict[str, str]) -> None:
    assert dict(parse(text).directives) == directives


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    (stage,) = parse("# escape=`\nFROM x\nRUN dir C:\\\nRUN a `\n b\n").stages
    assert [i.rest for i in stage.instructions] == ["dir C:\\", "a b"]


# --- heredocs


@pytest.mark.parametrize(
    ("text", "bodies"),
    [
        ("RUN <<EOF\nFROM inside\nEOF\nRUN x", ["FROM inside", ""]),
        ("RUN <<'EOF'\n$A\nEOF\nRUN x", ["$A", ""]),
        ('RUN <<"EOF"\n$A\nEOF\nRUN x', ["$A", ""]),
        ("RUN <<-EOF\n\t\ta\n\tEOF\nRUN x", ["a", ""]),
        ("RUN <<EOF\n\ta\n\tEOF\nEOF\nRUN x", ["\ta\n\tEOF", ""]),
        ("RUN <<EOF cat >/x && cat <<END >/y\n1\nEOF\n2\nEND\nRUN x", ["1\n2", ""]),
        ("COPY <<A <<-'B' /d/\n1\nA\n\t2\n\tB\nRUN x", ["1\n2", ""]),
        ("ADD <<A /d\n1\nA\nRUN x", ["1", ""]),
        ("copy <<A /d\n1\nA\nRUN x", ["1", ""]),
        ("RUN 3<<EOF cat <&3\n1\nEOF\nRUN x", ["1", ""]),
        ("RUN (cat <<EOF)\n1\nEOF)\nRUN x", ["1", ""]),
        ("RUN <<EOF \\\n  cat\n1 \\\nEOF\nRUN x", ["1 \\", ""]),
        ("RUN <<EOF\n\n# kept\n\nEOF\nRUN x", ["\n# kept\n", ""]),
        ("RUN <<EOF\nEOF\nRUN x", ["", ""]),
        ("ONBUILD RUN <<EOF\nRUN inside\nEOF\nRUN x", ["RUN inside", ""]),
        ("RUN <<EOF\nnever ended", ["never ended"]),
        # none of these begins a heredoc
        ("RUN cat <<<word\nRUN x", ["", ""]),
        ("RUN cat <<< word\nRUN x", ["", ""]),
        ('RUN echo "<<NOT"\nRUN x', ["", ""]),
        ('RUN echo "a <<NOT b"\nRUN x', ["", ""]),
        ("RUN echo $((1<<two))\nRUN x", ["", ""]),
        ("RUN echo a<<b\nRUN x", ["", ""]),
        ('RUN ["cat", "<<EOF"]\nRUN x', ["", ""]),
        ("RUN echo << EOF\nRUN x", ["", ""]),
        ("LABEL a=<<EOF\nRUN x", ["", ""]),
        ("CMD <<EOF\nRUN x", ["", ""]),
    ],
)
def test_heredocs(text: str, bodies: list[str]) -> None:
    assert [instruction.heredoc for instruction in only(text)] == bodies


def test_heredocs_do_not_hide_stages() -> None:
    found = parse("FROM a AS one\nRUN <<E\nFROM no\nE\nRUN cat <<<here\nFROM b AS two\n")
    assert [stage.name for stage in found.stages] == ["one", "two"]


# --- anything at all


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("FROMCPYUN \t\n\r\\#<>-=\"'${}:aA0,[]\ufeff\x0c"), max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    found = parse(text)
    names = {stage.name for stage in found.stages}
    if found.stages:
        assert set(found.leaves()) <= names
        assert found.reachable(*found.leaves()) <= names
    found.bases({"A": "x"})
    lines = [(i.line, i.last_line) for stage in found.stages for i in stage.instructions]
    assert lines == sorted(lines)
    assert all(first <= last for first, last in lines)


@pytest.mark.parametrize("odd", ['"' + "\\" * 20_001, 'a"' * 10_000, "'\"" * 10_000, "${A:-" * 3_000])
def test_odd_text_is_read_in_no_time(odd: str) -> None:
    begun = time.perf_counter()
    parse(f"FROM {odd}\nRUN {odd}\nCOPY {odd} /\n").bases({})
    assert time.perf_counter() - begun < 1
