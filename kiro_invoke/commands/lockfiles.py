"""Lockfiles that a fresh project lacks: made by its own package manager, and remembered as ours until that is taken
back. They are what a person commits anyway.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, dirname

from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.files import make_state_folder, write_whole
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.model.errors import KiroError
from kiro_invoke.scaffold.found import Found
from kiro_invoke.scaffold.locking import MISSING, is_absent
from kiro_invoke.scaffold.plan import Deed, Write

#: What starts a process, and waits for its end (engine.process.run).
Runs = Callable[..., Completed]
_MADE = ".kiro/init/made.json"
_NAMES = frozenset({"Cargo.lock", "package-lock.json", "pnpm-lock.yaml", "yarn.lock"})
#: Seconds that a package manager may take to resolve.
_PATIENCE = 600.0
#: Yarn notes the state of an install among the sources, though nothing was installed.
_LEAVING_NOTHING = {"YARN_INSTALL_STATE_PATH": os.devnull}
#: What makes a lockfile in an image: its text, of a service and a path, by a command. KiroError where it cannot.
Inside = Callable[[Found, str, Sequence[str]], str]


@dataclass(frozen=True)
class Lockfile:
    """A lockfile that was missing; `trouble` where it still is."""

    path: str
    trouble: str = ""


def command(path: str) -> list[str]:
    """What makes the lockfile at `path`, run in its folder, and nothing else."""
    return {
        "Cargo.lock": ["cargo", "generate-lockfile"],
        "package-lock.json": [
            "npm",
            "install",
            "--package-lock-only",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ],
        "pnpm-lock.yaml": ["pnpm", "install", "--lockfile-only", "--ignore-scripts"],
        "yarn.lock": ["yarn", "install", "--mode=update-lockfile"],
    }[basename(path)]


def make_lockfiles(
    surface: Surface, run: Runs, inside: Inside, root: Path, services: Sequence[Found], missing: Sequence[str]
) -> tuple[Lockfile, ...]:
    """Make what is missing: by its manager here, else in the image that the service is built in; else say how."""
    made = []
    for path in missing:
        surface.say(f"make     {path}: there is none, and images are built from what is locked")
        own = next(one for one in services if one.lockfile == path)
        trouble = _made_here(run, root, own, path)
        if trouble is None:
            trouble = _made_inside(inside, root, own, path)
        if not trouble:
            _remember(root, path)
        else:
            surface.say(
                f"{path}: not made: {trouble}. {own.name} cannot be built without it: make it and commit it"
            )
        made.append(Lockfile(path, trouble))
    return tuple(made)


def _made_here(run: Runs, root: Path, own: Found, path: str) -> str | None:
    """What was wrong, "" where it was made; None where the manager is not there."""
    argv = command(path)
    there = ["env", f"--chdir={root / dirname(path)}"]  # settings count where a program runs
    done = run([*there, *argv], env=_LEAVING_NOTHING, timeout=_PATIENCE)
    if done.returncode == MISSING and own.manager:
        done = run([*there, *_had(own, argv)], env=_LEAVING_NOTHING, timeout=_PATIENCE)
    if done.ok and (root / path).is_file():
        return ""
    return None if is_absent(done) else _complaint(f"{done.stderr}\n{done.stdout}")[:300] or "it failed"


def _made_inside(inside: Inside, root: Path, own: Found, path: str) -> str:
    """What was wrong, "" where it was made."""
    argv = command(path)
    try:
        text = inside(own, path, argv if not own.manager or argv[0] == "cargo" else _had(own, argv))
    except KiroError as error:
        return f"there is no {argv[0]} that works on this machine, and {error.message}"
    write_whole(root / path, text, mode=0o644)
    return ""


def _had(own: Found, argv: Sequence[str]) -> list[str]:
    """The command by a manager that npm fetches first."""
    return ["npx", "--yes", "--package", own.manager, *argv]


def _complaint(output: str) -> str:
    """The lines from where a program says what is wrong, else its last ones."""
    lines = [line.strip() for line in output.split("\n") if line.strip()]
    wrong = [at for at, line in enumerate(lines) if re.search(r"\berr(?:or)?\b|\bERR", line, re.IGNORECASE)]
    return " ".join(lines[wrong[0] :][:5] if wrong else lines[-3:])


def ours(root: Path) -> list[Write]:
    """The lockfiles that were made here and are as they were made."""
    writes = []
    for path, known in _made(root).items():
        file = root / path
        if not file.is_file():
            continue
        if _hash(file) == known:
            writes.append(
                Write(path, Deed.REMOVE, "made by kiro init", file.read_text(encoding="utf-8"), None)
            )
        else:
            text = file.read_text(encoding="utf-8")
            writes.append(
                Write(path, Deed.KEEP, "made by kiro init, and changed since: it is yours", text, text)
            )
    return writes


def locked(root: Path) -> None:
    """The state folder, which git does not see."""
    make_state_folder(root / ".kiro")


def forget(root: Path) -> None:
    """Nothing is remembered any more; the state folder goes where it held nothing else."""
    state = root / ".kiro"
    for path in sorted((state / "init").rglob("*"), reverse=True) if (state / "init").is_dir() else []:
        path.unlink() if path.is_file() else path.rmdir()
    with suppress(OSError):
        (state / "init").rmdir()
    if state.is_dir() and [path.name for path in state.iterdir()] == [".gitignore"]:
        (state / ".gitignore").unlink()
        state.rmdir()


def _remember(root: Path, path: str) -> None:
    locked(root)
    known = {**_made(root), path: _hash(root / path)}
    write_whole(root / _MADE, json.dumps(known, indent=1) + "\n")


def _made(root: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        known = json.loads((root / _MADE).read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return {str(path): str(value) for path, value in known.items() if _is_own(root, str(path))}
    return {}


def _is_own(root: Path, path: str) -> bool:
    """Whether a path is a lockfile's of the repository: what is remembered is a file that anybody may have written."""
    return basename(path) in _NAMES and (root / path).resolve().is_relative_to(root.resolve())


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
