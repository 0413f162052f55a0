"""The command `affected`, and what `build --since` builds: services whose images are not made as at a revision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile
from kiro_invoke.commands.looking import Looked, inside, look, look_at_images, why_left_out
from kiro_invoke.commands.since import Since, since
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.config.nodes import FILE
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.errors import UsageError
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean

_SHORT = 12


@dataclass(frozen=True)
class Verdict:
    """Whether a service is affected, and which of its images. `reason`: the strongest change; `more` are as strong."""

    service: str
    reason: Classification
    images: tuple[Profile, ...] = ()
    more: int = 0

    @property
    def is_affected(self) -> bool:
        return bool(self.images)

    @property
    def fields(self) -> dict[str, Any]:
        """Its row in JSON."""
        return {
            "name": self.service,
            "affected": self.is_affected,
            "kind": str(self.reason.kind),
            "path": self.reason.path,
            "cause": self.reason.cause,
            "more": self.more,
            "images": [str(profile) for profile in self.images],
        }

    def __str__(self) -> str:
        whether = "affected" if self.is_affected else "not affected"
        more = f"; and {self.more:,} more" if self.more else ""
        images = f" ({', '.join(self.images)})" if self.images else ""
        return (
            f"{whether:<12}  {self.service:<10}  {self.reason.kind!s:<10}  {self.reason.cause}{more}{images}"
        )


@dataclass(frozen=True)
class Found:
    """What a comparison with a revision found. `others` are changes of configuration that no image depends on."""

    commit: str
    verdicts: tuple[Verdict, ...]
    others: tuple[Classification, ...] = ()

    @property
    def affected(self) -> tuple[str, ...]:
        return tuple(verdict.service for verdict in self.verdicts if verdict.is_affected)

    @property
    def build_fields(self) -> dict[str, Any]:
        """It as `build` tells it."""
        services = [verdict.fields for verdict in self.verdicts]
        return {"revision": self.commit, "services": services, "affected": list(self.affected)}

    @property
    def lines(self) -> Iterator[str]:
        """A line for each service, and for each change that concerns none."""
        for told in (
            *self.verdicts,
            *(f"{'not affected':<12}  {'-':<10}  CONFIG      {o.cause}" for o in self.others),
        ):
            yield clean(str(told).replace("\n", "\\n"))


def affected(services: Sequence[str], *, revision: str) -> Callable[[Surface], Answer]:
    """Which services a build would make otherwise than at a revision. Needs no engine."""

    def body(surface: Surface) -> Answer:
        if not revision:
            raise UsageError("--since is missing", fix="name a git revision, such as --since origin/main")
        project = config.load(surface.folder, surface.environ, services=services)
        found = compare(project, revision, surface)
        fields = {
            "since": found.commit,
            "services": [verdict.fields for verdict in found.verdicts],
            "others": [
                {"path": each.path, "kind": str(each.kind), "cause": each.cause} for each in found.others
            ],
            "affected": list(found.affected),
            "matrix": {"service": list(found.affected)},
        }

        def show(surface: Surface) -> None:
            for line in found.lines:
                surface.out.line(line)
            some, all_ = len(found.affected), len(found.verdicts)
            surface.out.line(f"affected since {found.commit[:_SHORT]}: {some:,} of {all_:,} services")

        return Answer(fields, show)

    return body


def compare(project: Project, revision: str, surface: Surface, profile: Profile | None = None) -> Found:
    """What is not as it was at a revision; with a `profile`, of those images only."""
    looked = look(project, profile, time.time_ns) if profile else look_at_images(project, time.time_ns)
    with ExitStack() as stack:
        seen = tuple(looked)
        against = since(stack, project, revision, surface.environ)
        rows = [(one, tuple(against.classified(one))) for one in seen]
        told = {row.path for _, some in rows for row in some if row.kind}
        others = [row for row in against.configuration(project) if row.path not in told]
        verdicts = tuple(
            _verdict(tuple(same), against) for _, same in groupby(rows, key=lambda each: each[0].name)
        )
    return Found(against.commit, verdicts, tuple(map(_of_none, others)))


def _verdict(images: Sequence[tuple[Looked, Sequence[Classification]]], against: Since) -> Verdict:
    """Of one service: its images, each with what changed of it."""
    looked = images[0][0]
    rows = list(dict.fromkeys(row for _, some in images for row in some))
    strongest = max((row.kind for row in rows), default=Kind.IGNORED)
    reasons = [row for row in rows if row.kind is strongest] or [_unchanged(looked, against)]
    concerned = tuple(one.recipe.profile for one, some in images if any(row.kind for row in some))
    return Verdict(looked.name, reasons[0], concerned, len(reasons) - 1)


def _unchanged(looked: Looked, against: Since) -> Classification:
    """Why nothing is built of a service of which git may well know a change."""
    near = (path for path in sorted(against.differing) if inside(path, [looked.folder]))
    own = (path.removeprefix(f"{looked.folder}/") if looked.folder else path for path in near)
    left_out = next(((path, why) for path in own if (why := why_left_out(looked, path))), None)
    if left_out is None:
        cause = f"nothing that it is built from changed since {against.words}"
        return Classification(looked.name, Kind.IGNORED, looked.folder or ".", cause)
    path, why = left_out
    return Classification(
        looked.name, Kind.IGNORED, f"{looked.folder}/{path}".lstrip("/"), f"{path} is {why}"
    )


def _of_none(row: Classification) -> Classification:
    """Why a changed file at the root that says what is built and run has no image built."""
    why = (
        "no image of these services depends on that"
        if row.path == FILE
        else "it says what runs, no build reads it"
    )
    return Classification("", row.kind, row.path, f"{row.cause}: {why}")


def nothing_to_build(found: Found) -> Answer:
    """The answer of a build of what changed, where nothing did."""
    return Answer(
        {"since": found.build_fields, "services": []},
        lambda surface: surface.say(
            f"nothing to build: no service is affected since {found.commit[:_SHORT]}"
        ),
    )
