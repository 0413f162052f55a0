"""Small packages to add, and the manifests and lockfiles that add them, made by the package managers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks.engine import BenchEngine
from benchmarks.trees import Counter, Tree
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
#: How many are made at once.
_BATCH = 10
_CA = "/run/ca-bundle.pem"
_CA_NAMES = ("SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS")


def pool(packages: Mapping[str, str], lock: str) -> tuple[tuple[str, str], ...]:
    """Names and versions in the order in which they are added; packages that the lockfile holds are left out."""
    usable = {name: text.split() for name, text in packages.items() if not _locked(name, lock)}
    most = max(map(len, usable.values()), default=0)
    return tuple((name, each[at]) for at in range(most) for name, each in usable.items() if at < len(each))


class Packages:
    """The pool of a service for one tree: for each package the texts of the files that add it.

    They are made in containers of `image`, some at once, and kept in `folder`.
    """

    def __init__(
        self, engine: BenchEngine, tree: Tree, service: str, image: str, ca_bundle: Path | None
    ) -> None:
        self._engine = engine
        self._service = service
        self._image = image
        self._ca_bundle = ca_bundle
        self._own = tree.texts(service, FILES[service])
        self._wanted = pool(POOLS[service], self._own[FILES[service][1]])
        key = sha256(repr(sorted(self._own.items())).encode()).hexdigest()[:12]
        self._place = engine.folder / "dependencies" / f"{service}-{key}"
        shutil.rmtree(self._place / "tree", ignore_errors=True)
        shutil.copytree(tree.work / service, self._place / "tree", symlinks=True)
        for file, text in self._own.items():
            (self._place / "tree" / file).write_text(text, encoding="utf-8")

    def take(self, counter: Counter) -> Mapping[str, str]:
        """What adds the next package that was not added yet; KiroError if there is none left.

        Packages that the registry does not have, or that the toolchain refuses, are passed over.
        """
        while (at := counter.next(f"dependency of {self._service}") - 1) < len(self._wanted):
            made = self._made(self._wanted[at])
            if not made.exists():
                self._make(self._wanted[at : at + _BATCH])
            if (made / "complete").exists():
                return self._texts(made)
        raise KiroError(
            f"all of {len(self._wanted)} packages were added to {self._service} on this engine",
            fix="start afresh: --fresh",
        )

    def _made(self, package: tuple[str, str]) -> Path:
        return self._place / "made" / "-".join(package)

    def _texts(self, made: Path) -> Mapping[str, str]:
        texts = {file: (made / Path(file).name).read_text(encoding="utf-8") for file in FILES[self._service]}
        if self._service == FRONTEND:
            lock = FILES[FRONTEND][1]
            texts[lock] = only_added(self._own[lock], texts[lock])
        return texts

    def _make(self, packages: Sequence[tuple[str, str]]) -> None:
        for package in packages:
            self._made(package).mkdir(parents=True, exist_ok=True)
        ca: tuple[str, ...] = ()
        if self._ca_bundle is not None:
            settings = (word for name in _CA_NAMES for word in ("--env", f"{name}={_CA}"))
            ca = ("--volume", f"{self._ca_bundle}:{_CA}:ro", *settings)
        run = ("run", "--rm", "--volume", f"{self._place}:/prepare", *ca, self._image, "sh", "-c")
        words = (f"{name}@{version}" for name, version in packages)
        self._engine.must(*run, _script(self._service), "sh", *words)


def only_added(before: str, after: str) -> str:
    """An npm lockfile with what the package manager added to it, and nothing else that it changed.

    npm before 11 forgets the `libc` of optional packages, and would then install some for other systems.
    """
    old, new = json.loads(before), json.loads(after)
    added = {name: entry for name, entry in new["packages"].items() if name not in old["packages"]}
    old["packages"] = {"": new["packages"][""]} | dict(sorted((old["packages"] | added).items())[1:])
    return json.dumps(old, indent=2, ensure_ascii=False) + "\n"


def _script(service: str) -> str:
    """Adds each package NAME@VERSION of its arguments to a copy of the tree, and keeps what that made."""
    files = " ".join(FILES[service])
    return f"""
        cp -r /prepare/tree /tmp/tree && cd /tmp/tree
        for package; do
            name=${{package%@*}} version=${{package#*@}}
            made=/prepare/made/$name-$version
            (cd /prepare/tree && cp --parents {files} /tmp/tree)
            {_COMMANDS[service]} || continue
            cp {files} "$made" && touch "$made/complete"
        done
    """


def _locked(name: str, lock: str) -> bool:
    return f'name = "{name}"' in lock or f'"node_modules/{name}"' in lock
