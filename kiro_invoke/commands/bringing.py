"""Bring an engine onto the machine when asked to: start the one that a setup installed, or install one."""

from __future__ import annotations

import os
from pathlib import Path

from kiro_invoke.commands.opening import check_permitted
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import daemon, docker, installed, installer, ownership, process
from kiro_invoke.engine.daemon import Daemon
from kiro_invoke.engine.installed import Installed
from kiro_invoke.engine.locate import Address, locate
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

OUR_DAEMON = Daemon(Path(DAEMON_LOG))


def bring(surface: Surface, address: Address, added: Installed | None) -> None:
    """Start the engine that a setup added, or install one; afterwards it answers at `address`."""
    if added is not None and ownership.is_ours(added):
        surface.say(_starting(added))
        _start(address, added.sudo)
    else:
        _install(surface, address)


def setup_plan(surface: Surface) -> SetupPlan:
    """What a setup would do here; EngineError where it would do nothing."""
    plan = plan_setup(installer.host_facts(process.run))
    if isinstance(plan, NoPlan):
        address = locate(surface.environ, process.run)
        raise EngineError(f"no Docker engine answers at {address.url}, and {plan.why}", fix=plan.fix)
    return plan


def setup_lines(surface: Surface, address: Address) -> tuple[str, ...]:
    """What `setup` would do where no engine answers; EngineError where it would refuse."""
    check_permitted(address)
    if not address.is_default:
        docker.connect(address, process.run, ours=False)
    added = installed.read_state()
    if added is not None and ownership.is_ours(added):
        return (_starting(added),)
    return _own_to_install(surface, address).lines()


def _starting(added: Installed) -> str:
    systemd = _has_systemd()
    log = "see `journalctl -u docker`" if systemd else f"log: {log_path(sudo=_uses_sudo(added.sudo))}"
    return f"starting the engine that kiro installed ({log})"


def _own_to_install(surface: Surface, address: Address) -> SetupPlan:
    if ownership.is_foreign(installed.read_state()):
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
