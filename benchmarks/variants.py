"""What is measured: ways to build a service. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

BACKEND = "backend"
FRONTEND = "frontend"
SERVICES = (BACKEND, FRONTEND)


class Door(StrEnum):
    """Through which program a build is asked for."""

    KIRO = "kiro build"
    PLAIN = "docker buildx build"
    CARGO = "cargo build"


@dataclass(frozen=True)
class Variant:
    """One way to build a service.

    `dockerfile` is relative to the repository's root (of CARGO: the image that its container runs).
    `stateless` says that nothing is kept from one build to the next: every change costs everything.
    """

    service: str
    name: str
    door: Door
    dockerfile: str
    stateless: bool = False

    @property
    def is_prod(self) -> bool:
        return self.dockerfile == f"{self.service}/Dockerfile"

    @property
    def tag(self) -> str:
        """The name that the image of a plain build is given."""
        return f"kiro-bench/{self.service}:{self.name}"

    @property
    def title(self) -> str:
        return (
            f"`{self.door}` of {self.dockerfile}" if self.door is not Door.CARGO else f"`{self.door}`, warm"
        )


def _of(service: str, *standards: tuple[str, str], extra: Sequence[Variant] = ()) -> tuple[Variant, ...]:
    fast, prod = f"{service}/Dockerfile.fast", f"{service}/Dockerfile"
    return (
        Variant(service, "fast", Door.KIRO, fast),
        Variant(service, "prod", Door.KIRO, prod),
        Variant(service, "fast-docker", Door.PLAIN, fast),
        Variant(service, "prod-docker", Door.PLAIN, prod),
        *extra,
        *(
            Variant(service, name, Door.PLAIN, f"benchmarks/standard/{file}", stateless=True)
            for name, file in standards
        ),
    )


VARIANTS = (
    *_of(
        BACKEND,
        ("standard", "backend.Dockerfile"),
        ("standard-debug", "backend.debug.Dockerfile"),
        extra=(
            Variant(BACKEND, "native", Door.CARGO, "backend/Dockerfile.fast"),
            Variant(BACKEND, "guide", Door.PLAIN, "benchmarks/standard/backend.guide.Dockerfile"),
            Variant(BACKEND, "guide-debug", Door.PLAIN, "benchmarks/standard/backend.guide.debug.Dockerfile"),
        ),
    ),
    *_of(FRONTEND, ("standard", "frontend.Dockerfile")),
)


def of_service(service: str) -> tuple[Variant, ...]:
    return tuple(variant for variant in VARIANTS if variant.service == service)
