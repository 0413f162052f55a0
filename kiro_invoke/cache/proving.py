"""Prove each image that was built, and remember what is proven, so that it is read once."""

from __future__ import annotations

import json
from pathlib import Path

from kiro_invoke.builds.proof import Claim, check, examine
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.plan import BuildPlan, Sending

PROVEN = "proven.json"


def claims(plan: BuildPlan, sending: Sending) -> tuple[Claim, ...]:
    """What the images of a plan must hold."""
    return tuple(
        Claim(target.service, target.tag, sent.revision)
        for target in plan.targets
        if target.tag and (sent := sending.get((target.service, target.dockerfile)))
    )


def prove(plan: BuildPlan, sending: Sending, engine: Engine, state: Path) -> None:
    """BuildFailed if an image does not hold the sources that were sent for it."""
    file = state / PROVEN
    known = _read(file)
    fresh = dict(known)
    for claim in claims(plan, sending):
        facts = engine.image(claim.image)
        if facts is None or known.get(claim.image) != [facts.id, claim.revision]:
            evidence = examine(claim, engine)
            check(claim, evidence)
            fresh[claim.image] = [evidence.image_id, claim.revision]
    if fresh != known:
        write_whole(file, json.dumps(fresh, indent=1))


def _read(file: Path) -> dict[str, object]:
    """What is known to be proven: nothing where the file is missing or damaged."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
