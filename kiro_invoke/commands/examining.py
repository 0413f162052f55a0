"""`doctor`: gather the facts, have them judged, tell what was found."""

from __future__ import annotations

import json
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from kiro_invoke import config
from kiro_invoke.builds.dockerfile import Stage
from kiro_invoke.builds.planner import Profile, Recipe, placed
from kiro_invoke.cache.remembered import LAYERS, read_made
from kiro_invoke.cache.warm import CA_SECRET, read_recipes
from kiro_invoke.commands import examined_files, mending, opening
from kiro_invoke.commands.examined_files import Look
from kiro_invoke.commands.gc_rules import gc_rules
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.doctor import bases, caching, machine
from kiro_invoke.doctor.contexts import IGNORE, SIZE, check_context
from kiro_invoke.doctor.finding import Finding, Verdict, ok, problem, skipped
from kiro_invoke.doctor.gc_limit import GC, Caching, check_collection
from kiro_invoke.doctor.machine import Events, Inotify
from kiro_invoke.doctor.mounts import MOUNTS, Tried, check_mounts, try_mounts
from kiro_invoke.doctor.steps import File, command, is_expensive
from kiro_invoke.engine import docker
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.side_by_side import beside
from kiro_invoke.engine.standins import LABEL_HOLDS, recipe_for, standin_name, stands_in
from kiro_invoke.loop.watcher import Watcher
from kiro_invoke.model.errors import ConfigError, EngineError, ExitCode, KiroError
from kiro_invoke.model.service import Project

CONFIGURATION = "configuration"
_OF_ENGINE = (
    machine.BUILDX, machine.COMPOSE, machine.BUILDER, machine.STORAGE, MOUNTS, GC, machine.DISK, machine.CLOCK,
    machine.STANDINS,
)  # fmt: skip
_OF_DOCKERFILES = (
    caching.COPY_FIRST, caching.TARGET, caching.PRODUCTION, caching.APT, caching.ARGUMENT, bases.FLOATING,
    bases.SYNTAX, bases.CHEF, bases.TOOLCHAIN,
)  # fmt: skip
_EVENT_SECONDS = 2.0
_LIMITS = Path("/proc/sys/fs/inotify")
_COLOURS = {Verdict.PROBLEM: "red", Verdict.NOTE: "yellow", Verdict.SKIPPED: "dim", Verdict.OK: "green"}
_ORDER = (Verdict.OK, Verdict.SKIPPED, Verdict.NOTE, Verdict.PROBLEM)


@dataclass(frozen=True)
class Examined:
    """What was found, and what `--fix` can mend of it."""

    findings: tuple[Finding, ...]
    caching: Caching | None
    looks: tuple[Look, ...]


def doctor(services: Sequence[str], *, fix: bool) -> Callable[[Surface], Answer]:
    """Find what makes builds slow; with `fix`, mend what can be mended safely."""

    def body(surface: Surface) -> Answer:
        begun = time.monotonic()
        project = config.load(surface.folder, surface.environ, services=services)
        examined = examine(surface, project)
        mended = mending.mend(surface, project, examined.caching, examined.looks) if fix else ()
        findings = mending.after(examined.findings, mended)
        return _answer(findings, mended, round(time.monotonic() - begun, 3))

    return body


def examine(surface: Surface, project: Project) -> Examined:
    """Everything that is to be said of a project's services, this machine and its engine."""
    recipes, findings = _recipes(project)
    files = tuple(_file(recipe, project) for recipe in recipes)
    looks = examined_files.look(project, recipes)
    engine, trouble = _engine(surface, project)
    findings += trouble
    held: Mapping[str, str] = {}
    facts: Caching | None = None
    if engine is None:
        findings += [skipped(check, "no engine answers") for check in _OF_ENGINE]
    else:
        held = _held(engine, files)
        facts, found = _of_engine(surface, project, engine, files, held)
        findings += found
    polling = project.watching.poll is not None
    folders = sum(look.folders for look in looks)
    findings += [
        *machine.check_environment(surface.environ, engine.facts.architecture if engine else ""),
        *machine.check_inotify(_limits(), folders, polling=polling),
        *machine.check_events(_events(project)),
        *_network(surface, project, engine, files),
        *_of_files(files, project, held),
        *_of_contexts(looks),
    ]
    return Examined(tuple(findings), facts, looks)


def _recipes(project: Project) -> tuple[tuple[Recipe, ...], list[Finding]]:
    try:
        return read_recipes(project, tuple(Profile)), []
    except ConfigError as error:
        finding = problem(
            CONFIGURATION, error.message, error.fix or "", file=error.file or "", line=error.line or 0
        )
        return (), [finding]


def _file(recipe: Recipe, project: Project) -> File:
    return File(placed(recipe.path, project.root), recipe.parsed, dict(project.build_args))


def _engine(surface: Surface, project: Project) -> tuple[docker.DockerEngine | None, list[Finding]]:
    try:
        with suppress(ConfigError):
            make_state_folder(project.state)
        return opening.open_engine(surface, setup=False, state=project.state), []
    except EngineError as error:
        place = f" ({error.place})" if error.place else ""
        return None, [problem(machine.ENGINE, f"{error.message}{place}", error.fix or "")]


def _of_engine(
    surface: Surface, project: Project, engine: Engine, files: Sequence[File], held: Mapping[str, str]
) -> tuple[Caching, list[Finding]]:
    """What only an engine can tell. What takes long goes on side by side."""
    told, compose = beside(engine.builder), beside(lambda: engine.compose_version)
    info = engine.info()
    records = engine.cache_records()
    rules = gc_rules(engine, info, told=told.result())
    facts = Caching(
        records,
        rules.rules,
        rules.origin,
        project.checkout,
        read_made(project.state / LAYERS).layers,
        rules.disk_bytes,
        rules.disk_free,
        engine.facts.ours,
    )
    tried = _tried(engine, files, told.result())
    return facts, [
        *machine.check_engine(engine.facts, compose.result()),
        *machine.check_builder(told.result()),
        *machine.check_storage(info),
        *check_mounts(tried),
        *check_collection(facts, time.time()),
        *machine.check_disk(info.root, rules.disk_free),
        *machine.check_clock(info),
        *machine.check_standins(sorted(held.items())),
        *examined_files.engines_own_check(project, engine, files, surface.environ),
    ]


def _tried(engine: Engine, files: Sequence[File], told: str) -> Tried:
    if machine.driver(told) not in {"", "docker"}:
        return Tried(why="the builder in use is not the engine: it has none of the engine's images")
    base = next(_shells(engine, files), "")
    if not base:
        return Tried(why="no base image of these services is here yet: `kiro warm-cache` brings them")
    with tempfile.TemporaryDirectory(prefix="kiro-doctor-") as folder:
        return try_mounts(engine, base, folder, f"kiro-doctor-{uuid.uuid4().hex[:12]}")


def _shells(engine: Engine, files: Sequence[File]) -> Iterator[str]:
    """Local images on which steps run: they have a shell."""
    for file in files:
        known = dict(bases.outside(file))
        for ref, line in known.items():
            stage = next((one for one in file.parsed.stages if one.line == line), None)
            if stage is not None and _runs(stage) and (name := _local(engine, ref)):
                yield name


def _runs(stage: Stage) -> bool:
    return any(one.keyword == "RUN" and not command(one).startswith("[") for one in stage.instructions)


def _local(engine: Engine, ref: str) -> str:
    """The local name of a base image, a stand-in's where that is here for it; "" where neither is."""
    names = (ref, standin_name(ref)) if recipe_for(ref) else (ref,)
    return next((name for name in names if engine.image(name) is not None), "")


def _held(engine: Engine, files: Sequence[File]) -> Mapping[str, str]:
    """The base images that stand-ins are here for, and what those really hold."""
    found: dict[str, str] = {}
    for ref in dict.fromkeys(ref for file in files for ref, _ in bases.outside(file)):
        image = engine.image(_local(engine, ref) or ref)
        if image is not None and stands_in(image.labels, ref):
            found[ref] = image.labels.get(LABEL_HOLDS, "")
    return found


def _limits() -> Inotify:
    def number(name: str) -> int | None:
        with suppress(OSError, ValueError):
            return int((_LIMITS / name).read_text())
        return None

    return Inotify(number("max_user_watches"), number("max_user_instances"))


def _events(project: Project) -> Events:
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


def _network(
    surface: Surface, project: Project, engine: Engine | None, files: Sequence[File]
) -> Iterator[Finding]:
    bundle = opening.ca_bundle(project, surface)
    steps = {
        file.place: [one for stage in file.parsed.stages for one in stage.instructions] for file in files
    }
    secret = [
        place
        for place, found in steps.items()
        if any(mount.get("id") == CA_SECRET for one in found for mount in one.mounts)
    ]
    given = [place for place, found in steps.items() if any(is_expensive(command(one)) for one in found)]
    yield from machine.check_certificates(str(bundle or ""), secret, given)
    passed = [*dict(project.build_args), *_configured_proxies(surface.environ)]
    yield from machine.check_proxy(surface.environ, passed, engine.info().proxies if engine else {"none": ""})


def _configured_proxies(environ: Mapping[str, str]) -> Iterator[str]:
    """The proxy variables that the Docker CLI gives builds, as its configuration says."""
    folder = Path(environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "~")).expanduser() / ".docker")
    with suppress(OSError, ValueError, AttributeError, TypeError):
        proxies = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("proxies") or {}
        names = {key for one in proxies.values() for key in one}
        yield from (
            name for name, key in (("HTTP_PROXY", "httpProxy"), ("HTTPS_PROXY", "httpsProxy")) if key in names
        )


def _of_files(files: Sequence[File], project: Project, held: Mapping[str, str]) -> Iterator[Finding]:
    found = tuple(chain.from_iterable(_of_file(file, project, held) for file in files))
    yield from found
    seen = {finding.check for finding in found if finding.verdict is Verdict.PROBLEM}
    if files:
        yield from (
            ok(check, f"{len(files)} Dockerfile{'s' if len(files) > 1 else ''}")
            for check in _OF_DOCKERFILES
            if check not in seen
        )


def _of_file(file: File, project: Project, held: Mapping[str, str]) -> Iterator[Finding]:
    yield from caching.check_dockerfile(file)
    yield from bases.check_bases(file)
    yield from bases.chef_fits(file, held)
    context = project.root / Path(file.place).parent
    for channel, where in examined_files.rust_channel(context, project.root):
        yield from bases.toolchain_fits(file, channel, where)
    for wanted, where in examined_files.node_wanted(context, project.root):
        yield from bases.node_fits(file, wanted, where)


def _of_contexts(looks: Sequence[Look]) -> Iterator[Finding]:
    found = [finding for look in looks for finding in check_context(look.sent_now())]
    yield from found
    if looks and not any(finding.check == IGNORE for finding in found):
        yield ok(IGNORE, "nothing that builds do not need is in a context")
    if looks and not any(finding.check == SIZE for finding in found):
        yield ok(SIZE, "no context is large")


def _answer(findings: Sequence[Finding], mended: Sequence[mending.Mended], seconds: float) -> Answer:
    problems = sum(finding.verdict is Verdict.PROBLEM for finding in findings)
    fields = {
        "checks": [dict(_fields(finding)) for finding in findings],
        "problems": problems,
        "fixed": [{"check": one.check, "file": one.file, "what": one.what} for one in mended],
        "seconds": seconds,
    }
    return Answer(
        fields,
        lambda s: _show(s, findings, seconds),
        ok=not problems,
        exit_code=ExitCode.MISSED if problems else ExitCode.DONE,
    )


def _fields(finding: Finding) -> Iterator[tuple[str, object]]:
    yield from (("check", finding.check), ("verdict", str(finding.verdict)), ("evidence", finding.evidence))
    for name in ("cure", "file", "line"):
        if value := getattr(finding, name):
            yield name, value


def _show(surface: Surface, findings: Iterable[Finding], seconds: float) -> None:
    """Healthy checks first and in short, so that what is to be done stands last."""
    listed = list(findings)
    for verdict in _ORDER:
        chosen = [finding for finding in listed if finding.verdict is verdict]
        for names, finding in _together(chosen):
            place = f"{finding.place}: " if finding.place else ""
            head = (f"{verdict:<8}", _COLOURS[verdict])
            surface.out.line(head, examined_files.clean_line(f" {place}{names}: {finding.evidence}"))
            if finding.cure:
                surface.out.line(examined_files.clean_line(f"         fix: {finding.cure}"))
    counts = {verdict: sum(one.verdict is verdict for one in listed) for verdict in Verdict}
    told = [
        f"{counts[Verdict.PROBLEM]} problem{'' if counts[Verdict.PROBLEM] == 1 else 's'}",
        f"{counts[Verdict.NOTE]} note{'' if counts[Verdict.NOTE] == 1 else 's'}",
        f"{counts[Verdict.OK]} ok",
    ]
    if counts[Verdict.SKIPPED]:
        told.append(f"{counts[Verdict.SKIPPED]} skipped")
    surface.out.line(f"{', '.join(told)} in {seconds:.1f} s")


def _together(findings: Sequence[Finding]) -> Iterator[tuple[str, Finding]]:
    """Findings that say the same with nothing to do, as one with all their names."""
    said: dict[tuple[str, str, str], list[str]] = {}
    first: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        key = (finding.evidence, finding.place, finding.cure)
        said.setdefault(key, []).append(finding.check)
        first.setdefault(key, finding)
    for key, names in said.items():
        yield ", ".join(dict.fromkeys(names)), first[key]
