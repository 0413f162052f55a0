"""Small packages to add, and the manifests and lockfiles that add them, made by the package managers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks.engine import BenchEngine
from benchmarks.trees import Tree
from benchmarks.variants import BACKEND, FRONTEND
from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.benchmark.packages import CRATES, PACKAGES, only_added, pool
from kiro_invoke.model.errors import KiroError

#: Packages that are added, by service.
POOLS: Mapping[str, Mapping[str, str]] = {BACKEND: CRATES, FRONTEND: PACKAGES}
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
