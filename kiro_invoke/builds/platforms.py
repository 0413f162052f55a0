"""Which platforms an image is built for, `linux/arm64/v8` and the like. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINUX = "linux"
#: The architectures that BuildKit builds Linux images for, with their variants; the first is what no variant means.
ARCHITECTURES = {
    "amd64": ("v1", "v2", "v3", "v4"),
    "arm64": ("v8", "v9"),
    "arm": ("v7", "v6", "v5"),
    "386": (),
    "loong64": (),
    "mips64": (),
    "mips64le": (),
    "ppc64le": (),
    "riscv64": (),
    "s390x": (),
}
#: What else these are called.
_ALSO = {
    "x86_64": "amd64", "x86-64": "amd64", "x64": "amd64", "aarch64": "arm64", "armv8": "arm64", "armhf": "arm/v7",
    "armv7": "arm/v7", "armv7l": "arm/v7", "armel": "arm/v6", "armv6": "arm/v6", "armv6l": "arm/v6", "i386": "386",
    "i686": "386", "x86": "386", "ppc64el": "ppc64le", "loongarch64": "loong64",
}  # fmt: skip


def is_platform(text: str) -> bool:
    """Whether a text is a platform that images can be built for."""
    system, _, rest = text.partition("/")
    architecture, slash, variant = rest.partition("/")
    known = ARCHITECTURES.get(architecture)
    return system == _LINUX and known is not None and (not slash or variant in known)


def meant(text: str) -> str:
    """The platform that a text which is none was most likely meant to be; "" if it is unlike any."""
    words = [word for word in re.split(r"[/\s,:-]+", text.strip().lower()) if word and word != _LINUX]
    name = "_".join(words[:2]) if words[:2] == ["x86", "64"] else words[0] if words else ""
    architecture, _, variant = _ALSO.get(name, name).partition("/")
    variant = variant or (words[1] if len(words) == 2 else "")
    for wish in (f"{_LINUX}/{architecture}/{variant}", f"{_LINUX}/{architecture}"):
        if is_platform(wish):
            return wish
    return ""


def same(platform: str) -> str:
    """A platform as BuildKit takes it: without the variant that is meant where none is given."""
    base, _, variant = platform.rpartition("/")
    known = ARCHITECTURES.get(base.partition("/")[2]) or ("",)
    return base if variant == known[0] else platform


def loadable(platforms: Sequence[str], architecture: str) -> str:
    """The one of several platforms whose image an engine is given to run; "" for the engine's own.

    Its own where that is among them, else one of its architecture, else the first.
    """
    own = f"{_LINUX}/{architecture}"
    if not platforms or own in map(same, platforms):
        return ""
    return next((one for one in platforms if one.startswith(f"{own}/")), platforms[0])
