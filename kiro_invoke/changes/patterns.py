"""Match paths against the patterns of an ignore file, exactly as BuildKit does.

A port of github.com/moby/patternmatcher with its oddities. The Docker SDK's matcher is not used: it differs
in what matters (it never ignores `.dockerignore`, looks at one parent folder only, and has other rules
for `**` and `!`), and what a build receives must not differ.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from kiro_invoke.changes.regex import check_glob, go_regex

#: What Go takes as white space; Python's own `strip` takes more.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_LONGEST_LINE = 64 * 1024
_SPECIAL = re.compile(r"[*\[\]?^\\]")
_DEPTH_VARIES = re.compile(r"\*\*|[\[|{\\]")
_NO_MATCH = re.compile(r"(?!)")


class BadPattern(ValueError):
    """A pattern that no build would start with. `line` is 1-based."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True)
class Pattern:
    """One pattern, cleaned: `text` without its `!`, and the regular expression that a whole path must match.

    `name` is set where it matches every entry of that name, whatever its folder; `exact` where it matches one path.
    `line` is where it stands, 1-based.
    """

    text: str
    negated: bool
    regex: str
    exact: str | None = None
    name: str | None = None
    line: int = field(default=0, compare=False)

    @property
    def depth(self) -> int | None:
        """The number of `/` in every path that it matches, if that is always the same."""
        return None if _DEPTH_VARIES.search(self.text) else self.text.count("/")


class Judgement(NamedTuple):
    """What the patterns say of a path: whether it is excluded, and which of them matched it or a folder above."""

    excluded: bool
    hits: tuple[bool, ...]


class Level(NamedTuple):
    """A quick test for the paths in folders of one depth: whether any pattern at all matches."""

    exact: frozenset[str]
    names: frozenset[str]
    matches: Callable[[str], object]


class Matcher:
    """All patterns of an ignore file, in order: the last one that matches decides."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.patterns = tuple(patterns)
        self.start = Judgement(False, (False,) * len(self.patterns))
        self._compiled = tuple(re.compile(pattern.regex).fullmatch for pattern in self.patterns)
        texts = [_without_glob(pattern.text) for pattern in self.patterns if pattern.negated]
        self._walks_all = any(_SPECIAL.search(text) for text in texts)
        self._readded = tuple(f"{text}/" for text in texts)
        self.level = lru_cache(maxsize=None)(self._level)

    def judge(self, path: str, folder: Judgement) -> Judgement:
        """Judge a path by the judgement on the folder that it lies in (`start` at the top)."""
        excluded, hits = False, []
        for pattern, match, hit in zip(self.patterns, self._compiled, folder.hits, strict=True):
            if not hit and pattern.negated is excluded:
                hit = match(path) is not None  # noqa: PLW2901
            hits.append(hit)
            if hit:
                excluded = not pattern.negated
        return Judgement(excluded, tuple(hits))

    def may_readd_below(self, folder: str) -> bool:
        """Whether BuildKit looks into an excluded folder for what a `!` pattern takes back in."""
        return self._walks_all or any(text.startswith(f"{folder}/") for text in self._readded)

    def _level(self, depth: int) -> Level:
        """A path that no pattern matches by itself is judged as its folder is."""
        here = [pattern for pattern in self.patterns if pattern.depth in (None, depth)]
        rest = [f"(?:{pattern.regex})" for pattern in here if pattern.exact is None and pattern.name is None]
        return Level(
            frozenset(pattern.exact for pattern in here if pattern.exact is not None),
            frozenset(pattern.name for pattern in here if pattern.name is not None),
            (re.compile("|".join(rest)) if rest else _NO_MATCH).fullmatch,
        )


def read_patterns(data: bytes) -> tuple[Pattern, ...]:
    """The patterns of an ignore file; BadPattern for what BuildKit refuses."""
    found: list[Pattern] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        if len(raw) >= _LONGEST_LINE:
            raise BadPattern(number, "the line is too long")
        # as the pattern travels in JSON: what is no UTF-8 becomes U+FFFD
        line = raw.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").decode(errors="replace")
        text = "" if line.startswith("#") else line.removesuffix("\r").strip(_SPACE)
        if text:
            found += _pattern(text, number)
    return tuple(found)


def _pattern(line: str, number: int) -> list[Pattern]:
    negated = line.startswith("!")
    text = line[1:].strip(_SPACE) if negated else line
    if text:
        text = _clean(text)
        text = text[1:] if len(text) > 1 and text.startswith("/") else text
    # cleaned a second time with its mark, as patternmatcher.New does
    text = (f"!{text}" if negated else text).strip(_SPACE)
    if not text:
        return []
    text = _clean(text)
    negated = text.startswith("!")  # "/!x" has become "!x"
    text = text.removeprefix("!") if negated else text
    if not text:
        raise BadPattern(number, 'a "!" without a path')
    try:
        check_glob(text)
        return [replace(_compiled(text, negated), line=number)]
    except ValueError as error:
        raise BadPattern(number, f'"{text}": {error}') from None


def _compiled(text: str, negated: bool) -> Pattern:
    """The pattern's regular expression, found in the way and the order of patternmatcher's `compile`."""
    kind, parts = "exact", []
    body = text.removeprefix("\ufeff")
    at = 0
    while at < len(body):
        start, char, at = at, body[at], at + 1
        if char == "*" and body.startswith("*", at):
            at += 2 if body.startswith("/", at + 1) else 1
            last = at >= len(body)
            parts.append(".*" if last else "(.*/)?")
            kind = "prefix" if last and kind == "exact" else "regex"
            if start == 0:
                kind = "suffix"
        elif char in "*?[]":
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(char, char))
            kind = "regex"
        elif char == "\\":
            parts.append(f"\\{body[at]}" if at < len(body) else "\\")
            kind, at = "regex", at + 1
        else:
            parts.append(f"\\{char}" if char in ".+()$" else char)
    if kind == "exact":
        return Pattern(text, negated, re.escape(text), exact=text)
    if kind == "prefix":
        return Pattern(text, negated, f"(?s:{re.escape(text[:-2])}.*)")
    if kind == "suffix":
        return _suffix(text, negated)
    return Pattern(text, negated, go_regex("".join(parts)))


def _suffix(text: str, negated: bool) -> Pattern:
    """`**/name` and `**name`: compared by their ends."""
    rest = text[2:]
    regex = f"(?s:(?:.*/)?{re.escape(rest[1:])})" if rest.startswith("/") else f"(?s:.*{re.escape(rest)})"
    is_name = rest.startswith("/") and "/" not in rest[1:]
    return Pattern(text, negated, regex, name=rest[1:] if is_name else None)


def _clean(path: str) -> str:
    """Go's filepath.Clean."""
    return posixpath.normpath(re.sub("/+", "/", path))


def _without_glob(text: str) -> str:
    return text.removesuffix("/**").removesuffix("/*")
