"""What may leave this machine: nothing made from a stand-in is pushed, attested or pinned. Decides; asks nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS
from kiro_invoke.model.errors import KiroError

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

    `done` is what would be done with what stands on them, as a participle: "pushed", "attested".
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


def labels_of(bases: Sequence[Base], engine: Engine) -> dict[str, Mapping[str, str]]:
    """The labels of those base images that the engine has."""
    images = ((base.image, engine.image(base.image)) for base in bases)
    return {name: image.labels for name, image in images if image is not None}
