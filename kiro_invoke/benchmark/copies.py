"""Copies of a project to measure in, with base images of their own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kiro_invoke.benchmark.losses import LABEL, NAME, forget
from kiro_invoke.benchmark.tree import Tree, moved
from kiro_invoke.builds.bake import Surroundings
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache import warm
from kiro_invoke.engine.bases import Base
from kiro_invoke.engine.files import make_state_folder, refuse_links
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.service import Project, Service

_APART = """\
FROM {image}
LABEL {label}={checkout}
COPY <<KIRO_BENCHMARK /etc/kiro-benchmark
{salt}
KIRO_BENCHMARK
"""


@dataclass(frozen=True)
class Copy:
    """A copy of a project, and the base images that its builds stand on. `sources` is a hash of all that was copied."""

    project: Project
    tree: Tree
    bases: tuple[Base, ...]
    sources: str

    @property
    def images(self) -> dict[str, str]:
        """Image from outside -> the one that stands for it, also by the names that kiro.yaml replaces."""
        found = {base.ref: base.image for base in self.bases}
        return found | {ref: found[wanted] for ref, wanted in self.project.base_images if wanted in found}

    def service(self, name: str) -> Service:
        return next(service for service in self.project.services if service.name == name)

    def recipe(self, name: str, profile: Profile) -> Recipe:
        """A service's Dockerfile, read now."""
        alone = replace(self.project, services=(self.service(name),))
        (found,) = warm.read_recipes(alone, (profile,))
        return found

    @property
    def around(self) -> Surroundings:
        """What builds of it are given that are not the tool's own."""
        contexts = {ref: f"docker-image://{image}" for ref, image in self.images.items()}
        return replace(warm.surroundings(self.project, (), ()), contexts=contexts)


def make_copy(
    source: Project,
    root: Path,
    engine: Engine,
    bases: Sequence[Base],
    recipes: Sequence[Recipe],
    more: Sequence[tuple[Path, Path]],
    salt: str,
) -> Copy:
    """A copy of `source` in the folder `root`, brought up to date where it is there already.

    `more` are contexts with further Dockerfiles. The same `salt` gives the same base images: another one, layers that
    were never there.
    """
    refuse_links(root.parent, root, root / ".kiro")
    root.mkdir(parents=True, exist_ok=True)
    named = moved(source, root, "")
    project = moved(source, root, f"{NAME}/{named.checkout}")
    tree = Tree(root)
    make_state_folder(project.state)
    sources = tree.copy(source, recipes, more)
    return Copy(project, tree, apart(engine, bases, project.checkout, salt), sources)


def remove_copy(engine: Engine, copy: Copy) -> None:
    """Take away a copy and all that its builds left in the engine."""
    remove_left(engine, copy.project, copy.project.root)


def remove_left(engine: Engine, source: Project, root: Path) -> None:
    """The same by the copy's folder. It stays where the engine did not let us: it tells what is to be taken away."""
    if forget(engine, moved(source, root, NAME)):
        with suppress(OSError):
            shutil.rmtree(root)


def apart(
    engine: Engine, bases: Sequence[Base], checkout: str, salt: str, what: str = "base"
) -> tuple[Base, ...]:
    """The same images, but for one more file: no layer that is made on them is anybody else's."""
    return tuple(
        _apart(engine, base, f"{NAME}/{checkout}/{what}-{at}", checkout, salt)
        for at, base in enumerate(bases)
    )


def _apart(engine: Engine, base: Base, name: str, checkout: str, salt: str) -> Base:
    tag = f"{name}:{salt}"
    text = _APART.format(image=base.image, label=LABEL, checkout=checkout, salt=salt)
    made = engine.build_text(text, tag)
    if not made.ok:
        words = " ".join(made.stderr.split())[-300:]
        raise BuildFailed(
            f"a copy of the base image {base.ref} cannot be made: {words}", fix="see that it is usable"
        )
    return replace(base, image=tag)
