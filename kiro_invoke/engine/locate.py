"""Which engine answers: DOCKER_HOST, else the Docker CLI's current context."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kiro_invoke.engine.protocol import Run
from kiro_invoke.model.errors import EngineError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
MINIMUM_ENGINE = (26, 0)
MINIMUM_BUILDX = (0, 13)


@dataclass(frozen=True)
class Address:
    """Where the engine is looked for, and what said so (for messages)."""

    url: str
    origin: str

    @property
    def is_default(self) -> bool:
        return self.url == DEFAULT_ADDRESS and not self.origin.startswith("DOCKER_HOST")


def locate(environ: Mapping[str, str], run: Run) -> Address:
    """The address that every command uses, as the docker CLI itself would choose it."""
    if host := environ.get("DOCKER_HOST"):
        return Address(host, "DOCKER_HOST")
    shown = run(["docker", "context", "inspect", "--format", "{{json .}}"], timeout=20)
    if shown.returncode == 127:
        return Address(DEFAULT_ADDRESS, "default")
    try:
        context = json.loads(shown.stdout if shown.ok else "")
        url = context["Endpoints"]["docker"].get("Host") or DEFAULT_ADDRESS
    except (ValueError, KeyError, TypeError, AttributeError):
        why = (shown.stderr.strip() or "it names no engine").splitlines()[-1]
        raise EngineError(
            f"docker's current context cannot be used: {why}",
            fix="choose another: unset DOCKER_CONTEXT, or run `docker context use default`",
        ) from None
    return Address(url, f"context {context.get('Name', 'default')}")


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of the first version in a text: 'buildx v0.13.1 x' -> (0, 13, 1)."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def version_text(text: str) -> str:
    """The first version in a text, or 'unknown'."""
    return ".".join(map(str, version_tuple(text))) or "unknown"


def check_versions(engine: str, buildx: str) -> None:
    """EngineError unless both are new enough for what the builds rest on."""
    if version_tuple(engine) < MINIMUM_ENGINE:
        raise EngineError(
            f"Docker Engine {engine} is too old: 26 is the first whose cache mounts may be renamed"
            " without rebuilding layers",
            fix="upgrade Docker Engine to 26 or newer (docs/support.md tells how)",
        )
    if version_tuple(buildx) < MINIMUM_BUILDX:
        raise EngineError(
            f"docker buildx {buildx or 'is missing'}: 0.13 or newer is needed"
            if not buildx
            else f"docker buildx {buildx} is too old: 0.13 is the first that reports each step's times",
            fix="install docker-buildx 0.13 or newer (docs/support.md tells how)",
        )
