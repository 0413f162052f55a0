"""The command `doctor`: what it gathers, what it mends and when it asks, how it ends and what it shows."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke import config
from kiro_invoke.commands import examining, mending, opening
from kiro_invoke.commands.gc_rules import gc_rules
from kiro_invoke.commands.surface import Answer
from kiro_invoke.doctor.gc_limit import limits
from kiro_invoke.engine.protocol import EngineInfo, ImageFacts
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS
from kiro_invoke.model.errors import ConfigError
from tests.unit.test_collecting import HEAD, TOLD
from tests.unit.test_commands import World, no_engine, whole
from tests.unit.test_doctor_machine import Mounts

__all__ = ["no_engine"]

GOOD = """\
FROM debian:13-slim AS base
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A healthy repository on a healthy engine."""
    made = World(tmp_path)
    engine = Mounts()
    engine.images["debian:13-slim"] = ImageFacts("sha256:1", {}, 1)
    engine.builder_told = TOLD
    now = time.time()
    engine.told = EngineInfo(str(tmp_path), "overlay2", now, now, now, is_here=True)
    made.engine = engine
    made.write("web/Dockerfile.fast", GOOD)
    made.write("web/package.json", "{}")
    made.write("web/src/main.js", "1")
    made.write("web/.dockerignore", "Dockerfile*\n.dockerignore\n")
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    monkeypatch.setattr(opening, "ca_bundle", lambda _project, _surface: None)
    return made


def doctor(world: World, *, fix: bool = False) -> Answer:
    return examining.doctor((), fix=fix)(world.surface)


def told(answer: Answer, *verdicts: str) -> list[Mapping[str, Any]]:
    checks = whole("doctor", answer)["checks"]
    return [check for check in checks if check["verdict"] in (verdicts or ("problem",))]


def test_a_healthy_machine_is_told_so(world: World) -> None:
    answer = doctor(world)
    assert told(answer, "problem", "note", "skipped") == []
    assert (answer.ok, answer.exit_code) == (True, 0)
    lines = world.shown(answer)
    assert all(line.startswith("ok  ") for line in lines[:-1])
    assert lines[-1].startswith("0 problems, 0 notes, ")


def test_a_problem_ends_with_1_and_stands_last_with_its_cure(world: World) -> None:
    world.write("web/Dockerfile.fast", "FROM debian:13-slim\nCOPY . .\nRUN npm ci\n")
    answer = doctor(world)
    [found] = told(answer)
    assert (found["check"], found["file"], found["line"]) == ("copy-before-install", "web/Dockerfile.fast", 3)
    assert (answer.ok, answer.exit_code) == (False, 1)
    *_, problem, cure, total = world.shown(answer)
    assert problem.startswith("problem  web/Dockerfile.fast:3: copy-before-install: `npm ci` runs again")
    assert cure.startswith("         fix: copy package.json")
    assert total.startswith("1 problem, ")


def test_every_check_says_something_on_a_healthy_machine(world: World) -> None:
    checks = {check["check"] for check in whole("doctor", doctor(world))["checks"]}
    assert checks == {
        "engine", "buildx", "compose", "builder", "storage", "environment", "cache-mounts", "gc-limit", "disk", "clock",
        "inotify", "file-events", "certificates", "proxy", "stand-ins", "context-size", "dockerignore",
        "copy-before-install", "target-mount", "production-install", "apt-mount", "changing-argument", "floating-base",
        "syntax-line", "cargo-chef", "toolchain",
    }  # fmt: skip


def test_without_an_engine_the_rest_is_checked(world: World, no_engine: None) -> None:
    world.write("web/Dockerfile.fast", "FROM node\n")
    answer = doctor(world)
    assert [found["check"] for found in told(answer)] == ["engine", "floating-base"]
    skipped = told(answer, "skipped")
    assert {"cache-mounts", "gc-limit", "disk", "clock"} <= {found["check"] for found in skipped}
    assert {found["evidence"] for found in skipped} == {"no engine answers"}
    assert answer.exit_code == 1


def test_logs_within_a_context_are_a_problem_like_others(world: World) -> None:
    world.write("kiro.yaml", "project: shop\nservices:\n  - name: web\n    context: .\n")
    world.write("Dockerfile.fast", GOOD)
    world.write(".dockerignore", "web\n")
    [found] = told(doctor(world))
    assert (found["check"], found["file"], found["cure"]) == (
        "configuration",
        ".dockerignore",
        "add a line `.kiro`",
    )


def test_what_files_name_is_held_against_the_base(world: World) -> None:
    world.write("web/Dockerfile.fast", "FROM node:24-slim\nRUN true\nFROM rust:1.85\nRUN true\n")
    world.write("web/.nvmrc", "v20.11\n")
    world.write("rust-toolchain.toml", '[toolchain]\nchannel = "1.82"\n')
    found = {
        (one["file"], one["line"], one["evidence"].partition(" is not ")[0]) for one in told(doctor(world))
    }
    assert found == {("web/Dockerfile.fast", 1, "node:24-slim"), ("web/Dockerfile.fast", 3, "rust:1.85")}


def test_stand_ins_are_told_with_what_they_hold(world: World) -> None:
    labels = {LABEL: "debian:13-slim", LABEL_HOLDS: "Debian 13.8"}
    world.engine.images["debian:13-slim"] = ImageFacts("sha256:1", labels, 1)
    [found] = told(doctor(world), "note")
    assert found["check"] == "stand-ins"
    assert "debian:13-slim (really Debian 13.8)" in found["evidence"]


def test_only_what_dockerfiles_take_of_a_context_counts(world: World) -> None:
    world.write("web/node_modules/a.js", "1")
    assert [one["check"] for one in told(doctor(world))] == ["dockerignore"]
    world.write("web/Dockerfile.fast", "FROM debian:13-slim\nCOPY src src\nRUN true\n")
    assert told(doctor(world)) == []


def test_a_mount_that_loses_what_was_written_is_a_problem(world: World) -> None:
    assert isinstance(world.engine, Mounts)
    world.engine.keeps = False
    assert [one["check"] for one in told(doctor(world))] == ["cache-mounts"]


def test_events_are_not_waited_for_where_the_loop_polls(world: World) -> None:
    world.write("kiro.yaml", "project: shop\nservices:\n  - name: web\nwatch:\n  poll: true\n")
    checks = whole("doctor", doctor(world))["checks"]
    assert all(
        "not needed" in one["evidence"] for one in checks if one["check"] in {"inotify", "file-events"}
    )


# --- --fix


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The limits that were written; nothing is written for real."""
    found: list[object] = []
    monkeypatch.setattr(mending, "set_gc", lambda gc, _run, **_: found.append(gc))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return found


@pytest.mark.parametrize(
    ("answer", "environ", "done"),
    [("yes", {}, True), ("no", {}, False), (None, {}, False), (None, {"KIRO_SETUP": "1"}, True)],
)
def test_a_limit_is_set_for_an_engine_of_ours_when_agreed(
    world: World, written: list[object], answer: str | None, environ: dict[str, str], done: bool
) -> None:
    world.engine.builder_told, world.answer, world.environ = HEAD, answer, environ
    fixed = doctor(world, fix=True)
    assert [found["check"] for found in told(fixed, "note")] == ["gc-limit"]
    assert ("engine starts next" in told(fixed, "note")[0]["evidence"]) is done
    assert len(written) == len(whole("doctor", fixed)["fixed"]) == (1 if done else 0)
    assert "/etc/docker/daemon.json: a limit of " in world.said


def test_no_limit_is_set_where_there_is_one_or_without_fix(world: World, written: list[object]) -> None:
    world.answer = "yes"
    doctor(world, fix=True)
    world.engine.builder_told = HEAD
    doctor(world)
    assert (written, world.asked) == ([], [])


def test_for_an_engine_that_is_not_ours_it_is_told_what_to_set_where(
    world: World, written: list[object]
) -> None:
    engine = Mounts()
    engine.images, engine.told, engine.builder_told = world.engine.images, world.engine.told, HEAD
    engine._facts = engine._facts.__class__(**{**engine._facts.__dict__, "ours": False})
    world.engine, world.answer = engine, "yes"
    [found] = told(doctor(world, fix=True), "note")
    size = gc_rules(engine, engine.told).disk_bytes
    assert json.dumps({"builder": {"gc": limits(size or 0)}}) in found["cure"]
    assert "/etc/docker/daemon.json" in found["cure"]
    assert written == []


@pytest.mark.parametrize(("answer", "done"), [("yes", True), ("no", False), (None, False)])
def test_missing_lines_are_added_when_a_person_agrees(world: World, answer: str | None, done: bool) -> None:
    world.write("web/node_modules/a.js", "1")
    world.write("web/app.log", "1")
    world.write("web/.dockerignore", "Dockerfile*\r\n.dockerignore")
    world.answer, world.environ = answer, {"KIRO_SETUP": "1"}
    fixed = doctor(world, fix=True)
    after = (world.root / "web/.dockerignore").read_bytes().decode()
    before = "Dockerfile*\r\n.dockerignore"
    assert after == (f"{before}\r\n**/*.log\r\n**/node_modules\r\n" if done else before)
    assert (told(fixed) == []) is done
    assert fixed.exit_code == (0 if done else 1)
    assert "  **/node_modules" in world.said.splitlines()
    if done:
        assert told(doctor(world)) == []


def test_an_ignore_file_that_leads_out_of_the_repository_is_not_written(world: World, tmp_path: Path) -> None:
    world.write("web/node_modules/a.js", "1")
    outside = tmp_path.parent / f"{tmp_path.name}-ignore"
    outside.write_text("x\n")
    file = world.root / "web/Dockerfile.fast.dockerignore"
    file.symlink_to(outside)
    world.answer = "yes"
    project = config.load(world.root, {})
    with pytest.raises(ConfigError, match="leads out"):
        mending._append(file, ["a"], project)
    assert outside.read_text() == "x\n"


def test_an_ignore_file_that_no_build_takes_is_a_problem_like_others(world: World) -> None:
    world.write("web/.dockerignore", "ok\n[a\n")
    [found] = told(doctor(world))
    assert (found["check"], found["line"]) == ("configuration", 2)


def test_a_dockerfile_elsewhere_is_held_against_the_files_of_its_context(world: World) -> None:
    world.write(
        "kiro.yaml", "project: shop\nservices:\n  - name: web\n    fast_dockerfile: docker/Dockerfile.web\n"
    )
    world.write("web/docker/Dockerfile.web", "FROM node:24-slim\nRUN true\n")
    world.write("web/.nvmrc", "20\n")
    [found] = told(doctor(world))
    assert (found["check"], found["file"]) == ("toolchain", "web/docker/Dockerfile.web")
