"""What `doctor` reads of this machine and tries on its engine."""

from __future__ import annotations

import json
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kiro_invoke.builds.dockerfile import Stage
from kiro_invoke.doctor import bases, machine
from kiro_invoke.doctor.machine import Events, Inotify
from kiro_invoke.doctor.mounts import Tried, try_mounts
from kiro_invoke.doctor.steps import File
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.standins import LABEL_HOLDS, recipe_for, standin_name, stands_in
from kiro_invoke.loop.watcher import Watcher
from kiro_invoke.model.errors import KiroError
from kiro_invoke.model.service import Project

_EVENT_SECONDS = 2.0
_LIMITS = Path("/proc/sys/fs/inotify")


def tried(engine: Engine, files: Sequence[File], told: str) -> Tried:
    """A cache mount, written and read on a base image that is here."""
    if machine.driver(told) not in {"", "docker"}:
        return Tried(why="the builder in use is not the engine: it has none of the engine's images")
    base = next(_shells(engine, files), "")
    if not base:
        return Tried(why="no base image of these services is here yet: `kiro warm-cache` brings them")
    with tempfile.TemporaryDirectory(prefix="kiro-doctor-") as folder:
        return try_mounts(engine, base, Path(folder), f"kiro-doctor-{uuid.uuid4().hex[:12]}")


def _shells(engine: Engine, files: Sequence[File]) -> Iterator[str]:
    """Local images on which steps run: they have a shell."""
    for file in files:
        known = dict(bases.outside(file))
        for ref, line in known.items():
            stage = next((one for one in file.parsed.stages if one.line == line), None)
            if stage is not None and _runs(stage) and (name := _local(engine, ref)):
                yield name


def _runs(stage: Stage) -> bool:
    return any(one.keyword == "RUN" and not one.rest.endswith("]") for one in stage.instructions)


def _local(engine: Engine, ref: str) -> str:
    """The local name of a base image, a stand-in's where that is here for it; "" where neither is."""
    names = (ref, standin_name(ref)) if recipe_for(ref) else (ref,)
    return next((name for name in names if engine.image(name) is not None), "")


def held(engine: Engine, files: Sequence[File]) -> Mapping[str, str]:
    """The base images that stand-ins are here for, and what those really hold."""
    found: dict[str, str] = {}
    for ref in dict.fromkeys(ref for file in files for ref, _ in bases.outside(file)):
        image = engine.image(_local(engine, ref) or ref)
        if image is not None and stands_in(image.labels, ref):
            found[ref] = image.labels.get(LABEL_HOLDS, "")
    return found


def limits() -> Inotify:
    """What the system lets one user watch."""

    def number(name: str) -> int | None:
        with suppress(OSError, ValueError):
            return int((_LIMITS / name).read_text())
        return None

    return Inotify(number("max_user_watches"), number("max_user_instances"))


def events(project: Project) -> Events:
    """Write a file where the loop would watch, and wait to be told."""
    if project.watching.poll is not None:
        return Events(polling=True)
    told = threading.Event()
    try:
        make_state_folder(project.state)
        with tempfile.TemporaryDirectory(dir=project.state, prefix="doctor-") as folder:
            watcher = Watcher(lambda _hint: told.set())
            try:
                watcher.follow([Path(folder)])
                begun = time.monotonic()
                Path(folder, "word").write_text("word", encoding="utf-8")
                arrived = told.wait(_EVENT_SECONDS)
                return Events(time.monotonic() - begun if arrived else None)
            finally:
                watcher.close()
    except KiroError as error:
        return Events(trouble=error.message, fix=error.fix or "")
    except OSError as error:
        return Events(trouble=f"{project.state} cannot be written: {error.strerror}", fix="make it writable")


def configured_proxies(environ: Mapping[str, str]) -> Iterator[str]:
    """The proxy variables that the Docker CLI gives builds, as its configuration says."""
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "~")).expanduser() / ".docker")
    with suppress(OSError, ValueError, AttributeError, TypeError):
        proxies = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("proxies") or {}
        names = {key for one in proxies.values() for key in one}
        yield from (
            name for name, key in (("HTTP_PROXY", "httpProxy"), ("HTTPS_PROXY", "httpsProxy")) if key in names
        )
