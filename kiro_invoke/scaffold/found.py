"""What detection found: services, and folders that are none, each with the reasons."""

from __future__ import annotations

from dataclasses import dataclass, field

from kiro_invoke.scaffold.images import NodeImages, PageImages, RustImages


@dataclass(frozen=True)
class Fact:
    """Something that was read, not assumed: what, and where it stands (`file:line`, `file`; "": a default)."""

    what: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


@dataclass(frozen=True)
class Need:
    """A build secret: its id, and its source: a file of a person's, or a variable."""

    id: str
    file: str = ""
    env: str = ""


@dataclass(frozen=True)
class Found:
    """A service. `context`: what its build is sent; `folder`: where its Dockerfiles belong; both from the root ("").

    `port`: that its development container serves on (0: none is known). `lockfile`: the path of the one that is
    missing. `warnings`: what a person should know, or do.
    """

    name: str
    context: str
    folder: str
    ecosystem: str
    images: RustImages | PageImages | NodeImages
    facts: tuple[Fact, ...]
    port: int = 0
    #: paths under which a page's development server hands requests on
    proxied: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    lockfile: str = ""
    #: the package, of npm's registry, that makes it
    manager: str = ""
    ignore: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def is_page(self) -> bool:
        """Whether it is static files that nginx serves."""
        return isinstance(self.images, PageImages) or (
            isinstance(self.images, NodeImages) and bool(self.images.page)
        )

    @property
    def has_dev_page(self) -> bool:
        """Whether its development container is Vite behind nginx."""
        return isinstance(self.images, PageImages) or (
            isinstance(self.images, NodeImages) and bool(self.images.vite)
        )


@dataclass(frozen=True)
class Passed:
    """A manifest of which nothing is made, and why."""

    manifest: str
    why: str
