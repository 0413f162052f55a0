"""What builds are given besides sources: certificates, base images, secrets, agents, arguments; rules of paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.changes.patterns import BadPattern, read_patterns
from kiro_invoke.config.names import reference_complaint, shown
from kiro_invoke.config.nodes import Given, Value
from kiro_invoke.config.paths import anywhere, is_file
from kiro_invoke.engine.certificates import certificates
from kiro_invoke.model.errors import ConfigError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Row:
    """One entry of a list or mapping: its name, its effective value, and who gave it."""

    name: str
    value: str
    given: Given


def ca_bundle(given: Given, root: Path, environ: Mapping[str, str]) -> Path:
    """The file of certificates that builds trust besides the usual ones."""
    path = anywhere(given, "ca_bundle", root, environ)
    if not is_file(path):
        raise given.refused(f'ca_bundle "{shown(given.text)}" is no file', "correct the path")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as trouble:
        reason = trouble.strerror or "unknown trouble"
        message = f'ca_bundle "{shown(given.text)}" cannot be read: {reason}'
        raise given.refused(message, "make it readable") from None
    if not certificates(text):
        message = f'ca_bundle "{shown(given.text)}" holds no PEM certificate'
        raise given.refused(message, "name a file with -----BEGIN CERTIFICATE----- in it")
    return path


def base_images(value: Value | None) -> tuple[Row, ...]:
    """Official image references and what is taken in their place."""
    rows = []
    for ref, entry in value.fields().items() if value else ():
        replacement = entry.text()
        for text in (ref, replacement.text):
            if complaint := reference_complaint(text, "base_images"):
                raise entry.refused(*complaint)
        rows.append(Row(ref, replacement.text, replacement))
    return tuple(rows)


def build_args(value: Value | None) -> tuple[Row, ...]:
    """Build arguments, their values as written."""
    rows = []
    for name, entry in value.fields().items() if value else ():
        if not _VARIABLE.fullmatch(name):
            message = f'"{shown(name)}" is no valid name of a build argument'
            raise entry.refused(message, "use letters, digits and _ only, no digit first")
        given = entry.scalar()
        rows.append(Row(name, given.text, given))
    return tuple(rows)


def secrets(value: Value | None, root: Path, environ: Mapping[str, str]) -> tuple[Row, ...]:
    """Build secrets with their sources, `file:PATH` or `env:NAME`; what they hold is never read."""
    rows = [_secret(item, root, environ) for item in value.items()] if value else []
    return _distinct(rows, "secret")


def ssh(value: Value | None, root: Path, environ: Mapping[str, str]) -> tuple[Row, ...]:
    """SSH agents and keys: an id alone (the running agent), or `id=PATH` with an absolute path."""
    rows = [_ssh(item.text(), root, environ) for item in value.items()] if value else []
    return _distinct(rows, "ssh id")


def path_rules(value: Value, key: str) -> tuple[Given, ...]:
    """Patterns of paths in a service's context, written as in an ignore file."""
    given = tuple(item.text() for item in value.items())
    for each in given:
        if each.text.lstrip().startswith("!"):
            message = f'{key}: "{shown(each.text)}" takes something back out'
            raise each.refused(message, "list only what is meant, without !")
        try:
            found = read_patterns(each.text.encode())
        except BadPattern as error:
            raise each.refused(f"{key}: no pattern: {shown(str(error))}", "correct the pattern") from None
        if len(found) != 1:
            raise each.refused(
                f'{key}: "{shown(each.text)}" matches nothing', "write a path, or a pattern of paths"
            )
    return given


def _secret(item: Value, root: Path, environ: Mapping[str, str]) -> Row:
    fields = {key: value.text() for key, value in item.known_fields(("id", "file", "env")).items()}
    if "id" not in fields:
        raise item.refused(f"{item.key} has no id", "add `id: NAME`")
    name = _accepted_id(fields["id"], "secret id")
    if len(fields) != 2:
        has = "both file and env" if len(fields) == 3 else "neither file nor env"
        raise item.refused(f'secret "{name}" has {has}', "give it exactly one of file and env")
    if "env" in fields:
        return Row(name, f"env:{_environment_name(fields['env'])}", fields["env"])
    given = fields["file"]
    path = anywhere(given, "file", root, environ)
    if not is_file(path):
        raise given.refused(f'file "{shown(given.text)}" of secret "{name}" is no file', "correct the path")
    return Row(name, f"file:{path}", given)


def _ssh(given: Given, root: Path, environ: Mapping[str, str]) -> Row:
    name, equals, path = given.text.partition("=")
    _accepted_id(Given(name, given.origin, given.file, given.line), "ssh id")
    if not equals:
        return Row(name, name, given)
    if not path:
        raise given.refused(
            f'ssh "{shown(given.text)}" names no path after =', "write `default` or `id=PATH`"
        )
    whole = anywhere(Given(path, given.origin, given.file, given.line), "ssh", root, environ)
    return Row(name, f"{name}={whole}", given)


def _environment_name(given: Given) -> str:
    if not _VARIABLE.fullmatch(given.text):
        message = f'env "{shown(given.text)}" is no valid name of an environment variable'
        raise given.refused(message, "name the variable that holds the secret, without $")
    return given.text


def _accepted_id(given: Given, what: str) -> str:
    if not _ID.fullmatch(given.text):
        message = f'{what} "{shown(given.text)}" is not valid'
        raise given.refused(message, "use letters, digits and . _ - only, a letter or digit first")
    return given.text


def _distinct(rows: list[Row], what: str) -> tuple[Row, ...]:
    found: dict[str, Row] = {}
    for row in rows:
        if row.name in found:
            raise _twice(row, what, found[row.name].given.where)
        found[row.name] = row
    return tuple(rows)


def _twice(row: Row, what: str, other: str) -> ConfigError:
    return row.given.refused(
        f'{what} "{row.name}" is given twice (the other: {other})', "delete one of the two"
    )
