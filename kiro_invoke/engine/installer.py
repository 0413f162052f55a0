"""Carry out a setup plan on this machine, remember what it added, and take exactly that back."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kiro_invoke.engine.protocol import Completed, Run
from kiro_invoke.engine.setup import STATE_FILE, HostFacts, NewFile, SetupPlan
from kiro_invoke.model.errors import EngineError

APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_APT = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=120")


@dataclass(frozen=True)
class Installed:
    """What a setup added: packages that were absent before, files, and groups."""

    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sudo: bool = False
    complete: bool = False
    before: tuple[str, ...] = field(default=(), repr=False)


def host_facts(run: Run) -> HostFacts:
    """Read what `plan_setup` decides by."""
    release = _os_release(Path("/etc/os-release"))
    mirror, keyring = _debian_mirror(run)
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
    """Names of the installed packages; empty where there is no dpkg."""
    listed = run(["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n"])
    rows = (line.split() for line in listed.stdout.splitlines())
    return frozenset(row[0].partition(":")[0] for row in rows if len(row) > 1 and row[1].startswith("ii"))


def read_state(path: Path = Path(STATE_FILE)) -> Installed | None:
    """What an earlier setup added here, or None."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return Installed(
        packages=tuple(raw.get("packages", ())),
        files=tuple(raw.get("files", ())),
        groups=tuple(raw.get("groups", ())),
        sudo=bool(raw.get("sudo")),
        complete=bool(raw.get("complete")),
        before=tuple(raw.get("before", ())),
    )


def install(plan: SetupPlan, run: Run, *, state: Path = Path(STATE_FILE)) -> Installed:
    """Add the plan's files and packages. An interrupted run can be repeated, and undone."""
    shell = _Privileged(run, sudo=plan.needs_sudo)
    earlier = read_state(state)
    before = earlier.before if earlier and not earlier.complete else tuple(sorted(installed_packages(run)))
    known = earlier or Installed()
    files = tuple(dict.fromkeys((*known.files, *(file.path for file in plan.files))))
    groups_before = _groups()
    begun = Installed(packages=known.packages, files=files, sudo=plan.needs_sudo, before=before)
    shell.write(NewFile(str(state), json.dumps(asdict(begun))))
    for file in plan.files:
        shell.write(file)
    shell.apt("update")
    done = shell.apt("install", "-y", "--no-install-recommends", *plan.packages)
    added = tuple(sorted({*known.packages, *(installed_packages(run) - frozenset(before))}))
    result = Installed(
        packages=added,
        files=files,
        groups=tuple(dict.fromkeys((*known.groups, *sorted(_groups() - groups_before)))),
        sudo=plan.needs_sudo,
        complete=done.ok,
        before=() if done.ok else before,
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
    before = frozenset(added.before)
    packages = added.packages or tuple(sorted(installed_packages(run) - before if before else ()))
    present = tuple(name for name in packages if name in installed_packages(run))
    if present:
        done = shell.apt("purge", "-y", *present)
        if not done.ok:
            raise EngineError(
                f"apt-get could not remove the packages: {_last(done)}", fix="mend apt, then repeat"
            )
    for group in added.groups:
        shell(["groupdel", group])
    for path in (*added.files, str(state)):
        shell(["rm", "-f", "--", path])
    shell(["rmdir", "--ignore-fail-on-non-empty", "--", str(state.parent)])
    if added.files:
        shell.apt("update")
    return (*(f"package {name}" for name in present), *(f"file {path}" for path in added.files))


class _Privileged:
    """Runs commands as root, directly or through sudo."""

    def __init__(self, run: Run, *, sudo: bool) -> None:
        self._run = run
        self._prefix = ("sudo", "-n") if sudo else ()

    def __call__(self, argv: list[str]) -> Completed:
        return self._run([*self._prefix, *argv])

    def apt(self, *arguments: str) -> Completed:
        settings = [f"{key}={value}" for key, value in APT_ENV.items()]
        return self._run([*self._prefix, "env", *settings, *_APT, *arguments])

    def write(self, file: NewFile) -> None:
        """Put the file in place whole: written and synced beside itself in a private folder, then moved."""
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "file"
            draft.write_text(file.text)
            made = self(["install", "-D", "-m", "0644", "--", str(draft), f"{file.path}.kiro-new"])
            if made.ok:
                self(["sync", "--", f"{file.path}.kiro-new"])
                made = self(["mv", "-f", "--", f"{file.path}.kiro-new", file.path])
        if not made.ok:
            raise EngineError(f"cannot write it: {made.stderr.strip()}", file=file.path)


def _os_release(path: Path) -> dict[str, str]:
    with suppress(OSError):
        rows = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
        return {key: value.strip().strip('"') for key, _, value in rows}
    return {}


def _debian_mirror(run: Run) -> tuple[str | None, str | None]:
    """The mirror that serves this release's `main`, and the keyring to check it with."""
    line = "$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(ORIGIN)"
    listed = run(["apt-get", "indextargets", "--format", line, "Created-By: Packages"]).stdout
    rows = [row.split("|") for row in listed.splitlines()]
    codename = _os_release(Path("/etc/os-release")).get("VERSION_CODENAME", "")
    found = next((row[2] for row in rows if len(row) == 4 and row[:2] == [codename, "main"]), None)
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return found, str(keyring) if keyring.exists() else None


def _groups() -> frozenset[str]:
    with suppress(OSError):
        return frozenset(line.partition(":")[0] for line in Path("/etc/group").read_text().splitlines())
    return frozenset()


def _last(done: Completed) -> str:
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if line.startswith("E:")), lines[-1] if lines else "no output"
    )
