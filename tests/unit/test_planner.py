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
from tests.unit.build_fakes import recipe, service

THREE = "FROM a AS base\nFROM base AS test\nFROM base AS final\n"


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
    text = "FROM a AS Kiro-Skeleton\nFROM a AS planner\nRUN --mount=type=bind,from=kiro-skeleton x\nFROM planner\n"
    assert recipe(text).has_skeleton and not recipe(THREE).has_skeleton
    plan = plan_everything([recipe(text)], "warm")
    assert [(t.name, t.stage, t.tag, t.cause) for t in plan.targets] == [
        ("web-dev-2", "2", "shop/web:dev", "warm"),
        ("web-dev-kiro-skeleton", "kiro-skeleton", None, "warm: plain builds run this stage"),
    ]
    assert [t.stage for t in plan_images([recipe(text)], "build").targets] == ["2"]


@pytest.mark.parametrize("text", ["FROM a AS kiro-skeleton\n", "FROM a AS x\nFROM x AS kiro-skeleton\n"])
def test_a_skeleton_that_is_the_image_is_asked_for_once(text: str) -> None:
    assert [(t.stage, t.cause) for t in plan_everything([recipe(text)], "warm").targets] == [
        ("kiro-skeleton", "warm")
    ]


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
