"""The places of a shared cache: one for each target, of the branch and then of the default one; and who may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke.builds.shared_cache import Branches, Places, branches, places, read_only, safe
from kiro_invoke.model.plan import BuildPlan, Target
from kiro_invoke.model.shared import CacheEntry, SharedCache

ON = Branches("feature/x", "main")
PLAN = BuildPlan(
    tuple(
        Target(f"{service}-{own}", service, Path("/x"), Path("/x/Dockerfile"), "stage", "asked")
        for service, own in (
            ("api", "dev-dev"),
            ("api", "dev-test"),
            ("api", "prod-runtime"),
            ("web", "dev-dev"),
        )
    )
)


def shared(kind: str = "registry", **attributes: str) -> SharedCache:
    entry = CacheEntry(kind, tuple(attributes.items()))
    return SharedCache((entry,), entry)


def found(cache: SharedCache, name: str = "api-dev-dev", *, push: bool = False, on: Branches = ON) -> Places:
    return places(cache, PLAN, "shop", on, push=push)[name]


def test_the_branch_is_read_before_the_default_one() -> None:
    cache = shared(ref="registry.example/shop/cache:{service}-{branch}")
    assert found(cache).sources == (
        f"type=registry,ref=registry.example/shop/cache:api-{safe('feature/x')}-dev-dev",
        "type=registry,ref=registry.example/shop/cache:api-main-dev-dev",
    )
    assert found(cache).targets == ()
    assert len(found(cache, on=Branches("main", "main")).sources) == 1


def test_what_is_pushed_is_the_branchs_whole_and_never_fails_a_build() -> None:
    cache = shared(ref="registry.example/shop/cache:{service}-{branch}")
    assert found(cache, push=True, on=Branches("main", "main")).targets == (
        "type=registry,ref=registry.example/shop/cache:api-main-dev-dev,mode=max,compression=zstd,ignore-error=true",
    )


@pytest.mark.parametrize(
    ("kind", "attributes", "place"),
    [
        ("registry", {"ref": "registry.example/shop/cache"}, "ref=registry.example/shop/cache:dev-dev"),
        ("registry", {"ref": "localhost:5000/cache"}, "ref=localhost:5000/cache:dev-dev"),
        ("registry", {"ref": "localhost:5000/{target}/cache:x"}, "ref=localhost:5000/dev-dev/cache:x"),
        ("local", {"src": "/cache/{service}/"}, "src=/cache/api/dev-dev"),
        ("gha", {}, "scope=shop-api-dev-dev"),
        ("s3", {"bucket": "b", "name": "{project}"}, "name=shop-dev-dev"),
    ],
)
def test_each_target_has_a_place_of_its_own(kind: str, attributes: dict[str, str], place: str) -> None:
    cache = shared(kind, **attributes)
    assert place in found(cache).sources[0].split(",")
    every = [row for one in places(cache, PLAN, "shop", ON, push=True).values() for row in one.targets]
    services = {"{service}", "{target}"} & set("".join(attributes.values()).replace("}", "} ").split())
    assert len(set(every)) >= (len(every) if services or kind == "gha" else len(every) - 1)


def test_no_two_branches_share_a_place_by_chance() -> None:
    assert (
        len(
            {
                safe(name)
                for name in ("feature/x", "feature-x", "Feature-x", "feature_x", "feature//x", "/", "")
            }
        )
        == 7
    )
    assert safe("main") == "main"


def test_a_long_branch_makes_no_tag_that_a_registry_refuses() -> None:
    cache = shared(ref="registry.example/cache:{branch}")
    tags = {
        found(cache, on=Branches(name, "main")).sources[0].rpartition(":")[2]
        for name in ("b" * 300, "b" * 301)
    }
    assert {len(tag) for tag in tags} == {128}
    assert len(tags) == 2


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({}, ""),
        ({"GITHUB_EVENT_NAME": "push"}, ""),
        ({"GITHUB_EVENT_NAME": "pull_request"}, "GITHUB_EVENT_NAME"),
        ({"GITHUB_EVENT_NAME": "pull_request_target"}, "GITHUB_EVENT_NAME"),
        ({"CI_MERGE_REQUEST_IID": "7"}, "CI_MERGE_REQUEST_IID"),
        ({"BUILDKITE_PULL_REQUEST": "false"}, ""),
        ({"BUILDKITE_PULL_REQUEST": "7"}, "BUILDKITE_PULL_REQUEST"),
        ({"KIRO_CACHE_READONLY": "1"}, "KIRO_CACHE_READONLY"),
        ({"KIRO_CACHE_READONLY": "0"}, ""),
    ],
)
def test_pull_requests_write_nothing(environ: dict[str, str], why: str) -> None:
    told = read_only(environ)
    assert (why in told) if why else told == ""


@pytest.mark.parametrize(
    ("environ", "git", "expected"),
    [
        ({}, ("topic", "trunk"), Branches("topic", "trunk")),
        ({}, ("", ""), Branches("main", "main")),
        ({"GITHUB_REF_NAME": "12/merge", "GITHUB_HEAD_REF": "topic"}, ("", ""), Branches("topic", "main")),
        (
            {"CI_COMMIT_REF_NAME": "topic", "CI_DEFAULT_BRANCH": "trunk"},
            ("", "main"),
            Branches("topic", "trunk"),
        ),
    ],
)
def test_the_branch_is_what_ci_says_then_git(
    environ: dict[str, str], git: tuple[str, str], expected: Branches
) -> None:
    assert branches(environ, shared(ref="x"), *git) == expected
