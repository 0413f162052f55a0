"""Looking from time to time, and how it is found out that this is needed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from kiro_invoke.loop.events import Hint
from kiro_invoke.loop.polling import Poller, remote_kind, tells_of_writes
from kiro_invoke.loop.watcher import Watcher

MOUNTS = [
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
    "23 22 0:5 / /proc rw - proc proc rw",
    "30 22 0:40 / /work/shared rw - nfs4 server:/x rw",
    "31 30 0:41 / /work/shared/local rw - ext4 /dev/vdb rw",
    "32 22 0:42 / /mnt/with\\040space rw - 9p share rw",
    "a line that means nothing",
]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/repo", ""),
        ("/work/shared", "nfs4"),
        ("/work/shared/repo", "nfs4"),
        ("/work/shared/local/repo", ""),
        ("/work/sharedrepo", ""),
        ("/mnt/with space/repo", "9p"),
    ],
)
def test_where_others_may_write_unseen(folder: str, kind: str) -> None:
    assert remote_kind(Path(folder), MOUNTS) == kind


def test_it_looks_from_time_to_time_until_it_is_closed() -> None:
    hints: queue.SimpleQueue[Hint] = queue.SimpleQueue()
    poller = Poller(hints.put, 0.02, "a reason")
    assert poller.polling == "looking every 0.02 s: a reason"
    assert [hints.get(timeout=2).whole for _ in range(3)] == [True] * 3
    poller.close()
    poller._thread.join(2)
    assert not poller._thread.is_alive()


class Deaf:
    """A source that tells of nothing, as on some network folders."""

    polling = ""

    def __init__(self, tell: Callable[[Hint], None]) -> None:
        self._tell = tell

    def follow(self, _folders: Collection[Path], /) -> bool:
        return True

    def check(self) -> str:
        return ""

    def close(self) -> None: ...


def test_a_file_that_is_made_tells_whether_events_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hinted = threading.Event()
    watcher = Watcher(lambda _hint: hinted.set())
    assert tells_of_writes(watcher, hinted, tmp_path)
    watcher.close()
    monkeypatch.setattr("kiro_invoke.loop.polling._PROBE_SECONDS", 0.1)
    assert not tells_of_writes(Deaf(lambda _hint: None), threading.Event(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_nothing_is_found_out(tmp_path: Path) -> None:
    assert tells_of_writes(Deaf(lambda _hint: None), threading.Event(), tmp_path / "none")
