"""Events of files from the system (inotify). The only module that knows watchdog.

Each folder is watched by itself, and only those that a build can depend on: a recursive watch would take in
node_modules and target as well, and what happens there. Of watchdog this uses the layer that tells of an overflowing
queue; its observers do not hand that on.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from kiro_invoke.loop.events import Hint, LimitReached
from kiro_invoke.model.errors import KiroError

_MASK = Mask(
    InotifyConstants.IN_MODIFY
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_ATTRIB
    | InotifyConstants.IN_CREATE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_ONLYDIR
    | InotifyConstants.IN_EXCL_UNLINK
)
_ID = CallbackId(1)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Watcher:
    """An EventSource. `tell` is called from its thread."""

    polling = ""

    def __init__(self, tell: Callable[[Hint], None], make: Callable[[], InotifyFD] = InotifyFD) -> None:
        self._tell = tell
        self._make = make
        self._lock = threading.Lock()
        self._folders: dict[WatchDescriptor, str] = {}
        self._watched: dict[str, WatchDescriptor] = {}
        self._overflows = 0
        self._fd = self._started()

    def follow(self, folders: Collection[Path]) -> bool:
        wanted = {str(folder) for folder in folders}
        with self._lock:
            gone = [self._watched.pop(path) for path in self._watched.keys() - wanted]
            for wd in gone:
                self._folders.pop(wd, None)
            new = sorted(wanted - self._watched.keys())
        self._fd.remove_callbacks([(wd, _ID) for wd in gone])
        added = [self._watch(path, len(wanted)) for path in new]
        return any(added)

    def check(self) -> str:
        if self._fd.is_alive():
            return ""
        folders = [Path(path) for path in self._watched]
        self.close()
        self._folders.clear()
        self._watched.clear()
        self._fd = self._started()
        self.follow(folders)
        return "the thread that reads the system's events had died"

    def close(self) -> None:
        self._fd.stop()

    # watchdog's WatchCallback

    def on_event(self, event: InotifyEvent) -> None:
        with self._lock:
            folder = self._folders.get(event.wd)
        if folder is None:
            return
        if event.is_move_self:
            self._forget_below(folder)
        self._tell(Hint((f"{folder}/{os.fsdecode(event.name)}" if event.name else folder,)))

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        with self._lock:
            folder = self._folders.pop(wd, None)
            if folder is not None and self._watched.get(folder) == wd:
                del self._watched[folder]
        if folder is not None:
            self._tell(Hint((folder,)))

    def on_queue_overflow(self) -> None:
        self._tell(Hint(whole=True, why="more happened at once than the system's queue of events holds"))

    def _forget_below(self, folder: str) -> None:
        """A folder was moved: its watches, and those of what is in it, go with it. Other folders may be there soon."""
        with self._lock:
            moved = [path for path in self._watched if path == folder or path.startswith(f"{folder}/")]
            wds = [self._watched.pop(path) for path in moved]
            for wd in wds:
                self._folders.pop(wd, None)
        self._fd.remove_callbacks([(wd, _ID) for wd in wds])

    def _started(self) -> InotifyFD:
        try:
            fd = self._make()
        except OSError as error:
            raise _limit(error, 0) from None
        fd.start()
        return fd

    def _watch(self, path: str, wanted: int) -> bool:
        try:
            wd = self._fd.add_callback(os.fsencode(path), _MASK, self, _ID)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise _limit(error, wanted) from None
        with self._lock:
            self._folders[wd] = path
            self._watched[path] = wd
        return True


def _limit(error: OSError, wanted: int) -> KiroError:
    if error.errno == errno.ENOSPC:
        return LimitReached(
            f"{wanted:,} folders are to be watched, and fs.inotify.max_user_watches allows no more",
            fix="raise it (`sudo sysctl fs.inotify.max_user_watches=524288`), "
            "or name in .dockerignore what no build needs",
        )
    if error.errno == errno.EMFILE:
        return LimitReached(
            "fs.inotify.max_user_instances allows no more watchers",
            fix="raise it (`sudo sysctl fs.inotify.max_user_instances=512`), or end another watcher",
        )
    return LimitReached(f"the system does not watch folders: {error.strerror}", fix="use watch: {poll: true}")
