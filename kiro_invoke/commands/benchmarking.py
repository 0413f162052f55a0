"""The command `test-build-performance`: measures the project's images, and judges what is claimed of them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from kiro_invoke import config
from kiro_invoke.benchmark import documents, machine, results, told
from kiro_invoke.benchmark.estimate import expected
from kiro_invoke.benchmark.place import EnginePlace
from kiro_invoke.benchmark.recorded import entry_of
from kiro_invoke.benchmark.run import Run, load
from kiro_invoke.benchmark.runner import Runner
from kiro_invoke.benchmark.samples import Sample
from kiro_invoke.benchmark.scenarios import Scenario, Variant
from kiro_invoke.benchmark.schedule import Choice, blocks, remaining
from kiro_invoke.benchmark.targets import BACKEND, FRONTEND, Wanted, percent_for
from kiro_invoke.commands import opening
from kiro_invoke.commands.held import LOCK
from kiro_invoke.commands.measuring import Ground, make_place, survey
from kiro_invoke.commands.outputs import check_outputs, write_outputs
from kiro_invoke.commands.recording import Recorder, once
from kiro_invoke.commands.surface import Answer, Surface, whole
from kiro_invoke.engine import process
from kiro_invoke.engine.files import make_state_folder, refuse_links
from kiro_invoke.engine.held_lock import HeldBy, only_one
from kiro_invoke.model.errors import ExitCode, KiroError, UsageError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project

FOLDER = "benchmark"
_RUN = "run.json"
_EXTENSIONS = (".json", ".md", ".xml", ".txt")
_RUNS = 3
#: What `--quick` leaves out takes minutes whatever is cached.
_QUICK = frozenset({Scenario.SOURCE, Scenario.WARM})
_NOT_QUICK = (Variant.STANDARD_DEV,)
Named = TypeVar("Named", bound=StrEnum)


@dataclass(frozen=True)
class Asked:
    """The command's options, as they were given."""

    services: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    runs: str | None = None
    quick: bool = False
    resume: bool = False
    target_backend: str | None = None
    target_frontend: str | None = None
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Read:
    """The same, read."""

    scenarios: tuple[Scenario, ...]
    variants: tuple[Variant, ...]
    runs: int
    backend: float
    frontend: float
    outputs: tuple[Path, ...]


def test_build_performance(asked: Asked) -> Callable[[Surface], Answer]:
    """Measure, judge, and answer with the figures (docs/benchmark.md)."""

    def body(surface: Surface) -> Answer:
        read = _read(asked, surface)
        home = config.find_root(surface.folder) / ".kiro" / FOLDER
        refuse_links(home.parent, home)
        services = asked.services
        if asked.resume:  # those that the run was begun with
            services = tuple(load(home / _RUN).choice.variants)
        project = config.load(surface.folder, surface.environ, services=services)
        make_state_folder(project.state)
        try:
            with only_one(home / LOCK):
                run = _measured(surface, project, asked, read, home)
        except HeldBy as other:
            raise KiroError(
                f"another measurement of this checkout is under way, by process {other.pid}",
                fix="wait until it has ended",
            ) from None
        judged = results.judged(run, _wanted(project, read, run))
        write_outputs(read.outputs, _makers(judged))
        for path in read.outputs:
            surface.say(f"written: {path}")
        if not run.samples:
            surface.say("nothing was measured")
        return Answer(results.fields(judged), lambda s: _show(s, judged), judged.ok, _exit_code(judged))

    return body


def _read(asked: Asked, surface: Surface) -> _Read:
    scenarios = _named(asked.scenarios, Scenario, "--scenario")
    variants = _named(asked.variants, Variant, "--variant")
    if asked.quick:
        scenarios = tuple(one for one in scenarios or Scenario if one in _QUICK)
        if not scenarios:
            raise UsageError("--quick leaves out what --scenario asks for", fix="drop one of the two")
    return _Read(
        scenarios or tuple(Scenario),
        variants,
        _count(asked.runs) if asked.runs is not None else _RUNS,
        _percent(asked.target_backend, "--target-backend", BACKEND),
        _percent(asked.target_frontend, "--target-frontend", FRONTEND),
        check_outputs(asked.outputs, _EXTENSIONS, folder=surface.folder),
    )


def _measured(surface: Surface, project: Project, asked: Asked, read: _Read, home: Path) -> Run:
    """Take what is missing of a run, the last one's or a new one's. Ctrl-C leaves what was taken so far."""
    file = home / _RUN
    before = _last(file)
    engine = opening.open_engine(surface, setup=False, state=project.state)
    ground = survey(surface, project, engine, home)
    steps: list[tuple[Step, ...]] = [()]
    place = make_place(ground, lambda _key, done: steps.__setitem__(0, done))
    recorder = Recorder(project, results.COMMAND, engine.facts.address, once(surface.say))
    run = _begun(before, place, ground, asked, read)

    def taken(sample: Sample) -> None:
        run.samples.append(sample)
        run.save(file)
        recorder.remember(lambda: entry_of(sample, steps[0], engine.facts.address, run.begun))

    run.unmeasured[:] = _lacking(place, run.choice)
    if run.finished:
        surface.say("that run is complete: nothing is left to measure")
    runner = Runner(
        place,
        time.monotonic,
        lambda: datetime.now(UTC).isoformat(timespec="milliseconds"),
        machine.probe,
        taken,
        run.unmeasured.append,
        surface.say,
        expected(before.samples, {}) if before else {},
    )
    try:
        runner.measure(remaining(blocks(run.choice), run.samples), already=run.samples)
    except KeyboardInterrupt:
        run.save(file)
        surface.say("interrupted: `--resume` takes the samples that are missing")
        raise
    run.finished = True
    run.save(file)
    return run


def _begun(before: Run | None, place: EnginePlace, ground: Ground, asked: Asked, read: _Read) -> Run:
    """The run to go on with, or a new one."""
    sources = f"{place.warm.sources} {ground.sources}"
    if asked.resume and before is not None:
        if before.sources != sources:
            raise UsageError(
                "the sources, settings or images are not those that the run was begun with",
                fix="begin a new run, without --resume",
            )
        ground.surface.say(f"going on with the run of {before.begun}, as it was asked for then")
        return before
    choice = Choice(
        scenarios=read.scenarios,
        variants={name: one.variants for name, one in place.subjects.items()},
        chosen=read.variants,
        without=_NOT_QUICK if asked.quick else (),
        runs=read.runs,
        slow_runs=1 if asked.quick else read.runs,
        seed=random.randrange(10**6),
    )
    facts = machine.facts(
        ground.engine, process.run, ground.project.root, [base.ref for base in ground.bases]
    )
    if not blocks(choice):
        reasons = _lacking(place, choice)
        raise UsageError(
            "; ".join(["nothing of that can be measured", *reasons]),
            fix="ask for another scenario or variant",
        )
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    return Run(choice, sources, begun, facts)


def _lacking(place: EnginePlace, choice: Choice) -> list[str]:
    """The variants that were asked for, or are compared with, and that a service does not have: why."""
    return [
        f"{name} {variant}: not measured: {_REASONS[variant].format(subject.ecosystem)}"
        for name, subject in place.subjects.items()
        for variant in choice.chosen or (Variant.STANDARD,)
        if variant not in subject.variants
    ]


_REASONS = {
    Variant.STANDARD: "no unoptimized Dockerfile is known for {}: name one with `benchmark: standard:` in kiro.yaml",
    Variant.STANDARD_DEV: "{} has no debug profile: name a Dockerfile with `benchmark: standard_dev:` in kiro.yaml",
    Variant.PROD: "it has no Dockerfile for production",
    Variant.FAST: "it has no Dockerfile.fast",
    Variant.LIVE: "it has no Dockerfile.fast to run",
}


def _last(file: Path) -> Run | None:
    """The run before, which tells how long things take."""
    with suppress(UsageError):
        return load(file)
    return None


def _wanted(project: Project, read: _Read, run: Run) -> tuple[Wanted, ...]:
    return tuple(
        Wanted(
            service.name,
            service.ecosystem,
            percent_for(service.ecosystem, backend=read.backend, frontend=read.frontend),
            Variant.STANDARD_DEV in run.choice.variants[service.name],
        )
        for service in project.services
        if service.name in run.choice.variants
    )


def _makers(judged: results.Results) -> dict[str, Callable[[], str]]:
    return {
        ".json": lambda: (
            json.dumps(whole(results.COMMAND, results.fields(judged), ok=judged.ok), indent=2) + "\n"
        ),
        ".md": lambda: documents.markdown(judged),
        ".xml": lambda: documents.junit(judged),
        ".txt": lambda: "".join(f"{_plain(line)}\n" for line in told.lines(judged)),
    }


def _show(surface: Surface, judged: results.Results) -> None:
    for line in told.lines(judged):
        surface.out.line(*line)


def _plain(line: told.Line) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in line).rstrip()


def _exit_code(judged: results.Results) -> int:
    if judged.failures:
        return ExitCode.BUILD_FAILED
    return ExitCode.DONE if judged.ok else ExitCode.MISSED


def _named(given: Sequence[str], known: type[Named], option: str) -> tuple[Named, ...]:
    names = [str(one) for one in known]
    for name in given:
        if name not in names:
            raise UsageError(f'{option} "{name}": not known', fix=f"choose from: {', '.join(names)}")
    return tuple(one for one in known if str(one) in given)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise UsageError(f'--runs "{text}": not a number of samples', fix="give a whole number from 1 on")
    return int(text)


def _percent(text: str | None, option: str, usual: float) -> float:
    if text is None:
        return usual
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 100:
        raise UsageError(f'{option} "{text}": not a percentage', fix="give a number from 0 to 100")
    return found
