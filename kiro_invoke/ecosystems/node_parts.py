"""What the modules of Node's package managers share: a service's files, and the parts gathered from them."""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from kiro_invoke.model.fingerprint import Fingerprint, Part, Tree

MANIFEST = "package.json"
MODULES = "node_modules"
#: What the part of a whole file is called: of one that an install reads (it may stay, and be read no longer), of
#: one that it does not read, and of one that is only written otherwise.
INPUT = "input of the install"
FILE = "file"
FORMATTING = "formatting"

_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7}|\|{7})(?=\s|$)", re.MULTILINE)
_LONGEST = 100


class Doubt(Exception):
    """What cannot be read, in one line: "package.json:3: what"."""

    def __init__(self, file: str, what: str, line: int | None = None) -> None:
        where = shown(file) if line is None else f"{shown(file)}:{line}"
        super().__init__(f"{where}: {shown(what)}")


class Project:
    """A service's files as they are read, and what was gathered of them so far."""

    def __init__(self, tree: Tree) -> None:
        self.names = frozenset(tree.names)
        self._read = tree.read
        self._parts: dict[Part, list[str]] = {}
        self._unseen: dict[Part, list[str]] = {}

    @cached_property
    def customary(self) -> list[str]:
        """The files in folders that tools look into by custom."""
        likely = (name for name in self.names if "patches/" in name or "prisma/" in name)
        return sorted(name for name in likely if not is_installed(name))

    @cached_property
    def packages(self) -> list[str]:
        """The folders, but the service's own, that hold a manifest."""
        ending = f"/{MANIFEST}"
        found = (name.removesuffix(ending) for name in self.names if name.endswith(ending))
        return sorted(folder for folder in found if not is_installed(folder))

    def text(self, path: str) -> str | None:
        """A file's text without a byte order mark; None if there is no such file."""
        data = self._read(path) if path in self.names else None
        if data is None:
            return None
        try:
            return data.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            raise Doubt(path, "not UTF-8", error.object.count(b"\n", 0, error.start) + 1) from None

    def counts(self, file: str, what: str, value: str) -> None:
        """An install can depend on this. Several values of one part are all kept."""
        self._parts.setdefault(Part(file, what), []).append(value)

    def tells(self, file: str, what: str, value: str) -> None:
        """No install can see this."""
        self._unseen.setdefault(Part(file, what), []).append(value)

    def counts_file(self, path: str, what: str = INPUT) -> None:
        """An install can depend on all of a file. Only its hash is kept: settings may hold a token."""
        self._set_file(self._parts, Part(path, what))

    def tells_file(self, path: str) -> None:
        """No install can see a file."""
        self._set_file(self._unseen, Part(path, FILE))

    def fingerprint(self) -> Fingerprint:
        """All that was gathered."""
        return Fingerprint(_joined(self._parts), _joined(self._unseen))

    def _set_file(self, gathered: dict[Part, list[str]], part: Part) -> None:
        data = self._read(part.file) if part.file in self.names else None
        if data is not None:
            gathered[part] = [hashlib.sha256(data).hexdigest()]


def judged(tree: Tree, gather: Callable[[Project], None]) -> Fingerprint:
    """The fingerprint of what `gather` finds, or its doubt."""
    project = Project(tree)
    try:
        gather(project)
    except Doubt as doubt:
        return Fingerprint(doubt=str(doubt))
    except RecursionError:
        return Fingerprint(doubt=f"{MANIFEST}: nested too deeply")
    return project.fingerprint()


def canonical(value: object) -> str:
    """A value as JSON in which the order of keys does not show."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def hashed(value: object) -> str:
    """What `canonical` gives, where only equality matters."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def shown(text: str) -> str:
    """A text that fits a line, whatever is in it."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def quoted(name: str) -> str:
    """A name out of a file, as it stands in a sentence. No two names read alike."""
    line = shown(name)
    return f"`{line}`" if line == name else f"`{line}` ({hashed(name)[:8]})"


def json_object(path: str, text: str) -> dict[str, Any]:
    """The object that a file holds. Of a key that is there twice the last counts, as for npm."""
    try:
        # JavaScript's only numbers are floats, and no count of digits is too long for them
        value = json.loads(text, parse_int=float, parse_constant=_no_json)
    except json.JSONDecodeError as error:
        check_conflicts(path, text)
        raise Doubt(path, f"no JSON: {error.msg[:1].lower()}{error.msg[1:]}", error.lineno) from None
    except ValueError as error:
        raise Doubt(path, f"no JSON: {error}") from None
    except RecursionError:
        raise Doubt(path, "nested too deeply") from None
    if not isinstance(value, dict):
        raise Doubt(path, "not an object", 1)
    return value


def check_conflicts(path: str, text: str) -> None:
    """Doubt for a file in which git left both sides of a merge."""
    if any(mark * 7 in text for mark in "<=>") and (found := _CONFLICT.search(text)):
        raise Doubt(path, "a merge conflict", text.count("\n", 0, found.start()) + 1)


def is_installed(path: str) -> bool:
    """Whether a path leads into installed packages."""
    return MODULES in path and MODULES in path.split("/")


def texts(value: object) -> dict[str, str]:
    """The entries of an object that are texts; none if it is no object."""
    entries = value.items() if isinstance(value, dict) else ()
    return {key: each for key, each in entries if isinstance(each, str)}


def each_key(project: Project, file: str, key: str, value: object, called: str) -> None:
    """A part for each key of an object: "dependency `react`". Of anything else, one part."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            project.counts(file, f"{called} {quoted(name)}", canonical(each))
    else:
        project.counts(file, quoted(key), canonical(value))


def _joined(gathered: Mapping[Part, list[str]]) -> dict[Part, str]:
    joined = {}
    for part, values in gathered.items():
        first, *others = sorted(values)
        joined[part] = canonical([first, *others]) if others else first
    return joined


def _no_json(word: str) -> object:
    raise ValueError(f"{word} is no value")
