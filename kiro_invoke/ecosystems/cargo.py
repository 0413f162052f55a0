"""Rust with Cargo."""

from __future__ import annotations

name = "cargo"
manifest = "Cargo.toml"


def detects(names: frozenset[str]) -> bool:
    """Whether a folder that holds files of these names is a Cargo package or workspace."""
    return manifest in names
