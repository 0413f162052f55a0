"""What every file of a Cargo project goes through: read, parsed, and its values written in one form."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from kiro_invoke.model.fingerprint import Tree

#: What stands in a TOML file, and a table there.
Value: TypeAlias = Any
Table = dict[str, Any]
Key = TypeVar("Key")

#: A larger file is not parsed: it takes tomllib many seconds. The largest lockfiles have about 1 MB.
LIMIT = 8 << 20
_LARGE = 1 << 16
#: More of them in one line may be a name of as many parts, for which tomllib takes minutes.
DOTS = 1000
_INTEGERS = range(-(1 << 63), 1 << 63)
_BOM = b"\xef\xbb\xbf"
_HEADER = re.compile(rb"(?m)^[ \t]*\[[ \t]*((?:package|workspace)[ \t]*\.[ \t]*metadata[^]\n]*)\]")
_TIME = re.compile(rb"\d\d:\d\d:\d\d(?:\.\d{7,}(?:Z|[+-]\d\d:\d\d)?|(?:\.\d+)?[+-]00:00)", re.IGNORECASE)
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Doubt(Exception):
    """A file that nobody can make sense of: nothing can be said of the recipe."""

    def __init__(self, path: str, line: int, what: str) -> None:
        super().__init__(f"{_printable(path)}:{line}: {_printable(what)}")


def text_of(tree: Tree, path: str) -> bytes | None:
    """The bytes of a file that must be UTF-8; None if nothing stands there."""
    raw = tree.read(path)
    if raw is None:
        if path in tree.names:
            raise Doubt(path, 1, "cannot be read")
        return None
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise Doubt(path, raw.count(b"\n", 0, error.start) + 1, "not UTF-8") from None
    return raw


def parse(path: str, raw: bytes) -> Table:
    """A TOML file's content, not to be changed."""
    if len(raw) > LIMIT:
        raise Doubt(path, 1, f"larger than {LIMIT >> 20} MB")
    deep = next((at for at, text in enumerate(raw.split(b"\n"), 1) if text.count(b".") > DOTS), 0)
    if deep:
        raise Doubt(path, deep, "nested too deeply")
    try:
        return (_parsed_small if len(raw) < _LARGE else _parsed_large)(raw)
    except RecursionError:
        raise Doubt(path, 1, "nested too deeply") from None
    except ValueError as error:
        where = _WHERE.search(str(error))
        line = int(where[1] or raw.count(b"\n") + 1) if where else 1
        what = _WHERE.sub("", str(error))
        raise Doubt(path, line, what[:1].lower() + what[1:]) from None


def _parsed(raw: bytes) -> Table:
    return tomllib.loads(raw.removeprefix(_BOM).decode())


#: What was parsed is kept: of two trees most files are the same. Of large files, lockfiles in practice, a few.
_parsed_small = lru_cache(maxsize=512)(_parsed)
_parsed_large = lru_cache(maxsize=4)(_parsed)


def line_of(raw: bytes, keys: Sequence[str]) -> int:
    """The line that most likely says `keys`: after the longest header of the first of them come the others."""
    at, text = 0, raw.decode(errors="replace")
    for count in range(len(keys), 0, -1):
        header = r"[ \t]*\.[ \t]*".join(f"[\"']?{re.escape(key)}[\"']?" for key in keys[:count])
        found = re.compile(rf"(?m)^[ \t]*\[+[ \t]*{header}[ \t]*\]").search(text)
        if found:
            at, keys = found.end(), keys[count:]
            break
    for key in keys:
        found = re.compile(rf"(?m)^[^#\n]*?(?<![\w-]){re.escape(key)}(?![\w-])").search(text, at)
        at = found.end() if found else at
    return text.count("\n", 0, at) + 1


def digest(raw: bytes) -> str:
    """A text in short."""
    return hashlib.sha256(raw).hexdigest()


def shown(value: object) -> str:
    """A value in one form: the same for those that the recipe writes alike."""
    if isinstance(value, dict):
        inner = (f"{json.dumps(key)}: {shown(item)}" for key, item in sorted(value.items(), key=rank))
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int) and value not in _INTEGERS:
        return hex(value)  # cargo takes no such number, and Python writes none of thousands of digits
    return repr(value) if isinstance(value, float) else json.dumps(value)


def rank(item: tuple[str, object]) -> int:
    """Where the recipe's TOML writes an entry: plain values, arrays of tables, tables. Else order stays."""
    value = item[1]
    if isinstance(value, list):
        return int(any(isinstance(inner, dict) for inner in value))
    return 2 if isinstance(value, dict) else 0


def disorder(keys: Iterable[Key], place: Callable[[Key], Any]) -> list[list[Key]]:
    """What of a sequence its members alone do not tell: those that follow a greater one, each after its neighbour."""
    odd: list[list[Key]] = []
    greatest, last = None, None
    for key in keys:
        here = place(key)
        if greatest is not None and last is not None and here < greatest:
            odd.append([last, key])
        else:
            greatest = here
        last = key
    return odd


def spelled(raw: bytes) -> Iterator[tuple[str, list[str]]]:
    """What the recipe tells of metadata and tomllib does not. It may count where the recipe stays, in a comment say.

    A table that is opened after those within it moves behind its neighbours. Times are given to the nanosecond, and
    with `+00:00` for `Z` if that is written.
    """
    headers = [header.decode() for header in _HEADER.findall(raw)]
    opened: set[str] = set()
    moved = False
    for header in headers:
        moved = moved or header in opened
        opened.update(header[: dot.start()] for dot in re.finditer(r"\.", header))
    yield "order of metadata", headers if moved else []
    yield "times in metadata", [time.decode() for time in _TIME.findall(raw)]


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
