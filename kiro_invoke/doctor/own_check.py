"""BuildKit's own check of a Dockerfile (`docker build --check`), as buildx 0.15 and newer tell it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress

from kiro_invoke.doctor.finding import Finding, note

CHECK = "buildkit-check"
_FIRST = (0, 15)


def knows_check(buildx: str) -> bool:
    """Whether this version of buildx can ask for it."""
    return tuple(map(int, re.findall(r"\d+", buildx)[:2])) >= _FIRST


def check_own(place: str, told: str) -> Iterator[Finding]:
    """The warnings in an answer of `--call=check,format=json`; none where it is no such answer."""
    with suppress(ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
        for warning in json.loads(told).get("warnings") or ():
            ranges = (warning.get("location") or {}).get("ranges") or ()
            line = int(ranges[0]["start"]["line"]) if ranges else 0
            said = str(warning.get("detail") or warning.get("description") or "")
            yield note(
                CHECK,
                f"{warning.get('ruleName')}: {said}",
                f"see {warning['url']}" if warning.get("url") else "",
                file=place,
                line=line,
            )
