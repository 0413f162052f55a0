"""A sparse registry of Cargo's that gives its one crate, `private-words`, to whoever shows the token."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_NAME, _VERSION = "private-words", "1.0.0"
_FILES = {
    "Cargo.toml": f'[package]\nname = "{_NAME}"\nversion = "{_VERSION}"\nedition = "2021"\n',
    "src/lib.rs": 'pub fn word() -> &\'static str {\n    "private"\n}\n',
}


def _packed() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(f"{_NAME}-{_VERSION}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@contextmanager
def private_crates(address: str, token: str) -> Iterator[str]:
    """Its index, as a registry's `index` has it, while it runs on all of this machine's addresses."""
    content = _packed()
    entry = {
        "name": _NAME, "vers": _VERSION, "deps": [], "features": {}, "yanked": False,
        "cksum": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != token:
                self._answer(401, b"")
            elif self.path == "/config.json":
                self._answer(200, json.dumps({"dl": f"{place}dl", "auth-required": True}).encode())
            elif self.path.endswith(f"/{_NAME}"):
                self._answer(200, json.dumps(entry).encode() + b"\n")
            elif self.path.endswith("/download"):
                self._answer(200, content)
            else:
                self._answer(404, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    place = f"http://{address}:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"sparse+{place}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
