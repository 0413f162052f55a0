"""The build graph as a `docker buildx bake` definition: anyone can run it without this tool."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kiro_invoke.model.plan import BuildPlan, Target
from kiro_invoke.model.service import Secret

LABEL_PROJECT = "dev.kiro.project"
LABEL_SERVICE = "dev.kiro.service"


@dataclass(frozen=True)
class Surroundings:
    """What every target of a build is given besides its own Dockerfile and context."""

    project: str
    contexts: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()
    ssh: tuple[str, ...] = ()


def definition(plan: BuildPlan, around: Surroundings) -> str:
    """The bake definition, as JSON text, that builds `plan` in one graph."""
    targets = {target.name: _target(target, around) for target in plan.targets}
    return json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}, indent=2)


def _target(target: Target, around: Surroundings) -> dict[str, object]:
    wanted: dict[str, object] = {
        "context": literal(str(target.context)),
        "target": None if target.stage.isdigit() else literal(target.stage),
        "contexts": {ref: literal(image) for ref, image in around.contexts.items()},
        "args": {name: literal(value) for name, value in around.build_args.items()},
        "secret": [literal(secret_option(secret)) for secret in around.secrets],
        "ssh": [literal(entry) for entry in around.ssh],
        # else a cached build would still change the image's id, and containers would be recreated
        "attest": ["type=provenance,disabled=true"],
    }
    if target.inline is None:
        wanted["dockerfile"] = literal(str(target.dockerfile))
    else:
        wanted["dockerfile-inline"] = literal(target.inline)
    if target.tag is None:
        wanted["output"] = ["type=cacheonly"]
    else:
        wanted["tags"] = [target.tag]
        wanted["output"] = ["type=docker"]
        wanted["labels"] = {LABEL_PROJECT: around.project, LABEL_SERVICE: target.service}
    return {key: value for key, value in wanted.items() if value}


def literal(text: str) -> str:
    """`text` as bake reads it back unchanged: `${` and `%{` would start a template."""
    return re.sub(r"([$%])\{", r"\1\1{", text)


def secret_option(secret: Secret) -> str:
    """The `--secret` option: one row of comma-separated fields."""
    kind, _, value = secret.source.partition(":")
    return _row((f"id={secret.id}", f"{'src' if kind == 'file' else 'env'}={value}"))


def _row(fields: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(tuple(fields))
    return buffer.getvalue()
