"""The command `replay-history`: what a repository's past commits meant for its dependencies."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kiro_invoke.builds.costs import Costs, read_costs
from kiro_invoke.changes.objects import Objects
from kiro_invoke.changes.replay import Replay, Replayed
from kiro_invoke.commands.surface import SCHEMA, Answer, Surface
from kiro_invoke.config import find_root
from kiro_invoke.ecosystems.registry import ECOSYSTEMS, Ecosystem, detect
from kiro_invoke.engine import git, process
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import ExitCode, UsageError
from kiro_invoke.plain import clean

_LAST = 1000
#: After how many commits a person is told how far it is.
_TELLING = 250
_LONGEST = 200


@dataclass
class Tally:
    """What was seen of the commits so far, as those of which ecosystem."""

    ecosystem: str = ""
    total: int = 0
    missing: list[str] = field(default_factory=list)
    glob_rule: int = 0
    dependency: int = 0
    needless: int = 0
    overlooked: int = 0
    doubts: int = 0

    def add(self, one: Replayed) -> None:
        self.total += 1
        if one.missing:
            self.missing.append(one.missing)
            return
        self.glob_rule += one.glob_rule
        self.dependency += one.dependency
        self.needless += one.glob_rule and not one.dependency
        self.overlooked += one.dependency and not one.glob_rule
        self.doubts += one.doubt

    @property
    def replayed(self) -> int:
        return self.total - len(self.missing)


def replay_history(
    repo: str, root: str, *, ecosystem: str | None, commits: str | None, last: str | None
) -> Callable[[Surface], Answer]:
    """Replay a repository's commits against their first parents. Exit code 1 if a listed commit is missing."""

    def body(surface: Surface) -> Answer:
        repository = _folder(surface.folder / repo)
        folder = _root(root) or git.prefix(repository, process.run)
        names = _commits(surface.folder, repository, commits, last)
        tally = Tally()

        def each() -> Iterator[Replayed]:
            with git.opened(repository) as opened:
                objects = Objects(opened.read)
                known = _ecosystem(ecosystem, objects, folder, repository)
                tally.ecosystem = known.name
                for one in Replay(objects, known.inputs, folder).each(names):
                    tally.add(one)
                    if surface.err.is_terminal and not tally.total % _TELLING:
                        surface.say(f"{tally.total:,} of {len(names):,} commits")
                    yield one

        def show(surface: Surface) -> None:
            begun = time.monotonic()
            for _ in each():
                pass
            seconds = time.monotonic() - begun
            costs = read_costs(find_root(surface.folder) / ".kiro")
            for line in _summary(repository, folder, tally, seconds, costs):
                surface.out.line(clean(line))

        def code() -> int:
            return ExitCode.MISSED if tally.missing and commits is not None else ExitCode.DONE

        return Answer({}, show, exit_code=code, rows=lambda: map(_row, each()))

    return body


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UsageError("no such folder", file=str(path), fix="name a git repository with --repo")
    return path.resolve()


def _root(given: str) -> str:
    """The service's folder in the repository; "" for none."""
    parts = [part for part in given.split("/") if part not in ("", ".")]
    if given.startswith("/") or ".." in parts:
        raise UsageError(
            f'--root "{given}": no folder of the repository',
            fix="give its path from the repository's own folder",
        )
    return "/".join(parts)


def _commits(folder: Path, repository: Path, file: str | None, last: str | None) -> Sequence[str]:
    if file is not None and last is not None:
        raise UsageError("--commits and --last are given", fix="give one of the two")
    if file is not None:
        return _listed(folder, file)
    if last is not None and not (last.isascii() and last.isdigit() and len(last) < 10 and int(last)):
        raise UsageError(f"--last {last}: no number of commits", fix="give a number of at least 1")
    return git.commits(repository, process.run, last=int(last) if last else _LAST)


def _listed(folder: Path, file: str) -> Sequence[str]:
    """The commits that a file lists, one a line; what follows in a line is not looked at, nor are comments."""
    try:
        text = sys.stdin.read() if file == "-" else (folder / file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot be read: {error.strerror}", file=file, fix="name a file of commits"
        ) from None
    except UnicodeDecodeError:
        raise UsageError("is no text", file=file, fix="name a file with a commit in each line") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and (words[0].startswith("-") or len(words[0]) > _LONGEST):
            raise UsageError("no commit", file=file, line=number, fix="begin each line with a commit's id")
        found += words[:1]
    if not found:
        raise UsageError("lists no commit", file=file, fix="write one commit's id in each line")
    return found


def _ecosystem(name: str | None, objects: Objects, folder: str, repository: Path) -> Ecosystem:
    if name is None:
        head = objects.commit("HEAD")
        items = objects.tree(objects.below(head.tree, folder)) if head else {}
        name = detect(frozenset(items))
        if name is None:
            place = f"{repository.name}: {folder or 'the whole repository'}"
            likely = sorted(each for each, item in items.items() if detect(frozenset(objects.tree(item.id))))
            folders = (
                f" ({', '.join('/'.join(filter(None, (folder, each))) for each in likely)})" if likely else ""
            )
            fix = f"name the service's folder with --root{folders}, or say what it is with --ecosystem"
            raise UsageError(f"{place} has no manifest and lockfile of a known ecosystem", fix=fix)
    if name not in ECOSYSTEMS:
        raise UsageError(f"--ecosystem {name}: not known", fix=f"use one of {', '.join(ECOSYSTEMS)}")
    return ECOSYSTEMS[name]


def _row(one: Replayed) -> dict[str, Any]:
    if one.missing:
        cause = f"the repository does not hold the commit {one.missing} (a shallow clone?)"
        nothing = {"kind": None, "dependency": None, "cause": cause, "glob_rule_dependency": None}
        return {"schema": SCHEMA, "commit": one.commit, **nothing}
    return {
        "schema": SCHEMA,
        "commit": one.commit,
        "kind": str(one.kind),
        "dependency": one.dependency,
        "cause": one.cause,
        "glob_rule_dependency": one.glob_rule,
    }


def _summary(repository: Path, folder: str, tally: Tally, seconds: float, costs: Costs) -> Iterator[str]:
    """What a person wants to know, line by line."""
    where = f"{repository.name}, {folder or 'the whole repository'} ({tally.ecosystem})"
    count = tally.replayed
    yield f"{where}: {count:,} commits in {seconds:.1f} s"
    yield _counted("a rule by file names rebuilds dependencies in", tally.glob_rule, count)
    yield _counted("they really changed in", tally.dependency - tally.doubts, count)
    if tally.doubts:
        yield _counted("it cannot be told, so they are rebuilt, in", tally.doubts, count)
    yield _counted("needlessly rebuilt by that rule in", tally.needless, tally.glob_rule, "of its rebuilds")
    yield _counted("overlooked by that rule in", tally.overlooked, tally.dependency, "of what is rebuilt")
    yield _saved(tally.ecosystem, tally.needless, costs)
    if tally.missing:
        some = ", ".join(tally.missing[:3])
        more = f" and {len(tally.missing) - 3:,} more" if len(tally.missing) > 3 else ""
        yield (
            f"not replayed: {len(tally.missing):,} commits that are not in this repository, or whose parents are "
            f"not: {some}{more} (of a shallow clone, `git fetch --unshallow` gets them)"
        )


def _counted(words: str, some: int, all_: int, of: str = "") -> str:
    share = f" ({some / all_:.1%}{f' {of}' if of else ''})" if all_ else ""
    return f"  {words:<46} {some:>6,}{share}"


def _saved(ecosystem: str, needless: int, costs: Costs) -> str:
    """What the needless rebuilds would have cost here, by builds that were measured here."""
    dear, cheap = (costs.median(ecosystem, kind) for kind in (Kind.DEPENDENCY, Kind.SOURCE))
    if dear is None or cheap is None:
        lacking = "a changed dependency" if dear is None else "a changed source"
        return (
            f"  time saved: not known, no build of {ecosystem} with {lacking} was measured in this project "
            "(`kiro build` measures)"
        )
    counts = [costs.count(ecosystem, kind) for kind in (Kind.DEPENDENCY, Kind.SOURCE)]
    saved = max(dear - cheap, 0) * needless
    return (
        f"  time saved: {needless:,} x ({dear:.1f} s - {cheap:.1f} s) = {_duration(saved)} "
        f"(as builds cost here: medians of {counts[0]} and {counts[1]} measured in this project)"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
