"""The context mirror: builds take the tool's own copy of a context, kept by content, instead of the person's folder.

BuildKit's sync compares size and time only, and knows a context by its folder's name: what has the same size and
time it never sends, and two checkouts of one name mix. Here each written file has a time that the mirror never
had before, and each mirror a name of its own. It is updated under a lock that the build holds to its end,
so that what is built is what was hashed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from kiro_invoke.changes.context import IGNORE_FILE, Rules
from kiro_invoke.changes.drafts import Drafts, fresh_stamp, unwritable
from kiro_invoke.changes.reconcile import Standing, carry_out, look, plan
from kiro_invoke.changes.snapshot import NOTHING, Snapshot, scan
from kiro_invoke.changes.stored import Stored, load, save
from kiro_invoke.model.errors import ConfigError

#: The latest time that was given to a file: a number beside the stored snapshots.
NEWEST = "newest"
#: Wins over the `.dockerignore` that may be in the context: its rules have been applied already.
_IGNORES_NOTHING = (
    b"# The context beside this folder is what the ignore rules let through: all of it is sent.\n"
)


@dataclass(frozen=True)
class Mirror:
    """A mirror whose lock is held: its name, and the folder `place` that all mirrors of a checkout lie in."""

    place: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.place / self.name

    @property
    def dockerfiles(self) -> Path:
        return self.place / f"{self.name}-dockerfiles"

    @property
    def drafts(self) -> Path:
        return self.place / f"{self.name}.drafts"

    @property
    def record(self) -> Path:
        return self.place / f"{self.name}.snapshot"


@dataclass(frozen=True)
class Mirrored:
    """A refreshed mirror. `dockerfiles` gives each person's Dockerfile the copy to build with.

    `seen` is what it holds; `changed` are the paths that were written or removed.
    """

    folder: Path
    dockerfiles: Mapping[Path, Path]
    seen: Snapshot
    changed: tuple[str, ...]

    @property
    def revision(self) -> str:
        return self.seen.revision

    @property
    def files(self) -> int:
        """How many files and links it holds."""
        return len(self.seen.entries)


def mirror_name(root: Path, service: str, rules: Rules) -> str:
    """The name of a service's mirror in the checkout `root`; one more for each ignore file beside a Dockerfile."""
    own = os.fsencode(rules.file) if rules.file is not None and rules.is_own else b""
    key = _short_hash(b"\0".join((os.fsencode(root), os.fsencode(service), own)))
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', service)}-{key}"


@contextmanager
def held(place: Path, name: str, waiting: Callable[[], None]) -> Iterator[Mirror]:
    """Hold a mirror's lock, from before the refresh to the end of the build; a killed holder frees it.

    `waiting` is called once if another build holds it.
    """
    with writing(place):
        _own_folder(place)
        lock = FileLock(place / f"{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            waiting()
            lock.acquire()
    try:
        yield Mirror(place, name)
    finally:
        lock.release()


def refresh(
    mirror: Mirror,
    context: Path,
    rules: Rules,
    dockerfiles: Sequence[Path],
    *,
    state: Path,
    now: int,
    texts: Mapping[Path, str] | None = None,
) -> Mirrored:
    """Make the mirror equal to the context, by content. ConfigError for what cannot be read or written.

    `state` is the project's state folder: never mirrored. `now` is the clock, in nanoseconds. `texts` are
    Dockerfiles that differ from the person's, such as one without its `# syntax=` line.
    """
    stored = load(mirror.record) or Stored((NOTHING, NOTHING), {NEWEST: 0})
    last, copies = stored.snapshots
    with writing(mirror.place), ExitStack() as stack:
        standing = standing_in(mirror, copies)
        last = intact(last, standing)
        drafts = drafting(stack, mirror, standing, last, now=now, newest=stored.numbers[NEWEST])
        seen = scan(context, rules, last, now, skip=state, read=drafts.read)
        work = plan(seen, last, standing, drafts.names)
        copies = carry_out(work, seen, copies, drafts)
        copied, is_new = _copy_dockerfiles(mirror, dockerfiles, texts or {}, drafts.stamp)
        if seen is not stored.snapshots[0] or is_new:
            save(mirror.record, Stored((seen, copies), {NEWEST: drafts.stamp}))
    return Mirrored(mirror.folder, copied, seen, work.changed)


def standing_in(mirror: Mirror, copies: Snapshot) -> Standing:
    """What stands in the mirror; if it cannot even be listed, somebody changed it: it is made anew."""
    try:
        if mirror.folder.is_symlink() or not mirror.folder.is_dir():
            _empty(mirror.folder)
        return look(mirror.folder, copies)
    except ConfigError:
        _open_up(mirror.folder)
        _empty(mirror.folder)
        return look(mirror.folder, copies)


def _open_up(top: Path) -> None:
    """Make every folder in a tree one that can be listed and emptied."""
    top.chmod(0o700)
    for folder, names, _ in os.walk(top):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)


def intact(last: Snapshot, standing: Standing) -> Snapshot:
    """What was mirrored, less what is no longer as it was left there: that is read and written again."""
    if len(standing.intact) == len(last.entries):
        return last
    kept = {path: entry for path, entry in last.entries.items() if path in standing.intact}
    return replace(last, entries=kept, revision="")


def drafting(
    stack: ExitStack, mirror: Mirror, standing: Standing, last: Snapshot, *, now: int, newest: int
) -> Drafts:
    """Drafts beside the mirror, with a time after `newest`; until the stack's end. `last`: what is intact."""
    stack.callback(shutil.rmtree, mirror.drafts, ignore_errors=True)
    fd = opened(stack, _empty(mirror.drafts))
    stamp = _stamp(mirror, fd, now, newest, standing)
    return Drafts(fd, opened(stack, mirror.folder), stamp, last.entries)


def _stamp(mirror: Mirror, fd: int, now: int, newest: int, standing: Standing) -> int:
    stamp = fresh_stamp(fd, now, newest, standing.times)
    if stamp is None:
        raise ConfigError(
            "the file system has no time left that is newer than all in this mirror",
            file=str(mirror.folder),
            fix=f"set the clock, and remove {mirror.place}: it is made anew",
        )
    return stamp


def _copy_dockerfiles(
    mirror: Mirror, dockerfiles: Sequence[Path], texts: Mapping[Path, str], stamp: int
) -> tuple[dict[Path, Path], bool]:
    """Each Dockerfile under its own name in a folder of theirs; a second one of the same name one folder deeper.

    Also whether any was written.
    """
    copies: dict[Path, Path] = {}
    contents: dict[Path, bytes] = {}
    for dockerfile in dict.fromkeys(dockerfiles):
        copy = mirror.dockerfiles / dockerfile.name
        if copy in contents:
            copy = mirror.dockerfiles / _short_hash(os.fsencode(dockerfile)) / dockerfile.name
        copies[dockerfile] = copy
        contents[copy] = _dockerfile(dockerfile, texts)
        contents[copy.with_name(f"{copy.name}{IGNORE_FILE}")] = _IGNORES_NOTHING
    if mirror.dockerfiles.is_symlink():
        mirror.dockerfiles.unlink()
    folders = {path.parent for path in contents}
    for path in sorted(mirror.dockerfiles.rglob("*"), reverse=True):
        if path not in contents and path not in folders:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    changed = [path for path, content in contents.items() if not _holds(path, content)]
    for path in changed:
        draft = mirror.drafts / "dockerfile"
        draft.write_bytes(contents[path])
        os.utime(draft, ns=(stamp, stamp))
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.replace(path)
    return copies, bool(changed)


def _holds(path: Path, content: bytes) -> bool:
    return not path.is_symlink() and path.is_file() and path.read_bytes() == content


def _dockerfile(path: Path, texts: Mapping[Path, str]) -> bytes:
    if path in texts:
        return texts[path].encode(errors="surrogateescape")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the Dockerfile cannot be read: {error.strerror}", file=str(path), fix="make it readable"
        ) from None


def _own_folder(place: Path) -> None:
    """The folder of the mirrors, for this user's eyes only: a copy is never more open than what it copies.

    A link in its place could lead anywhere, and what is there would be replaced.
    """
    for folder in (place.parent, place):
        if folder.is_symlink():
            raise ConfigError(
                "the state folder must not be a link",
                file=str(folder),
                fix="remove the link; it is made anew",
            )
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)


def _empty(folder: Path) -> Path:
    """An empty folder in place of whatever is there."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder)
    folder.mkdir(mode=0o755, parents=True)
    return folder


def opened(stack: ExitStack, folder: Path) -> int:
    """A descriptor of a folder that is no link, until the stack's end."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """What fails in writing is a ConfigError that names the folder of the mirrors."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter from a file system without locks
        raise unwritable(error, str(place)) from None


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:10]
