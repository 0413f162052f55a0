"""What `doctor` reads of a project's files: contexts as they are sent, the toolchains that files name."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.builds.planner import Recipe, placed
from kiro_invoke.changes.context import IGNORE_FILE, Rules, rules_of, walk
from kiro_invoke.doctor.contexts import Sent
from kiro_invoke.doctor.finding import Finding
from kiro_invoke.doctor.own_check import check_own, knows_check
from kiro_invoke.doctor.steps import is_in, taken
from kiro_invoke.engine import process
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.service import Project, Service
from kiro_invoke.plain import clean

_CHECK_SECONDS = 10.0
Seen = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Look:
    """A context as it was first seen: each file that is sent, with its size and time (ns), and how many folders it has.

    `places` are what the Dockerfiles with these rules take of it.
    """

    service: Service
    rules: Rules
    ignore_file: Path
    project: Project
    places: tuple[str, ...]
    seen: Seen
    folders: int

    def sent_now(self) -> Sent:
        """As it is now, with what changed since."""
        now, _ = _seen(self.project, self.service, self.rules, self.places)
        restless = [path for path in self.seen.keys() | now.keys() if self.seen.get(path) != now.get(path)]
        return Sent(
            self.service.name,
            placed(self.ignore_file, self.project.root),
            {path: size for path, (size, _) in now.items()},
            tuple(sorted(restless)),
        )


def look(project: Project, recipes: Sequence[Recipe]) -> tuple[Look, ...]:
    """The contexts of these Dockerfiles, once for those that share their ignore rules."""
    grouped: dict[tuple[str, Path], tuple[Service, Rules, set[str]]] = {}
    for recipe in recipes:
        service = recipe.service
        rules = rules_of(service.context, recipe.path)
        file = rules.file or service.context / IGNORE_FILE
        places = {
            place for stage in recipe.parsed.stages for one in stage.instructions for place in taken(one)
        }
        grouped.setdefault((service.name, file), (service, rules, set()))[2].update(places)
    return tuple(
        Look(
            service,
            rules,
            file,
            project,
            tuple(sorted(places)),
            *_seen(project, service, rules, tuple(places)),
        )
        for (_, file), (service, rules, places) in grouped.items()
    )


def _seen(project: Project, service: Service, rules: Rules, places: Sequence[str]) -> tuple[Seen, int]:
    found: dict[str, tuple[int, int]] = {}
    folders = 0
    everything = "" in places
    for folder in walk(service.context, rules, skip=project.state):
        folders += 1
        for name, status in folder.entries:
            path = folder.prefix + name
            if everything or any(is_in(path, place) for place in places):
                found[path] = (status.st_size, status.st_mtime_ns)
    return found, folders


def rust_channel(context: Path, root: Path) -> Iterator[tuple[str, str]]:
    """The toolchain that a rust-toolchain file names for this folder, with the file's place."""
    for folder in (context, *context.parents):
        for name in ("rust-toolchain.toml", "rust-toolchain"):
            with suppress(OSError, UnicodeDecodeError, ValueError, AttributeError, KeyError, TypeError):
                text = (folder / name).read_text(encoding="utf-8")
                is_toml = name.endswith(".toml") or "[" in text
                channel = tomllib.loads(text)["toolchain"]["channel"] if is_toml else text.strip()
                yield str(channel), placed(folder / name, root)
                return
        if folder == root:
            return


def node_wanted(context: Path, root: Path) -> Iterator[tuple[str, str]]:
    """The versions of Node that .nvmrc, .node-version and package.json ask for in this folder, with their places."""
    for name in (".nvmrc", ".node-version"):
        with suppress(OSError, UnicodeDecodeError):
            if re.match(r"v?\d", text := (context / name).read_text(encoding="utf-8").strip()):
                yield text, placed(context / name, root)
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        engines = json.loads((context / "package.json").read_text(encoding="utf-8")).get("engines") or {}
        if wanted := engines.get("node"):
            yield str(wanted), placed(context / "package.json", root)


def engines_own_check(project: Project, engine: Engine, recipes: Sequence[Recipe]) -> Iterator[Finding]:
    """What BuildKit itself has to say of the Dockerfiles, where buildx can ask it."""
    if not knows_check(engine.facts.buildx):
        return
    for recipe in recipes:
        place = ["--file", str(recipe.path), str(recipe.service.context)]
        argv = ["docker", "buildx", "build", "--call=check,format=json", *place]
        yield from check_own(
            placed(recipe.path, project.root), process.run(argv, timeout=_CHECK_SECONDS).stdout
        )


def clean_line(text: str) -> str:
    return clean(text.replace("\n", " "))
