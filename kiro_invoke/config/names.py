"""The rules for names in the configuration: projects, services, images. Pure; None means "is fine"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from kiro_invoke.model.naming import slug

#: A complaint: what is wrong, and what to do.
Complaint = tuple[str, str]

_LONGEST = 255
_SLUG = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:localhost|(?:[a-zA-Z0-9-]+\.)+[a-zA-Z0-9-]+|[a-zA-Z0-9-]+(?=:))(?::[0-9]+)?"
_NAME = rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})"
_DIGEST = r"(?:@[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,})"
_IMAGE = re.compile(_NAME)
_REFERENCE = re.compile(f"(?P<name>{_NAME}){_TAG}?{_DIGEST}?")


def shown(text: str, limit: int = 80) -> str:
    """`text` fit for one line of a message: without control characters, cut after `limit` characters."""
    clean = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text[: 2 * limit])
    return clean if len(clean) <= limit and len(text) <= 2 * limit else f"{clean[: limit - 1]}…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be."""
    found = get_close_matches(word[:_LONGEST], list(known), n=1)
    return found[0] if found else None


def slug_complaint(text: str, what: str) -> Complaint | None:
    """What is wrong with a project's or service's name; it becomes a part of an image's name."""
    if len(text) <= _LONGEST and _SLUG.fullmatch(text):
        return None
    rule = "lower-case letters and digits, joined by single . _ or -"
    suggestion = shown(slug(text[:_LONGEST], what))
    return f'{what} "{shown(text)}" is no valid name: it may hold {rule}', f'write "{suggestion}"'


def image_complaint(text: str) -> Complaint | None:
    """What is wrong with the name that a service's images get; tags are the tool's own."""
    if len(text) <= _LONGEST and _IMAGE.fullmatch(text):
        return None
    match = _REFERENCE.fullmatch(text) if len(text) <= 2 * _LONGEST else None
    if match and len(match["name"]) <= _LONGEST:
        return f'image "{shown(text)}" carries a tag or digest', f'write "{match["name"]}"'
    return (
        f'image "{shown(text)}" is no valid image name of at most {_LONGEST} characters',
        "write it like team/backend or registry.example.com/team/backend",
    )


def reference_complaint(text: str, key: str) -> Complaint | None:
    """What is wrong with the reference of an image that builds take from."""
    if len(text) <= 2 * _LONGEST and _REFERENCE.fullmatch(text):
        return None
    return (
        f'{key}: "{shown(text)}" is no valid image reference',
        "write it like rust:1-bookworm or registry.example.com/rust:1-bookworm",
    )
