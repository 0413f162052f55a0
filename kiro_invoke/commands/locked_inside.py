"""Make a lockfile in a throw-away image on the engine. What is sent there are copies of manifests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from kiro_invoke.builds.executor import OWN_SETTINGS
from kiro_invoke.builds.progress import Progress
from kiro_invoke.commands import opening
from kiro_invoke.commands.surface import Surface
from kiro_invoke.model.errors import BuildFailed, EngineError
from kiro_invoke.model.service import Project, Secret
from kiro_invoke.scaffold.found import Found, Need
from kiro_invoke.scaffold.locking import MADE, Making, definition, is_sent, making

#: What holds no manifest of a project's.
_LEFT_OUT = frozenset({".git", ".kiro", "node_modules", "target", "dist", ".venv"})


def lock(surface: Surface, root: Path, service: Found, path: str, argv: Sequence[str]) -> str:
    """The text of the lockfile at `path`; KiroError where there is no engine, no image, or the manager fails."""
    engine = opening.open_engine(surface, setup=False)
    made = making(service, path, argv, _secrets(surface, root, service.needs))
    with tempfile.TemporaryDirectory(prefix="kiro-lockfile-") as scratch:
        folder = Path(scratch)
        sent, into = folder / "sent", folder / "into"
        _send(root, sent, frozenset(need.file for need in service.needs if need.file))
        project = Project(folder, "kiro", ())  # what it remembers goes with the folder
        project.state.mkdir()
        (base,) = opening.base_resolver(project, engine, surface, pull=False)((made.image,), surface.say)
        surface.say(f"make     {path}: in {made.image}, for no {command_of(argv)} works on this machine")
        text = definition(
            made,
            str(sent),
            str(into),
            dict([base.context] if base.context else []),
            str(opening.ca_bundle(project, surface) or ""),
        )
        progress = Progress(lambda _event: None, {"lockfile": service.name})
        if not engine.bake(text, env=OWN_SETTINGS, on_line=progress.feed).ok:
            raise _failed(made, progress)
        return (into / MADE).read_text(encoding="utf-8")


def command_of(argv: Sequence[str]) -> str:
    """The manager's name: what npx starts, else what is started."""
    return argv[4] if argv[0] == "npx" else argv[0]


def _secrets(surface: Surface, root: Path, needs: Sequence[Need]) -> tuple[Secret, ...]:
    """The secrets that are there, as a build gets them: of others the manager says that it lacks them."""
    found = []
    for need in needs:
        file = root / Path(need.file).expanduser()
        if need.env and need.env in surface.environ:
            found.append(Secret(need.id, f"env:{need.env}"))
        elif need.file and file.is_file():
            found.append(Secret(need.id, f"file:{file}"))
    return tuple(found)


def _send(root: Path, sent: Path, left_out: frozenset[str]) -> None:
    sent.mkdir()
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        wanted = is_sent(name, left_out)
        if wanted is False:
            continue
        place = sent / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes() if wanted else b"")


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        for name in names:
            file = Path(folder, name)
            if file.is_file() and file.resolve().is_relative_to(root.resolve()):
                yield file


def _failed(made: Making, progress: Progress) -> BuildFailed | EngineError:
    step = progress.failed_step()
    if step is None:
        return EngineError(f"{made.image}: {' '.join(progress.plain[-3:]) or 'the engine built nothing'}")
    return BuildFailed(f"{made.image}: {' '.join(line.strip() for line in step[1][-5:])}")
