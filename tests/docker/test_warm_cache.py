"""`warm-cache` on the real services: everything built, then everything cached, for us and for plain Docker."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from pathlib import Path

import jsonschema
import pytest

from kiro_invoke import config
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.builds.progress import Event, Printed
from kiro_invoke.cache import warm
from kiro_invoke.engine import process
from kiro_invoke.engine.docker import DockerEngine, connect
from kiro_invoke.engine.locate import locate
from kiro_invoke.model.plan import BuildPlan, Target
from tests.support.crates import FAST, LOCKED, PROD, Checkout, small_workspace, sweep
from tests.support.engine import ROOT, Ran, build_steps, docker, kiro

pytestmark = pytest.mark.docker

SPACE = f"kiro-test-warm-{os.getpid()}"

DOCKERFILES = (
    "backend/Dockerfile",
    "backend/Dockerfile.fast",
    "frontend/Dockerfile",
    "frontend/Dockerfile.fast",
)


def test_its_report_fits_the_schema(warmed: Ran) -> None:
    schema = json.loads((ROOT / "kiro_invoke/schemas/warm-cache.json").read_text())
    jsonschema.validate(warmed.json, schema)


def test_it_builds_every_stage_of_every_dockerfile(warmed: Ran) -> None:
    reported = {
        image["dockerfile"]: [s["name"] for s in image["stages"]] for image in warmed.json["services"]
    }
    assert reported == {
        name: [stage.name for stage in parse((ROOT / name).read_text()).stages] for name in DOCKERFILES
    }


def test_a_second_one_finds_everything_cached(warmed: Ran) -> None:
    again = kiro("warm-cache", "--format", "json")
    assert again.code == 0, again.err
    ran = [
        (image["dockerfile"], stage["name"])
        for image in again.json["services"]
        for stage in image["stages"]
        if not stage["cached"]
    ]
    assert ran == []
    assert again.json["cache_bytes"] > 0


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_plain_docker_build_after_it_finds_every_step_cached(warmed: Ran, dockerfile: str) -> None:
    service = dockerfile.partition("/")[0]
    tag = f"kiro/{service}:{'dev' if dockerfile.endswith('fast') else 'prod'}"
    steps = build_steps("-f", dockerfile, "-t", tag, f"{service}/")
    named = [step for step in steps if "] FROM " not in step["name"] and step["name"].startswith("[")]
    assert [
        step["name"] for step in named if not step.get("cached") and " internal]" not in step["name"]
    ] == []
    assert len(named) > 5


def test_images_carry_the_projects_label(warmed: Ran) -> None:
    kiro("build", "--service", "backend")
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", "kiro/backend:dev"))
    assert labels["dev.kiro.project"] == "kiro"
    assert labels["dev.kiro.service"] == "backend"


def test_the_debug_and_the_release_cook_run_side_by_side(engine: None, tmp_path: Path) -> None:
    """A locked registry mount must not make one wait for the other."""
    # crates that no run before this one had: the engine must not have this recipe's layer
    small_workspace(Checkout(tmp_path / "app", ""), recipe=f"{SPACE}-{time.time_ns()}", needed=tuple(LOCKED))
    for file in (PROD, FAST):
        shutil.copy(ROOT / "backend" / file, tmp_path / "app")
    (tmp_path / "kiro.yaml").write_text(f"project: {SPACE}\nservices:\n  - name: app\n")
    project = config.load(tmp_path, {})
    recipes = warm.read_recipes(project, (Profile.PROD, Profile.DEV))
    prepared = warm.prepare(project, recipes, cooks_only, ())
    compiling: list[str] = []

    def seen(event: Event) -> None:
        if isinstance(event, Printed) and "cook" in event.step.stage and "Compiling" in event.line:
            compiling.append(event.step.target)

    warm.run(prepared, project, docker_engine(), seen)
    sweep(project.checkout, cooked=True)
    assert len(set(compiling)) == 2
    turns = [target for target, _ in itertools.groupby(compiling)]
    assert len(turns) > 2, "one ended before the other began"


def cooks_only(recipes: tuple[Recipe, ...]) -> BuildPlan:
    """The dependency layers of both profiles, and nothing that stands on them."""
    return BuildPlan(
        tuple(
            Target(f"{recipe.profile}-cook", "app", recipe.service.context, recipe.path, "cook", "test")
            for recipe in recipes
        )
    )


def docker_engine() -> DockerEngine:
    return connect(locate(os.environ, process.run), process.run, ours=False)
