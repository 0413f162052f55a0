"""A git repository, read through one `git cat-file --batch`: no checkout, bare repositories too."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kiro_invoke.engine.dialogue import Dialogue, dialogue
from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.model.errors import KiroError, UsageError

_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ANSWER = re.compile(rb"^[0-9a-f]+ (?P<kind>\w+) (?P<size>\d+)\n$")
_NOT_THERE = 127
_NO_GIT, _INSTALL = "there is no git here", "install git"
#: Variables by which git would look elsewhere (`git rev-parse --local-env-vars`).
_LOCAL = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT",
    "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_NO_REPLACE_OBJECTS",
    "GIT_ATTR_SOURCE",
)  # fmt: skip
_SETTINGS = (
    "core.fsmonitor=false",
    "core.quotePath=true",
    "core.checkStat=default",
    "core.trustctime=true",
    "core.fileMode=true",
    "core.ignoreStat=false",
)
#: How git writes a path's unusual bytes: by a letter, or three octal digits.
_ESCAPE = re.compile(r'\\([abfnrtv"\\]|[0-7]{3})')
_ESCAPED = dict(zip('abfnrtv"\\', '\a\b\f\n\r\t\v"\\', strict=True))


class Repository:
    """An open repository. What is asked for is a name without line breaks: an id, or `REV^{commit}`."""

    def __init__(self, talk: Dialogue, folder: Path) -> None:
        self._talk = talk
        self._folder = folder

    def read(self, name: str) -> tuple[str, bytes] | None:
        """An object's kind and content; None if there is none of that name."""
        if "\n" in name:
            return None
        self._talk.send(name.encode(errors="surrogateescape") + b"\n")
        header = self._talk.line()
        answer = _ANSWER.match(header)
        if answer is None:
            if not header:
                raise KiroError(
                    "git ended while it was read", file=str(self._folder), fix="run `git fsck` there"
                )
            return None  # "NAME missing", "NAME ambiguous"
        content = self._talk.exactly(int(answer["size"]) + 1)
        return answer["kind"].decode(), content[:-1]


@contextmanager
def opened(folder: Path) -> Iterator[Repository]:
    """The repository that a folder is or lies in, until the block's end."""
    if shutil.which("git") is None:
        raise KiroError(_NO_GIT, fix=_INSTALL)
    with dialogue(_argv(folder, "cat-file", "--batch")) as talk:
        yield Repository(talk, folder)


def commits(folder: Path, run: Run, *, last: int) -> tuple[str, ...]:
    """The ids of the last commits of the branch that is checked out, newest first; merges too, by first parents."""
    done = run(_argv(folder, "rev-list", "--first-parent", f"--max-count={last}", "HEAD", "--"))
    if not done.ok:
        prefix(folder, run)  # says so if it is no repository
        raise UsageError("the repository has no commit yet", file=str(folder), fix="commit something")
    return tuple(done.stdout.split())


def resolved(folder: Path, run: Run, revision: str) -> str:
    """The id of the commit that a revision names; UsageError if it names none."""
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    prefix(folder, run)  # says so if it is no repository
    done = run(_argv(folder, *asked))
    found = done.stdout.strip()
    if not done.ok or not _ID.fullmatch(found):
        raise UsageError(
            f"no commit is called {revision!r}", file=str(folder), fix=_advice(folder, run, revision)
        )
    return found


def _advice(folder: Path, run: Run, revision: str) -> str:
    if not revision.strip("0"):
        return "give another revision, such as origin/main: a branch that is pushed first has none before it"
    shallow = run(_argv(folder, "rev-parse", "--is-shallow-repository"))
    if shallow.stdout.strip() == "true":
        return (
            "fetch with depth 0, for this clone is shallow (`fetch-depth: 0` of actions/checkout, `GIT_DEPTH: 0` of "
            "GitLab, `git fetch --unshallow` by hand)"
        )
    return "see `git log`, or `git tag`"


def committed_at(folder: Path, run: Run) -> int | None:
    """When the commit that is checked out was made (epoch); None without one, or where files are not as it has them."""
    done = run(_argv(folder, "log", "-1", "--no-show-signature", "--format=%ct", "HEAD", "--"))
    if not done.ok or not done.stdout.strip().isdigit():
        return None
    if changed(folder, run, "HEAD") or untracked(folder, run):
        return None
    return int(done.stdout)


def changed(folder: Path, run: Run, revision: str) -> frozenset[str]:
    """The paths in a folder, relative to it, whose files are not as the commit `revision` has them."""
    asked = ("diff", "--name-only", "--no-renames", "--no-ext-diff", "--ignore-submodules=none", "--relative")
    return _paths(folder, run, (*asked, revision, "--")) | _unwatched(folder, run)


def _unwatched(folder: Path, run: Run) -> frozenset[str]:
    """Files that git was told not to look at: it takes them for equal whatever they hold."""
    done = run(_argv(folder, "ls-files", "-v"))
    if not done.ok:
        raise _trouble(folder, done)
    tagged = (line.partition(" ") for line in done.stdout.splitlines())
    return frozenset(_unquoted(path) for tag, _, path in tagged if tag == "S" or tag.islower())


def untracked(folder: Path, run: Run) -> frozenset[str]:
    """The paths in a folder, relative to it, that git neither knows nor ignores."""
    return _paths(folder, run, ("ls-files", "--others", "--exclude-standard"))


def as_committed(folder: Path, run: Run, commit: str) -> frozenset[str]:
    """The files of a submodule, by path in it, if it is at that commit and git looks at all of them; else none.

    Whether they differ is asked by `changed`.
    """
    if not os.path.lexists(folder / ".git") or _unwatched(folder, run):
        return frozenset()
    head = run(_argv(folder, "rev-parse", "--verify", "--quiet", "HEAD"))
    return _paths(folder, run, ("ls-files",)) if head.ok and head.stdout.strip() == commit else frozenset()


def prefix(folder: Path, run: Run) -> str:
    """The path of a folder in its repository; "" for the repository's own."""
    done = run(_argv(folder, "rev-parse", "--show-prefix"))
    if not done.ok:
        raise _trouble(folder, done)
    return done.stdout.removesuffix("\n").strip("/")


def _paths(folder: Path, run: Run, asked: Sequence[str]) -> frozenset[str]:
    done = run(_argv(folder, *asked))
    if not done.ok:
        raise _trouble(folder, done)
    return frozenset(_unquoted(line) for line in done.stdout.splitlines())


def _unquoted(line: str) -> str:
    """A path as git prints it: in quotes where it holds more than plain characters, its bytes escaped."""
    if not line.startswith('"'):
        return line
    plain = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1]) or chr(int(found[1], 8)), line[1:-1])
    return os.fsdecode(plain.encode("latin-1"))


def _argv(folder: Path, *rest: str) -> Sequence[str]:
    """Git in that folder, whatever repository the environment names.

    It compares files by all that it knows of them, and prints paths in ASCII, all else escaped. The repository's
    own filters run, where a comparison needs them.
    """
    without = (word for name in _LOCAL for word in ("-u", name))
    settings = (word for setting in _SETTINGS for word in ("-c", setting))
    return ("env", *without, "git", "--no-optional-locks", *settings, "-C", str(folder), *rest)


def _trouble(folder: Path, done: Completed) -> KiroError:
    if done.returncode == _NOT_THERE:
        return KiroError(_NO_GIT, fix=_INSTALL)
    words = " ".join(done.stderr.removeprefix("fatal: ").split()) or "it is no git repository"
    return UsageError(words, file=str(folder), fix="name a folder that is one, or lies in one")


def index_locks(folder: Path) -> tuple[Path, ...]:
    """The file that is there while git changes what is checked out around a folder; none outside of a repository."""
    for place in (folder, *folder.parents):
        mark = place / ".git"
        if mark.is_dir():
            return (mark / "index.lock",)
        if mark.is_file():  # a worktree's, or a submodule's
            try:
                words = mark.read_text(encoding="utf-8", errors="surrogateescape").strip()
            except OSError:
                return ()
            return (place / words.removeprefix("gitdir:").strip() / "index.lock",)
    return ()
