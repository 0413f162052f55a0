"""The cache mounts of the shipped Dockerfiles, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.cache import warm
from kiro_invoke.model.service import Project, Service

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / service / name for service in ("backend", "frontend") for name in ("Dockerfile", "Dockerfile.fast")
]
#: What was downloaded fits any toolchain. All else that is kept was made by one.
DOWNLOADS = ("-apt-cache", "-apt-lists", "-cargo-registry", "kiro-npm")


def mounts(file: Path) -> list[Mapping[str, str]]:
    steps = (each for stage in parse(file.read_text()).stages for each in stage.instructions)
    return [mount for step in steps for mount in step.mounts if mount.get("type") == "cache"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_ids_are_literal_and_writers_wait_for_each_other(file: Path) -> None:
    """An argument in an id is part of the layer's key: another mount would be a reason to build (trap 19)."""
    assert mounts(file)
    for mount in mounts(file):
        assert "$" not in mount["id"]
        assert mount["sharing"] == "locked"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_a_toolchain_made_goes_with_it(file: Path) -> None:
    """A mount that hangs on no stage outlives its toolchain (trap 18)."""
    seeded = [mount for mount in mounts(file) if not mount["id"].endswith(DOWNLOADS)]
    assert len(seeded) >= (3 if file.parent.name == "backend" else 0)
    for mount in seeded:
        assert mount["from"] in {"base", "toolchain", "cook"}
        assert mount["source"] in {"/kiro/empty", "/kiro/cooked"}


def test_each_checkout_has_mounts_of_its_own(tmp_path: Path) -> None:
    """Of one project, too: two builds at once would write into one target (trap 7)."""

    def namespace(root: Path) -> str:
        (root / "web").mkdir(parents=True)
        (root / "web/Dockerfile.fast").write_text("FROM a\n")
        web = Service("web", root / "web", "shop/web", "other", None, root / "web/Dockerfile.fast")
        project = Project(root, "shop", (web,))
        recipes = warm.read_recipes(project, (Profile.DEV,))
        prepared = warm.prepare(project, recipes, lambda some: plan_images(some, "x"), ())
        (target,) = json.loads(prepared.definition)["target"].values()
        given: str = target["args"]["BUILDKIT_CACHE_MOUNT_NS"]
        assert given == project.checkout
        return given

    assert namespace(tmp_path / "one") != namespace(tmp_path / "two")
