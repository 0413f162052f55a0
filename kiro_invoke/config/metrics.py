"""What kiro.yaml says of the history of builds."""

from __future__ import annotations

from collections.abc import Mapping

from kiro_invoke.config.names import shown
from kiro_invoke.config.nodes import Given, Value, outranked
from kiro_invoke.config.quantities import age_of
from kiro_invoke.model.service import Recording, Setting

_KEYS = ("keep", "record")
_FOREVER = "forever"
_TRUTH = {"true": True, "false": False}


def recording(value: Value | None, environ: Mapping[str, str]) -> tuple[Recording, tuple[Setting, ...]]:
    """The section `metrics:`, and what `KIRO_METRICS_*` say instead."""
    fields = value.known_fields(_KEYS) if value else {}
    given: dict[str, Given] = {}
    for name in _KEYS:
        each = outranked(fields.get(name), f"KIRO_METRICS_{name.upper()}", environ, Value.scalar)
        if each is not None:
            given[name] = each
    chosen = Recording(
        _record(given["record"]) if "record" in given else Recording.record,
        _keep(given["keep"]) if "keep" in given else Recording.keep_seconds,
    )
    return chosen, tuple(each.setting(f"metrics.{name}") for name, each in given.items())


def _keep(given: Given) -> float | None:
    if given.text == _FOREVER:
        return None
    age = age_of(given.text)
    if not age:
        raise given.refused(
            f'metrics.keep: "{shown(given.text)}" is no age', "write one like 365d, 12h or 8w, or forever"
        )
    return age


def _record(given: Given) -> bool:
    if given.text not in _TRUTH:
        raise given.refused(f'metrics.record: "{shown(given.text)}" is not understood', "write true or false")
    return _TRUTH[given.text]
