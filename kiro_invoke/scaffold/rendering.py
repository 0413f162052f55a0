"""Dockerfiles from templates. What they carry inline comes from the one source of each helper."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parents[1] / "templates"
_HEREDOC = re.compile(
    r"^(?P<head>COPY [^\n]*<<'(?P<end>\w+)' (?P<place>\S+)\n)(?P<body>.*?)^(?P=end)$",
    re.DOTALL | re.MULTILINE,
)


def rendered(name: str, values: Mapping[str, object], templates: Path = TEMPLATES) -> str:
    """The template NAME (of `dockerfiles/` or `nginx/`) with these values, whole; a missing value is an error."""
    environment = Environment(
        loader=FileSystemLoader([templates / "dockerfiles", templates / "nginx"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["quoted"] = quoted
    return inlined(environment.get_template(name).render(values), templates)


def quoted(value: object) -> str:
    """A text as one double-quoted word of a Dockerfile; of several texts the array that CMD takes."""
    if isinstance(value, str):
        return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'
    return json.dumps(value, ensure_ascii=False)


def inlined(text: str, templates: Path = TEMPLATES) -> str:
    """A Dockerfile's text with the helpers that it carries as they are now.

    Each `COPY <<'END' PLACE` whose PLACE ends with a helper's path gets that helper's text.
    """

    def filled(match: re.Match[str]) -> str:
        helper = _helper(match["place"], templates)
        body = match["body"] if helper is None else helper.read_text(encoding="utf-8")
        return f"{match['head']}{body}{match['end']}"

    return _HEREDOC.sub(filled, text)


def _helper(place: str, templates: Path) -> Path | None:
    """The file below the templates' folder whose path there `place` ends with; the longest of several."""
    found = [
        path
        for path in templates.rglob("*")
        if path.is_file() and place.endswith(f"/{path.relative_to(templates)}")
    ]
    return max(found, key=lambda path: len(path.parts), default=None)
