"""What it takes to bring a Docker engine onto this machine: decided here, done in `installer`.

Pure: facts about the host in, a plan (or the reason why there is none) out.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Files that a setup may add; `invoke setup --undo` removes exactly those it did add.
SOURCE_FILE = "/etc/apt/sources.list.d/kiro-invoke.sources"
PIN_FILE = "/etc/apt/preferences.d/kiro-invoke"
STATE_FILE = "/var/lib/kiro-invoke/setup.json"
DAEMON_LOG = "/var/log/kiro-invoke-dockerd.log"

#: Debian releases whose own docker.io lacks buildx, and the release that lends theirs.
_LENDER = {"bookworm": "trixie"}
_LENT = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd")
#: What the lent packages need but do not pull in by themselves, and what stand-ins are made with.
_HELPERS = ("iptables", "debootstrap")
_OWN = {
    "debian": ("docker.io", "docker-cli", "docker-buildx", "docker-compose"),
    "ubuntu": ("docker.io", "docker-buildx", "docker-compose-v2"),
}


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


@dataclass(frozen=True)
class NewFile:
    """A file to add, whole."""

    path: str
    text: str


@dataclass(frozen=True)
class SetupPlan:
    """Packages to install (`apt` names, some pinned to a suite), files to add, and why."""

    packages: tuple[str, ...]
    files: tuple[NewFile, ...]
    needs_sudo: bool
    systemd: bool
    why: str

    def lines(self) -> tuple[str, ...]:
        """The plan for a person, one line an action."""
        who = " (through sudo)" if self.needs_sudo else ""
        added = [f"add {file.path}: {file.text.splitlines()[0]} …" for file in self.files]
        start = "start it with systemctl" if self.systemd else f"start dockerd detached, log in {DAEMON_LOG}"
        return (
            f"{self.why}{who}:",
            *(f"  {line}" for line in added),
            f"  install {', '.join(self.packages)}",
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
    )


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
