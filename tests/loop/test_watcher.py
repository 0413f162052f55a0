"""Events of files from the system: real ones, and what goes wrong with them."""

from __future__ import annotations

import errno
import os
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, InotifyFD

from kiro_invoke.loop.events import Hint, LimitReached
from kiro_invoke.loop.watcher import Watcher


class Hints:
    """What a watcher told; `trouble` is raised in its thread."""

    def __init__(self) -> None:
        self.found: queue.SimpleQueue[Hint] = queue.SimpleQueue()
        self.trouble: Exception | None = None

    def __call__(self, hint: Hint) -> None:
        self.found.put(hint)
        if self.trouble:
            raise self.trouble

    def until(self, true: Callable[[set[str]], bool], seconds: float = 5) -> set[str]:
        """All paths that were told until something holds of them."""
        paths: set[str] = set()
        end = time.monotonic() + seconds
        while not true(paths):
            left = end - time.monotonic()
            assert left > 0, paths
            try:
                paths |= set(self.found.get(timeout=left).paths)
            except queue.Empty:
                continue
        return paths

    def nothing(self, seconds: float = 0.2) -> None:
        with pytest.raises(queue.Empty):
            raise AssertionError(self.found.get(timeout=seconds))


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def watcher(hints: Hints) -> Iterator[Watcher]:
    found = Watcher(hints)
    yield found
    found.close()


@pytest.mark.parametrize("what", ["written", "made", "removed", "renamed", "linked", "mode", "folder"])
def test_whatever_happens_in_a_folder_is_told(
    tmp_path: Path, watcher: Watcher, hints: Hints, what: str
) -> None:
    file = tmp_path / "a file"
    if what not in {"made", "linked", "folder"}:
        file.write_text("old")
    assert watcher.follow([tmp_path])
    match what:
        case "written" | "made":
            file.write_text("new")
        case "removed":
            file.unlink()
        case "renamed":
            file.rename(tmp_path / "b")
        case "linked":
            file.symlink_to("x")
        case "mode":
            file.chmod(0o700)
        case "folder":
            file.mkdir()
    hints.until(lambda paths: str(file) in paths)


def test_only_folders_that_are_followed_are_told_of(tmp_path: Path, watcher: Watcher, hints: Hints) -> None:
    inner, other = tmp_path / "inner", tmp_path / "node_modules"
    inner.mkdir()
    other.mkdir()
    watcher.follow([tmp_path, inner])
    (other / "x").write_text("x")
    (other / "y").write_text("y")
    hints.nothing()
    assert not watcher.follow([inner])
    (tmp_path / "z").write_text("z")
    hints.nothing()
    (inner / "w").write_text("w")
    hints.until(lambda paths: str(inner / "w") in paths)


def test_a_folder_that_went_and_came_is_watched_again(tmp_path: Path, watcher: Watcher, hints: Hints) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    watcher.follow([tmp_path, inner])
    inner.rmdir()
    inner.mkdir()
    hints.until(lambda paths: str(inner) in paths)
    time.sleep(0.1)
    assert watcher.follow([tmp_path, inner])
    (inner / "x").write_text("x")
    hints.until(lambda paths: str(inner / "x") in paths)


def test_folders_that_changed_places_are_told_by_their_new_names(
    tmp_path: Path, watcher: Watcher, hints: Hints
) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
    folders = [tmp_path, *(tmp_path / name for name in ("a", "b", "a/sub", "b/sub"))]
    watcher.follow(folders)
    (tmp_path / "a").rename(tmp_path / "x")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "x").rename(tmp_path / "b")
    hints.until(lambda paths: {str(tmp_path / "a"), str(tmp_path / "b")} <= paths)
    time.sleep(0.1)
    assert watcher.follow(folders)
    while not hints.found.empty():
        hints.found.get()
    (tmp_path / "a/sub/file").write_text("x")
    paths = hints.until(lambda paths: str(tmp_path / "a/sub/file") in paths)
    assert str(tmp_path / "b/sub/file") not in paths


def test_names_may_be_any_bytes(tmp_path: Path, watcher: Watcher, hints: Hints) -> None:
    watcher.follow([tmp_path])
    name = os.fsdecode(b"caf\xe9 \n$x")
    (tmp_path / name).write_text("x")
    hints.until(lambda paths: str(tmp_path / name) in paths)


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path, watcher: Watcher) -> None:
    assert not watcher.follow([tmp_path / "none"])


def test_an_overflow_of_the_systems_queue_is_told(tmp_path: Path, watcher: Watcher, hints: Hints) -> None:
    watcher.follow([tmp_path])
    watcher._fd.handle_event(InotifyEvent(-1, InotifyConstants.IN_Q_OVERFLOW, 0, b""))  # type: ignore[arg-type]
    assert hints.found.get(timeout=1).whole


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_noticed_and_another_takes_its_place(
    tmp_path: Path, watcher: Watcher, hints: Hints
) -> None:
    watcher.follow([tmp_path])
    assert watcher.check() == ""
    hints.trouble = RuntimeError("a handler that raises")
    (tmp_path / "a").write_text("a")
    watcher._fd.join(5)
    hints.trouble = None
    assert watcher.check() == "the thread that reads the system's events had died"
    assert watcher.check() == ""
    while not hints.found.empty():
        hints.found.get()
    (tmp_path / "b").write_text("b")
    hints.until(lambda paths: str(tmp_path / "b") in paths)


@pytest.mark.parametrize(
    ("number", "limit"),
    [(errno.ENOSPC, "fs.inotify.max_user_watches"), (errno.EMFILE, "fs.inotify.max_user_instances")],
)
def test_a_limit_is_named(tmp_path: Path, hints: Hints, number: int, limit: str) -> None:
    class Full(InotifyFD):
        def add_callback(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise OSError(number, "limit reached")

    watcher = Watcher(hints, Full)
    with pytest.raises(LimitReached, match=limit) as raised:
        watcher.follow([tmp_path])
    assert f"sysctl {limit}=" in str(raised.value)
    watcher.close()


def test_a_limit_of_watchers_is_named(hints: Hints) -> None:
    def make() -> InotifyFD:
        raise OSError(errno.EMFILE, "too many")

    with pytest.raises(LimitReached, match="max_user_instances"):
        Watcher(hints, make)
