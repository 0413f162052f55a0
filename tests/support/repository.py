"""A git repository that tests write and commit in, whoever runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

WHO = {f"GIT_{who}_{what}": "it@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(*words: str) -> str:
    """What git answers, without a person's settings."""
    env = {**os.environ, **WHO, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", *words], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write_texts(root: Path, texts: Mapping[str, str | None]) -> None:
    """Write these files, or with None remove them."""
    for path, text in texts.items():
        file = root / path
        if text is None:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
