"""Which engine answers: DOCKER_HOST, else the Docker CLI's current context."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke.engine.cli_files import chooses_default
from kiro_invoke.engine.protocol import Run
from kiro_invoke.model.errors import EngineError

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
MINIMUM_ENGINE = (26, 0)
MINIMUM_BUILDX = (0, 13)


#: What `docker context inspect` says of TLS files that come from the environment.
_IN_MEMORY = "<IN MEMORY>"


@dataclass(frozen=True)
class TlsFiles:
    """With what an engine is spoken to over TLS. Files may be missing; `verify` demands a known authority."""

    ca: Path | None
    cert: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True)
class Address:
    """Where the engine is looked for, how it is spoken to, and what said so (for messages)."""

    url: str
    origin: str
    tls: TlsFiles | None = None

    @property
    def is_default(self) -> bool:
        return self.url == DEFAULT_ADDRESS and not self.origin.startswith("DOCKER_HOST")


def locate(environ: Mapping[str, str], run: Run) -> Address:
    """The address that every command uses, as the docker CLI itself would choose it."""
    if host := environ.get("DOCKER_HOST"):
        return Address(host, "DOCKER_HOST", _environment_tls(environ) if _over_tcp(host) else None)
    if chooses_default(environ):
        return Address(DEFAULT_ADDRESS, "context default")
    shown = run(["docker", "context", "inspect", "--format", "{{json .}}"], timeout=20)
    if shown.returncode == 127:
        return Address(DEFAULT_ADDRESS, "default")
    try:
        context = json.loads(shown.stdout if shown.ok else "")
        url = context["Endpoints"]["docker"].get("Host") or DEFAULT_ADDRESS
        tls = _context_tls(context, environ) if _over_tcp(url) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        why = (shown.stderr.strip() or "it names no engine").splitlines()[-1]
        raise EngineError(
            f"docker's current context cannot be used: {why}",
            fix="choose another: unset DOCKER_CONTEXT, or run `docker context use default`",
        ) from None
    return Address(url, f"context {context.get('Name', 'default')}", tls)


def _over_tcp(url: str) -> bool:
    return not url.startswith(("unix://", "ssh://", "npipe://", "fd://"))


def _environment_tls(environ: Mapping[str, str]) -> TlsFiles | None:
    """What the docker CLI takes from DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH."""
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    if not verify and not environ.get("DOCKER_TLS"):
        return None
    home = Path(environ.get("HOME", "~")).expanduser()
    folder = Path(environ.get("DOCKER_CERT_PATH") or environ.get("DOCKER_CONFIG") or home / ".docker")
    return TlsFiles(folder / "ca.pem", folder / "cert.pem", folder / "key.pem", verify)


def _context_tls(context: Mapping[str, Any], environ: Mapping[str, str]) -> TlsFiles | None:
    """What a context, as `docker context inspect` shows it, says of its engine's TLS."""
    names = (context.get("TLSMaterial") or {}).get("docker") or ()
    skip = bool(context["Endpoints"]["docker"].get("SkipTLSVerify"))
    storage = (context.get("Storage") or {}).get("TLSPath") or ""
    if names and storage in {"", _IN_MEMORY}:
        return _environment_tls(environ)
    if not names and not skip:
        return None
    ca, cert, key = (
        Path(storage) / "docker" / name if name in names else None
        for name in ("ca.pem", "cert.pem", "key.pem")
    )
    return TlsFiles(ca, cert, key, not skip)


def version_tuple(text: str) -> tuple[int, ...]:
    """The leading numbers of the first version in a text: 'buildx v0.13.1 x' -> (0, 13, 1)."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def version_text(text: str) -> str:
    """The first version in a text, or 'unknown'."""
    return ".".join(map(str, version_tuple(text))) or "unknown"


def refuse_podman(server: Mapping[str, Any]) -> None:
    """EngineError if what answered `version` is podman, which counts its versions on its own."""
    for part in server.get("Components") or ():
        if part.get("Name") == "Podman Engine":
            raise EngineError(
                f"Podman {part.get('Version', '')} answers, which is not supported yet",
                fix="start Docker Engine 26 or newer, or name one in DOCKER_HOST (docs/support.md tells more)",
            )


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
