"""The command `pin-images`, on an engine in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kiro_invoke.commands import opening, pinning
from kiro_invoke.commands.surface import Answer
from kiro_invoke.engine import several_files
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS
from kiro_invoke.model.errors import ExitCode, KiroError, UsageError
from tests.unit.fakes import REFUSED, FakeEngine
from tests.unit.test_commands import World

SCHEMA = Path(__file__).parents[2] / "kiro_invoke/schemas/pin-images.json"
A, B = ("sha256:" + letter * 64 for letter in "ab")
DOCKERFILE = "ARG RUST=rust:1\nFROM $RUST AS build\nFROM debian:13-slim\nCOPY . /src\n"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    made.engine = FakeEngine(
        registry={"rust:1": ImageFacts(A, {}, 1), "debian:13-slim": ImageFacts(B, {}, 1)}
    )
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    made.write("web/Dockerfile.fast", DOCKERFILE)
    made.write("web/Dockerfile", "FROM rust:1\n")
    return made


def pin(world: World, **options: Any) -> Answer:
    answer = pinning.pin_images(pinning.Asked(**options))(world.surface)
    whole = {"schema": 1, "command": "pin-images", "ok": answer.ok, **json.loads(json.dumps(answer.fields))}
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(whole)
    return answer


def text(world: World, name: str = "Dockerfile.fast") -> str:
    return (world.root / "web" / name).read_text()


def statuses(answer: Answer) -> dict[str, str]:
    return {row["ref"]: row["status"] for row in answer.fields["images"]}


def test_digests_are_written_into_every_dockerfile(world: World) -> None:
    (world.root / "web/Dockerfile").chmod(0o600)
    answer = pin(world)
    assert text(world) == DOCKERFILE.replace("rust:1", f"rust:1@{A}").replace("13-slim", f"13-slim@{B}")
    assert text(world, "Dockerfile") == f"FROM rust:1@{A}\n"
    assert (world.root / "web/Dockerfile").stat().st_mode & 0o777 == 0o600
    assert statuses(answer) == {"rust:1": "pinned", "debian:13-slim": "pinned"}
    assert answer.fields["files"] == ["web/Dockerfile", "web/Dockerfile.fast"]
    assert answer.fields["images"][0]["places"] == [
        {"file": "web/Dockerfile", "line": 1},
        {"file": "web/Dockerfile.fast", "line": 1},
    ]
    assert world.shown(answer) == [f"pinned     rust:1 -> {A}", f"pinned     debian:13-slim -> {B}"]


def test_each_tag_is_asked_for_once_and_what_is_pinned_not_again(world: World) -> None:
    pin(world)
    assert sorted(world.engine.probed) == ["debian:13-slim", "rust:1"]
    world.engine.registry["rust:1"] = ImageFacts(B, {}, 1)
    answer = pin(world)
    assert len(world.engine.probed) == 2
    assert set(statuses(answer).values()) == {"unchanged"}
    assert answer.fields["files"] == []


def test_update_writes_what_the_tag_has_now(world: World) -> None:
    pin(world)
    world.engine.registry["rust:1"] = ImageFacts(B, {}, 1)
    answer = pin(world, update=True)
    assert statuses(answer) == {f"rust:1@{A}": "updated", f"debian:13-slim@{B}": "unchanged"}
    assert text(world, "Dockerfile") == f"FROM rust:1@{B}\n"


def test_a_dry_run_writes_nothing(world: World) -> None:
    answer = pin(world, dry_run=True)
    assert text(world) == DOCKERFILE
    assert statuses(answer) == {"rust:1": "pinned", "debian:13-slim": "pinned"}
    assert world.shown(answer)[0] == f"would be pinned     rust:1 -> {A}"


@pytest.mark.parametrize("name", ["rust:1", "kiro-standin/rust:1"])
def test_a_stand_in_is_never_pinned_and_nothing_is_written(world: World, name: str) -> None:
    """Whichever name it has here: and although the registry answers by now."""
    world.engine.images[name] = ImageFacts("sha256:1", {LABEL: "rust:1", LABEL_HOLDS: "Rust 1.85.0"}, 1)
    with pytest.raises(KiroError, match="nothing was pinned: rust:1: a stand-in takes its place") as refused:
        pin(world)
    assert refused.value.code is ExitCode.MISSED
    assert refused.value.place == "web/Dockerfile:1"
    assert (text(world), text(world, "Dockerfile")) == (DOCKERFILE, "FROM rust:1\n")


def test_without_a_registry_what_was_pulled_tells_its_digest(world: World) -> None:
    world.engine.registry.clear()
    for ref, digest in (("rust:1", A), ("debian:13-slim", B)):
        name = ref.partition(":")[0]
        facts = ImageFacts("sha256:1", {}, 1)
        world.engine.images[ref] = replace(facts, digests=(f"mirror.example/{name}@{B}", f"{name}@{digest}"))
    answer = pin(world)
    assert text(world, "Dockerfile") == f"FROM rust:1@{A}\n"
    assert world.shown(answer)[0] == (
        f"pinned     rust:1 -> {A}, as it was pulled here: docker.io does not answer"
    )


def test_without_a_registry_what_was_never_pulled_is_refused_and_nothing_is_written(world: World) -> None:
    del world.engine.registry["debian:13-slim"]
    world.engine.images["debian:13-slim"] = ImageFacts("sha256:1", {}, 1)  # built here
    with pytest.raises(
        KiroError, match=r"debian:13-slim: no registry answers .* never pulled here"
    ) as refused:
        pin(world)
    assert refused.value.place == "web/Dockerfile.fast:3"
    assert (text(world), text(world, "Dockerfile")) == (DOCKERFILE, "FROM rust:1\n")


def test_what_a_registry_refuses_is_refused(world: World) -> None:
    world.engine.registry["rust:1"] = REFUSED
    with pytest.raises(KiroError, match="rust:1: its registry refused it"):
        pin(world)
    assert text(world, "Dockerfile") == "FROM rust:1\n"


def test_an_answer_that_is_no_digest_is_not_written(world: World) -> None:
    world.engine.registry["rust:1"] = ImageFacts("sha256:1\nRUN evil", {}, 1)
    with pytest.raises(KiroError, match="the answer holds no digest"):
        pin(world)
    assert text(world, "Dockerfile") == "FROM rust:1\n"


def test_all_files_or_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second file cannot be put in its place: the first is as it was."""
    real = Path.replace
    moved: list[Path] = []

    def replace_once(self: Path, target: Path) -> Path:
        moved.append(target)
        if len(moved) == 2:
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace_once)
    with pytest.raises(KiroError, match="No space left on device; nothing was changed"):
        pin(world)
    assert (text(world), text(world, "Dockerfile")) == (DOCKERFILE, "FROM rust:1\n")
    assert sorted(path.name for path in (world.root / "web").iterdir()) == ["Dockerfile", "Dockerfile.fast"]


def test_an_edit_meanwhile_is_not_lost(world: World) -> None:
    path = world.root / "web/Dockerfile"
    with pytest.raises(KiroError, match="was changed meanwhile"):
        several_files.replace_all({path: (b"FROM rust:0\n", b"FROM x\n")})
    assert path.read_text() == "FROM rust:1\n"


def test_a_link_is_followed(world: World) -> None:
    """Two services' Dockerfile: one file, written once, and the link stays one."""
    (world.root / "web/Dockerfile").unlink()
    (world.root / "web/Dockerfile").symlink_to("Dockerfile.fast")
    answer = pin(world)
    assert (world.root / "web/Dockerfile").is_symlink()
    assert text(world).startswith(f"ARG RUST=rust:1@{A}\n")
    assert len(answer.fields["files"]) == 1


def test_what_stands_in_kiro_yaml_is_left_and_told(world: World) -> None:
    world.write(
        "kiro.yaml", "project: shop\nservices:\n  - name: web\nbase_images:\n  debian:13-slim: ours:1\n"
    )
    answer = pin(world)
    assert (answer.ok, answer.exit_code) == (False, ExitCode.MISSED)
    assert text(world) == DOCKERFILE.replace("rust:1", f"rust:1@{A}")
    assert world.shown(answer)[-1] == (
        "left       debian:13-slim (web/Dockerfile.fast:3): kiro.yaml takes ours:1 in its place: write the digest "
        "there, under base_images:"
    )


def test_check_tells_what_is_not_pinned_and_what_is_outdated(world: World) -> None:
    answer = pin(world, check=True)
    assert answer.exit_code is ExitCode.MISSED
    assert statuses(answer) == {"rust:1": "unpinned", "debian:13-slim": "unpinned"}
    assert world.engine.probed == []
    pin(world)
    assert pin(world, check=True).exit_code is ExitCode.DONE
    world.engine.registry["rust:1"] = ImageFacts(B, {}, 1)
    answer = pin(world, check=True)
    assert statuses(answer) == {f"rust:1@{A}": "outdated", f"debian:13-slim@{B}": "unchanged"}
    assert answer.exit_code is ExitCode.MISSED
    assert text(world, "Dockerfile") == f"FROM rust:1@{A}\n"


def test_check_without_a_registry_is_content_with_what_is_pinned(world: World) -> None:
    pin(world)
    world.engine.registry.clear()
    answer = pin(world, check=True)
    assert answer.exit_code is ExitCode.DONE
    assert set(statuses(answer).values()) == {"unknown"}


def test_check_goes_with_nothing_that_writes(world: World) -> None:
    with pytest.raises(UsageError):
        pin(world, check=True, update=True)
