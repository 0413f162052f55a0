"""Which ecosystem a folder belongs to."""

from __future__ import annotations

import pytest

from kiro_invoke.ecosystems.registry import ECOSYSTEMS, OTHER, detect


@pytest.mark.parametrize(
    ("names", "ecosystem"),
    [
        ((), None),
        (("README.md",), None),
        (("Cargo.toml",), "cargo"),
        (("Cargo.toml", "Cargo.lock"), "cargo"),
        (("Cargo.lock",), None),
        (("cargo.toml",), None),
        (("package.json",), None),
        (("package-lock.json",), None),
        (("npm-shrinkwrap.json",), None),
        (("package.json", "package-lock.json"), "npm"),
        (("package.json", "npm-shrinkwrap.json"), "npm"),
        (("package.json", "npm-shrinkwrap.json", "package-lock.json"), "npm"),
        (("package.json", "yarn.lock"), "yarn"),
        (("package.json", "pnpm-lock.yaml"), "pnpm"),
        (("Cargo.toml", "package.json", "package-lock.json"), "cargo"),
    ],
)
def test_detect(names: tuple[str, ...], ecosystem: str | None) -> None:
    assert detect(frozenset(names)) == ecosystem


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_each_is_registered_under_its_own_name(name: str) -> None:
    assert ECOSYSTEMS[name].name == name


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_none_belongs_without_its_manifest(name: str) -> None:
    assert not ECOSYSTEMS[name].detects(frozenset({"README.md", "Dockerfile"}))
    assert ECOSYSTEMS[name].manifest


def test_other_is_no_ecosystem() -> None:
    assert OTHER not in ECOSYSTEMS
