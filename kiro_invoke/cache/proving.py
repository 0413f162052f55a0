"""Prove each image that was built, and remember what is proven, so that it is read once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.proof import Claim, check, examine
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.plan import BuildPlan, Sending

PROVEN = "proven.json"
#: How many ids of images are remembered: the oldest ones are long gone.
_REMEMBERED = 1000


@dataclass(frozen=True)
class ProvenImage:
    """The image that was last proven under a name. `silent`: the file that embeds no revision, so its label did."""

    id: str
    revision: str
    silent: str = ""


@dataclass(frozen=True)
class Proven:
    """What is known of this checkout's images: each name's proven one, and the ids of all, oldest first."""

    images: Mapping[str, ProvenImage] = field(default_factory=dict)
    ids: tuple[str, ...] = ()


def claims(plan: BuildPlan, sending: Sending) -> tuple[Claim, ...]:
    """What the images of a plan must hold."""
    return tuple(
        Claim(target.service, target.tag, sent.revision)
        for target in plan.targets
        if target.tag and (sent := sending.get((target.service, target.dockerfile)))
    )


def prove(plan: BuildPlan, sending: Sending, engine: Engine, state: Path) -> None:
    """NotProven if an image does not hold the sources that were sent for it."""
    known = read_proven(state)
    images = {**known.images}
    ids = dict.fromkeys(known.ids)
    for claim in claims(plan, sending):
        facts, before = engine.image(claim.image), known.images.get(claim.image)
        if facts is None or before is None or (before.id, before.revision) != (facts.id, claim.revision):
            evidence = examine(claim, engine)
            check(claim, evidence)
            images[claim.image] = ProvenImage(evidence.image_id, claim.revision, evidence.silent)
        ids[images[claim.image].id] = None
    fresh = Proven(images, tuple(ids)[-_REMEMBERED:])
    if fresh != known:
        _write(state / PROVEN, fresh)


def notes(proven: Proven, images: Iterable[str]) -> tuple[str, ...]:
    """What a person must know of how these images were proven, a line each."""
    found = ((image, proven.images[image].silent) for image in images if image in proven.images)
    return tuple(
        f"{image}: {file} embeds no revision: checked by label only" for image, file in found if file
    )


def check_names(engine: Engine, images: Iterable[str], checkout: str) -> None:
    """BuildFailed where another checkout has taken the name of one of these images."""
    for image in images:
        facts = engine.image(image)
        holder = facts.labels.get(LABEL_CHECKOUT, "") if facts else ""
        if holder and holder != checkout:
            raise BuildFailed(
                f"another checkout ({holder}) took the name {image} before the image was proven",
                fix="build again, or give the images of one checkout other names in its kiro.yaml",
            )


def read_proven(state: Path) -> Proven:
    """What is known to be proven: nothing where the file is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        raw = json.loads((state / PROVEN).read_text(encoding="utf-8"))
        images = {str(name): ProvenImage(**image) for name, image in raw["images"].items()}
        return Proven(images, tuple(map(str, raw["ids"])))
    return Proven()


def _write(file: Path, proven: Proven) -> None:
    """Remember; what cannot be is proven again by the next build. An older note would say what is no longer so."""
    try:
        write_whole(file, json.dumps(asdict(proven), indent=1))
    except OSError:
        with suppress(OSError):
            file.unlink()
