"""Which files of a folder are a build's context, as the engine's client decides it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from kiro_invoke.changes.patterns import BadPattern, Judgement, Matcher, Pattern, read_patterns
from kiro_invoke.model.errors import ConfigError

IGNORE_FILE = ".dockerignore"
#: What a folder or file that was moved or replaced a moment ago answers with.
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_MOST_LINKS = 255
_TYPE = 0o170000
#: A build gets files and links. Docker sends sockets (as empty files), pipes and devices too; a revision has none.
SENT = frozenset({stat.S_IFREG, stat.S_IFLNK})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Rules:
    """The ignore rules of one build: its patterns, and the file they are from (None: there is none).

    `is_own` tells a file beside the Dockerfile, of its name, from the one at the context's root.
    """

    patterns: tuple[Pattern, ...] = ()
    file: Path | None = None
    is_own: bool = False

    @cached_property
    def matcher(self) -> Matcher:
        return Matcher(self.patterns)

    def lets_through(self, path: str) -> bool:
        """Whether a file at `path`, relative to the context and with `/` between folders, is sent."""
        return self.excluding(path) is None

    def excluding(self, path: str) -> Pattern | None:
        """The pattern that keeps a file at `path` out of the context; None if it is sent."""
        judged, parts = self.matcher.start, path.split("/")
        for number in range(1, len(parts) + 1):
            here = "/".join(parts[:number])
            judged = self.matcher.judge(here, judged)
            if judged.excluded and number < len(parts) and not self.matcher.may_readd_below(here):
                break
        if not judged.excluded:
            return None
        # patterns are only tried where they change the verdict, so the last that was hit made it
        return next(
            each for each, hit in zip(reversed(self.patterns), reversed(judged.hits), strict=True) if hit
        )


class Folder(NamedTuple):
    """A folder of a context: its path relative to the root (`""`), permission bits, and what it holds.

    `entries` are its files and links, by name, as `lstat` saw them; `fd` is open until the next folder is taken.
    """

    path: str
    fd: int
    mode: int
    entries: list[tuple[str, os.stat_result]]

    @property
    def prefix(self) -> str:
        """What comes before a name in a path."""
        return f"{self.path}/" if self.path else ""


def rules_of(context: Path, dockerfile: Path) -> Rules:
    """The rules that a build of `dockerfile` in `context` has; ConfigError for a pattern that no build takes.

    `<Dockerfile>.dockerignore` beside the Dockerfile wins over `.dockerignore` at the context's root, even
    when it is empty. Links are followed within the folder only, as BuildKit does.
    """
    own = (dockerfile.parent, f"{dockerfile.name}{IGNORE_FILE}")
    for folder, name in (own, (context, IGNORE_FILE)):
        file = _within(folder, name)
        if file is not None and file.is_file():
            return Rules(_patterns(file), folder / name, is_own=folder / name == own[0] / own[1])
    return Rules()


def walk(
    root: Path, rules: Rules, *, skip: Path | None = None, kinds: Container[int] = SENT
) -> Iterator[Folder]:
    """Every folder of the context, a folder before those in it, with its entries of those kinds (`stat.S_IFMT`).

    An excluded folder comes only for what a `!` pattern takes back in beneath it. `skip` is left out with all
    that is in it. Links are never followed, folders that vanish meanwhile are passed over, and an unreadable one is
    a ConfigError.
    """
    try:
        real = root.resolve(strict=True)
        top = os.open(real, _FOLDER)
    except OSError as error:
        raise unreadable(root, error) from None
    hidden = skip.resolve() if skip is not None else real
    left_out = str(hidden.relative_to(real)) if hidden.is_relative_to(real) else None
    yield from _Walk(root, rules.matcher, left_out, kinds).below(top, "", rules.matcher.start)


def unreadable(path: Path, error: OSError) -> ConfigError:
    """The error for a file or folder of the context that cannot be read."""
    return ConfigError(
        f"it belongs to the build context, but cannot be read: {error.strerror}",
        file=str(path),
        fix=f"make it readable, or name it in {IGNORE_FILE}",
    )


@dataclass
class _Walk:
    root: Path
    matcher: Matcher
    left_out: str | None
    kinds: Container[int]

    def __post_init__(self) -> None:
        #: Excluded folders above, which are sent only if something beneath them is.
        self.pending: list[Folder] = []

    def below(self, fd: int, path: str, judged: Judgement) -> Iterator[Folder]:
        """The folder that `fd` is open on, and those in it; closes `fd`."""
        try:
            try:
                here, folders = self._list(fd, path, judged)
            except OSError as error:
                raise unreadable(self.root / path, error) from None
            if judged.excluded and not here.entries:
                self.pending.append(here)
            else:
                yield from self.pending
                self.pending.clear()
                yield here
            for name, judgement in folders:
                inner = self._open(fd, here.prefix + name, name, judgement)
                if inner is not None:
                    yield from self.below(inner, here.prefix + name, judgement)
            if self.pending and self.pending[-1] is here:
                self.pending.pop()
        finally:
            os.close(fd)

    def _list(self, fd: int, path: str, judged: Judgement) -> tuple[Folder, list[tuple[str, Judgement]]]:
        """What a folder holds: the entries that are sent, and the folders to look into."""
        here = Folder(path, fd, stat.S_IMODE(os.fstat(fd).st_mode), [])
        prefix, matcher, kinds, keep = here.prefix, self.matcher, self.kinds, here.entries.append
        exact, names, matches = matcher.level(path.count("/") + 1 if path else 0)
        folders: list[tuple[str, Judgement]] = []
        with os.scandir(fd) as found:
            for entry in found:
                name = entry.name
                full = prefix + name
                judgement = judged
                if full in exact or name in names or matches(full):
                    judgement = matcher.judge(full, judged)
                if entry.is_dir(follow_symlinks=False):
                    if full != self.left_out and (not judgement.excluded or matcher.may_readd_below(full)):
                        folders.append((name, judgement))
                elif not judgement.excluded:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if status.st_mode & _TYPE in kinds:
                        keep((name, status))
        return here, folders

    def _open(self, fd: int, path: str, name: str, judged: Judgement) -> int | None:
        try:
            return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            if error.errno in GONE or (judged.excluded and error.errno == errno.EACCES):
                return None
            raise unreadable(self.root / path, error) from None


def _patterns(file: Path) -> tuple[Pattern, ...]:
    try:
        return read_patterns(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", file=str(file), fix="make it readable"
        ) from None
    except BadPattern as error:
        raise ConfigError(
            f"no build takes this pattern: {error}",
            file=str(file),
            line=error.line,
            fix="correct the pattern",
        ) from None


def _within(root: Path, name: str) -> Path | None:
    """The file that `name` is, links followed as if `root` were the root of the file system."""
    place, todo, links = root, [name], 0
    while todo:
        part = todo.pop()
        if part in ("", ".", ".."):
            place = place.parent if part == ".." and place != root else place
            continue
        place /= part
        if place.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                return None
            text = str(place.readlink())
            place = root if text.startswith("/") else place.parent
            todo += reversed(text.split("/"))
    return place
