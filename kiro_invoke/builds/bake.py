"""The build graph as a `docker buildx bake` definition: anyone can run it without this tool."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kiro_invoke.builds.option_rows import option_row
from kiro_invoke.builds.planner import SKELETON
from kiro_invoke.builds.platforms import loadable
from kiro_invoke.builds.shared_cache import Places
from kiro_invoke.model.plan import BuildPlan, Sending, Target
from kiro_invoke.model.service import Secret
from kiro_invoke.model.shared import CACHE_PATIENCE
from kiro_invoke.model.shipment import Attest, Shipment

LABEL_PROJECT = "dev.kiro.project"
LABEL_SERVICE = "dev.kiro.service"
LABEL_CHECKOUT = "dev.kiro.checkout"
LABEL_REVISION = "dev.kiro.revision"
#: Set by a Dockerfile: the file of the image that holds the revision its build step found.
LABEL_PROOF = "dev.kiro.proof"
#: On the base images of a measured copy, and so on all images that stand on them: the copy's checkout.
LABEL_MEASURED = "dev.kiro.benchmark"
#: What the names of a measured copy's images begin with.
MEASURED_IMAGES = "kiro-benchmark"
#: A build argument of BuildKit's own: it gives all cache mounts a namespace and leaves the layers' keys alone.
NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
#: Another one: what stands for the time of the build.
EPOCH = "SOURCE_DATE_EPOCH"
_NOT_ATTESTED = ("type=provenance,disabled=true",)


@dataclass(frozen=True)
class Surroundings:
    """What every target of a build is given besides its own Dockerfile and context.

    `checkout` labels images, `namespace` is that of the cache mounts ("": none) of all services but those that
    `namespaces` tells another one of. `sending` gives Dockerfiles the folders that are sent for them; without, a
    target is built from the person's own. `without_proof` are the services and Dockerfiles that name no file as
    proof: one that a base image names is not theirs. `architecture` is the engine's, which images are loaded into: of
    several platforms it gets one. "": images are built for all of theirs. `shipment`: they leave and are not loaded.
    `epochs` are the services and Dockerfiles that are given a SOURCE_DATE_EPOCH as a build argument, `created` is what
    images tell as the time when they were made, as far as the engine heeds it (None: when they were).
    """

    project: str
    checkout: str = ""
    namespace: str = ""
    namespaces: Mapping[str, str] = field(default_factory=dict)
    sending: Sending = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    ssh: tuple[str, ...] = ()
    without_proof: frozenset[tuple[str, Path]] = frozenset()
    #: What tells this machine from others on a builder that they share; "" where the builder is this machine's own.
    machine: str = ""
    caching: Mapping[str, Places] = field(default_factory=dict)
    #: Seconds that what it reads may keep a build waiting.
    cache_patience: float = CACHE_PATIENCE
    architecture: str = ""
    shipment: Shipment | None = None
    epochs: Mapping[tuple[str, Path], int] = field(default_factory=dict)
    created: int | None = None

    def loading(self, architecture: str) -> Surroundings:
        """The same on an engine of that architecture, where images are loaded unless they leave at once."""
        return self if self.shipment else replace(self, architecture=architecture)


def definition(plan: BuildPlan, around: Surroundings) -> str:
    """The bake definition, as JSON text, that builds `plan` in one graph."""
    around = replace(around, sending=_sending(plan, around.sending))
    targets = {target.name: _target(target, around) for target in plan.targets}
    return json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}, indent=2)


def _sending(plan: BuildPlan, sending: Sending) -> Sending:
    """The same, without the skeleton where its stage is asked for: no folder may take the stage's place then."""
    asked = {(target.service, target.dockerfile) for target in plan.targets if target.stage == SKELETON}
    return {key: replace(sent, skeleton=None) if key in asked else sent for key, sent in sending.items()}


def _target(target: Target, around: Surroundings) -> dict[str, object]:
    sent = around.sending.get((target.service, target.dockerfile))
    args = {name: literal(value) for name, value in around.build_args.items()}
    contexts = {ref: literal(image) for ref, image in around.contexts.items()}
    if sent and sent.skeleton:
        contexts[SKELETON] = literal(str(sent.skeleton))
    if (epoch := around.epochs.get((target.service, target.dockerfile))) is not None:
        args = {EPOCH: str(epoch)} | args
    namespace = around.namespaces.get(target.service, around.namespace)
    if namespace and around.machine:
        namespace = f"{namespace}-{around.machine}"
    wanted: dict[str, object] = {
        "context": literal(str(sent.context if sent else target.context)),
        "target": None if target.stage.isdigit() else literal(target.stage),
        "contexts": contexts,
        "args": args | {NAMESPACE: namespace} if namespace else args,
        "secret": [literal(secret_option(secret)) for secret in around.secrets],
        "ssh": [literal(entry) for entry in around.ssh],
        "platforms": _platforms(target, around),
        # else a cached build would still change the image's id, and containers would be recreated
        "attest": attestations(around.shipment.attest) if around.shipment else _NOT_ATTESTED,
    }
    if places := around.caching.get(target.name):
        wanted["cache-from"] = [literal(row) for row in places.sources]
        wanted["cache-to"] = [literal(row) for row in places.targets]
    if any(stage.isdigit() for stage in target.uncached):
        wanted["no-cache"] = True  # a stage without a name cannot be named in the filter
    else:
        wanted["no-cache-filter"] = [literal(stage) for stage in target.uncached]
    if target.inline is not None and sent is None:
        wanted["dockerfile-inline"] = literal(target.inline)
    else:
        wanted["dockerfile"] = literal(str(sent.dockerfile if sent else target.dockerfile))
    if target.tag is None:
        wanted["output"] = ["type=cacheonly"]
    else:
        wanted["tags"] = [target.tag]
        wanted["output"] = [literal(_output(target, around))]
        wanted["labels"] = _labels(target, around)
    return {key: value for key, value in wanted.items() if value}


def _output(target: Target, around: Surroundings) -> str:
    """Where an image goes. Its layers get the time that stands for the build's where they are packed for elsewhere."""
    fields = ["type=docker"]
    if ship := around.shipment:
        fields = ["type=oci", f"dest={archive(ship.folder, target)}"] if ship.folder else ["type=registry"]
        fields += ["rewrite-timestamp=true"] if around.created is not None else []
    return option_row(
        (*fields, *([f"source-date-epoch={around.created}"] if around.created is not None else ()))
    )


def archive(folder: Path, target: Target) -> Path:
    """The file that an image is written into."""
    return folder / f"{target.service}.tar"


def attestations(attest: Attest) -> tuple[str, ...]:
    """What BuildKit is to say of an image."""
    provenance = f"type=provenance,mode={attest.provenance}" if attest.provenance else _NOT_ATTESTED[0]
    generator = f",generator={attest.generator}" if attest.generator else ""
    return (provenance, f"type=sbom{generator}") if attest.sbom else (provenance,)


def _platforms(target: Target, around: Surroundings) -> tuple[str, ...]:
    if around.shipment or not around.architecture:
        return target.platforms
    one = loadable(target.platforms, around.architecture)
    return (one,) if one else ()


def _labels(target: Target, around: Surroundings) -> dict[str, str]:
    sent = around.sending.get((target.service, target.dockerfile))
    labels = {
        LABEL_PROJECT: around.project,
        LABEL_SERVICE: target.service,
        # what leaves is the same from every checkout
        LABEL_CHECKOUT: "" if around.shipment else around.checkout,
        LABEL_REVISION: sent.revision if sent else "",
    }
    wanted = {name: value for name, value in labels.items() if value}
    is_without = (target.service, target.dockerfile) in around.without_proof
    return wanted | {LABEL_PROOF: ""} if is_without else wanted


def literal(text: str) -> str:
    """`text` as bake reads it back unchanged: `${` and `%{` would start a template."""
    return re.sub(r"([$%])\{", r"\1\1{", text)


def secret_option(secret: Secret) -> str:
    """The `--secret` option: one row of comma-separated fields."""
    kind, _, value = secret.source.partition(":")
    return option_row((f"id={secret.id}", f"{'src' if kind == 'file' else 'env'}={value}"))
