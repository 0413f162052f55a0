"""What kiro.yaml says of what is said about images that are pushed or archived."""

from __future__ import annotations

from dataclasses import replace

from kiro_invoke.config.names import reference_complaint, shown
from kiro_invoke.config.nodes import Given, Value
from kiro_invoke.model.service import Setting
from kiro_invoke.model.shipment import Attest

_KEYS = ("provenance", "sbom")
_TRUTH = {"true": True, "false": False}
_MODES = ("min", "max")


def attest(value: Value | None) -> tuple[Attest, tuple[Setting, ...]]:
    """The section `attest:`."""
    fields = value.known_fields(_KEYS) if value else {}
    given = {name: field.scalar() for name, field in fields.items()}
    chosen = Attest()
    if "provenance" in given:
        chosen = replace(chosen, provenance=_provenance(given["provenance"]))
    if "sbom" in given:
        is_wanted, generator = _sbom(given["sbom"])
        chosen = replace(chosen, sbom=is_wanted, generator=generator)
    return chosen, tuple(one.setting(f"attest.{name}") for name, one in given.items())


def _provenance(given: Given) -> str:
    if given.text in _MODES:
        return given.text
    if given.text in _TRUTH:
        return _MODES[0] if _TRUTH[given.text] else ""
    message = f'attest.provenance: "{shown(given.text)}" is not understood'
    raise given.refused(message, "write min, max or false")


def _sbom(given: Given) -> tuple[bool, str]:
    if given.text in _TRUTH:
        return _TRUTH[given.text], ""
    if complaint := reference_complaint(given.text, "attest.sbom"):
        raise given.refused(complaint[0], "write true, false, or the image that makes it")
    return True, given.text
