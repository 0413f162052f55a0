"""What `doctor --fix` mends: the limit of an engine that kiro set up, and missing lines of ignore files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.commands.examined_files import Look
from kiro_invoke.commands.surface import Surface
from kiro_invoke.doctor.contexts import IGNORE, unneeded
from kiro_invoke.doctor.finding import Finding, Verdict, note, ok
from kiro_invoke.doctor.gc_limit import GC, Caching, limits, wants_limit
from kiro_invoke.engine import installed, process
from kiro_invoke.engine.daemon_json import DAEMON_JSON, set_gc
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import ConfigError, KiroError
from kiro_invoke.model.service import Project


@dataclass(frozen=True)
class Mended:
    """One thing that was mended: which check, in which file, and what was written there."""

    check: str
    file: str
    what: str


def mend(
    surface: Surface, project: Project, caching: Caching | None, looks: Sequence[Look]
) -> tuple[Mended, ...]:
    """Mend what can be mended, after it was told what is written where; nobody's file changes unasked."""
    return (*_limit(surface, caching), *_ignore_files(surface, project, looks))


def after(findings: Sequence[Finding], mended: Sequence[Mended]) -> tuple[Finding, ...]:
    """The findings, with what was mended in place of what was found."""
    files = {one.file for one in mended if one.check == IGNORE}
    limit = any(one.check == GC for one in mended)
    left = [
        finding
        for finding in findings
        if not (finding.check == IGNORE and finding.verdict is Verdict.PROBLEM and finding.file in files)
        and not (limit and finding.check == GC)
    ]
    told = [
        ok(IGNORE, f"added to {one.file}: {one.what}")
        if one.check == IGNORE
        else note(GC, f"a limit was written to {one.file}; it takes effect when the engine starts next")
        for one in mended
    ]
    return (*left, *told)


def _limit(surface: Surface, caching: Caching | None) -> Iterator[Mended]:
    """Put a limit into the configuration of our own engine. It is not restarted: containers may run in it."""
    if caching is None or not caching.ours or not wants_limit(caching) or not caching.disk_bytes:
        return
    gc = limits(caching.disk_bytes)
    most = int(gc["policy"][-1]["keepStorage"]) / 1e9
    what = f"a limit of {most:.0f} GB for the engine's build cache, mounts unused for two weeks first"
    surface.say(f"{DAEMON_JSON}: {what} (`kiro setup --undo` takes it out again)")
    if not _agreed_to_system(surface):
        surface.say("not written: run it on a terminal, or with KIRO_SETUP=1 to agree beforehand")
        return
    added = installed.read_state()
    set_gc(gc, process.run, sudo=bool(added and added.sudo) and os.geteuid() != 0)
    yield Mended(GC, DAEMON_JSON, what)


def _agreed_to_system(surface: Surface) -> bool:
    """Asked on a terminal, or agreed to beforehand by KIRO_SETUP=1: the engine is for all who use this machine."""
    return surface.environ.get("KIRO_SETUP") == "1" or (surface.ask is not None and surface.ask("Write it?"))


def _ignore_files(surface: Surface, project: Project, looks: Sequence[Look]) -> Iterator[Mended]:
    for look in looks:
        lines = list(dict.fromkeys(one.line for one in unneeded(look.sent_now())))
        if not lines:
            continue
        place = look.sent_now().ignore_file
        surface.say(f"{place}: add")
        for line in lines:
            surface.say(f"  {line}")
        if surface.ask is None:
            surface.say("not added: there is no terminal to ask on")
        elif surface.ask("Add these?"):
            _append(look.ignore_file, lines, project)
            yield Mended(IGNORE, place, ", ".join(lines))
        else:
            surface.say("not added")


def _append(file: Path, lines: Sequence[str], project: Project) -> None:
    """Add lines to a person's ignore file, the rest of it as it was; its link, where it is one, stays one."""
    real = file.resolve()
    if not real.is_relative_to(project.root.resolve()):
        raise ConfigError("leads out of the repository", file=str(file), fix="add the lines yourself")
    try:
        before = real.read_bytes().decode("utf-8") if real.exists() else ""
        mode = real.stat().st_mode & 0o777 if real.exists() else 0o644
    except (OSError, UnicodeDecodeError) as error:
        raise KiroError(f"cannot be read: {error}", file=str(file), fix="add the lines yourself") from None
    end = "\r\n" if "\r\n" in before else "\n"
    start = "" if not before or before.endswith("\n") else end
    write_whole(real, f"{before}{start}{''.join(f'{line}{end}' for line in lines)}", mode=mode)
