"""What it takes to bring a Docker engine onto this machine: decided here, done in `installer`.

Pure: facts about the host in, a plan (or the reason why there is none) out.
"""

from __future__ import annotations

from dataclasses import dataclass

from kiro_invoke.engine.installed import STATE_FILE

#: Files that a setup may add; `invoke setup --undo` removes exactly those it did add.
SOURCE_FILE = "/etc/apt/sources.list.d/kiro-invoke.sources"
PIN_FILE = "/etc/apt/preferences.d/kiro-invoke"
DAEMON_LOG = "/var/log/kiro-invoke-dockerd.log"
#: The log of an engine that a user started through sudo: in a folder that only they can write to.
USER_LOG = "~/.local/state/kiro-invoke/dockerd.log"
#: The group whose members may use an engine: the package adds it.
GROUP = "docker"

#: Debian releases whose own docker.io lacks buildx, and the release that lends theirs.
_LENDER = {"bookworm": "trixie"}
_LENT = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd")
#: What the lent packages need but do not pull in by themselves, and what stand-ins are made with.
_HELPERS = ("iptables", "debootstrap")
_OWN = {
    "debian": ("docker.io", "docker-cli", "docker-buildx", "docker-compose"),
    "ubuntu": ("docker.io", "docker-buildx", "docker-compose-v2"),
}
#: Releases whose own docker.io has no BuildKit 0.13 and no buildx, and that nobody lends to.
_TOO_OLD = {
    *("jessie", "stretch", "buster", "bullseye"),
    *("trusty", "xenial", "bionic", "cosmic", "disco", "eoan", "focal", "groovy", "hirsute", "impish"),
}


@dataclass(frozen=True)
class Person:
    """Who runs the command. `private_group`: nobody else is in their primary group `gid`.

    `docker_member` tells whether they are in the group docker, `docker_now` whether this login knows it.
    """

    name: str = ""
    gid: int = 0
    private_group: bool = False
    docker_member: bool = False
    docker_now: bool = False


@dataclass(frozen=True)
class HostFacts:
    """What the decision rests on, read from the machine by `installer.host_facts`."""

    os_id: str
    os_like: tuple[str, ...]
    codename: str
    architecture: str
    mirror: str | None
    keyring: str | None
    installed: frozenset[str]
    is_root: bool
    passwordless_sudo: bool
    systemd: bool
    base: str = ""
    person: Person = Person()


@dataclass(frozen=True)
class NewFile:
    """A file to add, whole. `mode`: its permission bits, in octal."""

    path: str
    text: str
    mode: str = "0644"


@dataclass(frozen=True)
class SetupPlan:
    """Packages to install (`apt` names, some pinned to a suite), files to add, and why.

    `joins` is the user who joins the group docker, or "".
    """

    packages: tuple[str, ...]
    files: tuple[NewFile, ...]
    needs_sudo: bool
    systemd: bool
    why: str
    joins: str = ""

    def lines(self) -> tuple[str, ...]:
        """The plan for a person, one line an action."""
        who = " (through sudo)" if self.needs_sudo else ""
        added = [f"add {file.path}: {file.text.splitlines()[0]} …" for file in self.files]
        joins = [f"add user {self.joins} to group {GROUP}"] if self.joins else []
        detached = f"start dockerd detached, log in {log_path(sudo=self.needs_sudo)}"
        start = "start it with systemctl" if self.systemd else detached
        return (
            f"{self.why}{who}:",
            *(f"  {line}" for line in added),
            f"  install {', '.join(self.packages)}",
            *(f"  {line}" for line in joins),
            f"  {start}",
            f"  remember what was added in {STATE_FILE}, for `kiro setup --undo`",
        )


@dataclass(frozen=True)
class NoPlan:
    """This machine is not ours to set up: `why`, and what a person can do instead."""

    why: str
    fix: str


def plan_setup(host: HostFacts) -> SetupPlan | NoPlan:
    """Decide how to install an engine on `host`."""
    family = _family(host)
    if family is None:
        return NoPlan(
            f"cannot install an engine on {host.os_id or 'this system'} by itself",
            "install Docker Engine 26 or newer with buildx and compose, start it, then run the command again",
        )
    if not host.is_root and not host.passwordless_sudo:
        return NoPlan(
            "installing an engine needs root, or sudo that does not ask",
            "run `sudo kiro setup` once, or start an engine of your own",
        )
    if old := {host.codename, host.base} & _TOO_OLD:
        return NoPlan(
            f"the Docker engine of {host.os_id} {host.codename or min(old)} is too old",
            "install Docker's own packages, engine 26 or newer with buildx and compose (docs/support.md)",
        )
    if not host.is_root and not host.systemd and isinstance(group := socket_group(host.person), NoPlan):
        return group
    packages, files = _packages_and_files(host, family)
    if packages is None:
        return NoPlan(
            "found no Debian mirror in apt's sources to take the engine from",
            "add a deb line for your release to apt's sources, then run the command again",
        )
    return SetupPlan(
        packages=packages,
        files=files,
        needs_sudo=not host.is_root,
        systemd=host.systemd,
        why=f"install the distribution's Docker engine ({host.os_id} {host.codename})",
        joins=_joins(host),
    )


def log_path(*, sudo: bool) -> str:
    """Where a detached engine writes its log."""
    return USER_LOG if sudo else DAEMON_LOG


def socket_group(person: Person) -> int | NoPlan | None:
    """The group that gets the socket of an engine started through sudo; None for the default, docker."""
    if person.docker_now:
        return None
    if person.private_group:
        return person.gid
    return NoPlan(
        "an engine started through sudo would not let you use it: you share your primary group with others,"
        f" and are not in the group {GROUP}",
        f"run `sudo kiro setup`, then `sudo usermod -aG {GROUP} $USER`, and log in again",
    )


def _joins(host: HostFacts) -> str:
    """The user who must join the group to use an engine that systemd starts, or ""."""
    through_sudo = host.systemd and not host.is_root
    return host.person.name if through_sudo and not host.person.docker_member else ""


def _family(host: HostFacts) -> str | None:
    for name in (host.os_id, *host.os_like):
        if name in _OWN:
            return name
    return None


def _packages_and_files(host: HostFacts, family: str) -> tuple[tuple[str, ...] | None, tuple[NewFile, ...]]:
    lender = _LENDER.get(host.codename)
    if lender is None:
        return _missing((*_OWN[family], *_HELPERS), host), ()
    lent = tuple(f"{name}/{lender}" for name in _missing(_LENT, host))
    if not lent:
        return _missing(_HELPERS, host), ()
    if host.mirror is None:
        return None, ()
    files = (
        NewFile(SOURCE_FILE, _source_text(host, lender)),
        NewFile(PIN_FILE, f"Package: *\nPin: release n={lender}\nPin-Priority: 50\n"),
    )
    return (*lent, *_missing(_HELPERS, host)), files


def _missing(names: tuple[str, ...], host: HostFacts) -> tuple[str, ...]:
    return tuple(name for name in names if name not in host.installed)


def _source_text(host: HostFacts, lender: str) -> str:
    signed = f"Signed-By: {host.keyring}\n" if host.keyring else ""
    return (
        f"# Lends {lender}'s Docker engine, pinned at 50: nothing else comes from it.\n"
        f"Types: deb\nURIs: {host.mirror}\nSuites: {lender}\nComponents: main\n{signed}"
    )
