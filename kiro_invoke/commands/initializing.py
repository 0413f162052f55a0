"""`init` and `uninstall`: look at a repository, tell what was found and why, write it, and take it out again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke.commands.lockfiles import Lockfile, Runs, forget, locked, make_lockfiles, ours
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.config import find_root
from kiro_invoke.doctor.bases import satisfies
from kiro_invoke.engine import process
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import ConfigError, ExitCode, UsageError
from kiro_invoke.model.naming import slug
from kiro_invoke.plain import clean
from kiro_invoke.scaffold.files import File, files
from kiro_invoke.scaffold.found import Found, Passed
from kiro_invoke.scaffold.node import node_services
from kiro_invoke.scaffold.plan import Deed, Wishes, Write, plan, unplan
from kiro_invoke.scaffold.repository import LEFT_OUT, Repository
from kiro_invoke.scaffold.rust import rust_services
from kiro_invoke.version import __version__

#: What is made on request only.
EXTRAS = ("ci", "editor", "tilt")
#: What other programs take from this package: what is asked for -> its file.
_TAKEN = {"make": "kiro.mk", "tilt": "Tiltfile"}
_PACKAGE = Path(__file__).parents[1]
_HIDDEN = frozenset({".cargo", ".yarn", ".vscode", ".github"})
_MOST = 50_000
_LARGEST = 2_000_000
#: The names of files in which something of ours may be.
_OURS = ("Dockerfile", "Dockerfile.fast", ".dockerignore", "nginx.conf", "nginx.dev.conf", "kiro.yaml", "compose.yaml",
         "Makefile", "Tiltfile", "tasks.json", "launch.json")  # fmt: skip
_COLOURS = {Deed.CREATE: "green", Deed.ADD: "green", Deed.RENEW: "green", Deed.REPLACE: "yellow",
            Deed.REMOVE: "green", Deed.RESTORE: "green", Deed.LEAVE: "yellow", Deed.KEEP: "dim"}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """The options of `init`."""

    dry_run: bool = False
    force: bool = False
    upgrade: bool = False
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Looked:
    """A repository, and what is in it."""

    root: Path
    repository: Repository
    services: tuple[Found, ...]
    passed: tuple[Passed, ...]


def init(asked: Asked, run: Runs = process.run) -> Callable[[Surface], Answer]:
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
            made = make_lockfiles(surface, run, looked.root, looked.services, missing)
            looked = look(surface.folder, surface.environ)
        project = slug(looked.root.name, "project")
        wanted = _distinct(
            files(looked.repository, looked.services, project, {*asked.extras, *({"make"} & taken)})
        )
        wishes = Wishes(asked.upgrade, asked.force)
        writes = plan(wanted, lambda path: _text(looked.root, path), __version__, wishes)
        _tell_found(surface, looked)
        agreed = _agreed(surface, writes, asked)
        _tell_writes(surface, writes, agreed=agreed, dry=asked.dry_run)
        if not asked.dry_run:
            _write(looked.root, [write for write in writes if write.writes and write.path in agreed])
        return _answer(looked, writes, made, agreed, dry=asked.dry_run)

    return body


def uninstall(*, dry_run: bool, force: bool) -> Callable[[Surface], Answer]:
    """Take out of this repository what `init` wrote, byte for byte; what a person changed since only with `force`."""

    def body(surface: Surface) -> Answer:
        root = find_root(surface.folder)
        own = [
            path for path in _paths(root) if path.rpartition("/")[2] in _OURS or path.endswith("/kiro.yaml")
        ]
        replaced = root / _REPLACED
        writes = [
            _restored(write, replaced) for write in unplan(own, lambda path: _text(root, path), force=force)
        ]
        writes += ours(root)
        for write in writes:
            _tell(surface, write, diff=write.deed is Deed.LEAVE or (force and "changed" in write.cause))
        if not writes:
            surface.say("nothing here was written by kiro init")
        if not dry_run:
            _write(root, [write for write in writes if write.writes])
            forget(root)
        left = [write for write in writes if write.deed is Deed.LEAVE]
        fields = {"files": [_file_fields(write) for write in writes], "left": len(left), "dry_run": dry_run}
        state = (root / ".kiro").is_dir()
        return Answer(
            fields,
            lambda s: _show_uninstalled(s, writes, dry=dry_run, state=state),
            ok=not left,
            exit_code=ExitCode.MISSED if left else ExitCode.DONE,
        )

    return body


def look(folder: Path, environ: Mapping[str, str]) -> Looked:
    """What is in the repository that a folder lies in."""
    root = find_root(folder)
    if root == Path.home() or root == Path(root.anchor):
        raise UsageError(f"{root} is no repository", fix="start in the folder of your project")
    paths = frozenset(_paths(root))
    repository = Repository(root.name, paths, lambda path: _detected_text(root, path, paths))
    found = [
        *rust_services(repository, _cargo_credentials(environ)),
        *node_services(repository, satisfies, _own_npmrc(environ)),
    ]
    services = _named_apart([one for one in found if isinstance(one, Found)])
    return Looked(root, repository, services, tuple(one for one in found if isinstance(one, Passed)))


def _named_apart(services: Sequence[Found]) -> tuple[Found, ...]:
    """The services; where two would have one name, the first has it."""
    names: dict[str, Found] = {}
    for one in services:
        if one.name in names:
            raise ConfigError(
                f"two services would be named {one.name}: {names[one.name].folder or '.'} and {one.folder or '.'}",
                fix="give one of the folders or packages another name",
            )
        names[one.name] = one
    return tuple(names.values())


def _paths(root: Path) -> Iterator[str]:
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and (not name.startswith(".") or name in _HIDDEN)
        )
        for name in names:
            count += 1
            if count > _MOST:
                raise ConfigError(
                    f"more than {_MOST} files", file=str(root), fix="start in the folder of your project"
                )
            yield os.fsencode(Path(folder, name).relative_to(root)).decode("utf-8", "replace")


def _detected_text(root: Path, path: str, paths: frozenset[str]) -> str:
    if path not in paths:
        return ""
    with suppress(OSError, UnicodeDecodeError, ValueError):
        if (root / path).stat().st_size <= _LARGEST or path.endswith((".lock", "lock.yaml", "lock.json")):
            return (root / path).read_text(encoding="utf-8")
    return ""


def _text(root: Path, path: str) -> str | None:
    """A file as it is, line ends included; None where there is none. ConfigError where it is no text, or elsewhere."""
    file = root / path
    if not os.path.lexists(file):
        return None
    if not file.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            "leads out of the repository", file=path, fix="remove the link, or write the file yourself"
        )
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path, fix="move it away, or mend it") from None


def _cargo_credentials(environ: Mapping[str, str]) -> Mapping[str, str]:
    home = environ.get("CARGO_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cargo")
    found = (Path(home, name) for name in ("credentials.toml", "credentials"))
    return {file.name: str(file) for file in found if file.is_file()}


def _own_npmrc(environ: Mapping[str, str]) -> str:
    """A person's own .npmrc, where it holds credentials."""
    file = Path(
        environ.get("NPM_CONFIG_USERCONFIG") or Path(environ.get("HOME") or "~").expanduser() / ".npmrc"
    )
    with suppress(OSError, UnicodeDecodeError):
        if "_auth" in file.read_text(encoding="utf-8"):
            return "~/.npmrc" if not environ.get("NPM_CONFIG_USERCONFIG") else str(file)
    return ""


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
        _tell_diff(surface, write)
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


def _write(root: Path, writes: Sequence[Write]) -> None:
    for write in writes:
        file = root / write.path
        if write.deed is Deed.REPLACE and write.before is not None:
            kept = root / _REPLACED / write.path
            if not kept.exists():
                locked(root)
                write_whole(kept, write.before)
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


def _restored(write: Write, replaced: Path) -> Write:
    """With what a person had there before, where `--force` replaced that."""
    kept = replaced / write.path
    if write.deed is not Deed.REMOVE or not kept.is_file():
        return write
    return Write(
        write.path, Deed.RESTORE, "yours, as it was before --force", write.before, kept.read_bytes().decode()
    )


# --- telling


def _tell_found(surface: Surface, looked: Looked) -> None:
    for one in looked.services:
        surface.say(f"{one.name}: {one.ecosystem}, in {one.folder or '.'}")
        for fact in one.facts:
            surface.say(f"  {fact}")
        for warning in one.warnings:
            surface.say(f"  note: {warning}")
    for passed in looked.passed:
        surface.say(f"not taken: {passed.manifest}: {passed.why}")


def _tell_writes(surface: Surface, writes: Sequence[Write], *, agreed: frozenset[str], dry: bool) -> None:
    for write in writes:
        if write.deed is Deed.LEAVE:
            surface.say(f"{write.deed:<8} {write.path}: {write.cause}")
        elif not write.writes or write.path in agreed:
            surface.say(
                f"{'would ' if dry and write.writes else ''}{write.deed:<8} {write.path}: {write.cause}"
            )


def _tell(surface: Surface, write: Write, *, diff: bool) -> None:
    surface.say(f"{write.deed:<8} {write.path}: {write.cause}")
    if diff:
        _tell_diff(surface, write)


def _tell_diff(surface: Surface, write: Write) -> None:
    for line in write.diff():
        surface.say(f"  {line}")


def _answer(
    looked: Looked,
    writes: Sequence[Write],
    made: Sequence[Lockfile],
    agreed: frozenset[str],
    *,
    dry: bool,
) -> Answer:
    failed = [one for one in made if one.trouble]
    fields: dict[str, Any] = {
        "services": [_service_fields(one) for one in looked.services],
        "passed": [{"manifest": one.manifest, "why": one.why} for one in looked.passed],
        "files": [_file_fields(write, agreed) for write in writes],
        "lockfiles": [
            {"path": one.path, **({"trouble": one.trouble} if one.trouble else {})} for one in made
        ],
        "dry_run": dry,
    }
    return Answer(
        fields,
        lambda s: _show(s, writes, agreed, failed, dry=dry),
        ok=not failed,
        exit_code=ExitCode.MISSED if failed else ExitCode.DONE,
    )


def _service_fields(one: Found) -> dict[str, Any]:
    return {
        "name": one.name,
        "context": one.context or ".",
        "folder": one.folder or ".",
        "ecosystem": one.ecosystem,
        **({"port": one.port} if one.port else {}),
        "found": [{"what": fact.what, **({"where": fact.where} if fact.where else {})} for fact in one.facts],
        "warnings": list(one.warnings),
    }


def _file_fields(write: Write, agreed: frozenset[str] | None = None) -> dict[str, Any]:
    written = write.writes and (agreed is None or write.path in agreed)
    deed = write.deed if written or not write.writes else Deed.LEAVE
    fields: dict[str, Any] = {"path": write.path, "deed": str(deed), "cause": write.cause}
    if write.before is not None and write.deed not in {Deed.KEEP}:
        fields["diff"] = "\n".join(write.diff())
    return fields


def _show(
    surface: Surface,
    writes: Sequence[Write],
    agreed: frozenset[str],
    failed: Sequence[Lockfile],
    *,
    dry: bool,
) -> None:
    count = sum(write.writes and write.path in agreed for write in writes)
    if dry:
        surface.out.line(f"{count} files would be written, nothing was")
        return
    surface.out.line(f"{count} file{'' if count == 1 else 's'} written" if count else "nothing to do")
    if failed:
        return
    surface.out.line("next: kiro warm-cache && kiro watch (`kiro uninstall` takes all of this out again)")


def _show_uninstalled(surface: Surface, writes: Sequence[Write], *, dry: bool, state: bool) -> None:
    count = sum(write.writes for write in writes)
    surface.out.line(f"{count} file{'' if count == 1 else 's'} {'would be ' if dry else ''}taken out")
    if state and not dry:
        surface.out.line(
            "the state folder .kiro/ stays: git does not see it; remove it when you need it no more"
        )
