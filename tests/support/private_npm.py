"""A registry of npm's that gives its one package, `@own/words`, to whoever shows the token."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_FILES = {
    "package/package.json": json.dumps(
        {"name": "@own/words", "version": "1.0.0", "type": "module", "exports": "./words.js"}
    ),
    "package/words.js": 'export const word = "private";\n',
}


def _packed() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@contextmanager
def private_npm(address: str, token: str) -> Iterator[str]:
    """Its place, `//ADDRESS:PORT/`, while it runs on all of this machine's addresses."""
    content = _packed()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {token}":
                self._answer(401, b"{}")
            elif self.path.endswith(".tgz"):
                self._answer(200, content)
            else:
                dist = {"tarball": f"http:{place}words-1.0.0.tgz", "integrity": integrity}
                version = {"name": "@own/words", "version": "1.0.0", "dist": dist}
                told = {
                    "name": "@own/words",
                    "dist-tags": {"latest": "1.0.0"},
                    "versions": {"1.0.0": version},
                }
                self._answer(200, json.dumps(told).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    place = f"//{address}:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
