"""Builders of buildx's: how they are made, whether they answer, and how one that does not is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from kiro_invoke.engine.brake import Brake, passed_on
from kiro_invoke.engine.builders import creating, labels_at, labels_told, make, trouble_of
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.engine.far import FarEngine, watched
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.shared import Builder
from tests.unit.fakes import FACTS

REMOTE = (
    "Name:          team\nDriver:        remote\nNodes:\nName:     team0\nEndpoint: tcp://a:1\nStatus:   {}\n"
)
CONTAINER = REMOTE.replace("remote", "docker-container")


def asked(stdout: str = "", stderr: str = "", status: int = 0) -> Completed:
    return Completed(("docker",), status, stdout, stderr)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (asked(REMOTE.format("running")), ""),
        (asked(REMOTE.format("inactive")), "no node of it runs (inactive)"),
        (asked(CONTAINER.format("inactive")), ""),
        (asked(CONTAINER.format("stopped")), ""),
        (asked(REMOTE.format("inactive") + "Name: team1\nStatus: running\n"), ""),
        (asked("Name: team\nDriver: remote\nError: connection refused\n"), "connection refused"),
        (asked(stderr='ERROR: no builder "team" found\n', status=1), 'no builder "team" found'),
        (asked(stderr="no answer within 8 s\n", status=124), "it does not answer"),
    ],
)
def test_a_builder_answers_where_a_node_runs_or_would_be_started(answer: Completed, why: str) -> None:
    assert trouble_of(answer) == why


class Buildx:
    """Answers `inspect` and `create`, and remembers what it was asked."""

    def __init__(self, known: bool = False, fails: str = "") -> None:
        self.known, self.fails = known, fails
        self.ran: list[tuple[str, ...]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed:
        del stdin, env
        assert timeout is not None
        self.ran.append(tuple(argv))
        if argv[1] == "inspect":
            return Completed(tuple(argv), 0 if self.known else 1, "", "")
        return Completed(tuple(argv), 1 if self.fails else 0, "", self.fails)


TEAM = Builder("team", "remote", ("tcp://a:1", "tcp://b:1"), (("cacert", "ca.pem"),))


def test_a_builder_is_made_once_with_all_its_nodes() -> None:
    buildx = Buildx()
    assert make(buildx, ["buildx"], TEAM)
    options = ("--name", "team", "--driver", "remote", "--driver-opt=cacert=ca.pem")
    assert buildx.ran[1:] == [
        ("buildx", "create", *options, "tcp://a:1"),
        ("buildx", "create", "--append", *options, "tcp://b:1"),
    ]
    assert creating(Builder("k", "kubernetes")) == (("create", "--name", "k", "--driver", "kubernetes"),)
    known = Buildx(known=True)
    assert not make(known, ["buildx"], TEAM)
    assert len(known.ran) == 1


def test_a_builder_that_cannot_be_made_is_told_and_one_made_meanwhile_is_taken() -> None:
    with pytest.raises(EngineError, match="the builder team cannot be made: ERROR: no such file"):
        make(Buildx(fails="ERROR: no such file\n"), ["buildx"], TEAM)
    assert not make(
        Buildx(fails='ERROR: existing instance for "team" but no append mode\n'), ["buildx"], TEAM
    )


def given_up(asks: object, patience: float, *, seconds: float = 3.0, hears: bool = False) -> tuple[str, bool]:
    """What a watch comes to that goes on for so long, in steps of 10 ms; its clock runs a hundred times as fast."""
    brake, begun = Brake(), time.monotonic()
    clock = lambda: (time.monotonic() - begun) * 100  # noqa: E731
    with watched(brake, asks, patience, clock=clock, pause=0.01) as watch:  # type: ignore[arg-type]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not brake.pulled:
            if hears:
                watch.heard()
            time.sleep(0.005)
    return watch.trouble, brake.pulled


def test_a_silent_builder_that_answers_is_waited_for() -> None:
    assert given_up(lambda _seconds: "", 10.0, seconds=0.5) == ("", False)


def test_a_builder_that_is_heard_is_never_asked() -> None:
    assert given_up(lambda _seconds: pytest.fail("asked"), 10.0, seconds=0.5, hears=True) == ("", False)


def test_a_hung_builder_is_given_up_after_its_patience() -> None:
    def hangs(seconds: float) -> str:
        time.sleep(seconds / 100)
        return "it does not answer"

    trouble, pulled = given_up(hangs, 20.0)
    assert pulled
    assert trouble.endswith("s (it does not answer)")
    assert int(trouble.split()[4]) >= 20


def test_a_dead_builder_is_given_up_when_it_says_so() -> None:
    trouble, pulled = given_up(lambda _seconds: "no node of it runs (inactive)", 3600.0)
    assert pulled
    assert int(trouble.split()[4]) < 60


def test_a_brake_is_passed_on() -> None:
    first, second, third = Brake(), Brake(), Brake()
    with passed_on(first, second), passed_on(None, third):
        before = second.pulled
        first.pull()
    assert (before, second.pulled, third.pulled) == (False, True, False)


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        ('{"config": {"Labels": {"a": "1", "empty": ""}}}', {"a": "1"}),
        ('{"linux/amd64": {"config": {}}, "linux/arm64": {"config": {"Labels": {"a": "1"}}}}', {"a": "1"}),
        ('{"config": {"Labels": null}}', {}),
        ("null", {}),
        ("[1]", {}),
        ("no JSON", {}),
    ],
)
def test_the_labels_of_an_image_in_its_registry(told: str, labels: Mapping[str, str]) -> None:
    assert labels_told(told) == labels


def test_a_registry_is_asked_as_the_builder_reaches_it() -> None:
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], **_more: object) -> Completed:
        ran.append(argv)
        return asked('{"config": {"Labels": {"a": "1"}}}', status=len(ran) - 1)

    assert labels_at(run, ["buildx"], "x:1", "team", 10.0) == {"a": "1"}
    assert ran[0][1:5] == ["imagetools", "inspect", "--builder", "team"]
    assert labels_at(run, ["buildx"], "x:1", "", 10.0) == {}
    assert "--builder" not in ran[1]


NOTHING = '{"target": {}}'


class Hung(FarEngine):
    """A builder that never ends a build, and does not answer when it is asked."""

    def _bake(self, definition: str, *, brake: Brake | None, **_more: object) -> Completed:
        ended = threading.Event()
        assert brake is not None
        with brake.stopping(ended.set):
            assert ended.wait(30)
        return asked(status=1)

    def builder_trouble(self, name: str, seconds: float) -> str:
        del seconds
        return f"{name} does not answer"


def test_a_builder_that_hangs_is_given_up_with_the_reason(tmp_path: Path) -> None:
    near = SimpleNamespace(_api=None, _address=None, _facts=FACTS, _run=None, _buildx=None)
    with pytest.raises(EngineError, match=r"it did not answer for \d+ s \(team does not answer\)"):
        Hung(cast("DockerEngine", near), "team", 0.2, tmp_path).bake(NOTHING, env={}, on_line=print)


def test_whoever_ends_a_build_on_a_builder_ends_no_builder(tmp_path: Path) -> None:
    near = SimpleNamespace(_api=None, _address=None, _facts=FACTS, _run=None, _buildx=None)
    brake = Brake()
    threading.Timer(0.1, brake.pull).start()
    assert (
        Hung(cast("DockerEngine", near), "team", 60.0, tmp_path)
        .bake(NOTHING, env={}, on_line=print, brake=brake)
        .returncode
    )
