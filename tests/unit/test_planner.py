"""Which targets a build has, and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kiro_invoke.builds.planner import (
    Profile,
    Recipe,
    base_refs,
    plan_everything,
    plan_images,
    without_syntax_line,
)
from kiro_invoke.model.plan import Target
from kiro_invoke.model.service import Service
from tests.unit.build_fakes import SKELETON, recipe, service

THREE = "FROM a AS base\nFROM base AS test\nFROM base AS final\n"
PLANNED = "FROM a AS planner\nRUN --mount=type=bind,from=kiro-skeleton x\nFROM planner\n"


def test_an_image_is_the_last_stage() -> None:
    web = service("web")
    (target,) = plan_images([recipe(THREE, web)], "asked").targets
    assert target == Target(
        name="web-dev-final",
        service="web",
        context=Path("/repo/web"),
        dockerfile=Path("/repo/web/Dockerfile.fast"),
        stage="final",
        cause="asked",
        tag="shop/web:dev",
    )


def test_everything_is_the_image_and_each_stage_that_it_does_not_need() -> None:
    plan = plan_everything([recipe(THREE)], "warm")
    assert [(t.stage, t.tag, t.cause) for t in plan.targets] == [
        ("final", "shop/web:dev", "warm"),
        ("test", None, "warm: no image takes from this stage"),
    ]


def test_everything_is_the_skeleton_too_which_builds_replace_by_a_folder() -> None:
    """Its stage takes from the one that makes it: that is built with it."""
    made = recipe(SKELETON + PLANNED)
    plan = plan_everything([made], "warm")
    assert [(t.name, t.stage, t.tag, t.cause) for t in plan.targets] == [
        ("web-dev-3", "3", "shop/web:dev", "warm"),
        ("web-dev-kiro-skeleton", "kiro-skeleton", None, "warm: plain builds run this stage"),
    ]
    assert made.parsed.reachable("kiro-skeleton") == {"skeleton", "kiro-skeleton"}
    assert [t.stage for t in plan_images([made], "build").targets] == ["3"]


@pytest.mark.parametrize("text", ["FROM a AS kiro-skeleton\n", SKELETON])
def test_a_skeleton_that_is_the_image_is_asked_for_once(text: str) -> None:
    assert [(t.stage, t.cause) for t in plan_everything([recipe(text)], "warm").targets] == [
        ("kiro-skeleton", "warm")
    ]


def test_a_stage_of_that_name_that_no_folder_replaces_is_built_like_any_other() -> None:
    other = recipe("FROM a AS kiro-skeleton\nRUN x\n" + PLANNED)
    assert [(t.stage, t.cause) for t in plan_everything([other], "warm").targets] == [("2", "warm")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("AS kiro-", "AS KIRO-"),
        ("AS kiro-", "as Kiro-"),
        ("FROM a AS skeleton", "FROM rust:1 AS base\nFROM base AS skeleton"),
        ("=skeleton", "=0"),
        ("type=bind,", ""),
        ("/context kiro", "/context,ro kiro"),
        ("/context kiro", "/context,readonly=true kiro"),
        ("fresh skeleton /context", "fresh  skeleton \\\n  /context"),
        ("AS skeleton\n", "AS skeleton\n# a comment\n\n"),
        ("skeleton", "made"),
    ],
)
def test_a_folder_takes_the_place_of_a_stage_that_makes_the_skeleton(old: str, new: str) -> None:
    if new == "made":
        text = SKELETON.replace("AS skeleton", "AS made").replace("=skeleton", "=made")
    else:
        text = SKELETON.replace(old, new, 1)
    assert recipe(text + PLANNED).has_skeleton


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # the stage itself
        ("AS kiro-skeleton", "AS kiro-skeletons"),
        ("scratch", "a"),
        ("scratch", "skeleton"),
        ("FROM a", "FROM a AS scratch\nFROM a"),
        ("FROM a", "FROM scratch AS kiro-skeleton\nFROM a"),
        ("/skeleton /skeleton\n", "/skeleton /skeleton\nCOPY more /skeleton/\n"),
        ("FROM scratch AS kiro-skeleton\n", "FROM scratch AS kiro-skeleton\nWORKDIR /skeleton\n"),
        ("COPY --from=skeleton /skeleton /skeleton\n", ""),
        ("COPY", "ADD"),
        ("/skeleton /skeleton\n", "/skeleton /\n"),
        ("/skeleton /skeleton\n", "/context /skeleton\n"),
        ("--from=skeleton /", "--from=skeleton --chown=1 /"),
        ("--from=skeleton /", "--from=skeleton --exclude=*.lock /"),
        ("--from=skeleton ", ""),
        ("--from=skeleton", "--from=other/image"),
        ("--from=skeleton", "--from=kiro-skeleton"),
        # the one that it copies from
        ("RUN --mount", "RUN make\nRUN --mount"),
        ("/skeleton\n\n", "/skeleton\nRUN rm /skeleton/Cargo.toml\n"),
        ("/skeleton\n\n", "/skeleton && rm /skeleton/Cargo.toml\n"),
        ("RUN --mount=type=bind,target=/context ", "RUN "),
        (
            "--mount=type=bind,target=/context ",
            "--mount=type=bind,target=/context --mount=type=tmpfs,target=/t ",
        ),
        ("--mount=type=bind,target=/context ", "--network=none "),
        ("type=bind", "type=cache"),
        ("target=/context", "target=/app"),
        ("/context kiro", "/context,source=app kiro"),
        ("/context kiro", "/context,from=a kiro"),
        ("/context kiro", "/context,rw kiro"),
        ("/context kiro", "/context,ro=false kiro"),
        ("/context kiro", "/context --network=none kiro"),
        ("kiro-fresh", "cargo-fresh"),
        ("skeleton /context /skeleton\n", "skeleton /context/app /skeleton\n"),
        ("skeleton /context /skeleton\n", "skeleton /context /skeleton/app\n"),
    ],
)
def test_a_stage_that_does_anything_else_runs(old: str, new: str) -> None:
    assert old in SKELETON
    assert not recipe(SKELETON.replace(old, new, 1) + PLANNED).has_skeleton


def test_a_dockerfile_without_that_stage_has_no_skeleton() -> None:
    assert not recipe(THREE).has_skeleton


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.fast"])
def test_the_backends_stage_is_one_that_a_folder_replaces(name: str) -> None:
    text = Path(__file__).parents[2].joinpath("backend", name).read_text()
    assert recipe(text).has_skeleton


def test_everything_is_the_image_also_where_another_stage_takes_from_it() -> None:
    plan = plan_everything([recipe("FROM a AS node\nFROM node AS last\nCOPY --from=last a b\n")], "warm")
    assert [t.stage for t in plan.targets] == ["last"]


def test_the_last_stage_needs_no_name() -> None:
    (target,) = plan_everything([recipe("FROM a AS base\nFROM base\n")], "warm").targets
    assert (target.stage, target.tag) == ("1", "shop/web:dev")


def test_profiles_and_services_are_targets_of_their_own() -> None:
    recipes = [
        recipe(THREE, service(name), profile)
        for name in ("api", "web")
        for profile in (Profile.PROD, Profile.DEV)
    ]
    assert [(t.name, t.tag) for t in plan_images(recipes, "x").targets] == [
        ("api-prod-final", "shop/api:prod"),
        ("api-dev-final", "shop/api:dev"),
        ("web-prod-final", "shop/web:prod"),
        ("web-dev-final", "shop/web:dev"),
    ]


@pytest.mark.parametrize("stages", [("a.b", "a_b"), ("a.b", "a_b", "a.b-2")])
def test_names_that_bake_would_take_for_one_are_kept_apart(stages: tuple[str, ...]) -> None:
    text = "".join(f"FROM x AS {stage}\n" for stage in (*stages, "last"))
    names = [target.name for target in plan_everything([recipe(text)], "x").targets]
    assert len(set(names)) == len(stages) + 1
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in names)


def test_services_whose_names_run_together_are_kept_apart() -> None:
    recipes = [recipe("FROM x AS c\n", service(name)) for name in ("a.b", "a_b", "a-b")]
    names = [target.name for target in plan_images(recipes, "x").targets]
    assert names == ["a_b-dev-c", "a_b-dev-c-2", "a-b-dev-c"]


def test_a_plan_reads_as_lines() -> None:
    assert str(plan_everything([recipe(THREE)], "warm")) == (
        "web-dev-final: web Dockerfile.fast stage final -> shop/web:dev: warm\n"
        "web-dev-test: web Dockerfile.fast stage test (cache only): warm: no image takes from this stage"
    )


def test_a_recipe_without_its_syntax_line_stays_so() -> None:
    one = recipe("FROM a AS b\n")
    bare = Recipe(one.service, one.profile, one.path, one.parsed, inline="#\nFROM a AS b\n")
    assert [t.inline for t in plan_images([one, bare], "x").targets] == [None, "#\nFROM a AS b\n"]


def test_base_images_of_all_recipes_once_each() -> None:
    def of(text: str, name: str) -> Recipe:
        return recipe(text, service(name))

    recipes = [of("ARG V=1\nFROM a:$V\nFROM b", "x"), of("FROM b\nFROM c", "y")]
    assert base_refs(recipes, {}) == ("a:1", "b", "c")
    assert base_refs(recipes, {"V": "2"}) == ("a:2", "b", "c")


def test_a_service_may_have_any_image_name() -> None:
    folder = Path("/r/x")
    other = Service("x", folder, "host:5000/team/x", "other", None, folder / "Dockerfile.fast")
    assert recipe("FROM a", other).tag == "host:5000/team/x:dev"


# --- the syntax line


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("# syntax=docker/dockerfile:1\nFROM x\n", "#\nFROM x\n"),
        ("#syntax = a\nFROM x\n", "#\nFROM x\n"),
        ("# Syntax=a\n", "#\n"),
        ("# syntax=a\n# escape=`\nFROM x\n", "# escape=`\n#\nFROM x\n"),
        ("# escape=`\n# syntax=a\nFROM x\n", "# escape=`\n#\nFROM x\n"),
        ("\ufeff# syntax=a\nFROM x\n", "\ufeff#\nFROM x\n"),
        ("# syntax=a\r\nFROM x\r\n", "#\r\nFROM x\r\n"),
        ("FROM x\n# syntax=a\n", "FROM x\n# syntax=a\n"),
        ("FROM x\nRUN <<E\n# syntax=a\nE\n", "FROM x\nRUN <<E\n# syntax=a\nE\n"),
        ("", ""),
    ],
)
def test_without_syntax_line(text: str, bare: str) -> None:
    assert without_syntax_line(text) == bare
    assert without_syntax_line(text).count("\n") == text.count("\n")
