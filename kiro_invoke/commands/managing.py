"""The commands about the tool itself: `setup` and `config`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict

from kiro_invoke import config
from kiro_invoke.commands import bringing, opening
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine import daemon, docker, installed, ownership, process
from kiro_invoke.engine.locate import locate
from kiro_invoke.engine.removal import check, remove, to_remove
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.plain import clean


def setup(*, undo: bool, dry_run: bool, yes: bool) -> Callable[[Surface], Answer]:
    """Make sure of an engine, or take back what an earlier setup added."""
    if undo:
        return lambda surface: _undo(surface, dry_run=dry_run, yes=yes)
    return lambda surface: _setup(surface, dry_run=dry_run, yes=yes)


def show_config(services: Sequence[str]) -> Callable[[Surface], Answer]:
    """Every setting with its value and where it came from."""

    def body(surface: Surface) -> Answer:
        project = config.load(surface.folder, surface.environ, services=services)

        def show(s: Surface) -> None:
            widest = max((len(setting.key) for setting in project.settings), default=0)
            for setting in project.settings:
                where = f" ({setting.where})" if setting.where and setting.where != setting.origin else ""
                line = f"{setting.key:<{widest}}  {setting.value}  [{setting.origin}{where}]"
                s.out.line(clean(line))

        rows = [asdict(setting) for setting in project.settings]
        return Answer({"root": str(project.root), "settings": rows}, show)

    return body


def _setup(surface: Surface, *, dry_run: bool, yes: bool) -> Answer:
    address = locate(surface.environ, process.run)
    if dry_run and not docker.answers(address):
        lines = bringing.setup_lines(surface, address)
        return Answer({"plan": list(lines)}, lambda s: s.out.line("\n".join(lines)))
    if yes:
        surface = Surface(
            surface.out, surface.err, {**surface.environ, "KIRO_SETUP": "1"}, surface.folder, surface.ask
        )
    engine = opening.open_engine(surface, setup=True)
    facts, compose = engine.facts, engine.compose_version
    line = (
        f"Docker Engine {facts.version}, buildx {facts.buildx}, compose {compose or 'missing'}"
        f" at {facts.address}{' (installed by kiro)' if facts.ours else ''}"
    )
    return Answer({"engine": {**asdict(facts), "compose": compose}}, lambda s: s.out.line(line))


def _undo(surface: Surface, *, dry_run: bool, yes: bool) -> Answer:
    added = installed.read_state()
    if added is None:
        raise UsageError("nothing to undo: kiro installed no engine on this machine")
    removal = to_remove(added, process.run)
    wanted = list(removal.lines())
    if dry_run:
        return Answer({"would_remove": wanted}, lambda s: s.out.line("\n".join(wanted)))
    if not yes and surface.environ.get("KIRO_SETUP") != "1":
        for line in wanted:
            surface.say(f"remove {line}")
        if surface.ask is None or not surface.ask("Remove these?"):
            raise KiroError("nothing was removed", fix="run it with --yes to agree beforehand")
    check(added, removal, process.run)
    if ownership.is_ours(added):
        daemon.stop(bringing.OUR_DAEMON, run=process.run, sudo=added.sudo and os.geteuid() != 0)
    remove(added, removal, process.run)
    kept = "images, volumes and caches stay in /var/lib/docker: remove that folder to be rid of them"

    def show(s: Surface) -> None:
        for line in wanted:
            s.out.line(f"removed {line}")
        s.say(kept)

    return Answer({"removed": wanted, "kept": kept}, show)
