"""`attest:` in kiro.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_invoke.config import load
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.shipment import Attest


def attested(root: Path, text: str) -> Attest:
    (root / "web").mkdir()
    (root / "web/Dockerfile").write_text("FROM scratch\n")
    (root / "kiro.yaml").write_text(f"project: shop\nservices:\n  - name: web\n{text}")
    return load(root, {}).attest


@pytest.mark.parametrize(
    ("text", "attest"),
    [
        ("", Attest("min", True)),
        ("attest: {provenance: max, sbom: false}\n", Attest("max", False)),
        ("attest: {provenance: false}\n", Attest("", True)),
        ("attest: {provenance: true}\n", Attest("min", True)),
        ("attest: {sbom: registry.example/syft:1}\n", Attest("min", True, "registry.example/syft:1")),
    ],
)
def test_read(tmp_path: Path, text: str, attest: Attest) -> None:
    assert attested(tmp_path, text) == attest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("attest: {provenance: much}\n", 'kiro.yaml:4: attest.provenance: "much" is not understood'),
        ("attest: {sbom: 'a,b=c'}\n", 'kiro.yaml:4: attest.sbom: "a,b=c" is no valid image reference'),
        ("attest: {sbon: true}\n", 'unknown key "sbon"; did you mean "sbom"?'),
        ("attest: true\n", "kiro.yaml:4: attest must be a mapping"),
    ],
)
def test_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        attested(tmp_path, text)
    assert told in str(refused.value)
