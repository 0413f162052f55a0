"""Whose engine is on this machine: told from files alone, because every command asks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from kiro_invoke.engine.installed import Installed

PACKAGE = "docker.io"
FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
#: dpkg's list of the package's files. Once the package is removed it names configuration only, or is gone.
FILE_LIST = Path("/var/lib/dpkg/info/docker.io.list")


def is_ours(added: Installed | None) -> bool:
    """Whether the engine here is the one that a finished setup installed."""
    return added is not None and added.complete and _from_our_package(added)


def is_foreign(added: Installed | None) -> bool:
    """Whether an engine is here that no setup put here, not even an interrupted one."""
    return bool(_engines()) and not (added is not None and _from_our_package(added))


def _from_our_package(added: Installed) -> bool:
    """Whether a setup added the package, dpkg has its files here, and every engine here is among them."""
    if PACKAGE not in added.packages:
        return False
    found = _engines()
    return bool(found) and found <= _packaged()


def _engines() -> frozenset[Path]:
    paths = (Path(folder, "dockerd") for folder in FOLDERS)
    return frozenset(path.resolve() for path in paths if path.exists())


def _packaged() -> frozenset[Path]:
    with suppress(OSError):
        lines = FILE_LIST.read_text().splitlines()
        return frozenset(Path(line).resolve() for line in lines if line.endswith("/dockerd"))
    return frozenset()
