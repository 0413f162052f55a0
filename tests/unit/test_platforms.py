"""Platforms: which are valid, what else is meant by what is not, and which one an engine is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.builds.planner import Profile, plan_everything, plan_images
from kiro_invoke.builds.platforms import is_platform, loadable, meant, same
from kiro_invoke.config import load
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Origin, Project, Setting
from tests.unit.build_fakes import recipe, service

BOTH = ("linux/amd64", "linux/arm64/v8")


@pytest.mark.parametrize(
    "text", [*BOTH, "linux/arm64", "linux/arm/v7", "linux/386", "linux/riscv64", "linux/amd64/v3"]
)
def test_valid(text: str) -> None:
    assert is_platform(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("x86-64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("Linux/ARM64", "linux/arm64"),
        ("linux-arm64", "linux/arm64"),
        ("arm64/v8", "linux/arm64/v8"),
        ("armhf", "linux/arm/v7"),
        ("linux/arm64/v7", "linux/arm64"),
        ("linux/386/v1", "linux/386"),
        ("linux/amd64,linux/arm64", "linux/amd64"),
        ("linux", ""),
        ("", ""),
        ("windows/amd64", ""),
        ("linux/sparc", ""),
    ],
)
def test_what_is_none_is_told_with_the_nearest(text: str, near: str) -> None:
    assert not is_platform(text)
    assert meant(text) == near


@pytest.mark.parametrize(
    ("platforms", "architecture", "one"),
    [
        ((), "amd64", ""),
        (BOTH, "amd64", ""),
        (BOTH, "arm64", ""),
        (("linux/arm64",), "amd64", "linux/arm64"),
        (("linux/arm64", "linux/amd64/v3"), "amd64", "linux/amd64/v3"),
        (("linux/amd64/v1",), "amd64", ""),
        (("linux/386", "linux/arm/v7"), "arm", ""),
    ],
)
def test_an_engine_is_given_its_own(platforms: tuple[str, ...], architecture: str, one: str) -> None:
    assert loadable(platforms, architecture) == one


def test_a_variant_that_is_meant_anyway_is_no_other_platform() -> None:
    assert (same("linux/arm64/v8"), same("linux/arm64/v9")) == ("linux/arm64", "linux/arm64/v9")


# --- kiro.yaml


def repo(root: Path, text: str) -> Path:
    for name in ("api", "web"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "Dockerfile").write_text("FROM scratch\n")
    (root / "kiro.yaml").write_text(f"project: shop\n{text}")
    return root


def platforms_of(project: Project) -> dict[str, tuple[str, ...]]:
    return {each.name: each.platforms for each in project.services}


def test_a_service_s_own_go_before_the_project_s(tmp_path: Path) -> None:
    text = (
        "platforms: [linux/amd64, linux/arm64/v8]\n"
        "services:\n  - name: api\n  - name: web\n    platforms:\n      - linux/riscv64\n"
    )
    project = load(repo(tmp_path, text), {})
    assert platforms_of(project) == {"api": BOTH, "web": ("linux/riscv64",)}
    assert (
        Setting("services.web.platforms[0]", "linux/riscv64", Origin.FILE, "kiro.yaml:7") in project.settings
    )
    assert Setting("services.api.platforms[1]", BOTH[1], Origin.FILE, "kiro.yaml:2") in project.settings


def test_without_any_there_are_none(tmp_path: Path) -> None:
    project = load(repo(tmp_path, "services:\n  - name: api\n"), {})
    assert platforms_of(project) == {"api": ()}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "platforms: [linux/amd64, aarch64]\n",
            'kiro.yaml:2: "aarch64" is no platform that images are built for; did you mean "linux/arm64"?'
            ' Fix: write "linux/arm64"',
        ),
        ("platforms: [windows/amd64]\n", 'kiro.yaml:2: "windows/amd64" is no platform'),
        ("platforms: linux/amd64\n", "kiro.yaml:2: platforms must be a list, not text"),
        ("platforms: []\n", "kiro.yaml:2: platforms is an empty list"),
        ("platforms: [386]\n", 'did you mean "linux/386"?'),
        (
            "platforms:\n  - linux/arm64\n  - linux/arm64/v8\n",
            'kiro.yaml:4: platform "linux/arm64/v8" is given twice (the other: linux/arm64, kiro.yaml:3)',
        ),
        (
            "services:\n  - name: api\n    platforms: [linux/amd64, linux/x64]\n",
            'kiro.yaml:4: "linux/x64" is no platform',
        ),
        ("platform: [linux/amd64]\n", 'unknown key "platform"; did you mean "platforms"?'),
    ],
)
def test_refused_with_the_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(repo(tmp_path, text), {})
    assert told in str(refused.value)


# --- plans


def test_production_images_are_for_them_development_images_for_the_engine() -> None:
    of = replace(service(), platforms=BOTH)
    text = "FROM scratch AS a\nFROM scratch AS b\n"
    recipes = (recipe(text, of, Profile.PROD), recipe(text, of, Profile.DEV))
    assert [target.platforms for target in plan_images(recipes, "asked").targets] == [BOTH, ()]
    assert {target.platforms for target in plan_everything(recipes[1:], "asked").targets} == {()}
