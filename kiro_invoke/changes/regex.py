"""Go's regular expressions, as far as an ignore file's patterns can contain them, in Python's words."""

from __future__ import annotations

import re
from typing import NamedTuple

_PERL = {
    "d": "0-9",
    "D": "^0-9",
    "s": r"\t\n\f\r ",
    "S": r"^\t\n\f\r ",
    "w": "0-9A-Za-z_",
    "W": "^0-9A-Za-z_",
}
_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
#: What Go sees as U+FFFD: the character itself, and each byte of a name that is no UTF-8.
_REPLACEMENT = "\ufffd\udc80-\udcff"
_HEX = re.compile("[0-9A-Fa-f]{2}")
_OCTAL = re.compile("0[0-7]{0,2}|[1-7][0-7]{1,2}")
_COUNT = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_MOST = 1000
_PLACES = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
#: Stars, and what follows up to the next star outside of brackets.
_CHUNK = re.compile(r"(\**)((?:\[(?:\\.|[^\]\\])*(?:\]|\\?\Z)|\\.|[^*])*)", re.DOTALL)


class _Read(NamedTuple):
    """A piece that was read, in Python's words, and where the next one begins."""

    piece: str
    at: int


def go_regex(text: str) -> str:
    """A regular expression for a whole path that matches what `^text$` finds in Go; ValueError where Go has an error.

    A `|` or a `{0}` in it takes the anchors away, as it does there.
    """
    pieces, is_repeated, at = [r"\A"], False, 0
    while at < len(text):
        char = text[at]
        if count := _COUNT.match(text, at):
            pieces[-1:] = _repeated(pieces[-1], count, is_repeated)
            is_repeated, at = True, count.end()
            continue
        if char == "[":
            read = _brackets(text, at + 1)
        elif char == "\\":
            read = _escape(text, at + 1)
        else:
            read = _Read({"\ufffd": f"[{_REPLACEMENT}]", "{": r"\{", "^": r"\A"}.get(char, char), at + 1)
        pieces.append(read.piece)
        is_repeated, at = char in "*?", read.at
    whole = "".join(pieces)
    if "|" not in pieces and pieces[0]:
        return whole
    return f"(?s:.*?)(?:{whole}\\Z)(?s:.*)"


def check_glob(pattern: str) -> None:
    """ValueError if Go's filepath.Match(pattern, ".") has an error: it looks only until it fails to match."""
    name = "."
    while pattern and (match := _CHUNK.match(pattern)):
        star, chunk, pattern = match[1], match[2], pattern[match.end() :]
        if not chunk:
            return
        rest = _rest(chunk, name)
        if rest is None or (rest and not pattern):
            rest = _rest(chunk, "") if star and name else None
        if rest is None:
            return
        name = rest


def _rest(chunk: str, name: str) -> str | None:
    """What is left of `name` behind a part of a glob without stars; None if it does not match."""
    at, failed = 0, False
    while at < len(chunk):
        char, at = chunk[at], at + 1
        failed = failed or not name
        if char == "[":
            at, holds = _class_of_glob(chunk, at, name[:1])
        elif char == "?":
            holds = True
        else:
            if char == "\\":
                if at >= len(chunk):
                    raise ValueError('it ends with a "\\"')
                char, at = chunk[at], at + 1
            holds = name.startswith(char)
        failed = failed or not holds
        name = name[1:]
    return None if failed else name


def _class_of_glob(chunk: str, at: int, char: str) -> tuple[int, bool]:
    """Where the brackets end, from behind the `[`, and whether they hold `char`."""
    negated = chunk.startswith("^", at)
    at += negated
    ranges, holds = 0, False
    while not (ranges and chunk.startswith("]", at)):
        low, at = _member_of_glob(chunk, at)
        high = low
        if chunk.startswith("-", at):
            high, at = _member_of_glob(chunk, at + 1)
        holds = holds or low <= char <= high
        ranges += 1
    return at + 1, holds != negated


def _member_of_glob(chunk: str, at: int) -> tuple[str, int]:
    escaped = chunk.startswith("\\", at)
    end = at + escaped + 1
    if end >= len(chunk) or chunk[at] in "-]":
        raise ValueError('a "[" without its end')
    return chunk[end - 1], end


def _repeated(piece: str, count: re.Match[str], is_repeated: bool) -> list[str]:
    """A piece `{n}`, `{n,}` or `{n,m}` times."""
    least, most = int(count[1]), int(count[3]) if count[3] else int(count[1])
    if is_repeated or piece == "|" or not least <= most <= _MOST:
        raise ValueError(f'the engine cannot repeat by "{count[0]}"')
    if piece in {*_PLACES.values(), ""}:
        return [piece if least else ""]
    return [f"(?:{piece}){count[0]}"]


def _escape(text: str, at: int) -> _Read:
    """What a backslash outside of brackets means."""
    char = text[at : at + 1]
    if char in _PLACES:
        return _Read(_PLACES[char], at + 1)
    if char in _PERL:
        return _Read(f"[{_PERL[char]}]", at + 1)
    code, end = _character(text, at)
    return _Read(re.escape(chr(code)), end)


def _character(text: str, at: int) -> tuple[int, int]:
    """The code of an escaped character, from behind its backslash, and where it ends."""
    if at >= len(text):
        raise ValueError('it ends with a "\\"')
    char = text[at]
    if char in _CONTROL:
        return _CONTROL[char], at + 1
    if char == "x" and (match := _HEX.match(text, at + 1)):
        return int(match[0], 16), match.end()
    if match := _OCTAL.match(text, at):
        return int(match[0], 8), match.end()
    if char.isascii() and not char.isalnum():
        return ord(char), at + 1
    raise ValueError(f'the engine knows no "\\{char}"; write the character without the backslash')


def _brackets(text: str, at: int) -> _Read:
    """A character class, from behind its `[`."""
    opening = "[^" if text.startswith("^", at) else "["
    at += len(opening) - 1
    within: list[str] = []
    others: list[str] = []
    while not (within or others) or not text.startswith("]", at):
        if (named := _named(text, at)) is not None:
            (others if named.piece.startswith("^") else within).append(named.piece)
            at = named.at
        else:
            member = _member(text, at)
            within.append(member.piece)
            at = member.at
    return _Read(_joined(opening, within, others), at + 1)


def _joined(opening: str, within: list[str], others: list[str]) -> str:
    """One class; those that name what they do not hold (`\\D`) stand beside it."""
    inside = "".join(within)
    if not others:
        return f"{opening}{inside}]"
    alternatives = "|".join(([f"[{inside}]"] if inside else []) + [f"[{other}]" for other in others])
    return f"(?:(?!{alternatives})(?s:.))" if opening == "[^" else f"(?:{alternatives})"


def _named(text: str, at: int) -> _Read | None:
    """A class within brackets: `[:alpha:]`, `[:^alpha:]`, `\\d`."""
    if text.startswith("[:", at) and (end := text.find(":]", at + 2)) >= 0:
        name = text[at + 2 : end]
        if name.removeprefix("^") not in _POSIX:
            raise ValueError(f'the engine knows no "[:{name}:]"')
        return _Read(("^" if name.startswith("^") else "") + _POSIX[name.removeprefix("^")], end + 2)
    if text.startswith("\\", at) and text[at + 1 : at + 2] in _PERL:
        return _Read(_PERL[text[at + 1]], at + 2)
    return None


def _member(text: str, at: int) -> _Read:
    """One character, or a range of them."""
    low, at = _one(text, at)
    high = low
    if text.startswith("-", at) and at + 1 < len(text) and text[at + 1] != "]":
        high, at = _one(text, at + 1)
    if high < low:
        raise ValueError("a range runs backwards")
    piece = _escaped(low) if low == high else f"{_escaped(low)}-{_escaped(high)}"
    return _Read(piece + (_REPLACEMENT if low <= 0xFFFD <= high else ""), at)


def _one(text: str, at: int) -> tuple[int, int]:
    if at >= len(text):
        raise ValueError('a "[" without its end')
    if text[at] == "\\":
        return _character(text, at + 1)
    return ord(text[at]), at + 1


def _escaped(code: int) -> str:
    return re.escape(chr(code)) if code > 127 or chr(code).isalnum() else f"\\x{code:02x}"
