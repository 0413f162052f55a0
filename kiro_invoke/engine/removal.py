"""Take back what a setup added: told first, checked next, then removed; nothing else goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.engine import ownership
from kiro_invoke.engine.daemon_json import DAEMON_JSON, take_out
from kiro_invoke.engine.installed import STATE_FILE, Installed
from kiro_invoke.engine.privileged import (
    DRAFT,
    PRESENT,
    Privileged,
    group_members,
    last_words,
    packages_in,
    simulated,
)
from kiro_invoke.engine.protocol import Run
from kiro_invoke.engine.setup import GROUP
from kiro_invoke.model.errors import KiroError

_NUKE = "/var/lib/docker/nuke-graph-directory.sh"


@dataclass(frozen=True)
class Removal:
    """Exactly what an undo removes: what a setup noted before it added it, as far as it is here."""

    packages: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    gc: str = ""

    def lines(self) -> tuple[str, ...]:
        """The removal for a person, one line a thing."""
        return (
            *(f"package {name}" for name in self.packages),
            *(f"user {name} from group {GROUP}" for name in self.members),
            *(f"group {name}" for name in self.groups),
            *(f"file {path}" for path in self.files),
            *([f"builder.gc from file {DAEMON_JSON}"] if self.gc else ()),
        )


def to_remove(added: Installed, run: Run) -> Removal:
    """What an undo of `added` removes now. The group stays where another engine uses it."""
    here, groups = packages_in(run, PRESENT), group_members(run)
    ours = GROUP in {*added.groups} & {*groups} and ownership.PACKAGE in added.packages
    return Removal(
        packages=tuple(sorted({*added.packages} & here)),
        members=tuple(sorted({*added.members} & {*groups.get(GROUP, ())})),
        groups=(GROUP,) if ours and not ownership.is_foreign(added) else (),
        files=added.files,
        gc=added.gc,
    )


def check(added: Installed, removal: Removal, run: Run) -> None:
    """KiroError if apt would take packages along that are not ours. Removes nothing."""
    shell = _shell(added, run)
    if not added.complete:
        shell.mend()
    if not removal.packages:
        return
    tried = shell.apt("--simulate", "purge", "-y", *removal.packages)
    if not tried.ok:
        raise KiroError(f"nothing was removed: {last_words(tried)}", fix="mend apt, then repeat")
    if foreign := sorted(simulated(tried, "Purg", "Remv") - {*removal.packages}):
        raise KiroError(
            f"nothing was removed: {', '.join(foreign)} came later and would have to go too",
            fix="remove that first, or keep the engine",
        )


def remove(added: Installed, removal: Removal, run: Run, *, state: Path = Path(STATE_FILE)) -> None:
    """Remove what `removal` names, then forget the setup. `check` comes first."""
    shell = _shell(added, run)
    if removal.packages:
        _purge(removal.packages, shell)
    for name in removal.members:
        shell(["gpasswd", "-d", name, GROUP])
    for group in removal.groups:
        shell(["groupdel", group])
    if removal.gc:
        take_out(removal.gc, shell)
    for path in (*removal.files, str(state)):
        shell(["rm", "-f", "--", path, f"{path}{DRAFT}"])
    shell(["rmdir", "--ignore-fail-on-non-empty", "--", str(state.parent)])
    if removal.files:
        shell.apt("update")


def _purge(packages: tuple[str, ...], shell: Privileged) -> None:
    done = shell.apt("remove", "-y", *packages)
    if done.ok:
        # docker.io leaves it behind to delete every image and volume when it is purged; those are not ours
        shell(["rm", "-f", "--", _NUKE])
        done = shell.apt("purge", "-y", *packages)
    if not done.ok:
        raise KiroError(
            f"apt-get could not remove the packages: {last_words(done)}", fix="mend apt, then repeat"
        )


def _shell(added: Installed, run: Run) -> Privileged:
    return Privileged(run, sudo=added.sudo and os.geteuid() != 0)
