"""The command `watch`: from a save to what is served, on the fastest way that is right."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.built import CONFIGURATION, configuration
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache import warm
from kiro_invoke.commands import opening
from kiro_invoke.commands.keys import pressed
from kiro_invoke.commands.making import ImagesAndContainers
from kiro_invoke.commands.recording import Recorder, once
from kiro_invoke.commands.recording_live import recording
from kiro_invoke.commands.running import urls_of
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.commands.watch_rows import JsonLines
from kiro_invoke.commands.watch_source import source
from kiro_invoke.commands.watch_start import Starting, override_of
from kiro_invoke.engine import git
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.held_lock import HeldBy, only_one
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.compose import Compose, check_images, needed
from kiro_invoke.loop.driver import Driver, Ending
from kiro_invoke.loop.events import Event, Pressed
from kiro_invoke.loop.following import Following
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.ledger import Ledger
from kiro_invoke.loop.looking import WATCHED, Looking
from kiro_invoke.loop.polling import DEFAULT_SECONDS, Poller
from kiro_invoke.loop.sight import Sight
from kiro_invoke.model.errors import ExitCode, KiroError, UsageError
from kiro_invoke.model.service import Project
from kiro_invoke.watch_screen import WatchScreen

#: Seconds that our containers get to end when the loop does: all of it is to be over in two.
_STOP_SECONDS = 1
#: How long that is waited for, and how long until the engine has heard of the others.
_STOPPED, _ASKED = 5.0, 0.2
#: Seconds that work under way gets to end.
_LAST_WORK = 1.5
#: The folder of the loop's own in the state folder.
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
        code = 0

        def run(screen: Screen) -> None:
            nonlocal code
            code = _Watch(surface, wishes, screen).run()

        def rows() -> Iterator[dict[str, Any]]:
            run(JsonLines())
            return iter(())

        return Answer({}, lambda s: run(WatchScreen(s.out)), exit_code=lambda: code, rows=rows)

    return body


Screen = WatchScreen | JsonLines


class _Watch:
    """One run of the command; the loop in it begins anew when the configuration changes."""

    def __init__(self, surface: Surface, wishes: Wishes, screen: Screen) -> None:
        self._surface = surface
        self._wishes = wishes
        self._screen = screen
        self._broken: set[str] = set()
        self._started: tuple[str, ...] = ()
        self._name = ""
        self._locked: set[str] = set()
        self._remember: told.Tell = lambda _one: None

    def run(self) -> int:
        project = self._load()
        make_state_folder(project.state)
        engine = opening.open_engine(self._surface, setup=False, state=project.state)
        with ExitStack() as locks:
            self._lock(locks, project, self._watched(project, engine))
            try:
                with self._screen.showing():
                    while self._recorded(project, engine) is Ending.RELOAD:
                        project = self._load()
                        self._lock(locks, project, self._watched(project, engine))
            except KeyboardInterrupt:
                self._stop(project, engine)
                return ExitCode.INTERRUPTED
            except KiroError:
                self._stop(project, engine)
                raise
            self._stop(project, engine)
        return ExitCode.BUILD_FAILED if self._wishes.once and self._broken else ExitCode.DONE

    def _recorded(self, project: Project, engine: DockerEngine) -> Ending:
        """The same as _round, with what live updates do remembered."""
        address = engine.facts.address
        recorder = Recorder(project, "watch", address, once(self._note))
        with recording(recorder, address) as self._remember:
            return self._round(project, engine)

    def _round(self, project: Project, engine: DockerEngine) -> Ending:
        """From reading the configuration to its next change."""
        begun = time.time()
        compose = _compose(project, engine)
        started, own, recipes = self._to_watch(project, compose)
        place = project.state / _FOLDER
        lanes = {
            recipe.service.name: Lane(Sight(own, recipe, time.time_ns), Ledger(place, recipe.service.name))
            for recipe in recipes
        }
        name = self._name = str(compose.config().get("name") or "")
        bundle = opening.ca_bundle(project, self._surface)
        trusted = bundle.read_bytes() if bundle else b""
        attaching = Attaching(
            engine.containers,
            name,
            project.watching.stop,
            trusted,
            lambda tag: image.id if (image := engine.image(tag)) else "",
            live=self._wishes.live,
        )
        making = ImagesAndContainers(self._surface, own, engine, compose, attaching, self._note)
        starting = Starting(
            engine, compose, attaching, making, self._tell, live=self._wishes.live, debug=self._wishes.debug
        )
        ran = starting.check(started)
        self._started = tuple(dict.fromkeys((*self._started, *(n for n in started if n not in ran))))
        starting.run(lanes, started, must_build=self._wishes.once)
        urls = {one.service: tuple(urls_of(one)) for one in compose.running()}
        return self._loop(project, engine, lanes, attaching, making, begun, urls)

    def _loop(
        self,
        project: Project,
        engine: DockerEngine,
        lanes: dict[str, Lane],
        attaching: Attaching,
        making: ImagesAndContainers,
        begun: float,
        urls: Mapping[str, tuple[str, ...]],
    ) -> Ending:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        following = Following(engine.containers, self._name, events.put, self._screen.log, begun)
        looking = Looking(
            lanes=lanes,
            root=project.root,
            files=_configuration(project),
            settings=project.watching,
            source=source(project, events.put, self._tell),
            tell=self._tell,
            instead=lambda why: Poller(events.put, DEFAULT_SECONDS, why),
            locks=git.index_locks(project.root),
        )
        has_keys = isinstance(self._screen, WatchScreen) and not self._wishes.once
        try:
            following.restart()
            with pressed(lambda key: events.put(Pressed(key)), wanted=has_keys):
                driver = Driver(
                    lanes,
                    looking,
                    attaching,
                    making,
                    following,
                    self._tell,
                    events,
                    lambda: self._misconfigured(engine),
                    live=self._wishes.live,
                    once=self._wishes.once,
                    urls=urls,
                )
                return driver.run()
        finally:
            following.close()
            looking.source.close()
            for lane in lanes.values():
                if lane.work is not None:
                    lane.work.brake.pull()
                attaching.detach(lane)
            for lane in lanes.values():
                if lane.thread is not None:  # else it might start a container that is stopped already
                    lane.thread.join(_LAST_WORK)

    def _load(self) -> Project:
        return config.load(self._surface.folder, self._surface.environ)

    def _misconfigured(self, engine: DockerEngine) -> str:
        """What is wrong with the configuration as it is now, "" if it can be used."""
        try:
            project = self._load()
            self._watched(project, engine)
            self._to_watch(project, _compose(project, engine))
        except KiroError as error:
            return str(error)
        return ""

    def _to_watch(
        self, project: Project, compose: Compose
    ) -> tuple[tuple[str, ...], Project, tuple[Recipe, ...]]:
        """What is started; the project with what of that is built here; the Dockerfiles, read."""
        composed = compose.services()
        started = needed(composed, self._wishes.services)
        own = project.only(started)
        recipes = warm.read_recipes(own, (Profile.DEV,))
        tags = {recipe.service.name: recipe.tag for recipe in recipes}
        check_images(composed, tags, compose.files[0].name)
        return started, own, recipes

    def _watched(self, project: Project, engine: DockerEngine) -> tuple[str, ...]:
        """The services that are watched: those that are built here, of those that Compose starts."""
        compose = _compose(project, engine)
        composed = compose.services()
        known, debug = [one.name for one in composed], self._wishes.debug
        for name in (*self._wishes.services, *((debug,) if debug else ())):
            if name not in known:
                message = f'no service "{name}" in {compose.files[0].name}'
                raise UsageError(message, fix=f"choose from: {', '.join(known)}")
        started = needed(composed, self._wishes.services)
        built = tuple(s.name for s in project.services if s.name in started)
        if not built:
            raise UsageError(
                "none of these services is built here", fix="name one that kiro.yaml, or its folder, shows"
            )
        if debug and debug not in built:
            raise UsageError(f"--debug {debug}: it is not built here", fix=f"use {built[0]}")
        return built

    def _lock(self, locks: ExitStack, project: Project, names: tuple[str, ...]) -> None:
        for name in names:
            if name in self._locked:
                continue
            try:
                locks.enter_context(only_one(project.state / _FOLDER / f"{name}.lock"))
            except HeldBy as error:
                asked = self._wishes.services
                needed_by = f" ({', '.join(asked)} needs it)" if asked and name not in asked else ""
                raise KiroError(
                    f"{name}{needed_by} is watched already, by process {error.pid or '(unknown)'}",
                    fix="end that one first, or watch services that need no watched one",
                ) from None
            self._locked.add(name)

    def _stop(self, project: Project, engine: DockerEngine) -> None:
        """End what was started here, whatever the compose file says by now; databases take their own time, beside."""
        if self._wishes.once or not self._started:
            return
        if self._wishes.keep_running:
            self._note("the containers run on")
            return
        ours = {service.name for service in project.services}
        found = engine.containers.of_project(self._name)
        ending = [one for one in found if one.running and one.service in self._started]
        threads = [
            threading.Thread(
                target=_stopped,
                args=(engine, one.id, _STOP_SECONDS if one.service in ours else None),
                daemon=True,
            )
            for one in ending
        ]
        if ending:
            self._note(f"stopping {', '.join(one.service for one in ending)}")
        for thread in threads:
            thread.start()
        for one, thread in zip(ending, threads, strict=True):
            # the engine goes on with what nobody waits for
            thread.join(_STOPPED if one.service in ours else _ASKED)

    def _tell(self, one: told.Told) -> None:
        if isinstance(one, told.Broken):
            self._broken.add(one.change.service)
        elif isinstance(one, told.Served):
            self._broken.discard(one.change.service)
        self._remember(one)
        self._screen(one)

    def _note(self, line: str) -> None:
        self._screen(told.Note(line))


def _stopped(engine: DockerEngine, container: str, seconds: int | None) -> None:
    with suppress(KiroError):
        engine.containers.stop(container, seconds)


def _configuration(project: Project) -> dict[str, str]:
    """The files that the loop is made from, as they were when the configuration was read."""
    known = {file: value for file, value in project.files if file in WATCHED}
    return configuration(project.root, [file for file in WATCHED if file not in CONFIGURATION]) | known


def _compose(project: Project, engine: DockerEngine) -> Compose:
    compose = Compose(engine, project.root, {}, (override_of(project.state / _FOLDER),))
    compose.check()
    return compose
