"""Files are there whole, or as they were; and errors say what, where and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kiro_invoke.engine.files import make_state_folder, write_whole
from kiro_invoke.model.errors import BuildFailed, ConfigError, EngineError, ExitCode, KiroError, UsageError


def test_a_file_is_made_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    write_whole(path, "é\r\n")
    assert path.read_bytes() == "é\r\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["file.json"]


def test_a_file_may_be_its_owners_alone_even_where_the_old_one_was_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for mode in (0o644, 0o600):
        write_whole(path, "text", mode=mode)
        assert path.stat().st_mode & 0o777 == mode


def test_a_file_is_replaced_not_rewritten(tmp_path: Path) -> None:
    """Who has the old one open reads the old one to its end."""
    path = tmp_path / "file"
    path.write_text("old and longer")
    with path.open() as reader:
        write_whole(path, "new")
        assert reader.read() == "old and longer"
    assert path.read_text() == "new"


@pytest.mark.parametrize("step", ["fsync", "replace", "text"])
def test_trouble_keeps_the_old_file_and_leaves_no_draft(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise KeyboardInterrupt if step == "fsync" else OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if step == "replace":
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises((OSError, KeyboardInterrupt, UnicodeEncodeError)):
        write_whole(path, "new\udcff" if step == "text" else "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_the_content_is_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    synced: list[tuple[bool, int]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((path.exists(), os.fstat(fd).st_size)))
    write_whole(path, "text")
    assert synced == [(False, 4)]


def test_a_state_folder_that_is_a_link_is_refused_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    """It may have come with somebody's repository."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / ".kiro").symlink_to(theirs)
    with pytest.raises(ConfigError, match=r"\.kiro: a folder of kiro's own must not be a link. Fix: remove"):
        make_state_folder(tmp_path / ".kiro")
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (KiroError("odd"), "odd", ExitCode.MISSED),
        (UsageError("odd", fix="do it."), "odd. Fix: do it.", ExitCode.USAGE),
        (ConfigError("odd", file="kiro.yaml", line=3), "kiro.yaml:3: odd", ExitCode.USAGE),
        (EngineError("odd", file="log", fix="read."), "log: odd. Fix: read.", ExitCode.NO_ENGINE),
        (EngineError("odd", line=3), "odd", ExitCode.NO_ENGINE),
        (BuildFailed("odd", log="l", tail=("a",)), "odd", ExitCode.BUILD_FAILED),
    ],
)
def test_errors_are_one_line_with_a_code(error: KiroError, text: str, code: ExitCode) -> None:
    assert str(error) == text
    assert error.code == code
    assert "\n" not in str(error)


def test_a_failed_build_carries_its_log_and_last_lines() -> None:
    error = BuildFailed("odd", log="/x.log", tail=("a", "b"))
    assert (error.log, error.tail) == ("/x.log", ("a", "b"))
    assert BuildFailed("odd").tail == ()


def test_exit_codes_are_those_that_are_promised() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 130]
