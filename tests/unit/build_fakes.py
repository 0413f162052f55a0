"""What tests about builds share: recorded streams, recipes from text, an observer that remembers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.builds.progress import Event, Printed, Progress
from kiro_invoke.model.service import Service

DATA = Path(__file__).with_name("data")
ROOT = Path("/repo")
#: Stages that make a context's skeleton, as a folder may take their place.
SKELETON = """\
FROM a AS skeleton
RUN --mount=type=bind,target=/context kiro-fresh skeleton /context /skeleton

FROM scratch AS kiro-skeleton
COPY --from=skeleton /skeleton /skeleton
"""


def recorded(name: str) -> list[str]:
    """The lines that `docker buildx bake --progress=rawjson` (0.13.1) once wrote, shortened."""
    return (DATA / f"{name}.rawjson").read_text().splitlines()


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def printed(self) -> list[str]:
        return [event.line for event in self.events if isinstance(event, Printed)]


def fed(lines: Iterable[str], targets: Mapping[str, str]) -> tuple[Progress, Seen]:
    """A progress that was fed `lines` of a build of `targets` (name -> service), and what it told."""
    seen = Seen()
    progress = Progress(seen, targets)
    for line in lines:
        progress.feed(line)
    return progress, seen


def event(**fields: object) -> list[str]:
    """An event as the engine writes it."""
    return json.dumps(fields, indent=2).splitlines()


def vertex(name: str, digest: str = "sha256:1", **fields: object) -> list[str]:
    """An event that tells of one step."""
    return event(vertexes=[{"digest": digest, "name": name, **fields}])


def log(data: bytes, digest: str = "sha256:1", stream: int = 1) -> list[str]:
    """An event that tells what a step printed."""
    return event(logs=[{"vertex": digest, "stream": stream, "data": base64.b64encode(data).decode()}])


def ran(name: str, digest: str = "sha256:1", *, seconds: int = 1, **fields: object) -> list[str]:
    """An event that tells of a step's end."""
    times = {"started": "2026-01-02T03:04:05Z", "completed": f"2026-01-02T03:04:{5 + seconds:02}.5Z"}
    return vertex(name, digest, **times, **fields)


def service(name: str = "web", root: Path = ROOT) -> Service:
    folder = root / name
    return Service(name, folder, f"shop/{name}", "other", folder / "Dockerfile", folder / "Dockerfile.fast")


def recipe(text: str, of: Service | None = None, profile: Profile = Profile.DEV) -> Recipe:
    """A recipe from a Dockerfile's text."""
    of = of or service()
    path = of.fast_dockerfile if profile is Profile.DEV else of.dockerfile
    assert path is not None
    return Recipe(of, profile, path, parse(text))
