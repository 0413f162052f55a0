"""What is to be done for a service, from how it stands. Pure: nothing is remembered, nothing is done here.

It is asked again whenever something happened, and answers from all of the facts: an event that was missed, a step that
failed, or a container that somebody restarted need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kiro_invoke.model.change import Classification, Kind


class Way(StrEnum):
    """How a change reaches what runs."""

    NOTHING = "nothing"
    #: the container is started from the image as it is
    START = "start"
    #: synced into the running container, built and restarted there
    LIVE = "live"
    #: that, and then the image is built, for the next start
    LIVE_IMAGE_BEHIND = "live, image behind"
    #: the image is built, the container made anew
    IMAGE = "image"
    #: the image is built, the container goes on
    BEHIND = "behind"
    #: it is waited until the container serves
    CONFIRM = "confirm"


@dataclass(frozen=True)
class Standing:
    """How a service stands.

    `rows` are the changes from what its container holds to what lies on disk. `unreachable` says why no live update can
    be, "" if one can. `gave_up_live`: why a live update of just this did not do.
    """

    rows: Sequence[Classification] = ()
    runs: bool = True
    is_known: bool = True
    is_served: bool = True
    #: it was seen to serve since its container was started
    is_confirmed: bool = True
    #: why its container has to be started in another way
    unfit: str = ""
    unreachable: str = ""
    gave_up_live: str = ""
    #: just this failed before, or nothing is to be done now
    rests: bool = False
    #: a person asked for a new image
    asked: bool = False
    #: what the image was built from is not what lies on disk, in its dependencies or more
    image_is_behind: bool = False
    #: what the image was built from is what lies on disk
    image_fits: bool = False


@dataclass(frozen=True)
class Decision:
    """What is to be done, why, and what the strongest change is."""

    way: Way
    kind: Kind
    cause: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.cause} -> {self.way}"


_UNCHANGED = "nothing changed"


def decide(standing: Standing) -> Decision:
    """The fastest way that is right."""
    if standing.asked:
        return Decision(Way.IMAGE, Kind.BASE, "asked for a new image")
    strongest = max(standing.rows, key=lambda row: row.kind, default=None)
    kind = strongest.kind if strongest else Kind.IGNORED
    cause = strongest.cause if strongest else _UNCHANGED
    if standing.rests:
        return Decision(Way.NOTHING, kind, cause)
    if not standing.runs:
        # one that was stopped still holds what it held, and can be brought up to date from there
        is_near = standing.is_known and kind < Kind.BASE
        way = Way.START if standing.image_fits or is_near else Way.IMAGE
        return Decision(way, kind, "its container does not run" if kind is Kind.IGNORED else cause)
    if standing.unfit:
        return Decision(Way.START, kind, standing.unfit)
    if not standing.is_known:
        return Decision(Way.IMAGE, kind, "what its container holds is not known")
    if kind is Kind.IGNORED and standing.is_served:
        return _at_rest(standing, cause)
    return _of_change(standing, kind, cause)


def _at_rest(standing: Standing, cause: str) -> Decision:
    """What runs is what lies on disk."""
    if not standing.is_confirmed:
        return Decision(Way.CONFIRM, Kind.IGNORED, "its container was started")
    if standing.image_is_behind:
        return Decision(Way.BEHIND, Kind.DEPENDENCY, "its image lacks what runs already")
    return Decision(Way.NOTHING, Kind.IGNORED, cause)


def _of_change(standing: Standing, kind: Kind, cause: str) -> Decision:
    """What runs is not what lies on disk."""
    if kind >= Kind.BASE:
        return Decision(Way.IMAGE, kind, cause)
    if why := standing.unreachable or standing.gave_up_live:
        return Decision(Way.IMAGE, max(kind, Kind.SOURCE), f"{cause}; not live: {why}")
    if kind is Kind.IGNORED:
        return Decision(Way.LIVE, Kind.SOURCE, "what its container holds was not built, or not started")
    way = Way.LIVE_IMAGE_BEHIND if kind is Kind.DEPENDENCY else Way.LIVE
    return Decision(way, kind, cause)
