"""What may leave this machine, and what a builder can make of it. Nothing made from a stand-in leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kiro_invoke.builds.planner import Profile
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.shipment import NOTHING_ATTESTED, Shipment

_ENGINES_OWN = "the engine's own builder (driver docker, classic image store)"
_ANOTHER = "take one of another driver: `docker buildx create --driver docker-container --use`, or BUILDX_BUILDER=NAME"
_DRIVER = re.compile(r"^Driver:\s+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Leaving:
    """How images are asked to leave: pushed, or archived in a folder (as it was written; "": not)."""

    push: bool = False
    archive: str = ""

    @property
    def is_asked(self) -> bool:
        return self.push or bool(self.archive)


#: They do not.
STAYING = Leaving()


def check_leaving(leaving: Leaving, profiles: Sequence[Profile]) -> None:
    """UsageError if what is asked for does not go together."""
    if leaving.is_asked and tuple(profiles) != (Profile.PROD,):
        raise UsageError("only production images leave this machine", fix="add --prod")
    if leaving.push and leaving.archive:
        raise UsageError("--push and --archive do not go together", fix="give one of them")


@dataclass(frozen=True)
class Builder:
    """What the builder in use is: its driver, and whether the engine's images are in containerd's store."""

    driver: str
    is_containerd: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it makes all that BuildKit can: several platforms at once, attestations, OCI archives."""
        return self.driver != "docker" or self.is_containerd


def builder_of(engine: Engine) -> Builder:
    """The builder in use, as buildx tells it."""
    found = _DRIVER.search(engine.builder())
    return Builder(found[1] if found else "docker", engine.info().is_containerd)


#: The labels of local images, by the name that a build uses for them (`Base.image`).
Labels = Mapping[str, Mapping[str, str]]


class StandinRefused(KiroError):
    """Something made from stand-ins was to leave this machine. `refs` are the base images that are none."""

    def __init__(self, refs: tuple[str, ...], message: str, *, fix: str) -> None:
        super().__init__(message, fix=fix)
        self.refs = refs


def standins_below(bases: Sequence[Base], labels: Labels) -> tuple[tuple[str, str], ...]:
    """The base images that are stand-ins, or were built on one, each with what it really holds ("": unknown).

    Whatever is built on a stand-in inherits its label, whatever name it has by now.
    """
    found = {}
    for base in bases:
        own = labels.get(base.image, {})
        if base.status is BaseStatus.STANDIN or own.get(LABEL):
            found[base.ref] = base.holds or own.get(LABEL_HOLDS, "")
    return tuple(found.items())


def refuse_standins(bases: Sequence[Base], labels: Labels, *, done: str) -> None:
    """StandinRefused if one of these base images is a stand-in, or was built on one.

    `done` is what would be done with what stands on them, as a participle: "pushed", "archived".
    """
    below = standins_below(bases, labels)
    if not below:
        return
    each = ", ".join(f"{ref} (really {holds})" if holds else ref for ref, holds in below)
    many = "are stand-ins" if len(below) > 1 else "is a stand-in"
    raise StandinRefused(
        tuple(ref for ref, _ in below),
        f"nothing made from stand-ins is {done}: {each} {many} made from the distribution's packages",
        fix="run `kiro warm-cache --pull` where a registry answers, then try again",
    )


def shipped(plan: BuildPlan) -> BuildPlan:
    """What is built of a plan to leave: its images, for all their platforms.

    The plan was built before, so nothing need run again, but on platforms for which it was not.
    """
    return BuildPlan(
        tuple(
            target if len(target.platforms) > 1 else replace(target, uncached=())
            for target in plan.targets
            if target.tag
        )
    )


def check_shipment(plan: BuildPlan, shipment: Shipment, builder: Builder) -> Shipment:
    """The shipment as this builder can make it; KiroError where it cannot."""
    if not shipment.folder:
        for target in plan.targets:
            if target.tag and "/" in target.tag and not _names_registry(target.tag):
                raise UsageError(
                    f"image {target.tag} names no registry",
                    fix=f"write image: registry.example/{target.tag.rpartition(':')[0]} for service {target.service}",
                )
    if builder.is_whole:
        return shipment
    several = [target for target in plan.targets if target.tag and len(target.platforms) > 1]
    if several:
        one = several[0]
        raise KiroError(
            f"{one.service} is for {', '.join(one.platforms)}, and {_ENGINES_OWN} builds for one platform at a time",
            fix=_ANOTHER,
        )
    if shipment.folder:
        raise KiroError(f"{_ENGINES_OWN} writes no OCI archives", fix=_ANOTHER)
    return replace(shipment, attest=NOTHING_ATTESTED)


def _names_registry(ref: str) -> bool:
    first = ref.partition("/")[0]
    return "." in first or ":" in first or first == "localhost"


def labels_of(bases: Sequence[Base], engine: Engine) -> dict[str, Mapping[str, str]]:
    """The labels of those base images that the engine has."""
    images = ((base.image, engine.image(base.image)) for base in bases)
    return {name: image.labels for name, image in images if image is not None}
