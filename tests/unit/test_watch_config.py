"""What kiro.yaml says of live updates and of watching."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.ecosystems.registry import ECOSYSTEMS
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.live import CONTAINER, NONE, GivenLive, Live, SyncRule, Watching
from kiro_invoke.model.service import Project


def load(root: Path, text: str, **environ: str) -> Project:
    (root / "web").mkdir(exist_ok=True)
    (root / "web/Dockerfile").write_text("FROM x\n")
    (root / "kiro.yaml").write_text(text)
    return config.load(root, environ)


SERVICE = "services:\n  - name: web\n"


def test_nothing_said_is_the_default(tmp_path: Path) -> None:
    project = load(tmp_path, SERVICE)
    assert project.services[0].live == GivenLive()
    assert project.watching == Watching(0.05, 0.5, None, 0.5)


def test_all_of_it(tmp_path: Path) -> None:
    text = f"""{SERVICE}    live:
      sync:
        .: /srv/app
        src/./gen: /gen/
      run: make
      install: make deps
      before_restart: make migrate
      restart: container
      test: make check
watch: {{quiet_ms: 80, cap_ms: 900, poll: 2.5, stop_ms: 250}}
"""
    project = load(tmp_path, text)
    live = project.services[0].live.over(Live(), {})
    rules = (SyncRule("", "/srv/app"), SyncRule("src/gen", "/gen"))
    assert live == Live(rules, "make deps", "make", "make migrate", CONTAINER, "make check")
    assert project.watching == Watching(0.08, 0.9, 2.5, 0.25)
    told = {setting.key: (setting.value, setting.where) for setting in project.settings}
    assert told["services.web.live.run"] == ("make", "kiro.yaml:7")
    assert told["services.web.live.sync.src/./gen"] == ("/gen/", "kiro.yaml:6")
    assert told["watch.quiet_ms"] == ("80", "kiro.yaml:12")


def test_kiro_yaml_wins_over_the_images_labels_over_the_ecosystem() -> None:
    labels = {"dev.kiro.live.restart": "none", "dev.kiro.live.run": "labelled", "dev.kiro.live.sync": "x"}
    default = ECOSYSTEMS["cargo"].live
    found = GivenLive((("run", "given"),)).over(default, labels)
    assert (found.run, found.restart, found.install) == ("given", NONE, default.install)
    assert found.sync == default.sync


@pytest.mark.parametrize(
    ("name", "word"), [("cargo", "cargo build"), ("npm", ""), ("pnpm", ""), ("yarn", "")]
)
def test_each_ecosystem_has_its_own(name: str, word: str) -> None:
    live = ECOSYSTEMS[name].live
    assert word in live.run
    assert live.install


@pytest.mark.parametrize(("poll", "seconds"), [("true", 1.0), ("false", 0.0), ("auto", None), ("3", 3.0)])
def test_polling(tmp_path: Path, poll: str, seconds: float | None) -> None:
    assert load(tmp_path, f"{SERVICE}watch: {{poll: {poll}}}\n").watching.poll == seconds


def test_the_environment_wins(tmp_path: Path) -> None:
    text = f"{SERVICE}watch: {{quiet_ms: 80}}\n"
    project = load(tmp_path, text, KIRO_WATCH_QUIET_MS="20", KIRO_WATCH_POLL="true")
    assert (project.watching.quiet, project.watching.poll) == (0.02, 1.0)
    assert ("watch.quiet_ms", "KIRO_WATCH_QUIET_MS") in {(s.key, s.where) for s in project.settings}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{SERVICE}    live: {{runs: x}}\n", 'kiro.yaml:3: unknown key "runs"; did you mean "run"?'),
        (f"{SERVICE}    live: make\n", "kiro.yaml:3: services[0].live must be a mapping, not text"),
        (f"{SERVICE}    live: {{run: 5}}\n", "kiro.yaml:3: services[0].live.run must be text, not a number"),
        (f"{SERVICE}    live: {{sync: {{}}}}\n", "kiro.yaml:3: sync is empty"),
        (
            f"{SERVICE}    live: {{sync: {{/abs: /x}}}}\n",
            'kiro.yaml:3: sync: "/abs" is no folder of the build',
        ),
        (f"{SERVICE}    live: {{sync: {{a/../..: /x}}}}\n", 'kiro.yaml:3: sync: "a/../.." is no folder'),
        (f"{SERVICE}    live: {{sync: {{a: x}}}}\n", 'kiro.yaml:3: sync: "x" is no place in a container'),
        (f"{SERVICE}    live: {{sync: {{a: /x/../y}}}}\n", 'kiro.yaml:3: sync: "/x/../y" is no place'),
        (f"{SERVICE}watch: {{quiet_ms: 0}}\n", 'kiro.yaml:3: watch.quiet_ms: "0" is no number of millisec'),
        (f"{SERVICE}watch: {{quiet_ms: fast}}\n", "kiro.yaml:3: watch.quiet_ms must be a whole number"),
        (f"{SERVICE}watch: {{quiet_ms: 600}}\n", "kiro.yaml:3: cap_ms is less than quiet_ms"),
        (f"{SERVICE}watch: {{poll: often}}\n", 'kiro.yaml:3: watch.poll: "often" is not understood'),
        (f"{SERVICE}watch: {{poll: 0.01}}\n", 'kiro.yaml:3: watch.poll: "0.01" is not understood'),
        (
            f"{SERVICE}watch: {{quite_ms: 5}}\n",
            'kiro.yaml:3: unknown key "quite_ms"; did you mean "quiet_ms"?',
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert str(raised.value).startswith(said)


def test_a_variable_that_cannot_be_meant_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"KIRO_WATCH_STOP_MS: watch.stop_ms"):
        load(tmp_path, SERVICE, KIRO_WATCH_STOP_MS="soon")
