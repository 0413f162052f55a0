"""Read files of images: from a container that is made for it, never starts, and is removed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

from kiro_invoke.engine.answers import only_file
from kiro_invoke.engine.api import Api, Refused, row, rows

#: What such containers are known by, so that those of runs that were killed can go.
LABEL_READING = "dev.kiro.reading"
#: After which time nobody reads from one any more. The engine's clock may be another than ours.
LEFT_SECONDS = 3600.0

_REMOVED = {"v": "true", "force": "true"}


def image_file(
    api: Api, ref: str, path: str, until: bytes = b"", *, clock: Callable[[], float] = time.time
) -> bytes | None:
    """The content of a regular file in an image, or its beginning (see protocol.Engine); None where there is none."""
    _remove_left(api, clock())
    wanted = {
        "Image": ref,
        "Cmd": ["never started"],
        "NetworkDisabled": True,
        "Labels": {LABEL_READING: "1"},
    }
    container = row(api.ask("POST", "/containers/create", body=wanted))["Id"]
    try:
        query = {"path": path}
        return api.fetch(f"/containers/{container}/archive", query, lambda tar: only_file(tar, until))
    except Refused as answer:
        if answer.status == 404:
            return None
        raise
    finally:
        api.ask("DELETE", f"/containers/{container}", _REMOVED)


def _remove_left(api: Api, now: float) -> None:
    """Remove what runs that were killed left behind; what cannot be removed is no obstacle."""
    filters = json.dumps({"label": [f"{LABEL_READING}=1"], "status": ["created"]})
    with suppress(Refused):
        for container in rows(api.ask("GET", "/containers/json", {"all": "true", "filters": filters})):
            if float(container.get("Created") or now) < now - LEFT_SECONDS:
                api.ask("DELETE", f"/containers/{container['Id']}", _REMOVED)
