"""Which lines of git's attributes have a checkout make other files than the commit holds. Pure."""

from __future__ import annotations

import re

NAME = ".gitattributes"
#: `binary` unsets `text`; a name that is defined by [attr] may be any of them.
_CONVERTING = re.compile(rb"[-!]?(text|eol|crlf|binary|filter|ident|working-tree-encoding)(=.*)?")
_MACRO = b"[attr]"


def converting(text: bytes) -> tuple[bytes, ...]:
    """The lines that count, in their order: two texts with the same ones convert alike.

    All lines do where a line defines attributes of its own.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    if any(line.startswith(_MACRO) for line in lines):
        return tuple(lines)
    return tuple(line for line in lines if any(map(_CONVERTING.fullmatch, line.split()[1:])))
