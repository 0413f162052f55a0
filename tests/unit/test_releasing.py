"""`build --prod`: what its images are given besides, and how they leave; on an engine in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.builds.shipping import STAYING, Leaving, StandinRefused
from kiro_invoke.commands import building, opening
from kiro_invoke.commands.surface import Answer
from kiro_invoke.engine import git
from kiro_invoke.engine.protocol import Completed, ImageFacts
from kiro_invoke.engine.standins import LABEL
from kiro_invoke.model.errors import BuildFailed, KiroError
from tests.unit.build_fakes import recorded
from tests.unit.fakes import FakeEngine
from tests.unit.test_commands import DEBIAN, DOCKERFILE, World, whole

IMAGE = "registry.example/shop/web"
CONFIG = f"project: shop\nservices:\n  - name: web\n    image: {IMAGE}\n"
PUSH = Leaving(push=True)


class Shipping(FakeEngine):
    """It writes archives. Nothing leaves it where it `refuses`; where it `is_stale`, other images are loaded."""

    refuses = False
    is_stale = False

    def bake(
        self, definition: str, *, env: Mapping[str, str], on_line: Callable[[str], None], brake: object = None
    ) -> Completed:
        (target,) = json.loads(definition)["target"].values()
        output = target["output"][0]
        if "type=oci" in output:
            dest = Path(output.partition("dest=")[2].partition(",")[0])
            dest.write_text("half of it" if self.refuses else "all of it")
        if "type=docker" not in output:
            self.baked.append(definition)
            return Completed(("docker", "buildx", "bake"), int(self.refuses), "", "")
        done = super().bake(definition, env=env, on_line=on_line, brake=brake)
        if self.is_stale:
            self.images.update(dict.fromkeys(target["tags"], ImageFacts("sha256:old", {}, 1)))
        return done


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    made.engine = Shipping(DEBIAN)
    made.engine.bake_lines = recorded("success")
    made.engine.builder_told = "Driver: docker-container\n"
    made.write("web/Dockerfile", DOCKERFILE)
    made.write("kiro.yaml", CONFIG)
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    monkeypatch.setattr(git, "committed_at", lambda _folder, _run: 1_700_000_000)
    return made


def build(
    world: World,
    leaving: Leaving = STAYING,
    *,
    prod: bool = True,
    clean: bool = False,
    show_definition: bool = False,
) -> Answer:
    body = building.build(
        [], prod=prod, clean=clean, show_definition=show_definition, dry_run=False, leaving=leaving
    )
    return body(world.surface)


def baked(world: World) -> list[dict[str, Any]]:
    """The one target of each bake."""
    return [next(iter(json.loads(text)["target"].values())) for text in world.engine.baked]


def test_what_is_pushed_was_loaded_and_proven_first(world: World) -> None:
    answer = build(world, PUSH)
    loaded, pushed = baked(world)
    assert loaded["output"] == ["type=docker,source-date-epoch=1700000000"]
    assert pushed["output"] == ["type=registry,rewrite-timestamp=true,source-date-epoch=1700000000"]
    assert pushed["labels"]["dev.kiro.revision"] == loaded["labels"]["dev.kiro.revision"]
    assert pushed["context"] == loaded["context"]
    assert whole("build", answer)["shipped"] == [{"image": f"{IMAGE}:prod"}]
    assert f"pushed {IMAGE}:prod" in world.shown(answer)


def test_what_is_not_proven_is_not_pushed(world: World) -> None:
    world.engine.is_stale = True  # type: ignore[attr-defined]
    with pytest.raises(BuildFailed):
        build(world, PUSH)
    assert [target["output"][0].partition(",")[0] for target in baked(world)] == ["type=docker"]


@pytest.mark.parametrize("leaving", [PUSH, Leaving(archive="out")])
def test_nothing_made_from_a_stand_in_leaves_and_nothing_is_built_for_it(
    world: World, leaving: Leaving
) -> None:
    world.engine.images["debian:13-slim"] = ImageFacts("sha256:1", {LABEL: "debian:13-slim"}, 1)
    with pytest.raises(StandinRefused, match="debian:13-slim is a stand-in"):
        build(world, leaving)
    assert world.engine.baked == []
    build(world)
    assert len(world.engine.baked) == 1


def test_an_archive_is_whole_or_as_it_was(world: World) -> None:
    world.write("out/web.tar", "of yesterday")
    world.engine.refuses = True  # type: ignore[attr-defined]
    with pytest.raises(KiroError):
        build(world, Leaving(archive="out"))
    assert (world.root / "out/web.tar").read_text() == "of yesterday"
    world.engine.refuses = False  # type: ignore[attr-defined]
    answer = build(world, Leaving(archive="out"))
    assert (world.root / "out/web.tar").read_text() == "all of it"
    assert [path.name for path in (world.root / "out").iterdir()] == ["web.tar"]
    assert answer.fields["shipped"] == [
        {"image": f"{IMAGE}:prod", "file": str(world.root / "out/web.tar")},
    ]


def test_without_attestations_it_is_said(world: World) -> None:
    world.engine.builder_told = "Driver: docker\n"
    build(world, PUSH)
    assert baked(world)[1]["attest"] == ["type=provenance,disabled=true"]
    assert "pushed without SBOM and provenance" in world.said
    world.write("kiro.yaml", CONFIG + "attest: {sbom: false, provenance: false}\n")
    before = world.said
    build(world, PUSH)
    assert "without SBOM" not in world.said.removeprefix(before)


@pytest.mark.parametrize(
    ("environ", "clean", "driver", "argument"),
    [
        ({}, False, "docker", None),
        ({}, True, "docker", "1700000000"),
        ({"SOURCE_DATE_EPOCH": "5"}, False, "docker", "5"),
        ({"SOURCE_DATE_EPOCH": "5"}, True, "remote", None),
    ],
)
def test_the_time_is_an_argument_only_where_that_costs_nothing_or_was_asked_for(
    world: World, environ: dict[str, str], clean: bool, driver: str, argument: str | None
) -> None:
    world.environ |= environ
    world.engine.builder_told = f"Driver: {driver}\n"
    build(world, clean=clean)
    (found,) = baked(world)
    assert found["args"].get("SOURCE_DATE_EPOCH") == argument
    assert found["output"] == [
        f"type=docker,source-date-epoch={environ.get('SOURCE_DATE_EPOCH', 1_700_000_000)}"
    ]


def test_a_development_image_knows_no_time_whatever_the_environment_says(world: World) -> None:
    world.environ["SOURCE_DATE_EPOCH"] = "5"
    build(world, prod=False)
    (found,) = baked(world)
    assert "SOURCE_DATE_EPOCH" not in found["args"]
    assert found["output"] == ["type=docker"]
    # buildx itself would take it from there
    assert world.engine.bake_env[0]["SOURCE_DATE_EPOCH"] == ""


def test_a_tree_that_was_changed_has_no_time_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "committed_at", lambda _folder, _run: None)
    build(world, PUSH)
    assert [target["output"] for target in baked(world)] == [["type=docker"], ["type=registry"]]
    assert "the tree is not as it was committed" in world.said


def test_several_platforms_are_pushed_and_the_engine_s_own_is_loaded(world: World) -> None:
    world.write("kiro.yaml", CONFIG + "platforms: [linux/arm64, linux/amd64]\n")
    build(world, PUSH)
    loaded, pushed = baked(world)
    assert "platforms" not in loaded
    assert pushed["platforms"] == ["linux/arm64", "linux/amd64"]


def test_the_definition_that_is_printed_is_the_one_that_ships(world: World) -> None:
    world.write("kiro.yaml", CONFIG + "platforms: [linux/arm64, linux/amd64]\n")
    text = build(world, PUSH, show_definition=True).fields["definition"]
    (target,) = json.loads(text)["target"].values()
    assert target["platforms"] == ["linux/arm64", "linux/amd64"]
    assert target["attest"] == ["type=provenance,mode=min", "type=sbom"]
    text = build(world, show_definition=True).fields["definition"]
    (target,) = json.loads(text)["target"].values()
    assert "platforms" not in target
