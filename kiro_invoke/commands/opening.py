"""Find the engine that commands use, and make ready what builds ask of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from kiro_invoke.builds.planner import Recipe
from kiro_invoke.cache.warm import ResolveBases, syntax_images
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import docker, installed, ownership, process
from kiro_invoke.engine.bases import PROBE_SECONDS, Base, Say, Silence, resolve
from kiro_invoke.engine.certificates import host_bundle
from kiro_invoke.engine.cli_files import KnownPlugins
from kiro_invoke.engine.locate import Address, locate
from kiro_invoke.engine.protocol import Engine, RegistryRefused, RegistrySilent
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.service import Project


def open_engine(surface: Surface, *, setup: bool, state: Path | None = None) -> docker.DockerEngine:
    """The reachable engine; with `setup`, one is started or installed where there is none.

    `state` is the state folder, where it is remembered what buildx is.
    """
    address = locate(surface.environ, process.run)
    check_permitted(address)
    added = installed.read_state()
    if setup and address.is_default and not docker.answers(address):
        from kiro_invoke.commands import bringing

        bringing.bring(surface, address, added)
        added = installed.read_state()
    ours = address.is_default and ownership.is_ours(added)
    known = KnownPlugins(state / "plugins.json", surface.environ) if state else None
    return docker.connect(address, process.run, ours=ours, known=known)


def check_permitted(address: Address) -> None:
    """EngineError if an engine's socket is there that this user may not open."""
    path = Path(address.url.removeprefix("unix://"))
    try:
        permitted = not address.url.startswith("unix://") or not path.exists() or os.access(path, os.W_OK)
    except PermissionError:
        permitted = False
    if not permitted:
        from kiro_invoke.engine.setup import GROUP

        raise EngineError(
            f"you may not use the engine at {address.url} ({address.origin}): permission denied",
            fix=f"join its group: `sudo usermod -aG {GROUP} $USER`, then log in again",
        )


def silence(project: Project) -> Silence:
    """Which registries did not answer lately, as this project remembers it."""
    return Silence(project.state / "registry.json")


def base_resolver(project: Project, engine: Engine, surface: Surface, *, pull: bool) -> ResolveBases:
    """`bases.resolve` for this project on this engine."""

    def make(refs: Sequence[str], say: Say) -> None:
        from kiro_invoke.engine import installer
        from kiro_invoke.engine.standin_maker import StandinMaker

        facts = installer.host_facts(process.run)
        StandinMaker(engine, process.run, facts.mirror, ca_bundle(project, surface)).make(refs, say)

    return lambda refs, say: resolve(
        refs, engine, silence=silence(project), make_standins=make, pull=pull, say=say
    )


def ca_bundle(project: Project, surface: Surface) -> Path | None:
    """The certificates that builds need besides the distribution's: as configured, else the host's own."""
    return project.ca_bundle or host_bundle(surface.environ)


def unreachable_syntax(project: Project, engine: Engine, recipes: Sequence[Recipe]) -> frozenset[str]:
    """The `# syntax=` images that are neither here nor to be had: builds then go without that line."""
    return unreachable(project, engine, syntax_images(recipes))


def unreachable(project: Project, engine: Engine, refs: Iterable[str]) -> frozenset[str]:
    """Those of some images that are neither here nor to be had."""
    remembered = silence(project)
    return frozenset(ref for ref in refs if not _reachable(ref, engine, remembered))


def _reachable(ref: str, engine: Engine, remembered: Silence) -> bool:
    if engine.image(ref) is not None:
        return True
    if remembered.holds_for(ref):
        return False
    try:
        engine.probe(ref, PROBE_SECONDS)
    except RegistrySilent:
        remembered.remember(ref)
        return False
    except RegistryRefused:
        return True
    return True


def standin_lines(bases: Sequence[Base]) -> tuple[str, ...]:
    """What a person must know when stand-ins are in use; empty where none are."""
    used = [base for base in bases if base.status == "stand-in"]
    if not used:
        return ()
    each = ", ".join(f"{base.ref} (really {base.holds})" if base.holds else base.ref for base in used)
    return (
        f"stand-ins in use, made from the distribution's packages: {each}; do not push what stands on them",
    )
