"""`init` and `uninstall`: look at a repository, tell what was found and why, write it, and take it out again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.commands.found_files import look, own_text, paths_of, text_of
from kiro_invoke.commands.initialized import (
    answer,
    file_fields,
    show_uninstalled,
    tell,
    tell_diff,
    tell_found,
    tell_writes,
)
from kiro_invoke.commands.locked_inside import lock
from kiro_invoke.commands.lockfiles import Inside, Lockfile, Runs, forget, locked, make_lockfiles, ours
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.config import find_root
from kiro_invoke.engine import process
from kiro_invoke.engine.files import refuse_links, write_whole
from kiro_invoke.model.errors import ConfigError, ExitCode, UsageError
from kiro_invoke.model.naming import slug
from kiro_invoke.plain import clean
from kiro_invoke.scaffold.files import File, files
from kiro_invoke.scaffold.marking import is_marked
from kiro_invoke.scaffold.plan import Deed, Wishes, Write, plan, unplan
from kiro_invoke.version import __version__

#: What is made on request only.
EXTRAS = ("ci", "editor", "tilt")
#: What other programs take from this package: what is asked for -> its file.
_TAKEN = {"make": "kiro.mk", "tilt": "Tiltfile"}
_PACKAGE = Path(__file__).parents[1]
#: The names of files in which something of ours may be.
_OURS = ("Dockerfile", "Dockerfile.fast", ".dockerignore", "nginx.conf", "nginx.dev.conf", "kiro.yaml", "compose.yaml",
         "Makefile", "Tiltfile", "tasks.json", "launch.json")  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """The options of `init`."""

    dry_run: bool = False
    force: bool = False
    upgrade: bool = False
    extras: tuple[str, ...] = ()


def init(asked: Asked, run: Runs = process.run, inside: Inside | None = None) -> Callable[[Surface], Answer]:
    """Write what this repository's services need to be built fast; nothing of a person's without showing a diff."""

    def body(surface: Surface) -> Answer:
        for extra in asked.extras:
            if extra not in EXTRAS:
                raise UsageError(
                    f'--extra "{clean(extra)}" is not known', fix=f"use one of {', '.join(EXTRAS)}"
                )
        taken = {name for name, file in _TAKEN.items() if (_PACKAGE / file).is_file()}
        if "tilt" in asked.extras and "tilt" not in taken:
            raise UsageError("--extra tilt: this version brings no extension for Tilt", fix="leave it out")
        looked = look(surface.folder, surface.environ)
        if not looked.services:
            seen = "; ".join(f"{one.manifest}: {one.why}" for one in looked.passed)
            raise ConfigError(
                f"found no service{f' ({seen})' if seen else ''}",
                fix="start in a repository with a Cargo.toml or package.json of a program or page",
            )
        missing = tuple(dict.fromkeys(one.lockfile for one in looked.services if one.lockfile))
        made: tuple[Lockfile, ...] = ()
        if missing and asked.dry_run:
            surface.say(f"would make {', '.join(missing)}: what only a lockfile tells is not known yet")
        elif missing:
            made = make_lockfiles(
                surface, run, inside or _inside(surface, looked.root), looked.root, looked.services, missing
            )
            looked = look(surface.folder, surface.environ)
        project = slug(looked.root.name, "project")
        wanted = _distinct(
            files(looked.repository, looked.services, project, {*asked.extras, *({"make"} & taken)})
        )
        wishes = Wishes(asked.upgrade, asked.force)
        writes = plan(wanted, lambda path: text_of(looked.root, path), __version__, wishes)
        tell_found(surface, looked)
        agreed = _agreed(surface, writes, asked)
        tell_writes(surface, writes, looked.services, agreed=agreed, dry=asked.dry_run)
        if not asked.dry_run:
            _write(looked.root, [write for write in writes if write.writes and write.path in agreed])
        return answer(looked, writes, made, agreed, dry=asked.dry_run)

    return body


def _inside(surface: Surface, root: Path) -> Inside:
    return lambda service, path, argv: lock(surface, root, service, path, argv)


def uninstall(*, dry_run: bool, force: bool) -> Callable[[Surface], Answer]:
    """Take out of this repository what `init` wrote, byte for byte; what a person changed since only with `force`."""

    def body(surface: Surface) -> Answer:
        root = find_root(surface.folder)
        refuse_links(root / ".kiro", root / ".kiro/init", root / _REPLACED)
        own = [
            path for path in paths_of(root) if path.rpartition("/")[2] in _OURS or path.endswith("/kiro.yaml")
        ]
        replaced = root / _REPLACED
        writes = [
            _restored(write, replaced)
            for write in unplan(own, lambda path: own_text(root, path), force=force)
        ]
        writes += [*_missing(root, replaced), *ours(root)]
        for write in writes:
            tell(surface, write, diff=write.deed is Deed.LEAVE or (force and "changed" in write.cause))
        if not writes:
            surface.say("nothing here was written by kiro init")
        if not dry_run:
            _write(root, [write for write in writes if write.writes])
            if all(write.deed is not Deed.LEAVE for write in writes):
                forget(root)
        left = [write for write in writes if write.deed is Deed.LEAVE]
        fields = {"files": [file_fields(write) for write in writes], "left": len(left), "dry_run": dry_run}
        state = (root / ".kiro").is_dir()
        return Answer(
            fields,
            lambda s: show_uninstalled(s, writes, dry=dry_run, state=state),
            ok=not left,
            exit_code=ExitCode.MISSED if left else ExitCode.DONE,
        )

    return body


def _distinct(wanted: Sequence[File]) -> tuple[File, ...]:
    paths: dict[str, File] = {}
    for file in wanted:
        if file.path in paths and paths[file.path].text != file.text:
            raise ConfigError(
                "two services want this file, each another",
                file=file.path,
                fix="move one of them into a folder of its own",
            )
        paths[file.path] = file
    return tuple(paths.values())


def _agreed(surface: Surface, writes: Sequence[Write], asked: Asked) -> frozenset[str]:
    """The paths that may be written: all that is new; of what is there, after its diff was shown, what is agreed to."""
    fresh = {write.path for write in writes if write.deed is Deed.CREATE}
    others = [write for write in writes if write.writes and write.deed is not Deed.CREATE]
    for write in others:
        tell_diff(surface, write)
    added = {write.path for write in others if write.deed is Deed.ADD}
    changed = {write.path for write in others} - added
    if not changed or asked.force or asked.dry_run:
        return frozenset(fresh | added | changed)
    if surface.ask is None:
        surface.say("not renewed: there is no terminal to ask on (--force renews without)")
    elif surface.ask("Write what is shown above?"):
        return frozenset(fresh | added | changed)
    return frozenset(fresh | added)


_REPLACED = ".kiro/init/replaced"
_BEFORE_FORCE = "yours, as it was before --force"


def _write(root: Path, writes: Sequence[Write]) -> None:
    for write in writes:
        file = root / write.path
        if write.deed is Deed.REPLACE and write.before is not None and not is_marked(write.before):
            locked(root)
            write_whole(root / _REPLACED / write.path, write.before)
        if write.after is None:
            file.unlink()
            _prune(file.parent, root)
            continue
        real = file.resolve()
        if not real.is_relative_to(root.resolve()):
            raise ConfigError("leads out of the repository", file=write.path, fix="remove the link")
        write_whole(real, write.after, mode=real.stat().st_mode & 0o777 if real.exists() else 0o644)


def _prune(folder: Path, root: Path) -> None:
    """Remove the folders that are ours alone, where they are empty."""
    while folder != root and folder.name in {".vscode", ".github", "workflows"}:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _missing(root: Path, replaced: Path) -> Iterator[Write]:
    """What a person had where `--force` replaced it and nothing is any more."""
    for kept in sorted(replaced.rglob("*")):
        path = kept.relative_to(replaced).as_posix()
        if (
            kept.is_file()
            and not kept.is_symlink()
            and kept.name in _OURS
            and not os.path.lexists(root / path)
        ):
            yield Write(path, Deed.RESTORE, _BEFORE_FORCE, None, kept.read_bytes().decode())


def _restored(write: Write, replaced: Path) -> Write:
    """With what a person had there before, where `--force` replaced that."""
    kept = replaced / write.path
    if write.deed is not Deed.REMOVE or not kept.is_file():
        return write
    return Write(write.path, Deed.RESTORE, _BEFORE_FORCE, write.before, kept.read_bytes().decode())
