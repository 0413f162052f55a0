"""Records, images and what a checkout knows of itself, as tests of whose they are and of cleaning need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT, LABEL_SERVICE
from kiro_invoke.cache.holdings import Facts, Holding, Holdings, holdings
from kiro_invoke.cache.places import Places
from kiro_invoke.cache.records import LAYER, MOUNT
from kiro_invoke.cache.superseded import Owner
from kiro_invoke.engine.protocol import CacheRecord, LocalImage

OURS, THEIRS, COPY = "shop-1111111111", "shop-2222222222", "shop-3333333333"
OWNER = Owner(
    "shop",
    OURS,
    frozenset({"app", "web"}),
    {"app-deps": False, "app-target": True, "web-modules": True, "registry": False, "/root/.npm": False},
    images=frozenset({"sha256:app", "sha256:old"}),
    apart=frozenset({COPY}),
)
#: The steps of the two services, with what each mounts.
STEPS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "install": (("app", "web"), ()),
    "cook": (("app",), ("app-deps",)),
    "COPY . .": (("app", "web"), ()),
    "build": (("app",), ("app-target", "registry")),
    "npm ci": (("web",), ("web-modules", "/root/.npm")),
    "bundle": (("web",), ("registry",)),
}
SAID = Places(
    mounts={
        "app-deps": frozenset({"app"}),
        "app-target": frozenset({"app"}),
        "web-modules": frozenset({"web"}),
        "/root/.npm": frozenset({"web"}),
        "registry": frozenset({"app", "web"}),
    },
    instructions={text: frozenset(services) for text, (services, _) in STEPS.items()},
    mounted={text: frozenset(ids) for text, (_, ids) in STEPS.items()},
)


def layer(
    id: str, parent: str = "", text: str = "", *, at: float = 0, used: float = 0, size: int = 1, **more: bool
) -> CacheRecord:
    """A layer; `text` is what its step runs, or its whole description."""
    text = text or f"make {id}"
    said = text if text.startswith(("COPY", "[", "from local", "pulled")) else f"/bin/sh -c {text}"
    said = f"[stage 1/2] {said}" if said.startswith("COPY") else said
    said = f"mount / from exec {said}" if said.startswith("/bin/sh") else said
    return CacheRecord(
        id, LAYER, said, tuple(filter(None, (parent,))), size=size, created=at, used=used, **more
    )


def mount(
    id: str, parent: str = "", name: str = "app-target", namespace: str = OURS, *, at: float = 0,
    used: float = 0, size: int = 1, **more: bool,
) -> CacheRecord:  # fmt: skip
    said = f'cached mount /app/target from exec /bin/sh -c make with id "{namespace}/{name}"'
    return CacheRecord(
        id, MOUNT, said, tuple(filter(None, (parent,))), size=size, created=at, used=used, **more
    )


#: What a build of both services leaves: on the base a toolchain, on it the dependencies of each, and what they build.
BUILT = (
    layer("base", text="from local "),
    layer("install", "base", "install", at=1, size=100),
    mount("deps", "install", "app-deps", at=2, size=50),
    mount("registry", "install", "registry", at=2, size=20),
    layer("cook", "install", "cook", at=3, size=30),
    mount("target", "cook", "app-target", at=4, size=40),
    layer("source", "cook", "COPY . .", at=5),
    layer("build", "source", "build", at=6, size=10),
    layer("ci", "install", "npm ci", at=7, size=60),
    mount("modules", "ci", "web-modules", at=8, size=70),
    layer("pages", "ci", "COPY . .", at=9),
    layer("bundle", "pages", "bundle", at=10, size=5),
)
MADE = frozenset(record.id for record in BUILT if record.kind == LAYER and record.id != "base")
ALL = frozenset(record.id for record in BUILT)


def image(
    id: str = "app", *names: str, checkout: str = OURS, project: str = "shop", service: str = "app",
    created: float = 0, containers: Iterable[str] = (), size: int = 0, labels: Mapping[str, str] | None = None,
) -> LocalImage:  # fmt: skip
    """An image with a build's labels; none for an empty `checkout`."""
    given = {LABEL_PROJECT: project, LABEL_CHECKOUT: checkout, LABEL_SERVICE: service} if checkout else {}
    held = tuple(containers)
    return LocalImage(
        f"sha256:{id}",
        names,
        {**given, **(labels or {})},
        created,
        in_use=bool(held),
        containers=held,
        size=size,
    )


def facts(
    *records: CacheRecord,
    images: Iterable[LocalImage] = (),
    layers: Mapping[str, Iterable[tuple[str, int]]] | None = None,
    made: frozenset[str] = MADE,
    tags: frozenset[str] = frozenset({"shop/app:dev", "shop/app:prod", "shop/web:dev"}),
    bases: tuple[str, ...] = (),
    owner: Owner = OWNER,
    proven: frozenset[str] = frozenset(),
) -> Facts:
    """What was read. `layers` are those of an image, by its short id."""
    stacks = {f"sha256:{id}": tuple(stack) for id, stack in (layers or {}).items()}
    return Facts(
        tuple(records), tuple(images), stacks, owner, SAID, made=made & {r.id for r in records}, tags=tags,
        bases=bases, proven=proven,
    )  # fmt: skip


def held_of(*records: CacheRecord, **read: object) -> Holdings:
    return holdings(facts(*records, **read))  # type: ignore[arg-type]


def ours(held: Holdings) -> set[str]:
    return {item.id.removeprefix("sha256:") for item in held.ours}


def unsure(held: Holdings) -> dict[str, str]:
    """Those that may be ours, and why that is not known."""
    return {item.id.removeprefix("sha256:"): item.why for item in held.items if not item.is_ours}


def item(held: Holdings, id: str) -> Holding:
    return held.by_id.get(id) or held.by_id[f"sha256:{id}"]


def changed(records: Iterable[CacheRecord], id: str, **fields: object) -> tuple[CacheRecord, ...]:
    records = tuple(records)
    assert any(record.id == id for record in records)
    return tuple(replace(r, **fields) if r.id == id else r for r in records)  # type: ignore[arg-type]
