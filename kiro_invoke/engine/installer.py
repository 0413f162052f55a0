"""Carry out a setup plan on this machine, remember what it added, and take exactly that back."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.engine.setup import STATE_FILE, HostFacts, NewFile, SetupPlan
from kiro_invoke.model.errors import EngineError

APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_SETTINGS = tuple(f"{key}={value}" for key, value in APT_ENV.items())
_APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=120")
_NUKE = "/var/lib/docker/nuke-graph-directory.sh"
_DRAFT = ".kiro-new"


@dataclass(frozen=True)
class Installed:
    """What a setup added: packages that were absent before, files, and groups.

    While it is not complete, `before` and `groups_before` tell what was there when it began.
    """

    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sudo: bool = False
    complete: bool = False
    before: tuple[str, ...] = field(default=(), repr=False)
    groups_before: tuple[str, ...] = field(default=(), repr=False)


def host_facts(run: Run) -> HostFacts:
    """Read what `plan_setup` decides by."""
    release = _os_release(Path("/etc/os-release"))
    mirror, keyring = _debian_mirror(run, release)
    return HostFacts(
        os_id=release.get("ID", ""),
        os_like=tuple(release.get("ID_LIKE", "").split()),
        codename=release.get("VERSION_CODENAME", ""),
        architecture=run(["dpkg", "--print-architecture"]).stdout.strip(),
        mirror=mirror,
        keyring=keyring,
        installed=installed_packages(run),
        is_root=os.geteuid() == 0,
        passwordless_sudo=os.geteuid() != 0 and run(["sudo", "-n", "true"]).ok,
        systemd=Path("/run/systemd/system").is_dir(),
    )


def installed_packages(run: Run) -> frozenset[str]:
    """Names of the packages that are installed and work; empty where there is no dpkg."""
    return _packages(run, "iWt")


def _unpacked_packages(run: Run) -> frozenset[str]:
    """Names of the packages that have files here, those of an interrupted installation too."""
    return _packages(run, "iWtHUF")


def _packages(run: Run, states: str) -> frozenset[str]:
    listed = run(["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n"])
    rows = (line.split() for line in listed.stdout.splitlines())
    # two letters, what is wanted and what is: `ii`, `hi` (held), `rc` (removed), `iU` (interrupted)
    return frozenset(row[0].partition(":")[0] for row in rows if len(row) > 1 and row[1][1:2] in [*states])


def read_state(path: Path = Path(STATE_FILE)) -> Installed | None:
    """What an earlier setup added here, or None."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict):
        return None
    return Installed(
        packages=tuple(raw.get("packages", ())),
        files=tuple(raw.get("files", ())),
        groups=tuple(raw.get("groups", ())),
        sudo=bool(raw.get("sudo")),
        complete=bool(raw.get("complete")),
        before=tuple(raw.get("before", ())),
        groups_before=tuple(raw.get("groups_before", ())),
    )


def install(plan: SetupPlan, run: Run, *, state: Path = Path(STATE_FILE)) -> Installed:
    """Add the plan's files and packages. An interrupted run can be repeated, and undone."""
    shell = _Privileged(run, sudo=plan.needs_sudo)
    earlier = read_state(state)
    known = earlier or Installed()
    before, groups_before = known.before, known.groups_before
    if earlier is None or earlier.complete:
        before, groups_before = tuple(sorted(_unpacked_packages(run))), tuple(sorted(_groups(run)))
    else:
        shell.mend()
    files = tuple(dict.fromkeys((*known.files, *(file.path for file in plan.files))))
    begun = Installed(
        packages=known.packages,
        files=files,
        groups=known.groups,
        sudo=plan.needs_sudo,
        before=before,
        groups_before=groups_before,
    )
    shell.write(NewFile(str(state), json.dumps(asdict(begun))))
    for file in plan.files:
        shell.write(file)
    shell.apt("update")
    done = shell.apt("install", "-y", "--no-install-recommends", *plan.packages)
    packages, groups = _added(begun, run)
    result = Installed(
        packages=packages,
        files=files,
        groups=groups,
        sudo=plan.needs_sudo,
        complete=done.ok,
        before=() if done.ok else before,
        groups_before=() if done.ok else groups_before,
    )
    shell.write(NewFile(str(state), json.dumps(asdict(result))))
    if not done.ok:
        raise EngineError(
            f"apt-get could not install the engine: {_last(done)}",
            fix="run the command again, or `kiro setup --undo` to take back what was added",
        )
    return result


def undo(added: Installed, run: Run, *, state: Path = Path(STATE_FILE)) -> tuple[str, ...]:
    """Remove what `added` names and nothing else. Returns what was removed, a line each."""
    shell = _Privileged(run, sudo=added.sudo and os.geteuid() != 0)
    if not added.complete:
        shell.mend()
    packages, groups = _added(added, run)
    here = _packages(run, "iWtHUFc")  # those of which only configuration is left too
    present = tuple(name for name in packages if name in here)
    if present:
        _remove(present, shell)
    for group in groups:
        shell(["groupdel", group])
    for path in (*added.files, str(state)):
        shell(["rm", "-f", "--", path, f"{path}{_DRAFT}"])
    shell(["rmdir", "--ignore-fail-on-non-empty", "--", str(state.parent)])
    if added.files:
        shell.apt("update")
    return (*(f"package {name}" for name in present), *(f"file {path}" for path in added.files))


def _added(begun: Installed, run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Packages and groups that are ours: those noted, and what came since an unfinished setup began."""
    packages, groups = {*begun.packages}, {*begun.groups}
    if begun.before:
        packages |= _unpacked_packages(run) - {*begun.before}
    if begun.groups_before:
        groups |= _groups(run) - {*begun.groups_before}
    return tuple(sorted(packages)), tuple(sorted(groups))


def _remove(packages: tuple[str, ...], shell: _Privileged) -> None:
    """Remove and purge; EngineError if that fails or if apt would take packages that are not ours."""
    tried = shell.apt("--simulate", "purge", "-y", *packages)
    words = (line.split() for line in tried.stdout.splitlines())
    gone = {row[1].partition(":")[0] for row in words if len(row) > 1 and row[0] in {"Purg", "Remv"}}
    if foreign := sorted(gone - {*packages}):
        raise EngineError(
            f"nothing was removed: {', '.join(foreign)} came later and would have to go too",
            fix="remove that first, or keep the engine",
        )
    done = shell.apt("remove", "-y", *packages)
    if done.ok:
        # docker.io leaves it behind to delete every image and volume when it is purged; those are not ours
        shell(["rm", "-f", "--", _NUKE])
        done = shell.apt("purge", "-y", *packages)
    if not done.ok:
        raise EngineError(
            f"apt-get could not remove the packages: {_last(done)}", fix="mend apt, then repeat"
        )


class _Privileged:
    """Runs commands as root, directly or through sudo."""

    def __init__(self, run: Run, *, sudo: bool) -> None:
        self._run = run
        self._prefix = ("sudo", "-n") if sudo else ()

    def __call__(self, argv: list[str]) -> Completed:
        return self._run([*self._prefix, *argv])

    def apt(self, *arguments: str) -> Completed:
        return self._run([*self._prefix, "env", *_SETTINGS, *_APT, *arguments])

    def mend(self) -> None:
        """Let dpkg finish what an interrupted setup began; apt refuses to do anything before."""
        self._run([*self._prefix, "env", *_SETTINGS, "dpkg", "--configure", "-a"])

    def write(self, file: NewFile) -> None:
        """Put the file in place whole: written and synced beside itself in a private folder, then moved."""
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "file"
            draft.write_text(file.text)
            made = self(["install", "-D", "-m", "0644", "--", str(draft), f"{file.path}{_DRAFT}"])
            if made.ok:
                self(["sync", "--", f"{file.path}{_DRAFT}"])
                made = self(["mv", "-f", "--", f"{file.path}{_DRAFT}", file.path])
        if not made.ok:
            raise EngineError(f"cannot write it: {made.stderr.strip()}", file=file.path)


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


def _groups(run: Run) -> frozenset[str]:
    listed = run(["getent", "-s", "files", "group"])
    return frozenset(line.partition(":")[0] for line in listed.stdout.splitlines())


def _last(done: Completed) -> str:
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if line.startswith("E:")), lines[-1] if lines else "no output"
    )
