"""The engine's garbage collection for real: the rules that it tells, what it drops, and the limit that `--fix` sets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke.cache.collecting import DAY, EASY, default_rules, rules_set, rules_told, will_go
from kiro_invoke.commands.gc_rules import gc_rules
from kiro_invoke.doctor.gc_limit import limits
from kiro_invoke.engine import docker as docker_engine
from kiro_invoke.engine import process
from kiro_invoke.engine.daemon_json import merged
from kiro_invoke.engine.docker import DockerEngine
from tests.support.private_engine import PrivateEngine, private_engine

pytestmark = [pytest.mark.docker, pytest.mark.long]

MB = 1_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="kiro-engine-", dir=memory))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(autouse=True)
def _alone(engine: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What buildx is asked, it asks the private engine."""
    monkeypatch.setenv("DOCKER_HOST", PrivateEngine(folder).address.url)


def opened(private: PrivateEngine) -> DockerEngine:
    return docker_engine.connect(private.address, process.run, ours=False)


def test_an_engine_that_was_told_nothing_has_no_rules(folder: Path) -> None:
    with private_engine(folder) as private:
        engine = opened(private)
        found = gc_rules(engine, engine.info())
        assert found.origin == "docker buildx inspect"
        assert found.rules == default_rules(found.disk_bytes or 0, engine.facts.version)


def test_rules_that_are_configured_are_those_that_the_engine_has(folder: Path) -> None:
    config = json.dumps({"builder": {"gc": {"enabled": True, "defaultKeepStorage": "20GB"}}})
    with private_engine(folder, config) as private:
        engine = opened(private)
        told = gc_rules(engine, engine.info())
        expected = rules_set(config, told.disk_bytes or 0, engine.facts.version)
        assert told.rules == expected


def test_the_limit_that_fix_sets_is_taken_by_the_engine(folder: Path) -> None:
    text = merged('{"debug": false}', limits(200_000 * MB))
    with private_engine(folder, text) as private:
        rules = rules_told(opened(private).builder())
    assert [(round(rule.unused_seconds / DAY), rule.everything) for rule in rules] == [
        (14, False), (14, False), (14, False), (60, False), (0, False), (0, True),
    ]  # fmt: skip
    assert frozenset().union(*(rule.kinds for rule in rules)) == EASY
    assert {round(rule.keep_bytes / 1e9) for rule in rules} == {20, 40}


def test_what_is_foretold_to_go_goes(folder: Path) -> None:
    with private_engine(folder) as private:
        base = f"env -u DOCKER_HOST docker save debian:13-slim | docker --host {private.address.url} load"
        subprocess.run(["sh", "-c", base], check=True, capture_output=True)
        for number in range(4):
            build(private, f"head -c {5 * MB} /dev/urandom >/layer{number}", folder)
        opened(private).cache_records()  # the first look weighs the mounts, which uses them
        before = opened(private).cache_records()
        size = sum(record.size for record in before if not record.shared)
        assert size >= 4 * 2 * 5 * MB
        limited = replace(private, config=json.dumps({"builder": {"gc": gc(size - 12 * MB)}}))
        private.stop()
        limited.start()
        engine = opened(limited)
        rules = rules_told(engine.builder())
        foretold = {going.id for going in will_go(before, rules, time.time())}
        assert foretold
        left = settled(engine, {record.id for record in before})
        assert {record.id for record in before} - left == foretold


def gc(keep: int) -> dict[str, object]:
    return {"enabled": True, "policy": [{"keepStorage": str(keep)}]}


def build(private: PrivateEngine, shell: str, folder: Path) -> None:
    """A layer and a mount, each of what `shell` makes."""
    mount = f"--mount=type=cache,id={shell[-6:]},target=/m"
    text = f"FROM debian:13-slim\nRUN --network=none {mount} {shell} && cp /{shell.rpartition('/')[2]} /m/\n"
    argv = ["docker", "--host", private.address.url, "buildx", "build", "--output=type=cacheonly", "-"]
    subprocess.run(argv, input=text, text=True, check=True, capture_output=True, cwd=folder)


def settled(engine: DockerEngine, before: set[str]) -> set[str]:
    """What is left of these records once the engine has collected: it does a second after its start."""
    left, end = before, time.monotonic() + 90
    while left == before and time.monotonic() < end:
        time.sleep(0.5)
        left = {record.id for record in engine.cache_records()} & before
    while (now := {record.id for record in engine.cache_records()} & before) != left:
        left = now
        time.sleep(0.5)
    return left
