"""What kiro.yaml and the environment say of the history of builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Origin, Project, Recording

DAY = 86_400.0
SERVICE = "services:\n  - name: web\n"


def load(root: Path, text: str, **environ: str) -> Project:
    (root / "web").mkdir(exist_ok=True)
    (root / "web/Dockerfile").write_text("FROM x\n")
    (root / "kiro.yaml").write_text(SERVICE + text)
    return config.load(root, environ)


def test_nothing_said_is_a_year(tmp_path: Path) -> None:
    project = load(tmp_path, "")
    assert project.recording == Recording(record=True, keep_seconds=365 * DAY)
    assert not [setting for setting in project.settings if setting.key.startswith("metrics")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 30 * DAY), ("12h", 12 * 3600.0), ("8w", 56 * DAY), ("90m", 5400.0), ("forever", None)],
)
def test_how_long_builds_are_kept(tmp_path: Path, text: str, seconds: float | None) -> None:
    assert load(tmp_path, f"metrics: {{keep: {text}}}\n").recording.keep_seconds == seconds
    assert load(tmp_path, "", KIRO_METRICS_KEEP=text).recording.keep_seconds == seconds


def test_nothing_is_recorded_where_nobody_wants_it(tmp_path: Path) -> None:
    assert not load(tmp_path, "metrics: {record: false}\n").recording.record
    assert load(tmp_path, "metrics: {record: false}\n", KIRO_METRICS_RECORD="true").recording.record


def test_the_environment_goes_first_and_is_told(tmp_path: Path) -> None:
    project = load(tmp_path, "metrics:\n  keep: 1d\n  record: true\n", KIRO_METRICS_KEEP="2d")
    assert project.recording == Recording(record=True, keep_seconds=2 * DAY)
    told = {s.key: (s.value, s.origin, s.where) for s in project.settings}
    assert told["metrics.keep"] == ("2d", Origin.ENVIRONMENT, "KIRO_METRICS_KEEP")
    assert told["metrics.record"] == ("true", Origin.FILE, "kiro.yaml:5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics: {keep: 0d}\n", 'kiro.yaml:3: metrics.keep: "0d" is no age. Fix: write one like 365d'),
        ("metrics: {keep: 365}\n", 'kiro.yaml:3: metrics.keep: "365" is no age'),
        ("metrics:\n  keep: a year\n", 'kiro.yaml:4: metrics.keep: "a year" is no age'),
        ("metrics: {record: maybe}\n", 'metrics.record: "maybe" is not understood. Fix: write true or false'),
        ("metrics: {kep: 1d}\n", 'unknown key "kep"; did you mean "keep"?'),
        ("metrics: 365d\n", "kiro.yaml:3: metrics must be"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


def test_what_is_wrong_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^KIRO_METRICS_KEEP: metrics.keep"):
        load(tmp_path, "", KIRO_METRICS_KEEP="7 days")
