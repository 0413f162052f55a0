"""What kiro.yaml and the environment say of the room that is to stay free."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Origin, Project

SERVICE = "services:\n  - name: web\n"


def load(root: Path, text: str, **environ: str) -> Project:
    (root / "web").mkdir(exist_ok=True)
    (root / "web/Dockerfile").write_text("FROM x\n")
    (root / "kiro.yaml").write_text(SERVICE + text)
    return config.load(root, environ)


def test_nothing_said_is_three_gigabytes(tmp_path: Path) -> None:
    project = load(tmp_path, "", KIRO_DISK_FLOOR="")
    assert project.disk_floor == 3_000_000_000
    assert not [setting for setting in project.settings if setting.key.startswith("disk")]


@pytest.mark.parametrize(
    ("text", "floor"),
    [("5GB", 5 * 10**9), ("1.5GiB", 3 * 2**29), ("0", 0), ("0GB", 0)],
)
def test_the_floor(tmp_path: Path, text: str, floor: int) -> None:
    assert load(tmp_path, f"disk: {{floor: {text}}}\n").disk_floor == floor
    assert load(tmp_path, "", KIRO_DISK_FLOOR=text).disk_floor == floor


def test_the_environment_goes_first_and_is_told(tmp_path: Path) -> None:
    told = {s.key: (s.value, s.origin, s.where) for s in load(tmp_path, "disk:\n  floor: 1GB\n").settings}
    assert told["disk.floor"] == ("1GB", Origin.FILE, "kiro.yaml:4")
    project = load(tmp_path, "disk:\n  floor: 1GB\n", KIRO_DISK_FLOOR="2GB")
    assert project.disk_floor == 2 * 10**9
    told = {s.key: (s.value, s.origin, s.where) for s in project.settings}
    assert told["disk.floor"] == ("2GB", Origin.ENVIRONMENT, "KIRO_DISK_FLOOR")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "disk: {floor: 3 gigs}\n",
            'kiro.yaml:3: disk.floor: "3 gigs" is no size. Fix: write one like 5GB, 500MB or 1.5GiB, or 0 for none',
        ),
        ("disk:\n  floor: -1\n", 'kiro.yaml:4: disk.floor: "-1" is no size'),
        ("disk:\n  floor:\n", "kiro.yaml:4: disk.floor must be"),
        ("disk: {flor: 1GB}\n", 'unknown key "flor"; did you mean "floor"?'),
        ("disk: 3GB\n", "kiro.yaml:3: disk must be"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


def test_what_is_wrong_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^KIRO_DISK_FLOOR: disk.floor"):
        load(tmp_path, "", KIRO_DISK_FLOOR="much")
