"""The host's CA bundle, when it holds certificates that the distribution does not ship.

Behind a TLS-inspecting proxy (a company network), tools inside builds need the host's bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)
_SHIPPED = Path("/usr/share/ca-certificates")


def certificates(text: str) -> frozenset[str]:
    """The certificates in a PEM text, without line breaks."""
    found = (rest.partition(_END) for rest in text.split(_BEGIN)[1:])
    return frozenset("".join(body.split()) for body, end, _ in found if end)


def extra_certificates(bundle: str, shipped: Iterable[str]) -> frozenset[str]:
    """Certificates of `bundle` that none of the `shipped` texts holds."""
    return certificates(bundle) - certificates("\n".join(shipped))


def pem(certificate: str) -> str:
    """The PEM text of a certificate as `certificates` gives it."""
    rows = [certificate[at : at + 64] for at in range(0, len(certificate), 64)]
    return "\n".join((_BEGIN, *rows, _END, ""))


def shipped_texts(shipped: Path = _SHIPPED) -> tuple[str, ...]:
    """The texts of the certificates that the distribution ships."""
    files = (Path(folder, name) for folder, _, names in os.walk(shipped) for name in sorted(names))
    return tuple(file.read_text(errors="replace") for file in files if file.suffix == ".crt")


def host_bundle(environ: Mapping[str, str], *, shipped: Path = _SHIPPED) -> Path | None:
    """The host's bundle if it differs from the distribution's, else None."""
    named = [environ[key] for key in ("SSL_CERT_FILE", "CURL_CA_BUNDLE") if environ.get(key)]
    for candidate in (*named, *_BUNDLES):
        path = Path(candidate)
        if path.is_file():
            known = shipped_texts(shipped)
            return path if known and extra_certificates(path.read_text(errors="replace"), known) else None
    return None
