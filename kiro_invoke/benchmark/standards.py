"""The unoptimized Dockerfile that a service is compared with: a configured one, one that is there, or a derived one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.benchmark.scenarios import Variant
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import shown
from kiro_invoke.ecosystems.registry import ECOSYSTEMS
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Project, Service

FOLDER = Path("benchmarks/standard")
_FILES = {Variant.STANDARD: "{}.Dockerfile", Variant.STANDARD_DEV: "{}.debug.Dockerfile"}
_DERIVED = """\
# Derived by kiro: how such a service is usually put into an image. One stage, nothing kept between builds.
FROM {base}
WORKDIR /app
COPY . .
RUN --mount=type=secret,id=ca_bundle \\
    [ ! -s /run/secrets/ca_bundle ] || export SSL_CERT_FILE=/run/secrets/ca_bundle \\
    CARGO_HTTP_CAINFO=/run/secrets/ca_bundle NODE_EXTRA_CA_CERTS=/run/secrets/ca_bundle; \\
    {command}
"""


@dataclass(frozen=True)
class Standard:
    """A Dockerfile to compare with: its text, and where it is from."""

    text: str
    origin: str
    path: Path | None = None

    @property
    def stage(self) -> str:
        """The last one: it makes the image."""
        return parse(self.text).stages[-1].name

    @property
    def syntax(self) -> str:
        """The frontend image that its `# syntax=` line asks for, "" without one."""
        return parse(self.text).directives.get("syntax", "")

    def bases(self, build_args: dict[str, str]) -> tuple[str, ...]:
        return parse(self.text).bases(build_args)


def standards(project: Project, service: Service, base: str) -> dict[Variant, Standard]:
    """What a service is compared with; nothing where its ecosystem is not known and no file says how it is built.

    `base` is the image from outside that its own Dockerfile builds on. ConfigError for a file that cannot be read.
    """
    given = {
        Variant.STANDARD: service.benchmark.standard,
        Variant.STANDARD_DEV: service.benchmark.standard_dev,
    }
    known = ECOSYSTEMS.get(service.ecosystem)
    commands = {
        Variant.STANDARD: known.plain_build if known else "",
        Variant.STANDARD_DEV: known.plain_debug_build if known else "",
    }
    found: dict[Variant, Standard] = {}
    for variant, name in _FILES.items():
        ready = project.root / FOLDER / name.format(service.name)
        path = given[variant] or (ready if ready.is_file() else None)
        if path is not None:
            found[variant] = _read(path, project)
        elif commands[variant] and base:
            found[variant] = Standard(
                _DERIVED.format(base=base, command=commands[variant]), f"{variant} (derived)"
            )
    return found


def _read(path: Path, project: Project) -> Standard:
    place = shown(path, project.root)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot be read: {error}", file=place, fix="make it a readable text file"
        ) from None
    if not parse(text).stages:
        raise ConfigError("has no FROM instruction", file=place, fix="begin a stage with FROM")
    return Standard(text, place, path)
