#!/usr/bin/env python3
"""Write what the Dockerfiles carry inline from its one source, kiro_invoke/templates/.

    scripts/inline-templates.py [--check]

Each `COPY <<'END' PLACE` whose PLACE ends with a template's path gets that template's text. With --check, nothing
is written: exit status 1 and the names of the Dockerfiles that differ.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "kiro_invoke" / "templates"
DOCKERFILES = [
    ROOT / service / name for service in ("backend", "frontend") for name in ("Dockerfile", "Dockerfile.fast")
]
_HEREDOC = re.compile(
    r"^(?P<head>COPY [^\n]*<<'(?P<end>\w+)' (?P<place>\S+)\n)(?P<body>.*?)^(?P=end)$",
    re.DOTALL | re.MULTILINE,
)


def template_for(place: str) -> Path | None:
    """The template whose path below the templates' folder `place` ends with; the longest of several."""
    found = [
        path
        for path in TEMPLATES.rglob("*")
        if path.is_file() and place.endswith(f"/{path.relative_to(TEMPLATES)}")
    ]
    return max(found, key=lambda path: len(path.parts), default=None)


def inlined(text: str) -> str:
    """A Dockerfile's text with its templates as they are now."""

    def filled(match: re.Match[str]) -> str:
        template = template_for(match["place"])
        body = match["body"] if template is None else template.read_text(encoding="utf-8")
        return f"{match['head']}{body}{match['end']}"

    return _HEREDOC.sub(filled, text)


def main() -> int:
    differing = [
        path
        for path in DOCKERFILES
        if inlined(path.read_text(encoding="utf-8")) != path.read_text(encoding="utf-8")
    ]
    for path in differing:
        print(path.relative_to(ROOT))
        if "--check" not in sys.argv[1:]:
            path.write_text(inlined(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if differing and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
