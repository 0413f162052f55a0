"""Read the facts that a setup is decided by, carry out its plan, and note what it adds before it does."""

from __future__ import annotations

import grp
import json
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from kiro_invoke.engine.installed import STATE_FILE, Installed, read_state
from kiro_invoke.engine.privileged import (
    UNPACKED,
    WORKING,
    Privileged,
    group_members,
    last_words,
    packages_in,
    simulated,
)
from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.engine.setup import GROUP, HostFacts, NewFile, Person, SetupPlan
from kiro_invoke.model.errors import EngineError

#: Never at the cost of what is here: apt refuses instead of removing.
_INSTALL = ("install", "-y", "--no-install-recommends", "--no-remove")


def host_facts(run: Run) -> HostFacts:
    """Read what `plan_setup` decides by."""
    release = _os_release(Path("/etc/os-release"))
    mirror, keyring = _debian_mirror(run, release)
    return HostFacts(
        os_id=release.get("ID", ""),
        os_like=tuple(release.get("ID_LIKE", "").split()),
        codename=release.get("VERSION_CODENAME", ""),
        base=release.get("UBUNTU_CODENAME") or release.get("DEBIAN_CODENAME", ""),
        architecture=run(["dpkg", "--print-architecture"]).stdout.strip(),
        mirror=mirror,
        keyring=keyring,
        installed=installed_packages(run),
        is_root=os.geteuid() == 0,
        passwordless_sudo=os.geteuid() != 0 and run(["sudo", "-n", "true"]).ok,
        systemd=Path("/run/systemd/system").is_dir(),
        person=person(),
    )


def person() -> Person:
    """Who runs this, and which groups open an engine's socket to them."""
    with suppress(KeyError):
        known = pwd.getpwuid(os.getuid())
        group = grp.getgrgid(known.pw_gid)
        alone = group.gr_name == known.pw_name and not {*group.gr_mem} - {known.pw_name}
        return Person(known.pw_name, known.pw_gid, alone, *_in_docker(known.pw_name))
    return Person()


def _in_docker(name: str) -> tuple[bool, bool]:
    """Whether the user is a member of the group docker, and whether this process already is."""
    with suppress(KeyError):
        group = grp.getgrnam(GROUP)
        now = group.gr_gid in {os.getegid(), *os.getgroups()}
        return now or name in group.gr_mem, now
    return False, False


def installed_packages(run: Run) -> frozenset[str]:
    """Names of the packages that are installed and work; empty where there is no dpkg."""
    return packages_in(run, WORKING)


def install(plan: SetupPlan, run: Run, *, state: Path = Path(STATE_FILE)) -> Installed:
    """Add the plan's files and packages. An interrupted run can be repeated, and undone."""
    shell = Privileged(run, sudo=plan.needs_sudo)
    earlier = read_state(state)
    if earlier is not None and not earlier.complete:
        shell.mend()
    noted = _begin(plan, earlier, run)
    _note(noted, shell, state)
    for file in plan.files:
        shell.write(file)
    shell.apt("update")
    noted = replace(noted, packages=_with_added(noted.packages, plan, shell, run))
    _note(noted, shell, state)
    done = shell.apt(*_INSTALL, *plan.packages)
    if not done.ok:
        raise _refused(done)
    if plan.joins and not (joined := shell(["usermod", "-aG", GROUP, plan.joins])).ok:
        raise EngineError(f"{plan.joins} could not join group {GROUP}: {joined.stderr.strip()}")
    noted = replace(noted, complete=True)
    _note(noted, shell, state)
    return noted


def _begin(plan: SetupPlan, earlier: Installed | None, run: Run) -> Installed:
    """What is noted before anything is added. Only the first setup can tell whether the group was absent."""
    known = earlier or Installed()
    here = group_members(run)
    groups = known.groups if earlier else tuple({GROUP} - {*here})
    joins = {plan.joins} - {"", *here.get(GROUP, ())}
    return Installed(
        packages=known.packages,
        files=tuple(dict.fromkeys((*known.files, *(file.path for file in plan.files)))),
        groups=groups,
        sudo=plan.needs_sudo,
        members=tuple(sorted({*known.members} | joins)),
        gc=known.gc,
    )


def _with_added(known: tuple[str, ...], plan: SetupPlan, shell: Privileged, run: Run) -> tuple[str, ...]:
    """The known packages, and those that apt says it would add now; EngineError if it would rather not."""
    tried = shell.apt("--simulate", *_INSTALL, *plan.packages)
    if not tried.ok:
        raise _refused(tried)
    return tuple(sorted({*known} | (simulated(tried, "Inst") - packages_in(run, UNPACKED))))


def _refused(done: Completed) -> EngineError:
    said = f"{done.stdout}{done.stderr}"
    if "remove is disabled" in said:
        gone = ", ".join(_to_be_removed(said)) or "some that apt-get names"
        return EngineError(
            f"the engine cannot be installed beside packages that are here: {gone} would have to go",
            fix="decide about them yourself; `kiro setup --undo` takes back what was added",
        )
    return EngineError(
        f"apt-get could not install the engine: {last_words(done)}",
        fix="run the command again, or `kiro setup --undo` to take back what was added",
    )


def _to_be_removed(said: str) -> tuple[str, ...]:
    """The packages under apt's headline, on the indented lines that follow it."""
    _, _, rest = said.partition("The following packages will be REMOVED:\n")
    names: list[str] = []
    for line in rest.splitlines():
        if not line.startswith(" "):
            break
        names += line.split()
    return tuple(names)


def _note(noted: Installed, shell: Privileged, state: Path) -> None:
    shell.write(NewFile(str(state), json.dumps(asdict(noted))))


def _os_release(path: Path) -> dict[str, str]:
    with suppress(OSError):
        rows = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
        return {key: value.strip().strip("\"'") for key, _, value in rows}
    return {}


def _debian_mirror(run: Run, release: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The mirror that serves this Debian's `main`, and the keyring to check it with."""
    if release.get("ID") != "debian":
        return None, None
    here = [release.get("VERSION_CODENAME", ""), "main"]
    asked = ["apt-get", "indextargets", "--format", "$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(RELEASE)"]
    # apt knows code names from its lists only; before the first `update` there is what the sources say
    listed = run([*asked, "Created-By: Packages"]).stdout
    listed += run([*asked, "--no-release-info", "Created-By: Packages"]).stdout
    rows = [row.split("|") for row in listed.splitlines()]
    found = next((row[2] for row in rows if len(row) == 4 and here in (row[:2], [row[3], row[1]])), None)
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return found, str(keyring) if keyring.exists() else None
