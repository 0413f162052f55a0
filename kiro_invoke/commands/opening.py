"""Find the engine that commands use, and bring one onto the machine when asked to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kiro_invoke.builds.planner import Recipe
from kiro_invoke.cache.warm import ResolveBases, syntax_images
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import daemon, docker, installer, ownership, process
from kiro_invoke.engine.bases import PROBE_SECONDS, Base, Say, Silence, resolve
from kiro_invoke.engine.certificates import host_bundle
from kiro_invoke.engine.cli_files import KnownPlugins
from kiro_invoke.engine.daemon import Daemon
from kiro_invoke.engine.installer import Installed
from kiro_invoke.engine.locate import Address, locate
from kiro_invoke.engine.protocol import Engine, RegistryRefused, RegistrySilent
from kiro_invoke.engine.setup import (
    DAEMON_LOG,
    GROUP,
    USER_LOG,
    NoPlan,
    Person,
    SetupPlan,
    log_path,
    plan_setup,
    socket_group,
)
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.service import Project

OUR_DAEMON = Daemon(Path(DAEMON_LOG))


def open_engine(surface: Surface, *, setup: bool, state: Path | None = None) -> docker.DockerEngine:
    """The reachable engine; with `setup`, one is started or installed where there is none.

    `state` is the state folder, where it is remembered what buildx is.
    """
    address = locate(surface.environ, process.run)
    _check_permitted(address)
    added = installer.read_state()
    if setup and address.is_default and not docker.answers(address):
        if added is not None and ownership.is_ours(added):
            surface.say(_starting(added))
            _start(address, added.sudo)
        else:
            _install(surface, address)
        added = installer.read_state()
    ours = address.is_default and ownership.is_ours(added)
    known = KnownPlugins(state / "plugins.json", surface.environ) if state else None
    return docker.connect(address, process.run, ours=ours, known=known)


def setup_plan(surface: Surface) -> SetupPlan:
    """What a setup would do here; EngineError where it would do nothing."""
    plan = plan_setup(installer.host_facts(process.run))
    if isinstance(plan, NoPlan):
        address = locate(surface.environ, process.run)
        raise EngineError(f"no Docker engine answers at {address.url}, and {plan.why}", fix=plan.fix)
    return plan


def setup_lines(surface: Surface, address: Address) -> tuple[str, ...]:
    """What `setup` would do where no engine answers; EngineError where it would refuse."""
    _check_permitted(address)
    if not address.is_default:
        docker.connect(address, process.run, ours=False)
    added = installer.read_state()
    if added is not None and ownership.is_ours(added):
        return (_starting(added),)
    return _own_to_install(surface, address).lines()


def _check_permitted(address: Address) -> None:
    """EngineError if an engine's socket is there that this user may not open."""
    path = Path(address.url.removeprefix("unix://"))
    try:
        permitted = not address.url.startswith("unix://") or not path.exists() or os.access(path, os.W_OK)
    except PermissionError:
        permitted = False
    if not permitted:
        raise EngineError(
            f"you may not use the engine at {address.url} ({address.origin}): permission denied",
            fix=f"join its group: `sudo usermod -aG {GROUP} $USER`, then log in again",
        )


def _starting(added: Installed) -> str:
    systemd = _has_systemd()
    log = "see `journalctl -u docker`" if systemd else f"log: {log_path(sudo=_uses_sudo(added.sudo))}"
    return f"starting the engine that kiro installed ({log})"


def _own_to_install(surface: Surface, address: Address) -> SetupPlan:
    if ownership.is_foreign(installer.read_state()):
        raise EngineError(
            f"no Docker engine answers at {address.url}, but one is installed that kiro did not install",
            fix="start it (`systemctl start docker`, or `dockerd`); kiro leaves it alone",
        )
    return setup_plan(surface)


def _install(surface: Surface, address: Address) -> None:
    plan = _own_to_install(surface, address)
    for line in plan.lines():
        surface.say(line)
    _consent(surface, plan)
    surface.say("installing …")
    added = installer.install(plan, process.run)
    _start(address, added.sudo)


def _consent(surface: Surface, plan: SetupPlan) -> None:
    if surface.environ.get("KIRO_SETUP") == "1":
        return
    if surface.ask is not None:
        if surface.ask("Install it?"):
            return
        raise EngineError("not installed, as you said", fix="start an engine of your own, then run it again")
    if plan.needs_sudo:
        raise EngineError(
            "no terminal to ask on, and not root: the engine was not installed",
            fix="run it on a terminal, or with KIRO_SETUP=1 to agree beforehand",
        )


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _uses_sudo(sudo: bool) -> bool:
    return sudo and os.geteuid() != 0


def _start(address: Address, sudo: bool) -> None:
    """Start our engine, so that whoever runs this may use it."""
    through_sudo, systemd, person = _uses_sudo(sudo), _has_systemd(), installer.person()
    unusable = through_sudo and systemd and not person.docker_now
    daemon.start(
        _detached(person, sudo=through_sudo and not systemd),
        answers=lambda: unusable or docker.answers(address),
        systemd=systemd,
        run=process.run,
        sudo=through_sudo,
    )
    if unusable:
        raise EngineError(
            f"the engine is installed and started, but this login does not know the group {GROUP} yet",
            fix=f"log in again to use it (or run `newgrp {GROUP}`)",
        )


def _detached(person: Person, *, sudo: bool) -> Daemon:
    """Our engine as it is started without systemd: through sudo, its socket is given to the user's group."""
    if not sudo:
        return OUR_DAEMON
    group = socket_group(person)
    if isinstance(group, NoPlan):
        raise EngineError(group.why, fix=group.fix)
    arguments = () if group is None else ("--group", str(group))
    return Daemon(Path(USER_LOG).expanduser(), arguments=arguments)


def silence(project: Project) -> Silence:
    """Which registries did not answer lately, as this project remembers it."""
    return Silence(project.state / "registry.json")


def base_resolver(project: Project, engine: Engine, surface: Surface, *, pull: bool) -> ResolveBases:
    """`bases.resolve` for this project on this engine."""

    def make(refs: Sequence[str], say: Say) -> None:
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
    remembered = silence(project)
    return frozenset(ref for ref in syntax_images(recipes) if not _reachable(ref, engine, remembered))


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
