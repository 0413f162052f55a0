"""Carry out a build plan through the engine. Decides nothing."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.builds.bake import Surroundings, definition
from kiro_invoke.builds.cache_patience import answering
from kiro_invoke.builds.dockerfile import Instruction, Stage
from kiro_invoke.builds.log import BuildLog
from kiro_invoke.builds.planner import Recipe, shown
from kiro_invoke.builds.progress import CacheTrouble, Observer, Progress
from kiro_invoke.engine.brake import Brake, passed_on
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed, EngineError
from kiro_invoke.model.plan import BuildPlan, Target
from kiro_invoke.model.record import BuildRecord, FailedStep, ImageRecord, StageRecord, Step

#: The tool asks for what it needs itself; a person's settings must not change the graph.
OWN_SETTINGS = {
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    "BUILDX_BAKE_GIT_AUTH_TOKEN": "",
    # from 0.20 on, bake refuses what it reads outside the folder that it was started in
    "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
    "BUILDKIT_PROGRESS": "rawjson",
    # buildx makes a build argument of it: development images are not to change with it
    "SOURCE_DATE_EPOCH": "",
}
_VARIABLE = re.compile(r"\$(?:\{[^}]*\}|\w+)")

#: Of what a step printed, so many lines are shown.
_TAIL = 20
#: What the client says when the engine is gone; a step that failed says other things.
_LOST = re.compile(
    r"^ERROR: .*(cannot connect to the docker daemon|code = Unavailable|error reading from server)"
    r"|^ERROR: (context deadline exceeded$|DeadlineExceeded: |no builder )",
    re.I,
)
#: A step ran to its end and failed, whatever its own text says.
_STEP_FAILED = "did not complete successfully"


class Stopped(Exception):
    """A build was ended before its end, as somebody asked."""


@dataclass(frozen=True)
class Executed:
    """A finished build: its steps, its seconds, when it began (epoch), and the bytes of contexts that were sent."""

    steps: tuple[Step, ...]
    seconds: float
    at: float = 0.0
    context_bytes: int = 0
    cache_troubles: tuple[CacheTrouble, ...] = ()


def execute(
    plan: BuildPlan,
    around: Surroundings,
    engine: Engine,
    *,
    root: Path,
    logs: Path,
    observer: Observer,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    brake: Brake | None = None,
) -> Executed:
    """Build every target of `plan` as one graph; BuildFailed names the step, its place and the full log.

    Stopped where the brake ended it.
    """
    begun, at = clock(), wall()
    with BuildLog.begin(logs) as log:
        progress = Progress(log.beside(observer), {target.name: target.service for target in plan.targets})
        text = definition(plan, around.loading(engine.facts.architecture))
        ended = Brake()
        with passed_on(brake, ended), answering(progress, ended, around) as answers:
            done = engine.bake(text, env=OWN_SETTINGS, on_line=progress.feed, brake=ended)
        if brake is not None and brake.pulled:
            raise Stopped
        if answers.gave_up:
            raise answers.gave_up
        if not done.ok:
            log.write("\n".join(progress.plain))
            if is_lost(progress.plain):
                raise EngineError(
                    f"the engine went away: {_reason(progress.plain)}", fix="start it and build again"
                )
            log.flush()
            failed = failure(progress, plan, root, log.path)
            if log.trouble:
                failed.fix = f"{failed.fix}, which is cut short: {log.trouble}"
            failed.attempt = attempt(_executed(progress, clock() - begun, at))
            raise failed
    return _executed(progress, clock() - begun, at)


def is_lost(plain: Sequence[str]) -> bool:
    """Whether what the client said after a failure means that the engine or the builder is gone."""
    return any(_LOST.search(line) and _STEP_FAILED not in line for line in plain)


def attempt(done: Executed) -> BuildRecord:
    """What is known of a build by what the engine did alone."""
    return BuildRecord(
        done.seconds,
        (),
        (),
        done.steps,
        0,
        at=done.at,
        context_bytes=done.context_bytes,
        unread=tuple(f"{one.place}: {one.why}" for one in done.cache_troubles if not one.writing),
        unpushed=tuple(f"{one.place}: {one.why}" for one in done.cache_troubles if one.writing),
    )


def _executed(progress: Progress, seconds: float, at: float) -> Executed:
    return Executed(progress.steps, round(seconds, 3), at, progress.context_bytes, progress.cache_troubles)


def failure(progress: Progress, plan: BuildPlan, root: Path, log: Path) -> BuildFailed:
    """What went wrong, for a person: the step as `service Dockerfile:line`, its last lines, the log.

    NoRoom where something was full.
    """
    step, place = progress.failed_step(), progress.failed_place()
    blamed = (step[0].target if step else "") or progress.failed_target()
    target = next((target for target in plan.targets if target.name == blamed), None)
    reason = _shortened(f"{step[0].stage} {step[0].text}".strip()) if step else _reason(progress.plain)
    what = f"{target.service}: {reason}" if target else reason
    failed = BuildFailed(
        f"{what} failed" if step else what,
        file=shown(target.dockerfile, root) if target else place[0] if place else None,
        line=place[1] if place else None,
        fix=f"see the whole log in {shown(log, root)}",
        log=str(log),
        tail=(step[1] if step and step[1] else progress.plain)[-_TAIL:],
    )
    if step and target:
        services = progress.failed_services() or (target.service,)
        failed.step = FailedStep(services, target.dockerfile, step[0].stage, step[1])
    from kiro_invoke.builds.full_disk import NoRoom, shortage_of  # few builds fail

    shortage = shortage_of(progress.failed_lines())
    return NoRoom.of(failed, shortage) if shortage else failed


def images(
    plan: BuildPlan, recipes: Iterable[Recipe], steps: Sequence[Step], root: Path
) -> tuple[ImageRecord, ...]:
    """For each recipe of the plan, its stages in file order with what the engine reported of them."""
    recipes = tuple(recipes)
    names = Counter(recipe.service.name for recipe in recipes)
    return tuple(
        ImageRecord(
            service=recipe.service.name,
            image=recipe.tag,
            dockerfile=shown(recipe.path, root),
            stages=_stages(recipe, wanted, steps),
            profile=recipe.profile,
            steps=tuple(own_steps(recipe, steps, alone=names[recipe.service.name] == 1)),
        )
        for recipe in recipes
        if (wanted := [target for target in plan.targets if _same(target, recipe)])
    )


def own_steps(recipe: Recipe, steps: Sequence[Step], *, alone: bool) -> Iterator[Step]:
    """The steps of a recipe's stages. Where another recipe of the service may have such stages, by instruction."""
    stages = {}
    for index, stage in enumerate(recipe.parsed.stages):
        known = () if alone else tuple(map(_beginning, stage.instructions))
        stages[stage.name] = stages[f"stage-{index}"] = known
    for step in steps:
        if step.service == recipe.service.name and step.stage in stages:
            text = _without_quotes(step.text).casefold()
            if alone or text.startswith("from ") or any(begins(text) for begins in stages[step.stage]):
                yield step


def _beginning(instruction: Instruction) -> Callable[[str], bool]:
    """Whether a text is how an instruction is printed, as far as its first variable: quicker than all of _printed."""
    text = _without_quotes(f"{instruction.keyword} {instruction.rest}")
    first, *others = _VARIABLE.split(text.casefold())
    return lambda printed: printed.startswith(first) if others or instruction.heredoc else printed == first


def _same(target: Target, recipe: Recipe) -> bool:
    return target.service == recipe.service.name and target.dockerfile == recipe.path


def _stages(recipe: Recipe, wanted: Sequence[Target], steps: Sequence[Step]) -> tuple[StageRecord, ...]:
    needed = recipe.parsed.reachable(*(target.stage for target in wanted))
    return tuple(
        _stage(stage, {stage.name, f"stage-{index}"}, recipe.service.name, steps)
        for index, stage in enumerate(recipe.parsed.stages)
        if stage.name in needed
    )


def _stage(stage: Stage, names: set[str], service: str, steps: Sequence[Step]) -> StageRecord:
    """A stage's steps are known by stage and instruction: the engine names a shared step after any twin.

    It also shows a step that ran for one target as cached for its twin: a step ran if any twin ran.
    """
    own = [step for step in steps if step.service == service and step.stage in names and not step.cached]
    patterns = [_printed(instruction) for instruction in stage.instructions] if own else []
    ran: dict[str, Step] = {}
    for step in own:
        text = _without_quotes(step.text)
        if any(pattern.fullmatch(text) for pattern in patterns):
            ran[text] = max(ran.get(text, step), step, key=lambda one: one.seconds)
    return StageRecord(
        stage.name,
        round(sum(step.seconds for step in ran.values()), 3),
        cached=not ran,
        started=min((step.started for step in ran.values()), default=0.0),
        completed=max((step.completed for step in ran.values()), default=0.0),
    )


def _printed(instruction: Instruction) -> re.Pattern[str]:
    """An instruction as the engine prints it: variables filled in, a heredoc's first line added."""
    text = _without_quotes(f"{instruction.keyword} {instruction.rest}")
    first, *others = map(re.escape, _VARIABLE.split(text))
    between = "".join(f"(?>.*?{fixed})" for fixed in others[:-1])  # atomic: no backtracking over variables
    last = f".*{others[-1]}" if others else ""
    added = r"(?: \(.*\))?" if instruction.heredoc else ""
    return re.compile(f"{first}{between}{last}{added}", re.IGNORECASE | re.DOTALL)


def _without_quotes(text: str) -> str:
    return " ".join(text.replace("'", "").replace('"', "").split())


def _reason(plain: Sequence[str]) -> str:
    errors = [line for line in plain if line.startswith("ERROR:")]
    return (errors or list(plain) or ["the build failed without a word"])[-1].removeprefix("ERROR: ")


def _shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
