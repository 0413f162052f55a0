"""Small packages to add, and the manifests and lockfiles that add them, made by the package managers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks.engine import BenchEngine
from benchmarks.trees import Tree
from benchmarks.variants import BACKEND, FRONTEND
from kiro_invoke.model.errors import KiroError

#: Packages without dependencies of their own, and versions of each. A compiler or a package manager that
#: kept one is not asked for it twice: each sample takes the next.
POOLS: Mapping[str, Mapping[str, str]] = {
    BACKEND: {
        "either": "1.15.0 1.13.0 1.12.0 1.11.0 1.10.0 1.9.0 1.8.1 1.8.0",
        "semver": "1.0.26 1.0.25 1.0.24 1.0.23 1.0.22 1.0.21 1.0.20 1.0.19",
        "arrayvec": "0.7.6 0.7.5 0.7.4 0.7.3 0.7.2 0.7.1 0.7.0 0.5.2",
        "dyn-clone": "1.0.19 1.0.18 1.0.17 1.0.16 1.0.15 1.0.14 1.0.13 1.0.12",
        "subtle": "2.6.1 2.6.0 2.5.0 2.4.1 2.4.0 2.3.0 2.2.3 2.2.2",
        "humantime": "2.2.0 2.1.0 2.0.1 2.0.0",
        "hex": "0.4.3 0.4.2 0.4.0 0.3.2",
        "bytemuck": "1.21.0 1.20.0 1.19.0 1.18.0 1.17.1 1.16.3 1.15.0 1.14.3",
        "data-encoding": "2.9.0 2.8.0 2.7.0 2.6.0 2.5.0 2.4.0 2.3.3 2.3.2",
    },
    FRONTEND: {
        "clsx": "2.1.1 2.1.0 2.0.0 1.2.1 1.2.0 1.1.1",
        "mitt": "3.0.1 3.0.0 2.1.0 2.0.1",
        "kleur": "4.1.5 4.1.4 4.1.3 4.1.2 3.0.3",
        "deepmerge": "4.3.1 4.3.0 4.2.2 4.2.1 4.1.1",
        "tiny-invariant": "1.3.3 1.3.2 1.3.1 1.3.0 1.2.0",
        "classnames": "2.5.1 2.5.0 2.3.3 2.3.2 2.3.1 2.2.6",
        "slugify": "1.6.6 1.6.5 1.6.4 1.6.3 1.6.2",
    },
}
#: What adding a package changes, and what is asked for it: with $name and $version, in a copy of these files.
FILES: Mapping[str, tuple[str, ...]] = {
    BACKEND: ("crates/kiro-backend/Cargo.toml", "Cargo.lock"),
    FRONTEND: ("package.json", "package-lock.json"),
}
_COMMANDS = {
    BACKEND: 'cargo add --quiet --package kiro-backend "$name@=$version" && cargo update --quiet --workspace',
    FRONTEND: "npm install --package-lock-only --save-exact --omit-lockfile-registry-resolved"
    ' --ignore-scripts --no-audit --no-fund --loglevel=error "$name@$version"',
}
_CA = "/run/ca-bundle.pem"
_CA_NAMES = ("SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS")


def pool(packages: Mapping[str, str], lock: str) -> tuple[tuple[str, str], ...]:
    """Names and versions in the order in which they are added; packages that the lockfile holds are left out."""
    usable = {name: text.split() for name, text in packages.items() if not _locked(name, lock)}
    most = max(map(len, usable.values()), default=0)
    return tuple((name, each[at]) for at in range(most) for name, each in usable.items() if at < len(each))


def make_ready(
    engine: BenchEngine, tree: Tree, service: str, folder: Path, image: str, ca_bundle: Path | None
) -> Sequence[Mapping[str, str]]:
    """For each package of the pool the texts of the files that add it, made once for a tree in a container of `image`.

    Packages that the registry does not have, or that the toolchain refuses, are left out.
    """
    own = tree.texts(service, FILES[service])
    wanted = pool(POOLS[service], own[FILES[service][1]])
    key = sha256(repr((sorted(own.items()), wanted)).encode()).hexdigest()[:12]
    place = folder / f"{service}-{key}"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "made").mkdir(parents=True)
        shutil.copytree(tree.work / service, place / "tree", symlinks=True)
        for file, text in own.items():
            (place / "tree" / file).write_text(text, encoding="utf-8")
        (place / "wanted").write_text("".join(f"{name} {version}\n" for name, version in wanted))
        _add_each(engine, service, place, image, ca_bundle)
        (place / "complete").touch()
    made = [place / "made" / f"{name}-{version}" for name, version in wanted]
    ready = [
        _texts(service, own, {file: (each / Path(file).name).read_text() for file in FILES[service]})
        for each in made
        if (each / "complete").exists()
    ]
    if not ready:
        raise KiroError(
            f"no package could be added to {service}", file=str(place), fix="see whether a registry answers"
        )
    return ready


def only_added(before: str, after: str) -> str:
    """An npm lockfile with what the package manager added to it, and nothing else that it changed.

    npm before 11 forgets the `libc` of optional packages, and would then install some for other systems.
    """
    old, new = json.loads(before), json.loads(after)
    added = {name: entry for name, entry in new["packages"].items() if name not in old["packages"]}
    old["packages"] = {"": new["packages"][""]} | dict(sorted((old["packages"] | added).items())[1:])
    return json.dumps(old, indent=2, ensure_ascii=False) + "\n"


def _texts(service: str, own: Mapping[str, str], made: Mapping[str, str]) -> Mapping[str, str]:
    if service != FRONTEND:
        return made
    lock = FILES[service][1]
    return {**made, lock: only_added(own[lock], made[lock])}


def _add_each(engine: BenchEngine, service: str, place: Path, image: str, ca_bundle: Path | None) -> None:
    files = " ".join(FILES[service])
    script = f"""
        set -u
        cp -r /prepare/tree /tmp/tree && cd /tmp/tree
        while read -r name version; do
            made="/prepare/made/$name-$version"
            (cd /prepare/tree && cp --parents {files} /tmp/tree)
            {_COMMANDS[service]} </dev/null || continue
            mkdir -p "$made" && cp {files} "$made" && touch "$made/complete"
        done </prepare/wanted
    """
    ca: tuple[str, ...] = ()
    if ca_bundle is not None:
        settings = (word for name in _CA_NAMES for word in ("--env", f"{name}={_CA}"))
        ca = ("--volume", f"{ca_bundle}:{_CA}:ro", *settings)
    engine.must("run", "--rm", "--volume", f"{place}:/prepare", *ca, image, "sh", "-c", script)


def _locked(name: str, lock: str) -> bool:
    return f'name = "{name}"' in lock or f'"node_modules/{name}"' in lock
