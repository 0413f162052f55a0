"""The build graph of hundreds of services: what they share is in it once, and nothing is done again for each pair."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.graph import planned, write_services
from kiro_invoke import config
from kiro_invoke.builds import dockerfile
from kiro_invoke.builds.dockerfile import Dockerfile, parse
from kiro_invoke.builds.planner import Profile
from kiro_invoke.cache import warm
from kiro_invoke.scaffold.images import PageImages, RustImages
from kiro_invoke.scaffold.rendering import rendered

COUNT = 200
#: Stages that the services of one kind have in common, by Dockerfile.
SHARED = {
    "rust.Dockerfile": ("base", "fresh", "chef"),
    "rust.Dockerfile.fast": ("base", "fresh", "chef"),
    "vite.Dockerfile": ("planner",),
    "vite.Dockerfile.fast": ("base",),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("many") / "shop"
    write_services(made, COUNT)
    return made


def test_every_image_is_a_target_and_every_base_image_is_asked_for_once(root: Path) -> None:
    definition = json.loads(planned(root))
    tags = [tag for target in definition["target"].values() for tag in target.get("tags", ())]
    names = [f"shop/service-{number:03}:{profile}" for number in range(COUNT) for profile in ("dev", "prod")]
    assert sorted(tags) == sorted(names)
    assert definition["group"]["default"]["targets"] == list(definition["target"])
    project = config.load(root, {})
    bases = warm.wanted_bases(project, warm.read_recipes(project, tuple(Profile)))
    assert len(bases) == len(set(bases)) == 4


def test_each_dockerfile_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text, of another service or of the same a moment later, is not read again."""
    read: list[str] = []
    real = dockerfile._directives

    def counted(text: str) -> dict[str, str]:
        read.append(text)
        return real(text)

    monkeypatch.setattr(dockerfile, "_directives", counted)
    parse.cache_clear()
    planned(root)
    planned(root)
    assert len(read) == len(set(read)) <= 2 * COUNT


def test_detected_services_are_those_that_are_listed(root: Path, tmp_path: Path) -> None:
    write_services(tmp_path / "shop", 4, listed=False)
    found = config.load(tmp_path / "shop", {}).names
    assert found == config.load(root, {}).names[:4]


@pytest.mark.parametrize("name", SHARED)
def test_shared_stages_differ_by_the_ids_of_mounts_alone(name: str) -> None:
    """Those are in no cache key (BuildKit 0.13): such a stage runs once for all services of a build."""
    one, other = (parse(rendered(name, _images(name, of))) for of in ("api", "jobs"))
    for stage in SHARED[name]:
        assert _without_ids(one, stage) == _without_ids(other, stage), stage


def _images(name: str, of: str) -> Mapping[str, object]:
    return RustImages(of, of, of, port=8080).values if name.startswith("rust") else PageImages(of).values


def _without_ids(parsed: Dockerfile, name: str) -> list[str]:
    stage = parsed.stage(name)
    assert stage is not None
    return [
        re.sub(r"\bid=[\w-]+", "id=", raw) for raw in (stage.raw, *(each.raw for each in stage.instructions))
    ]
