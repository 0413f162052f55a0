"""Builds that were made outside: which ones are taken from the engine's history, and what is made of them.

The answers have the form of buildx 0.30 (commands/history/ls.go, inspect.go, logs.go).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke import config
from kiro_invoke.commands.importing import import_outside, listed_refs, past_build
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.metrics.entry import RAN
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.service import Project
from tests.unit.build_fakes import event, ran, vertex
from tests.unit.fakes import FakeEngine

TIMES = {"StartedAt": "2026-01-02T03:04:05.123456789Z", "CompletedAt": "2026-01-02T03:04:17.123456789Z"}
#: An hour after they ended.
SOON = 1_767_326_657.0
DOCKERFILE = "FROM a AS deps\nRUN npm ci --no-audit\nFROM deps AS final\nCOPY . /src\n"
LOG = [
    *vertex("[internal] load build context", "sha256:c", started="2026-01-02T03:04:05Z"),
    *event(statuses=[{"id": "transferring context:", "vertex": "sha256:c", "current": 4321}]),
    *ran("[deps 2/2] RUN npm ci --no-audit", "sha256:1", seconds=9),
    *vertex(
        "[final 1/1] COPY . /src",
        "sha256:2",
        started="2026-01-02T03:04:15Z",
        completed="2026-01-02T03:04:15Z",
        cached=True,
    ),
]


class History:
    """An engine with a history, a repository with one service, and its store."""

    def __init__(self, root: Path) -> None:
        (root / "web").mkdir()
        for name in ("Dockerfile", "Dockerfile.fast"):
            (root / "web" / name).write_text(DOCKERFILE)
        (root / "kiro.yaml").write_text("project: shop\nservices:\n  - name: web\n    ecosystem: npm\n")
        self.project: Project = config.load(root, {})
        self.project.state.mkdir()
        self.engine = FakeEngine()
        self.said: list[str] = []
        self.store = Store(self.project.state, self.said.append, now=lambda: SOON)
        self._rows: list[str] = []

    def build(self, ref: str, *, log: list[str] = LOG, status: str = "Completed", **fields: Any) -> None:
        day = f"2026-01-{len(self._rows) + 1:02}T00:00:00Z"
        row = {"ref": f"default/default/{ref}", "name": "web", "status": status, "created_at": day}
        self._rows.append(json.dumps(row))
        told = {"Name": "web", "Ref": ref, **TIMES, "Status": "completed", "Config": {}, **fields}
        done = {"ls": "\n".join(self._rows), f"inspect {ref}": json.dumps(told, indent=2)}
        for key, text in done.items():
            self.engine.history[key] = Completed((), 0, text, "")
        self.engine.history[f"logs {ref}"] = Completed((), 0, "", "\n".join(log))

    def take(self, **how: Any) -> int:
        where = {"here": lambda: self.project.root, "now": lambda: SOON, **how}
        return import_outside(self.engine, self.project, self.store, self.said.append, **where)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def test_a_plain_build_is_taken_once(history: History) -> None:
    history.build("r1", Context=str(history.project.root / "web"), Dockerfile="Dockerfile.fast")
    assert history.take() == 1
    assert history.take() == 0
    (build,) = history.store.builds()
    assert (build.command, build.ok, build.seconds, build.context_bytes) == ("docker", True, 12.0, 4321)
    assert build.began == pytest.approx(1_767_323_045.123, abs=0.01)
    (row,) = history.store.images()
    assert (row.image.service, row.image.profile, row.image.verdict) == ("web", "dev", RAN)
    assert (row.image.cached, row.image.ran, row.image.kind) == (1, 1, "")
    assert [(step.stage, step.cached) for step in history.store.steps(build.id)] == [
        ("deps", False),
        ("final", True),
    ]
    assert history.store.known_refs() == {"r1"}


def test_paths_are_from_where_it_was_asked(history: History) -> None:
    history.build("r1", Context="web")
    history.build("r2", Context=".")
    assert history.take() == 1
    assert history.store.images()[0].image.profile == "prod"
    assert history.take(here=lambda: history.project.root / "web") == 0, "looked at already"


@pytest.mark.parametrize(
    "fields",
    [
        {"Context": "/elsewhere"},
        {"Context": "https://github.com/a/b.git"},
        {"Context": "web", "Dockerfile": "other/Dockerfile"},
        {"Context": "web", "Labels": [{"Name": "dev.kiro.checkout", "Value": "x"}]},
        {"Context": ".kiro/contexts/web-0123456789", "Dockerfile": "../web-dockerfiles/Dockerfile"},
        {"Context": "web", "Status": "canceled"},
        {"Context": "web", "CompletedAt": None},
        {},
    ],
)
def test_other_builds_are_not_taken_and_asked_for_once(history: History, fields: dict[str, Any]) -> None:
    history.build("r1", **fields)
    assert history.take() == 0
    asked = len(history.engine.history_asked)
    assert history.take() == 0
    assert history.engine.history_asked[asked:] == [("ls", "--format", "json", "--no-trunc")]
    assert history.store.builds() == ()


def test_what_kiro_printed_and_somebody_built_has_its_mounts(history: History) -> None:
    history.build("r1", Context="web", Config={"CacheMountNS": history.project.checkout})
    assert history.take() == 0


def test_tilts_builds_are_known_by_their_steps(history: History) -> None:
    """Tilt tells the engine no path."""
    tilt = [{"Name": "builtby", "Value": "tilt"}]
    history.build("r1", Labels=tilt, Dockerfile="Dockerfile")
    history.build("r2", Labels=tilt, log=[*LOG, *ran("[final 2/2] RUN another", "sha256:3")])
    history.build("r3", Labels=tilt, log=[])
    history.build("r4")
    assert history.take() == 1
    assert history.store.known_refs() == {"r1"}
    assert history.store.builds()[0].command == "tilt"


def test_a_build_that_failed(history: History) -> None:
    error = {
        "Code": 2,
        "Message": 'process "/bin/sh -c\nnpm ci"\x1b[1m failed',
        "Name": "[deps 2/2] RUN npm ci",
    }
    history.build("r1", status="Error", Context="web", Status="error", Error=error)
    assert history.take() == 1
    (build,) = history.store.builds()
    assert (build.ok, build.message) == (False, 'process "/bin/sh -c npm ci" failed')


def test_what_is_older_than_what_is_kept_is_not_taken(history: History) -> None:
    """It would be forgotten at once, and taken again each time."""
    history.project = config.load(history.project.root, {"KIRO_METRICS_KEEP": "30m"})
    history.build("r1", Context="web")
    assert history.take() == 0
    assert history.store.builds() == ()
    asked = len(history.engine.history_asked)
    assert history.take() == 0
    assert len(history.engine.history_asked) == asked + 1
    history.project = config.load(history.project.root, {"KIRO_METRICS_KEEP": "2h"})
    history.build("r2", Context="web")
    assert history.take() == 1


def test_a_buildx_without_history_is_no_trouble(history: History) -> None:
    assert history.take() == 0
    assert history.said == []
    assert not list(history.project.state.iterdir())


def test_nothing_is_asked_where_nothing_is_recorded(history: History) -> None:
    history.project = config.load(history.project.root, {"KIRO_METRICS_RECORD": "false"})
    assert history.take() == 0
    assert history.engine.history_asked == []


def test_it_takes_no_longer_than_it_may(history: History) -> None:
    """The newest come first, and the rest the next time."""
    for number in range(4):
        history.build(f"r{number}", Context="web")
    ticks = iter([0.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 5.0])
    assert history.take(clock=lambda: next(ticks)) == 2
    assert history.store.known_refs() == {"r3", "r2"}
    assert history.take() == 2


@pytest.mark.parametrize("question", ["inspect", "logs"])
def test_what_the_engine_did_not_answer_is_asked_again(history: History, question: str) -> None:
    history.build("r1", Context="web")
    answer = history.engine.history[f"{question} r1"]
    history.engine.history[f"{question} r1"] = Completed((), 124, "", "no answer within 0.5 s")
    assert history.take() == 0
    history.engine.history[f"{question} r1"] = answer
    assert history.take() == 1


def test_a_store_that_cannot_be_written_is_said(history: History) -> None:
    history.build("r1", Context="web")
    (history.project.state / "metrics.sqlite").mkdir()
    assert history.take() == 0
    (line,) = history.said
    assert line.startswith("builds made outside were not imported: ")


@pytest.mark.parametrize("log", [["{", "nonsense"], ['{"vertexes": 1}'], ["{", '"vertexes": [{}]', "}"]])
def test_a_log_that_cannot_be_read_leaves_the_build(history: History, log: list[str]) -> None:
    history.build("r1", Context="web", log=log)
    assert history.take() == 1
    assert history.store.images()[0].image.ran == 0


@pytest.mark.parametrize("text", ["", "[]", "x", "{}", "[1]", '{"StartedAt": 1}', "[" * 100_000, "null"])
def test_answers_that_are_not_understood_tell_nothing(tmp_path: Path, text: str) -> None:
    assert listed_refs(text) == ()
    assert past_build("r", text, tmp_path) is None


def test_both_forms_of_the_list() -> None:
    rows = [
        {"ID": "a", "Status": "Completed", "CreatedAt": "2025-04-15T12:29:00Z"},
        {"ID": "b", "Status": "Running", "CreatedAt": "2025-04-15T12:30:00Z"},
        {"ref": "default/default/c", "status": "Error", "created_at": "2025-04-15T12:33:00Z"},
    ]
    assert listed_refs(json.dumps(rows, indent=2)) == ("c", "a")
    assert listed_refs("a warning\n" + "\n".join(map(json.dumps, rows))) == ("c", "a")
