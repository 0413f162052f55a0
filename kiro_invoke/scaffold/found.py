"""What detection found: services, and folders that are none, each with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from kiro_invoke.model.naming import slug
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
    def manifest(self) -> str:
        """The name of the file that tells what it is."""
        return "Cargo.toml" if isinstance(self.images, RustImages) else "package.json"

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


def apart(found: Iterable[Found | Passed], repository: str) -> Iterator[Found | Passed]:
    """The same with a name, a folder and mounts of its own for each service: of two with one name, the second goes by
    its path.
    """
    names: set[str] = set()
    folders: dict[str, str] = {}
    for one in found:
        if isinstance(one, Passed):
            yield one
            continue
        place = f"{one.folder}/{one.manifest}" if one.folder else one.manifest
        if one.folder in folders:
            yield Passed(
                place,
                f"{folders[one.folder]} has the Dockerfiles of this folder: have each in a folder of its own",
            )
            continue
        if one.name in names:
            name = slug(one.folder, one.name)
            mounts = f"{slug(repository, 'project')}-{name}"
            one = replace(one, name=name, images=replace(one.images, mounts=mounts))  # noqa: PLW2901
        if one.name in names:
            yield Passed(place, f"another service is named {one.name}, too")
            continue
        names.add(one.name)
        folders[one.folder] = one.name
        yield one
