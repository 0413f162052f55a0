"""A base image that cannot be had is blamed on the line that asks for it."""

from __future__ import annotations

from pathlib import Path

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile
from kiro_invoke.cache import warm
from kiro_invoke.model.errors import BaseUnavailable


def placed(root: Path, text: str, ref: str) -> BaseUnavailable:
    (root / "app").mkdir()
    (root / "app/Dockerfile.fast").write_text(text)
    (root / "kiro.yaml").write_text("project: p\nservices:\n  - name: app\n")
    project = config.load(root, {})
    recipes = warm.read_recipes(project, (Profile.DEV,))
    return warm.placed(BaseUnavailable(ref, "not here", fix="connect"), project, recipes)


def test_a_mistyped_stage_is_named_with_its_line_and_what_was_meant(tmp_path: Path) -> None:
    trouble = placed(tmp_path, "FROM x AS install\nRUN true\nFROM instal AS build\n", "instal")
    text = (
        "app/Dockerfile.fast:3: not here. Fix: write the stage's name `install` if that is meant, or connect"
    )
    assert str(trouble) == text


def test_an_image_that_is_like_no_stage_is_named_with_its_line(tmp_path: Path) -> None:
    trouble = placed(tmp_path, "ARG V=1\nFROM far.invalid/x:${V} AS install\n", "far.invalid/x:1")
    assert str(trouble) == "app/Dockerfile.fast:2: not here. Fix: connect"


def test_an_image_that_no_line_names_is_left_as_it_is(tmp_path: Path) -> None:
    assert str(placed(tmp_path, "FROM x\n", "y")) == "not here. Fix: connect"
