"""Edits as text to text: each number gives a content that was never there before. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.variants import BACKEND, FRONTEND
from kiro_invoke.model.errors import ConfigError

#: Texts of files by their path relative to the service's folder.
Texts = Mapping[str, str]

_APPLICATION = "crates/kiro-backend/src/routes/greeting.rs"
_BOTTOM = "crates/kiro-domain/src/lib.rs"
_MANIFEST = "crates/kiro-backend/Cargo.toml"


@dataclass(frozen=True)
class Edit:
    """Which files an edit reads, and what it makes of their texts and its number."""

    files: tuple[str, ...]
    change: Callable[[Texts, int], dict[str, str]]


def _put(file: str, anchor: str, text: str) -> Edit:
    """Replace `anchor` in `file` by `text`, where `@` is the edit's number."""

    def change(texts: Texts, number: int) -> dict[str, str]:
        if anchor not in texts[file]:
            raise ConfigError(f"nothing to edit: no `{anchor}`", file=file, fix="correct benchmarks/edits.py")
        return {file: texts[file].replace(anchor, text.replace("@", str(number)), 1)}

    return Edit((file,), change)


def _cargo_version(texts: Texts, number: int) -> dict[str, str]:
    """The workspace's version, in its manifest and for each of its packages in the lockfile."""
    manifest, lock = texts["Cargo.toml"], texts["Cargo.lock"]
    found = re.search(r'(?ms)^\[workspace\.package\]$.*?^version = "(\d+\.\d+)\.\d+"$', manifest)
    if found is None:
        raise ConfigError(
            "no version in [workspace.package]", file="Cargo.toml", fix="correct benchmarks/edits.py"
        )
    new = f"{found[1]}.{number}"
    edited = manifest[: found.start()] + re.sub(r'version = ".*"\Z', f'version = "{new}"', found[0])
    blocks = [
        block if "\nsource = " in block else re.sub(r'(?m)^version = ".*"$', f'version = "{new}"', block)
        for block in lock.split("\n\n")
    ]
    return {"Cargo.toml": edited + manifest[found.end() :], "Cargo.lock": "\n\n".join(blocks)}


def _npm(change: Callable[[dict[str, object], int], None], *files: str) -> Edit:
    def edit(texts: Texts, number: int) -> dict[str, str]:
        made = {}
        for file in files:
            value = json.loads(texts[file])
            change(value, number)
            made[file] = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        return made

    return Edit(files, edit)


def _npm_version(value: dict[str, object], number: int) -> None:
    value["version"] = f"0.1.{number}"
    packages = value.get("packages")
    if isinstance(packages, dict):
        packages[""]["version"] = value["version"]


def _npm_script(value: dict[str, object], number: int) -> None:
    scripts = value["scripts"]
    assert isinstance(scripts, dict)
    scripts["benchmark"] = f"echo {number}"


def _npm_comment(value: dict[str, object], number: int) -> None:
    value["//"] = f"edit {number}"


EDITS: Mapping[tuple[str, str], Edit] = {
    (BACKEND, "source"): _put(_APPLICATION, '"greeted a visitor"', '"greeted a visitor, edit @"'),
    (BACKEND, "source-library"): _put(_BOTTOM, '"Hello from Kiro"', '"Hello from Kiro, edit @"'),
    (BACKEND, "comment"): Edit((_MANIFEST,), lambda t, n: {_MANIFEST: f"{t[_MANIFEST]}\n# edit {n}\n"}),
    (BACKEND, "version"): Edit(("Cargo.toml", "Cargo.lock"), _cargo_version),
    (FRONTEND, "source"): _put("src/App.tsx", "<h1>{TITLE}", "<h1>{TITLE} @"),
    (FRONTEND, "comment"): _npm(_npm_comment, "package.json"),
    (FRONTEND, "script"): _npm(_npm_script, "package.json"),
    (FRONTEND, "version"): _npm(_npm_version, "package.json", "package-lock.json"),
}
