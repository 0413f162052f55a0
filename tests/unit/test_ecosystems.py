"""Which ecosystem a folder belongs to."""

from __future__ import annotations

import pytest

from kiro_invoke.ecosystems.registry import ECOSYSTEMS, OTHER, detect, installs


@pytest.mark.parametrize(
    ("names", "ecosystem"),
    [
        ((), None),
        (("README.md",), None),
        (("Cargo.toml",), "cargo"),
        (("Cargo.toml", "Cargo.lock"), "cargo"),
        (("Cargo.lock",), None),
        (("cargo.toml",), None),
        (("package.json",), None),
        (("package-lock.json",), None),
        (("npm-shrinkwrap.json",), None),
        (("package.json", "package-lock.json"), "npm"),
        (("package.json", "npm-shrinkwrap.json"), "npm"),
        (("package.json", "npm-shrinkwrap.json", "package-lock.json"), "npm"),
        (("package.json", "yarn.lock"), "yarn"),
        (("package.json", "pnpm-lock.yaml"), "pnpm"),
        (("Cargo.toml", "package.json", "package-lock.json"), "cargo"),
    ],
)
def test_detect(names: tuple[str, ...], ecosystem: str | None) -> None:
    assert detect(frozenset(names)) == ecosystem


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_each_is_registered_under_its_own_name(name: str) -> None:
    assert ECOSYSTEMS[name].name == name


@pytest.mark.parametrize("name", ECOSYSTEMS)
def test_none_belongs_without_its_manifest(name: str) -> None:
    assert not ECOSYSTEMS[name].detects(frozenset({"README.md", "Dockerfile"}))
    assert ECOSYSTEMS[name].manifest


def test_other_is_no_ecosystem() -> None:
    assert OTHER not in ECOSYSTEMS


@pytest.mark.parametrize(
    ("ecosystem", "command"),
    [
        ("cargo", "cargo chef cook --release --recipe-path recipe.json"),
        ("cargo", "--mount=type=cache,target=/deps kiro-fresh deps /deps cargo chef cook --offline"),
        ("cargo", "cd /app && cargo fetch --locked"),
        ("npm", "npm ci"),
        ("npm", "--mount=type=cache,target=/root/.npm npm ci --prefer-offline && rm x"),
        ("npm", "npm --prefix=app install"),
        ("npm", "npm i;true"),
        ("npm", "node /installer/install-modules.mjs /plan /modules /app"),
        ("pnpm", "corepack enable && pnpm install --frozen-lockfile"),
        ("pnpm", "pnpm fetch"),
        ("pnpm", "pnpm -r i"),
        ("yarn", "yarn install --immutable"),
        ("yarn", "yarn --frozen-lockfile"),
        ("yarn", "yarn && yarn build"),
        ("yarn", "yarn workspaces focus --production"),
    ],
)
def test_steps_that_install_dependencies(ecosystem: str, command: str) -> None:
    assert installs(ecosystem, f"RUN {command}")
    assert installs(OTHER, f"RUN {command}")
    assert not installs(ecosystem, f"COPY {command}")


@pytest.mark.parametrize(
    ("ecosystem", "command"),
    [
        ("cargo", "cargo install cargo-chef --locked"),
        ("cargo", "cargo chef prepare --recipe-path recipe.json"),
        ("cargo", "cargo build --release"),
        ("cargo", "npm ci"),
        ("npm", "npm run build"),
        ("npm", "npm install -g pnpm"),
        ("npm", "npm i --global corepack"),
        ("npm", "npm init"),
        ("npm", "apt-get install -y npm"),
        ("pnpm", "pnpm build"),
        ("pnpm", "npm ci"),
        ("yarn", "yarn build"),
        ("yarn", "yarn --version"),
    ],
)
def test_steps_that_do_not(ecosystem: str, command: str) -> None:
    assert not installs(ecosystem, f"RUN {command}")
