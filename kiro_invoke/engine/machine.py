"""What tells this machine from others that have a checkout at the same place."""

from __future__ import annotations

import hashlib
import platform
from contextlib import suppress
from pathlib import Path

#: Kept from the installation on; in an image that many containers are started from, it may be the same for all.
_MACHINE_ID = Path("/etc/machine-id")


def machine_mark(file: Path = _MACHINE_ID, host: str | None = None) -> str:
    """Eight digits and letters: the same on this machine from one build to the next, others on other machines.

    `host`: its name (None: as the system tells it); a domain after it changes with the network and does not count.
    """
    host = platform.node() if host is None else host
    id = b""
    with suppress(OSError):
        id = file.read_bytes().strip()
    return hashlib.sha256(b"%s\0%s" % (id, host.partition(".")[0].encode())).hexdigest()[:8]
