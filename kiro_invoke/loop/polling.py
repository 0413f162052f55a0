"""Where the system tells of no changes, or not of all: looks from time to time; and how that is found out."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from kiro_invoke.loop.events import EventSource, Hint

#: File systems that are written from elsewhere too, of which no event comes then.
_REMOTE = frozenset(
    {
        "9p", "afs", "ceph", "cifs", "fuse.gcsfuse", "fuse.grpcfuse", "fuse.osxfs", "fuse.rclone", "fuse.s3fs",
        "fuse.sshfs", "fuse.vmhgfs-fuse", "gfs2", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "prl_fs", "smb3",
        "smbfs", "vboxsf", "virtiofs",
    }
)  # fmt: skip
_PROBE_SECONDS = 2.0
DEFAULT_SECONDS = 1.0


class Poller:
    """An EventSource that hints at everything every few seconds."""

    def __init__(self, tell: Callable[[Hint], None], seconds: float, why: str) -> None:
        self.polling = f"looking every {seconds:g} s: {why}"
        self._tell = tell
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def follow(self, _folders: Collection[Path]) -> bool:
        return False

    def check(self) -> str:
        return ""

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._tell(Hint(whole=True))


def remote_kind(folder: Path, mounts: Iterable[str]) -> str:
    """The kind of file system that a folder is on, if others may write to it unseen; "" if not.

    `mounts` are lines as in /proc/self/mountinfo.
    """
    best, kind = "", ""
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        if len(words) < 5 or not rest.split():
            continue
        place = words[4].encode().decode("unicode_escape", errors="replace")
        inside = place == "/" or str(folder) == place or str(folder).startswith(f"{place}/")
        if inside and len(place) >= len(best):
            best, kind = place, rest.split()[0]
    return kind if kind in _REMOTE else ""


def mounts() -> list[str]:
    """What is mounted where, as this system tells."""
    with suppress(OSError):
        return Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return []


def tells_of_writes(source: EventSource, hinted: threading.Event, folder: Path) -> bool:
    """Whether a file that is made in a folder leads to a hint. `hinted` is set by whoever gets them.

    The file is gone again afterwards.
    """
    source.follow([folder])
    hinted.clear()
    try:
        descriptor, name = tempfile.mkstemp(prefix=".kiro-probe-", dir=folder)
    except OSError:
        return True  # where nothing can be written, nothing is to be found out
    try:
        os.write(descriptor, b"?")
        return hinted.wait(_PROBE_SECONDS)
    finally:
        os.close(descriptor)
        with suppress(OSError):
            Path(name).unlink()
