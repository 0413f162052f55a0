"""Proof that an image holds the sources that were sent: the revision found in it against the mirror's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kiro_invoke.builds.bake import LABEL_REVISION
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed

#: Set by a Dockerfile: the file of the image that holds the revision its build step found.
LABEL_PROOF = "dev.kiro.proof"
_REVISION = re.compile(rb"kiro-revision-[0-9a-f]{64}")


@dataclass(frozen=True)
class Claim:
    """An image, and the revision of the sources that were sent for it."""

    service: str
    image: str
    revision: str


@dataclass(frozen=True)
class Evidence:
    """What was found: `by` is the file in the image that holds the revision, or "label" where none does.

    `found` are the revisions in it: without any, the program does not embed one.
    """

    image_id: str
    by: str
    found: frozenset[str]


def examine(claim: Claim, engine: Engine) -> Evidence:
    """Read the evidence from the image itself; from its label where its Dockerfile names no file."""
    facts = engine.image(claim.image)
    if facts is None:
        return Evidence("", "label", frozenset())
    path = facts.labels.get(LABEL_PROOF, "")
    if path:
        found = _REVISION.findall(engine.image_file(facts.id, path) or b"")
        if found:
            return Evidence(facts.id, path, frozenset(revision.decode() for revision in found))
    labelled = facts.labels.get(LABEL_REVISION)
    return Evidence(facts.id, "label", frozenset((labelled,) if labelled else ()))


def check(claim: Claim, evidence: Evidence) -> None:
    """BuildFailed if the image holds other sources than were sent: a stale image is never called a success."""
    if claim.revision in evidence.found:
        return
    found = ", ".join(sorted(evidence.found)) or "no revision"
    raise BuildFailed(
        f"{claim.service}: the image {claim.image} is not built from the sources that were sent: "
        f"{evidence.by} holds {found} instead of {claim.revision}",
        fix="build it from scratch with `kiro build --clean`, and report this: it must not happen",
    )
