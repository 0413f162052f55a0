"""Proof that an image holds the sources that were sent: the revision found in it against the mirror's."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kiro_invoke.builds.bake import LABEL_PROOF, LABEL_REVISION
from kiro_invoke.builds.dockerfile import Dockerfile, Stage, expand
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed

_ELF_HEADER = 64
_REVISION = re.compile(rb"kiro-revision-[0-9a-f]{64}")
_NAMES_PROOF = re.compile(rf"""(?:^|\s)["']?(?:{re.escape(LABEL_PROOF)}["']?[=\s]|[^=\s]*\$[^=\s]*=)""")


class NotProven(BuildFailed):
    """An image does not hold the sources that were sent for it. `image` is its name.

    `may_lie` is False where the Dockerfile is at fault: what it names as proof is not there.
    """

    image = ""
    may_lie = False


@dataclass(frozen=True)
class Claim:
    """An image, and the revision of the sources that were sent for it."""

    service: str
    image: str
    revision: str


@dataclass(frozen=True)
class Evidence:
    """What was found: `by` is the file in the image that holds the revision, or "label" where none does.

    `found` are the revisions in it; of a file that holds the claimed one, perhaps not those that come after.
    `missing` is the file that the Dockerfile names and the image lacks; `silent` is the one that is there and
    holds no revision: the program does not embed one. `torn` is one that is not whole.
    """

    image_id: str
    by: str
    found: frozenset[str]
    missing: str = ""
    silent: str = ""
    torn: str = ""


def examine(claim: Claim, engine: Engine) -> Evidence:
    """Read the evidence from the image itself; from its label where no file of it holds a revision."""
    facts = engine.image(claim.image)
    if facts is None:
        return Evidence("", "label", frozenset())
    path = facts.labels.get(LABEL_PROOF, "")
    if path:
        # of a large program that holds what is claimed, most need not be read
        content = engine.image_file(facts.id, path, until=claim.revision.encode())
        if content is None:
            return Evidence(facts.id, path, frozenset(), missing=path)
        if found := _REVISION.findall(content):
            return Evidence(facts.id, path, frozenset(revision.decode() for revision in found))
        if is_torn(content):
            return Evidence(facts.id, path, frozenset(), torn=path)
    labelled = facts.labels.get(LABEL_REVISION)
    return Evidence(facts.id, "label", frozenset((labelled,) if labelled else ()), silent=path)


def check(claim: Claim, evidence: Evidence) -> None:
    """NotProven if the image holds other sources than were sent: a stale image is never called a success.

    Nor is one without its program: the label, which kiro attached itself, would prove nothing.
    """
    if evidence.missing:
        raise NotProven(
            f"{claim.service}: the image {claim.image} has no regular file {evidence.missing}, "
            f"which its label {LABEL_PROOF} names",
            fix=f"let the build make that file, or correct LABEL {LABEL_PROOF} in the Dockerfile",
        )
    if evidence.torn:
        raise _lying(
            claim,
            f"{claim.service}: the file {evidence.torn} in the image {claim.image} is not whole",
            fix="build it from scratch with `kiro build --clean`",
        )
    if claim.revision in evidence.found:
        return
    found = ", ".join(sorted(evidence.found)) or "no revision"
    raise _lying(
        claim,
        f"{claim.service}: the image {claim.image} is not built from the sources that were sent: "
        f"{evidence.by} holds {found} instead of {claim.revision}",
        fix="build it from scratch with `kiro build --clean`, and report this: it must not happen",
    )


def is_torn(content: bytes) -> bool:
    """Whether a file is empty, or a program (ELF of 64 bits, little-endian) that ends before its table of sections."""
    if not content.startswith(b"\x7fELF\x02\x01"):
        return not content
    if len(content) < _ELF_HEADER:
        return True
    (sections,) = struct.unpack_from("<Q", content, 40)
    size, number = struct.unpack_from("<HH", content, 58)
    return int(sections) + int(size) * int(number) > len(content)


def _lying(claim: Claim, message: str, *, fix: str) -> NotProven:
    found = NotProven(message, fix=fix)
    found.image, found.may_lie = claim.image, True
    return found


def names_proof(dockerfile: Dockerfile, stage: str) -> bool:
    """Whether a Dockerfile itself names the file that proves a stage, in that stage or one that it is FROM.

    A label whose name is a variable may be the one: then it is.
    """
    return any(
        instruction.keyword == "LABEL" and _NAMES_PROOF.search(f"{instruction.rest} ")
        for one in lineage(dockerfile, dockerfile.stage(stage))
        for instruction in one.instructions
    )


def lineage(dockerfile: Dockerfile, stage: Stage | None) -> Iterator[Stage]:
    """A stage and those that it is FROM; all before it where only the engine knows which."""
    values: dict[str, str] = {}
    for name, default in dockerfile.arguments.items():
        if default is not None:
            values[name] = expand(default, values)
    while stage is not None:
        yield stage
        earlier = dockerfile.stages[: dockerfile.stages.index(stage)]
        variables = {name or bare for name, bare in re.findall(r"\$(?:\{(\w+)|(\w+))", stage.base)}
        if not variables <= values.keys():
            yield from earlier
            return
        stage = replace(dockerfile, stages=earlier).stage(expand(stage.base, values))
