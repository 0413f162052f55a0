"""What `init` and `uninstall` tell: what was found, what is done about each file, their JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kiro_invoke.commands.found_files import Looked
from kiro_invoke.commands.lockfiles import Lockfile
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.model.errors import ExitCode
from kiro_invoke.scaffold.found import Found
from kiro_invoke.scaffold.plan import Deed, Write


def tell_found(surface: Surface, looked: Looked) -> None:
    surface.say(f"in {looked.root}")
    for one in looked.services:
        surface.say(f"{one.name}: {one.ecosystem}, in {one.folder or '.'}")
        for fact in one.facts:
            surface.say(f"  {fact}")
        for warning in one.warnings:
            surface.say(f"  note: {warning}")
    for passed in looked.passed:
        surface.say(f"not taken: {passed.manifest}: {passed.why}")


def tell_writes(
    surface: Surface, writes: Sequence[Write], services: Sequence[Found], *, agreed: frozenset[str], dry: bool
) -> None:
    for write in writes:
        if write.deed is Deed.LEAVE:
            surface.say(f"{write.deed:<8} {write.path}: {write.cause}")
            if lacking := _lacking(write, services):
                surface.say(
                    f"  note: it names no {', '.join(lacking)}: `kiro init --force --dry-run` shows how"
                )
        elif not write.writes or write.path in agreed:
            surface.say(
                f"{'would ' if dry and write.writes else ''}{write.deed:<8} {write.path}: {write.cause}"
            )


def _lacking(write: Write, services: Sequence[Found]) -> list[str]:
    """The services that a person's own list of them does not name."""
    if write.path not in {"kiro.yaml", "compose.yaml"}:
        return []
    known = re.findall(r"[\w.-]+", write.before or "")
    return [one.name for one in services if one.name not in known]


def tell(surface: Surface, write: Write, *, diff: bool) -> None:
    surface.say(f"{write.deed:<8} {write.path}: {write.cause}")
    if diff:
        tell_diff(surface, write)


def tell_diff(surface: Surface, write: Write) -> None:
    for line in write.diff():
        surface.say(f"  {line}")


def answer(
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
        "files": [file_fields(write, agreed) for write in writes],
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


def file_fields(write: Write, agreed: frozenset[str] | None = None) -> dict[str, Any]:
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


def show_uninstalled(surface: Surface, writes: Sequence[Write], *, dry: bool, state: bool) -> None:
    count = sum(write.writes for write in writes)
    surface.out.line(f"{count} file{'' if count == 1 else 's'} {'would be ' if dry else ''}taken out")
    if state and dry:
        surface.out.line("before that, to have the engine's room back: kiro clean-cache --what all --yes")
    elif state:
        surface.out.line(
            "the folder .kiro/ stays, which git does not see: it has the records of your builds (rm -r .kiro)"
        )
