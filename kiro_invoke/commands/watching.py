"""The command `watch`: from a save to what is served, on the fastest way that is right."""

from __future__ import annotations

import json
import queue
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.built import configuration
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache import warm
from kiro_invoke.commands import opening
from kiro_invoke.commands.keys import pressed
from kiro_invoke.commands.making import ImagesAndContainers
from kiro_invoke.commands.surface import SCHEMA, Answer, Surface, write_row
from kiro_invoke.engine import git, ports
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.engine.files import make_state_folder, write_whole
from kiro_invoke.engine.held_lock import HeldBy, only_one
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.compose import Compose, check_checkout, check_images, check_ports, needed
from kiro_invoke.loop.decide import Way, decide
from kiro_invoke.loop.driver import Driver, Ending
from kiro_invoke.loop.events import Event, EventSource, Hint, Pressed
from kiro_invoke.loop.following import Following
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.ledger import Ledger
from kiro_invoke.loop.polling import DEFAULT_SECONDS, Poller, mounts, remote_kind, tells_of_writes
from kiro_invoke.loop.sight import Sight
from kiro_invoke.model.errors import BuildFailed, ConfigError, ExitCode, KiroError, UsageError
from kiro_invoke.model.live import LABEL
from kiro_invoke.model.service import Project
from kiro_invoke.watch_screen import WatchScreen

#: Seconds that our containers get to end when the loop does: all of it is to be over in two.
_STOP_SECONDS = 1
#: The ports at which debuggers are offered, by ecosystem.
_DEBUG_PORTS = {"cargo": 2345}
_NODE_PORT = 9229
_FOLDER = "loop"


@dataclass(frozen=True)
class Wishes:
    """What the command was asked for."""

    services: tuple[str, ...] = ()
    live: bool = True
    once: bool = False
    keep_running: bool = False
    debug: str | None = None


def watch(wishes: Wishes) -> Callable[[Surface], Answer]:
    """Bring the services up, then keep what they serve equal to what is saved, until somebody ends it."""

    def body(surface: Surface) -> Answer:
        code = ExitCode.DONE

        def run(screen: Screen) -> None:
            nonlocal code
            code = _Watch(surface, wishes, screen).run()

        def rows() -> Iterator[dict[str, Any]]:
            run(JsonLines())
            return iter(())

        def show(s: Surface) -> None:
            run(WatchScreen(s.out))

        return Answer({}, show, exit_code=lambda: code, rows=rows)

    return body


class JsonLines:
    """Each thing that is told as a line of JSON on standard output (docs/commands.md)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def showing(self) -> Iterator[None]:
        yield

    def __call__(self, one: told.Told) -> None:
        row = fields(one)
        if row is not None:
            with self._lock:
                write_row({"schema": SCHEMA, **row})

    def log(self, service: str, line: bytes) -> None:
        """Logs are the containers' own: `kiro logs` has them."""


Screen = WatchScreen | JsonLines


class _Watch:
    """One run of the command; the loop in it begins anew when the configuration changes."""

    def __init__(self, surface: Surface, wishes: Wishes, screen: Screen) -> None:
        self._surface = surface
        self._wishes = wishes
        self._screen = screen
        self._broken: set[str] = set()
        self._started: tuple[str, ...] = ()

    def run(self) -> int:
        surface = self._surface
        project = self._load()
        make_state_folder(project.state)
        engine = opening.open_engine(surface, setup=False, state=project.state)
        with ExitStack() as stack:
            compose = self._compose(project, engine)
            locked = self._names(project, compose)
            for name in locked:
                self._lock(stack, project, name)
            try:
                with self._screen.showing():
                    ending = Ending.RELOAD
                    while ending is Ending.RELOAD:
                        ending = self._round(project, engine)
                        if ending is Ending.RELOAD:
                            project = self._reloaded(project)
                            for name in self._names(project, self._compose(project, engine)):
                                if name not in locked:
                                    self._lock(stack, project, name)
                                    locked = (*locked, name)
            except KeyboardInterrupt:
                self._stop(project, engine)
                return ExitCode.INTERRUPTED
            except KiroError:
                self._stop(project, engine)
                raise
            if ending is Ending.QUIT:
                self._stop(project, engine)
        return ExitCode.BUILD_FAILED if self._wishes.once and self._broken else ExitCode.DONE

    # --- a round: from reading the configuration to its next change

    def _round(self, project: Project, engine: DockerEngine) -> Ending:
        compose = self._compose(project, engine)
        composed = compose.services()
        names = self._names(project, compose)
        started = needed(composed, self._wishes.services)
        own = replace(project, services=tuple(s for s in project.services if s.name in names))
        recipes = warm.read_recipes(own, (Profile.DEV,))
        tags = {recipe.service.name: recipe.tag for recipe in recipes}
        check_images(composed, tags, compose.files[0].name)
        lanes = {recipe.service.name: self._lane(own, recipe) for recipe in recipes}
        name = str(compose.config().get("name") or "")
        bundle = opening.ca_bundle(project, self._surface)
        attaching = Attaching(
            engine.containers, name, project.watching.stop, bundle.read_bytes() if bundle else b""
        )
        making = ImagesAndContainers(self._surface, own, engine, compose, attaching, self._note)
        self._bring_up(compose, started, lanes, making, engine)
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        following = Following(engine.containers, name, events.put, self._screen.log)
        source = self._source(project, events.put)
        following.restart()
        try:
            with pressed(lambda key: events.put(Pressed(key)), wanted=isinstance(self._screen, WatchScreen)):
                driver = Driver(
                    lanes=lanes,
                    root=project.root,
                    files={file: value for file, value in project.files if file != "Tiltfile"},
                    settings=project.watching,
                    source=source,
                    attaching=attaching,
                    making=making,
                    following=following,
                    tell=self._tell,
                    events=events,
                    live=self._wishes.live,
                    once=self._wishes.once,
                    locks=git.index_locks(project.root),
                )
                return driver.run()
        finally:
            following.close()
            source.close()
            for lane in lanes.values():
                if lane.work is not None:
                    lane.work.brake.pull()
                attaching.detach(lane)

    def _bring_up(
        self,
        compose: Compose,
        started: Sequence[str],
        lanes: dict[str, Lane],
        making: ImagesAndContainers,
        engine: DockerEngine,
    ) -> None:
        """Build what no live update brings up to date, and start everything that does not run."""
        before = compose.running()
        check_checkout(before)
        check_ports(
            compose.ports(started),
            before,
            is_free=ports.is_free,
            holder=lambda port: engine.port_holder(port) or ports.holder(port),
        )
        ran = {one.service for one in before if one.state == "running"}
        self._started = tuple(dict.fromkeys((*self._started, *(n for n in started if n not in ran))))
        stale = [name for name, lane in lanes.items() if self._needs_image(lane, making)]
        try:
            if stale:
                making.build_together(stale)
        except BuildFailed as error:
            if self._wishes.once:
                raise
            self._tell(told.Trouble(f"{error.place or ''}: {error.message}".lstrip(": "), error.fix or ""))
        self._override(compose, lanes, engine)
        try:
            making.start_together(started)
        except KiroError as error:
            self._tell(told.Trouble(error.message, error.fix or ""))

    def _needs_image(self, lane: Lane, making: ImagesAndContainers) -> bool:
        """Whether its image has to be built before anything can be served."""
        making.attaching.attach(lane, making.attaching.look().get(lane.name, []))
        try:
            if not making.has_image(lane.name):
                return True
            rows = lane.rows()
            way = decide(lane.standing(rows, paused=False, live=self._wishes.live)).way
            return way is Way.IMAGE
        finally:
            making.attaching.detach(lane)

    def _override(self, compose: Compose, lanes: dict[str, Lane], engine: DockerEngine) -> None:
        """What containers that are watched get besides what the person's compose file says."""
        services: dict[str, Any] = {}
        for name, lane in lanes.items():
            image = engine.image(lane.sight.recipe.tag)
            labels = image.labels if image else {}
            environment = dict(
                each.partition("=")[::2]
                for each in shlex.split(labels.get(f"{LABEL}env", ""))
                if self._wishes.live
            )
            stop = lane.sight.project.watching.stop
            if stop != 0.5:
                environment["KIRO_STOP_SECONDS"] = f"{stop:g}"
            services[name] = {"environment": environment} if environment else {}
            if name == self._wishes.debug:
                port = _debug_port(lane)
                environment["KIRO_DEBUG_PORT"] = str(port)
                services[name] = {
                    "environment": environment,
                    "ports": [f"127.0.0.1:{port}:{port}"],
                    "cap_add": ["SYS_PTRACE"],
                }
                self._tell(told.Note(f"{name}: a debugger may attach at 127.0.0.1:{port} (docs/watch.md)"))
        wanted = {name: each for name, each in services.items() if each}
        for file in compose.extra:
            write_whole(file, json.dumps({"services": wanted}, indent=2) + "\n")

    # --- parts

    def _load(self) -> Project:
        return config.load(self._surface.folder, self._surface.environ)

    def _reloaded(self, before: Project) -> Project:
        """The configuration as it is now; while it cannot be used, that of before with the files of now."""
        while True:
            try:
                return self._load()
            except ConfigError as error:
                self._tell(told.Trouble(str(error)))
                self._wait_for_change(before.root)

    def _wait_for_change(self, root: Path) -> None:
        seen = configuration(root)
        while configuration(root) == seen:
            time.sleep(0.2)

    def _compose(self, project: Project, engine: DockerEngine) -> Compose:
        extra = project.state / _FOLDER / "compose.json"
        if not extra.exists():
            write_whole(extra, json.dumps({"services": {}}) + "\n")
        compose = Compose(engine, project.root, {}, (extra,))
        compose.check()
        return compose

    def _names(self, project: Project, compose: Compose) -> tuple[str, ...]:
        """The services that are watched: those that are built here, of those that Compose starts."""
        composed = compose.services()
        known = [one.name for one in composed]
        for name in (*self._wishes.services, *((self._wishes.debug,) if self._wishes.debug else ())):
            if name not in known:
                raise UsageError(
                    f'no service "{name}" in {compose.files[0].name}', fix=f"choose from: {', '.join(known)}"
                )
        started = needed(composed, self._wishes.services)
        built = tuple(s.name for s in project.services if s.name in started)
        if not built:
            raise UsageError(
                "none of these services is built here", fix="name one that kiro.yaml or its folder shows"
            )
        if self._wishes.debug and self._wishes.debug not in built:
            raise UsageError(f"--debug {self._wishes.debug}: it is not built here", fix=f"use {built[0]}")
        return built

    def _lock(self, stack: ExitStack, project: Project, name: str) -> None:
        try:
            stack.enter_context(only_one(project.state / _FOLDER / f"{name}.lock"))
        except HeldBy as error:
            raise KiroError(
                f"{name} is watched already, by process {error.pid or '(unknown)'}",
                fix="end that one first, or watch other services with --service",
            ) from None

    def _lane(self, project: Project, recipe: Recipe) -> Lane:
        sight = Sight(project, recipe, time.time_ns)
        return Lane(sight, Ledger(project.state / _FOLDER, recipe.service.name))

    def _source(self, project: Project, post: Callable[[Event], None]) -> EventSource:
        seconds = project.watching.poll
        if seconds:
            return Poller(post, seconds, "kiro.yaml or KIRO_WATCH_POLL says so")
        if seconds is None:
            kinds = {remote_kind(service.context, mounts()) for service in project.services} - {""}
            if kinds:
                why = f"on {', '.join(sorted(kinds))} not every change is told"
                return Poller(post, DEFAULT_SECONDS, why)
        return _watcher(project, post, probes=seconds is None)

    def _stop(self, project: Project, engine: DockerEngine) -> None:
        """End what was started here; databases and the like take their own time, beside."""
        if self._wishes.keep_running or self._wishes.once or not self._started:
            return
        compose = self._compose(project, engine)
        ours = [service.name for service in project.services if service.name in self._started]
        others = [name for name in self._started if name not in ours]
        if others:
            compose.stop_beside(others, project.state / _FOLDER / "stop.log")
        if ours:
            compose.stop(ours, _STOP_SECONDS)

    def _tell(self, one: told.Told) -> None:
        if isinstance(one, told.Broken):
            self._broken.add(one.change.service)
        elif isinstance(one, told.Served):
            self._broken.discard(one.change.service)
        self._screen(one)

    def _note(self, line: str) -> None:
        self._screen(told.Note(line))


def _watcher(project: Project, post: Callable[[Event], None], *, probes: bool) -> EventSource:
    """The system's own events, unless it is found out that they do not come."""
    from kiro_invoke.loop.watcher import Watcher

    hinted, is_probing = threading.Event(), threading.Event()

    def tell(hint: Hint) -> None:
        hinted.set()
        if not is_probing.is_set():
            post(hint)

    source = Watcher(tell)
    if probes:
        is_probing.set()
        places = {_device(folder): folder for folder in (service.context for service in project.services)}
        places[_device(project.state)] = project.state  # rather there than in a person's folder
        for folder in places.values():
            if not tells_of_writes(source, hinted, folder):
                source.close()
                return Poller(post, DEFAULT_SECONDS, f"no events come from {folder}")
        is_probing.clear()
    return source


def _device(folder: Path) -> int:
    return folder.stat().st_dev


def _debug_port(lane: Lane) -> int:
    ecosystem = lane.sight.recipe.service.ecosystem
    return _DEBUG_PORTS.get(ecosystem, _NODE_PORT)


def fields(one: told.Told) -> dict[str, Any] | None:
    """What is told, as one object; None for what only a screen needs."""
    match one:
        case told.Started(service, revision, _, unreachable):
            row: dict[str, Any] = {"event": "started", "service": service, "revision": revision}
            return row | ({"not_live": unreachable} if unreachable else {})
        case told.Served(change, seconds, revision, reconciled, _, tested):
            row = _change("reconciled" if reconciled else "served", change)
            row["seconds"] = {
                "detect": seconds.detect,
                "sync": seconds.sync,
                "build": seconds.build,
                "restart": seconds.restart,
                "total": seconds.total,
            }
            row["revision"] = revision
            return row | ({"test": {"ok": tested.ok, "seconds": round(tested.seconds, 3)}} if tested else {})
        case told.Broken(change, what, output, since, _):
            row = _change("broken", change) | {"message": what, "serves_old_since": since}
            return row | {"output": output.decode(errors="replace")}
        case told.Superseded(change):
            return _change("superseded", change)
        case told.Unaffected(service, paths, cause):
            return {"event": "ignored", "service": service, "paths": list(paths), "cause": cause}
        case told.Refreshed(service, seconds):
            return {"event": "refreshed", "service": service, "seconds": {"total": seconds}}
        case told.Stopped(service, cause):
            return {"event": "stopped", "service": service, "cause": cause}
        case told.Trouble(message, fix, service):
            row = {"event": "error", "service": service, "message": message}
            return row | ({"fix": fix} if fix else {})
        case told.Note(message):
            return {"event": "note", "message": message}
        case told.Ready(_, services, polling):
            return {"event": "ready", "services": list(services), "polling": polling}
        case _:
            return None


def _change(event: str, change: told.Change) -> dict[str, Any]:
    return {
        "event": event,
        "service": change.service,
        "paths": list(change.paths),
        "kind": str(change.kind),
        "cause": change.cause,
        "path": str(change.way),
    }
