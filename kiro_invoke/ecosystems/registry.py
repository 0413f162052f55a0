"""The ecosystems that the tool knows. Another one is a module beside this one and a line in ECOSYSTEMS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from kiro_invoke.model.fingerprint import Fingerprint, Tree
from kiro_invoke.model.live import NOTHING_SAID, Live

#: The ecosystem of a service that no module here knows.
OTHER = "other"


class Inputs(Protocol):
    """What each ecosystem's module offers."""

    def fingerprint(self, tree: Tree) -> Fingerprint:
        """What a service's dependency layer is made from."""

    def reads(self, path: str) -> bool:
        """Whether the dependency layer can depend on the content of a file at this path."""


@dataclass(frozen=True)
class Ecosystem:
    """An ecosystem, and how its folders are known: by `manifest`, and by one of `lockfiles` where there are any.

    `live` is what a live update of a running container does, unless the image or kiro.yaml says otherwise.
    `plain_build` is how an unoptimized Dockerfile builds it, `plain_debug_build` the same at the debug profile ("":
    there is none).
    `installs` matches the commands of RUN steps that make up a dependency layer. `roots` are the files, and folders,
    at a service's top of which its dependency layer is made where they are there.
    """

    name: str
    manifest: str
    lockfiles: frozenset[str] = frozenset()
    live: Live = NOTHING_SAID
    plain_build: str = ""
    plain_debug_build: str = ""
    installs: str = ""
    roots: tuple[str, ...] = ()

    def detects(self, names: frozenset[str]) -> bool:
        """Whether a folder that holds files of these names belongs to it."""
        return self.manifest in names and (not self.lockfiles or not self.lockfiles.isdisjoint(names))

    @property
    def inputs(self) -> Inputs:
        """Its module, loaded when it is needed: most commands never do."""
        return cast(Inputs, import_module(f"{__package__}.{self.name}"))


_NODE = "package.json"
#: Options between a package manager and its command; and that it does not install a tool for all.
_OPTIONS = r"(?:\s+-\S+)*"
_NOT_GLOBAL = r"(?=\s|$|[;&|])(?![^;&|]*\s(?:-g|--global)\b)"
#: As the image's own build does it. KIRO_FRESH has cargo see by content what changed, where it would not by times.
_CARGO = Live(
    install="cargo fetch --locked --target \"$(rustc -vV | sed -n 's/^host: //p')\"",
    run="$KIRO_FRESH cargo build --workspace --bins --locked --color always",
    plain=(".rs",),
)
#: Name -> ecosystem; where a folder belongs to several, the first is taken.
ECOSYSTEMS: dict[str, Ecosystem] = {
    known.name: known
    for known in (
        Ecosystem(
            "cargo",
            "Cargo.toml",
            live=_CARGO,
            plain_build="cargo build --release",
            plain_debug_build="cargo build",
            installs=r"\bcargo\s+chef\s+cook\b|\bcargo\s+fetch\b|\bkiro-fresh\s+deps\b",
            roots=(
                "Cargo.toml",
                "Cargo.lock",
                ".cargo/config",
                ".cargo/config.toml",
                "rust-toolchain",
                "rust-toolchain.toml",
            ),
        ),
        Ecosystem(
            "npm",
            _NODE,
            frozenset({"package-lock.json", "npm-shrinkwrap.json"}),
            Live(install="npm install --no-save --no-audit --no-fund --prefer-offline"),
            plain_build="npm ci && npm run build",
            installs=rf"\bnpm{_OPTIONS}\s+(?:ci|clean-install|install|i){_NOT_GLOBAL}|\binstall-modules\.mjs\b",
            roots=(_NODE, "package-lock.json", "npm-shrinkwrap.json", ".npmrc"),
        ),
        Ecosystem(
            "pnpm",
            _NODE,
            frozenset({"pnpm-lock.yaml"}),
            Live(install="pnpm install --frozen-lockfile"),
            plain_build="corepack enable && pnpm install --frozen-lockfile && pnpm run build",
            installs=rf"\bpnpm{_OPTIONS}\s+(?:install|i|fetch){_NOT_GLOBAL}",
            roots=(
                _NODE,
                "pnpm-lock.yaml",
                "pnpm-workspace.yaml",
                ".npmrc",
                ".pnpmfile.cjs",
                ".pnpmfile.mjs",
                "pnpmfile.js",
            ),
        ),
        Ecosystem(
            "yarn",
            _NODE,
            frozenset({"yarn.lock"}),
            Live(install="yarn install --frozen-lockfile"),
            plain_build="corepack enable && yarn install --frozen-lockfile && yarn run build",
            installs=rf"\byarn{_OPTIONS}\s+(?:install|workspaces\s+focus)\b|\byarn(?:\s+--(?!version|help)\S+)*\s*(?:$|[;&|])",
            roots=(
                _NODE,
                "yarn.lock",
                ".yarnrc.yml",
                ".npmrc",
                ".yarnrc",
                ".yarn/patches",
                ".yarn/releases",
                ".yarn/plugins",
            ),
        ),
    )
}


def installs(ecosystem: str, instruction: str) -> bool:
    """Whether a RUN instruction installs dependencies; of an ecosystem that nobody knows, as any of them does."""
    known = [ECOSYSTEMS[ecosystem]] if ecosystem in ECOSYSTEMS else ECOSYSTEMS.values()
    is_run = instruction[:4].rstrip().upper() == "RUN"
    return is_run and any(re.search(one.installs, instruction) for one in known)


def detect(names: frozenset[str]) -> str | None:
    """The name of the ecosystem of a folder that holds files of these names, or None."""
    return next((known.name for known in ECOSYSTEMS.values() if known.detects(names)), None)
