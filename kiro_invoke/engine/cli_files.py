"""What the docker CLI finds before it asks anybody: its configuration file and its plugins.

Asking the CLI for a plugin's version, or to start it, takes a tenth of a second more each time than it takes
to see that the files are those that the CLI was asked about before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from kiro_invoke.engine.files import write_whole

#: Where the CLI looks for plugins after its configuration's own folders.
SYSTEM_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


@dataclass(frozen=True)
class CliConfig:
    """What matters here of the CLI's config.json. `context` is "" where it chooses none."""

    folder: Path
    context: str = ""
    plugin_folders: tuple[str, ...] = ()

    def plugin_files(self, name: str) -> tuple[Path, ...]:
        """Every file that could be the plugin `name`, there or not."""
        folders = (*self.plugin_folders, f"{self.folder}/cli-plugins", *SYSTEM_FOLDERS)
        return tuple(Path(folder, f"docker-{name}") for folder in folders)


def read_config(environ: Mapping[str, str]) -> CliConfig | None:
    """The CLI's configuration; an absent file is an empty one. None where it is better left to the CLI."""
    home = environ.get("HOME")
    named = environ.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else "")
    if not named:
        return None
    folder = Path(named)
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        context, folders = raw.get("currentContext") or "", raw.get("cliPluginsExtraDirs") or ()
    except FileNotFoundError:
        return CliConfig(folder)
    except (OSError, ValueError, AttributeError):
        return None
    return CliConfig(folder, str(context), tuple(map(str, folders)))


def chooses_default(environ: Mapping[str, str]) -> bool:
    """Whether there is a CLI that surely uses its default context, and that one surely its default socket."""
    if shutil.which("docker", path=environ.get("PATH")) is None:
        return False
    if any(environ.get(name) for name in ("DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY")):
        return False
    config = read_config(environ)
    return config is not None and config.context in {"", "default"}


@dataclass(frozen=True)
class Plugin:
    """A plugin of the CLI: its version ("" where it is missing), and its file where that is known."""

    version: str
    file: str = ""


@dataclass(frozen=True)
class KnownPlugins:
    """Remembers, in a file of the state folder, what was found out of plugins while their files were as now."""

    path: Path
    environ: Mapping[str, str]

    def plugin(self, name: str, ask: Callable[[], Plugin]) -> Plugin:
        """What `ask` said of the plugin when it was last asked; a missing one is not remembered."""
        marks = self._marks(name)
        if marks is None:
            return ask()
        known = self._read()
        found = _remembered(known.get(name), marks)
        if found is None:
            found = ask()
            # through a link, which may have come with somebody's repository, nothing is written
            is_ours = not self.path.parent.is_symlink()
            if found.version and is_ours and self._marks(name) == marks:
                with suppress(OSError):
                    write_whole(self.path, json.dumps({**known, name: {**asdict(found), "marks": marks}}))
        return found

    def _marks(self, plugin: str) -> list[list[object]] | None:
        """Path, size, times and inode of the CLI and of whatever could be the plugin; None if neither is."""
        config = read_config(self.environ)
        cli = shutil.which("docker", path=self.environ.get("PATH"))
        if config is None or cli is None:
            return None
        found = [_mark(file) for file in config.plugin_files(plugin)]
        there = [mark for mark in found if mark]
        return [_mark(Path(cli)), *there] if there else None

    def _read(self) -> dict[str, object]:
        with suppress(OSError, ValueError):
            raw = json.loads(self.path.read_text(encoding="utf-8"))
            if isinstance(raw, dict):
                return raw
        return {}


def _remembered(entry: object, marks: list[list[object]]) -> Plugin | None:
    """The plugin that an entry tells of, if the files were then as they are now.

    What it names is going to be started, and the state folder may have come with somebody's repository:
    nothing but one of these files will do.
    """
    if not isinstance(entry, dict) or entry.get("marks") != marks:
        return None
    version, file = entry.get("version"), entry.get("file")
    known = {"", *(str(mark[0]) for mark in marks[1:])}
    return Plugin(version, str(file)) if isinstance(version, str) and file in known else None


def _mark(file: Path) -> list[object]:
    """What a file is known by; nothing where there is none."""
    with suppress(OSError, ValueError):
        found = file.stat()
        return [str(file), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
    return []
