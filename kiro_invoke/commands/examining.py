"""`doctor`: gather the facts, have them judged, tell what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, Recipe, placed
from kiro_invoke.cache.namespaces import read_namespaces
from kiro_invoke.cache.remembered import LAYERS, read_made
from kiro_invoke.cache.warm import CA_SECRET, read_recipes
from kiro_invoke.commands import examined_files, examined_machine, mending, opening
from kiro_invoke.commands.examined_files import Look
from kiro_invoke.commands.gc_rules import gc_rules
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.doctor import bases, caching, machine
from kiro_invoke.doctor.contexts import IGNORE, SIZE, check_context
from kiro_invoke.doctor.finding import Finding, Verdict, ok, problem, skipped
from kiro_invoke.doctor.gc_limit import GC, Caching, check_collection
from kiro_invoke.doctor.mounts import MOUNTS, check_mounts
from kiro_invoke.doctor.steps import File, command, is_expensive
from kiro_invoke.engine import docker
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.side_by_side import beside
from kiro_invoke.model.errors import ConfigError, EngineError, ExitCode
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
    looks, unreadable = _looks(project, recipes)
    findings += unreadable
    engine, trouble = _engine(surface, project)
    findings += trouble
    held: Mapping[str, str] = {}
    facts: Caching | None = None
    if engine is None:
        findings += [skipped(check, "no engine answers") for check in _OF_ENGINE]
    else:
        held = examined_machine.held(engine, files)
        facts, found = _of_engine(project, engine, recipes, files, held)
        findings += found
    polling = project.watching.poll is not None
    folders = sum(look.folders for look in looks)
    findings += [
        *machine.check_environment(surface.environ, engine.facts.architecture if engine else ""),
        *machine.check_inotify(examined_machine.limits(), folders, polling=polling),
        *machine.check_events(examined_machine.events(project)),
        *_network(surface, project, engine, files),
        *_of_files(recipes, files, project, held),
        *_of_contexts(looks),
    ]
    return Examined(tuple(findings), facts, looks)


def _looks(project: Project, recipes: Sequence[Recipe]) -> tuple[tuple[Look, ...], list[Finding]]:
    try:
        return examined_files.look(project, recipes), []
    except ConfigError as error:
        return (), [_configuration(error)]


def _configuration(error: ConfigError) -> Finding:
    file, line = error.file or "", error.line or 0
    return problem(CONFIGURATION, error.message, error.fix or "", file=file, line=line)


def _recipes(project: Project) -> tuple[tuple[Recipe, ...], list[Finding]]:
    try:
        return read_recipes(project, tuple(Profile)), []
    except ConfigError as error:
        return (), [_configuration(error)]


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
    project: Project,
    engine: Engine,
    recipes: Sequence[Recipe],
    files: Sequence[File],
    held: Mapping[str, str],
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
        frozenset({project.checkout}) | read_namespaces(project).current(project.names),
        read_made(project.state / LAYERS).layers,
        rules.disk_bytes,
        rules.disk_free,
        engine.facts.ours,
        waiting=rules.waiting,
    )
    tried = examined_machine.tried(engine, files, told.result())
    return facts, [
        *machine.check_engine(engine.facts, compose.result()),
        *machine.check_builder(told.result()),
        *machine.check_storage(info),
        *check_mounts(tried),
        *check_collection(facts, time.time()),
        *machine.check_disk(info.root, rules.disk_free),
        *machine.check_clock(info),
        *machine.check_standins(sorted(held.items())),
        *examined_files.engines_own_check(project, engine, recipes),
    ]


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
    passed = [*dict(project.build_args), *examined_machine.configured_proxies(surface.environ)]
    yield from machine.check_proxy(surface.environ, passed, engine.info().proxies if engine else {"none": ""})


def _of_files(
    recipes: Sequence[Recipe], files: Sequence[File], project: Project, held: Mapping[str, str]
) -> Iterator[Finding]:
    pairs = zip(recipes, files, strict=True)
    found = tuple(
        chain.from_iterable(_of_file(file, one.service.context, project, held) for one, file in pairs)
    )
    yield from found
    seen = {finding.check for finding in found if finding.verdict is Verdict.PROBLEM}
    if files:
        yield from (
            ok(check, f"{len(files)} Dockerfile{'s' if len(files) > 1 else ''}")
            for check in _OF_DOCKERFILES
            if check not in seen
        )


def _of_file(file: File, context: Path, project: Project, held: Mapping[str, str]) -> Iterator[Finding]:
    yield from caching.check_dockerfile(file)
    yield from bases.check_bases(file)
    yield from bases.chef_fits(file, held)
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
