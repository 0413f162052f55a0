#!/usr/bin/env python3
"""Write this repository's Dockerfiles from their one source, kiro_invoke/templates/.

    scripts/inline-templates.py [--check]

They are what `kiro init` would write for these services (kiro_invoke/scaffold/images.py). With --check, nothing is
written: exit status 1 and the names of the Dockerfiles that differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from kiro_invoke.scaffold.images import BACKEND, FRONTEND  # noqa: E402
from kiro_invoke.scaffold.rendering import rendered  # noqa: E402

TEMPLATES = ROOT / "kiro_invoke" / "templates"
DOCKERFILES = {
    "backend/Dockerfile": ("rust.Dockerfile", BACKEND),
    "backend/Dockerfile.fast": ("rust.Dockerfile.fast", BACKEND),
    "frontend/Dockerfile": ("vite.Dockerfile", FRONTEND),
    "frontend/Dockerfile.fast": ("vite.Dockerfile.fast", FRONTEND),
}


def main() -> int:
    wanted = {
        ROOT / name: rendered(template, images.values, TEMPLATES)
        for name, (template, images) in DOCKERFILES.items()
    }
    differing = [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    for path in differing:
        print(path.relative_to(ROOT))
        if "--check" not in sys.argv[1:]:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if differing and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
