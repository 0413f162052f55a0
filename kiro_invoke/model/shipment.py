"""How production images leave the machine that built them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Attest:
    """What is said of images that leave: `provenance` is BuildKit's mode ("": none), `sbom` whether what is in them is
    listed, `generator` the image that makes it ("": BuildKit's own).
    """

    provenance: str = "min"
    sbom: bool = True
    generator: str = ""

    @property
    def is_any(self) -> bool:
        return bool(self.provenance) or self.sbom


USUALLY_ATTESTED = Attest()
NOTHING_ATTESTED = Attest("", False)


@dataclass(frozen=True)
class Shipment:
    """Images that are pushed to the registry that their names tell, or each written into `folder` as an OCI archive."""

    attest: Attest
    folder: Path | None = None

    @property
    def done(self) -> str:
        """What is done with them, as a participle."""
        return "archived" if self.folder else "pushed"
