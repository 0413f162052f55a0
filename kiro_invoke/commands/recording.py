"""Remember builds in the metrics store, for `kiro report`. No build is worse for it, and none waits for a disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from kiro_invoke.ecosystems.registry import ECOSYSTEMS, installs
from kiro_invoke.engine.side_by_side import beside
from kiro_invoke.metrics.entry import CACHED, RAN, Entry, ImageEntry, as_kept, own_seconds
from kiro_invoke.model.change import Kind
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.record import BuildRecord, ImageChange, ImageRecord, Step
from kiro_invoke.model.service import Project, Service
from kiro_invoke.plain import clean
from kiro_invoke.version import __version__

Say = Callable[[str], None]

#: A value that is shorter gives nothing away, and stands in many texts by chance.
_TELLING = 4

#: What is foretold of the dependency layer. Of other kinds nothing is: what they lead to is for the engine to say.
_FORETOLD = {Kind.IGNORED: CACHED, Kind.SOURCE: CACHED, Kind.DEPENDENCY: RAN}


def once(say: Say) -> Say:
    """Say each line once: what keeps one build out of the history keeps out the next."""
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return say_once


class Recorder:
    """Remembers the builds of one project that one command makes. `is_clean`: they take nothing from cache mounts."""

    def __init__(
        self, project: Project, command: str, engine: str, say: Say, *, is_clean: bool = False
    ) -> None:
        self._project = project
        self._command = command
        self._engine = engine
        self._say = say
        self._is_clean = is_clean
        self._ready: Future[None] | None = None

    def prepare(self) -> None:
        """Load, while the engine works, what recording takes."""
        if self._project.recording.record:
            self._ready = beside(self._prepare)

    def built(self, record: BuildRecord, *, cured: Mapping[str, str] | None = None) -> None:
        """A build succeeded; after another had failed, it tells of each service that was `cured` of what."""
        told = _with_causes(record, cured) if cured else record
        # what a cure ran anew, no change foretold
        self.remember(lambda: self.entry(told, foretells=not cured))

    def failed(self, error: BuildFailed) -> None:
        """A build failed; not one that the engine was never asked for."""
        if (attempt := error.attempt) is not None:
            self.remember(lambda: self.entry(attempt, failed=error.message))

    def entry(self, record: BuildRecord, *, failed: str | None = None, foretells: bool = True) -> Entry:
        """What is remembered of a build; of one that `failed`, why."""
        return entry_of(
            record,
            self._project,
            self._command,
            self._engine,
            failed=failed,
            foretells=foretells and not self._is_clean,
        )

    def remember(self, composed: Callable[[], Entry]) -> None:
        """Write one down. Whatever goes wrong, in composing it too, is said in one line."""
        recording = self._project.recording
        if not recording.record:
            return
        try:
            if self._ready is not None:
                self._ready.result()
            from kiro_invoke.metrics.store import Store  # loaded beforehand, while the engine worked

            store = Store(self._project.state, self._say)
            store.add([composed()], keep_seconds=recording.keep_seconds)
        except Exception as error:  # the build is done: whatever this is, it must not say that it is not
            self._say(f"this build is not in the history: {' '.join(str(error).split())}")

    def _prepare(self) -> None:
        from kiro_invoke.metrics.store import Store

        for service in self._project.services:
            installs(service.ecosystem, "RUN")  # its expression is compiled here, and known then
        Store(self._project.state, self._say).prepare()


def _with_causes(record: BuildRecord, causes: Mapping[str, str]) -> BuildRecord:
    """The record with what else led to the build of these services."""
    changes = (
        replace(change, cause="; ".join(filter(None, (change.cause, causes.get(change.service, "")))))
        for change in record.changes
    )
    return replace(record, changes=tuple(changes))


def entry_of(
    record: BuildRecord,
    project: Project,
    command: str,
    engine: str,
    *,
    failed: str | None = None,
    foretells: bool = True,
) -> Entry:
    """A build as the store has it. Without `foretells` its dependency layer runs whatever changed."""
    changes = {(change.service, change.profile): change for change in record.changes}
    services = {service.name: service for service in project.services}
    return Entry(
        began=record.at,
        seconds=record.seconds,
        command=command,
        ok=failed is None,
        message=veiled(clean(" ".join((failed or "").split())), project),
        engine=engine,
        tool=__version__,
        cache_layers=None if record.cache_mounts is None else record.cache_bytes - record.cache_mounts,
        cache_mounts=record.cache_mounts,
        context_bytes=record.context_bytes,
        images=tuple(
            _image(
                image,
                changes.get((image.service, image.profile)),
                services.get(image.service),
                own_seconds(image.steps, record.at, record.seconds, alone=len(record.images) == 1),
                foretells=foretells,
            )
            for image in record.images
        ),
        steps=tuple(replace(as_kept(step), text=veiled(step.text, project)) for step in record.steps),
    )


def veiled(text: str, project: Project) -> str:
    """A step's text as it may be kept and shown: the engine fills build arguments in, and some may be secret."""
    for name, value in project.build_args:
        if len(value) >= _TELLING:
            text = text.replace(value, f"${name}")
    return text


def _image(
    image: ImageRecord,
    change: ImageChange | None,
    service: Service | None,
    seconds: float | None,
    *,
    foretells: bool,
) -> ImageEntry:
    kind = change.kind if change else None
    ecosystem = service.ecosystem if service else ""
    cached, ran = counts(image.steps)
    return ImageEntry(
        service=image.service,
        profile=image.profile,
        kind="" if kind is None else str(kind),
        cause=change.cause if change else "",
        file=change.path if change else "",
        revision=change.revision if change else "",
        predicted=predicted(kind, service) if foretells else "",
        verdict=verdict(image.steps, ecosystem),
        seconds=seconds,
        cached=cached,
        ran=ran,
    )


def counts(steps: Sequence[Step]) -> tuple[int, int]:
    """How many steps came from the cache, and how many ran. One that targets share is told for each: it counts once."""
    ran: dict[tuple[str, str], bool] = {}
    for step in steps:
        if not step.text.startswith("FROM "):
            key = (step.stage, step.text)
            ran[key] = ran.get(key, False) or not step.cached
    return len(ran) - sum(ran.values()), sum(ran.values())


def predicted(kind: Kind | None, service: Service | None) -> str:
    """What a change of this kind means for the dependency layer of a service, as far as it is known what that is."""
    is_known = service is not None and (service.ecosystem in ECOSYSTEMS or bool(service.dependency_inputs))
    return _FORETOLD.get(kind, "") if kind is not None and is_known else ""


def verdict(steps: Sequence[Step], ecosystem: str) -> str:
    """What the engine did with the steps that install dependencies: RAN if one ran, "" where it told of none."""
    own = [step for step in steps if installs(ecosystem, step.text)]
    if not own:
        return ""
    return RAN if any(not step.cached for step in own) else CACHED
