"""Small packages to add, and the manifests and lockfiles that add them, made by the package managers themselves."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

#: Packages without dependencies of their own, and versions of each. A compiler or a package manager that kept one is
#: not asked for it twice: each sample takes the next.
CRATES: Mapping[str, str] = {
    "either": "1.15.0 1.13.0 1.12.0 1.11.0 1.10.0 1.9.0 1.8.1 1.8.0",
    "semver": "1.0.26 1.0.25 1.0.24 1.0.23 1.0.22 1.0.21 1.0.20 1.0.19",
    "arrayvec": "0.7.6 0.7.5 0.7.4 0.7.3 0.7.2 0.7.1 0.7.0 0.5.2",
    "dyn-clone": "1.0.19 1.0.18 1.0.17 1.0.16 1.0.15 1.0.14 1.0.13 1.0.12",
    "subtle": "2.6.1 2.6.0 2.5.0 2.4.1 2.4.0 2.3.0 2.2.3 2.2.2",
    "humantime": "2.2.0 2.1.0 2.0.1 2.0.0",
    "hex": "0.4.3 0.4.2 0.4.0 0.3.2",
    "bytemuck": "1.21.0 1.20.0 1.19.0 1.18.0 1.17.1 1.16.3 1.15.0 1.14.3",
    "data-encoding": "2.9.0 2.8.0 2.7.0 2.6.0 2.5.0 2.4.0 2.3.3 2.3.2",
}
PACKAGES: Mapping[str, str] = {
    "clsx": "2.1.1 2.1.0 2.0.0 1.2.1 1.2.0 1.1.1",
    "mitt": "3.0.1 3.0.0 2.1.0 2.0.1",
    "kleur": "4.1.5 4.1.4 4.1.3 4.1.2 3.0.3",
    "deepmerge": "4.3.1 4.3.0 4.2.2 4.2.1 4.1.1",
    "tiny-invariant": "1.3.3 1.3.2 1.3.1 1.3.0 1.2.0",
    "classnames": "2.5.1 2.5.0 2.3.3 2.3.2 2.3.1 2.2.6",
    "slugify": "1.6.6 1.6.5 1.6.4 1.6.3 1.6.2",
}
#: The certificates that a build is given, for whatever asks a registry.
_TRUST = (
    "[ ! -s /run/secrets/ca_bundle ] || export SSL_CERT_FILE=/run/secrets/ca_bundle"
    " CARGO_HTTP_CAINFO=/run/secrets/ca_bundle NODE_EXTRA_CA_CERTS=/run/secrets/ca_bundle"
)
_NPM_LOCK = "package-lock.json"


@dataclass(frozen=True)
class Adding:
    """How an ecosystem's packages are added: the pool, the files that change, the command for $name and $version."""

    pool: Mapping[str, str]
    files: tuple[str, ...]
    command: str

    @property
    def lockfile(self) -> str:
        return self.files[-1]


def adding(ecosystem: str, source: str, names: frozenset[str]) -> Adding | None:
    """How a dependency is added to what `source` belongs to; None where that is not known. `names`: the context's."""
    if ecosystem == "cargo" and "Cargo.lock" in names:
        manifest = _manifest_of(source, names)
        command = (
            f'cargo add --quiet --manifest-path {shlex.quote(manifest)} "$name@=$version"'
            " && cargo update --quiet --workspace"
        )
        return Adding(CRATES, (manifest, "Cargo.lock"), command)
    if ecosystem == "npm" and _NPM_LOCK in names:
        command = (
            "npm install --package-lock-only --save-exact --omit-lockfile-registry-resolved"
            ' --ignore-scripts --no-audit --no-fund --loglevel=error "$name@$version"'
        )
        return Adding(PACKAGES, ("package.json", _NPM_LOCK), command)
    return None


def pool(packages: Mapping[str, str], lock: str) -> tuple[tuple[str, str], ...]:
    """Names and versions in the order in which they are added; packages that the lockfile holds are left out."""
    usable = {name: text.split() for name, text in packages.items() if not _locked(name, lock)}
    most = max(map(len, usable.values()), default=0)
    return tuple((name, each[at]) for at in range(most) for name, each in usable.items() if at < len(each))


def recipe(adds: Adding, base: str, packages: Sequence[str]) -> str:
    """A Dockerfile that adds each package alone to a copy of the context, and keeps the files that this changed.

    What the registry does not have, or the toolchain refuses, is passed over.
    """
    files = shlex.join(adds.files)
    lines = [
        f"FROM {base} AS make",
        "WORKDIR /kiro/tree",
        "COPY . .",
        "RUN --mount=type=secret,id=ca_bundle <<'KIRO_ADD'",
        _TRUST,
        "mkdir /kiro/made",
        f"tar -cf /kiro/files.tar {files}",
        f"for package in {' '.join(packages)}; do",
        "    name=${package%@*} version=${package##*@}",
        "    tar -xf /kiro/files.tar",
        f"    {adds.command} || continue",
        f'    mkdir -p "/kiro/made/$package" && cp --parents {files} "/kiro/made/$package"',
        "done",
        "KIRO_ADD",
        "FROM scratch",
        "COPY --from=make /kiro/made /",
    ]
    return "\n".join(lines) + "\n"


def definition(
    dockerfile: str, context: str, secrets: Sequence[str], contexts: Mapping[str, str], out: str
) -> str:
    """The bake definition that writes what `recipe` makes to the folder `out`. All texts as bake takes them."""
    target = {
        "context": context,
        "dockerfile-inline": dockerfile,
        "contexts": dict(contexts),
        "secret": list(secrets),
        "output": [f"type=local,dest={out}"],
        "attest": ["type=provenance,disabled=true"],
    }
    return json.dumps({"target": {"default": target}})


def only_added(before: str, after: str) -> str:
    """An npm lockfile with what the package manager added to it, and nothing else that it changed.

    npm before 11 forgets the `libc` of optional packages, and would then install some for other systems.
    """
    old, new = json.loads(before), json.loads(after)
    added = {name: entry for name, entry in new["packages"].items() if name not in old["packages"]}
    old["packages"] = {"": new["packages"][""]} | dict(sorted((old["packages"] | added).items())[1:])
    return json.dumps(old, indent=2, ensure_ascii=False) + "\n"


def _manifest_of(source: str, names: frozenset[str]) -> str:
    """The manifest of the crate that a source belongs to: the nearest one upward."""
    folders = [*PurePosixPath(source).parents]
    found = (str(folder / "Cargo.toml") for folder in folders)
    return next((path for path in found if path in names), "Cargo.toml")


def _locked(name: str, lock: str) -> bool:
    return f'name = "{name}"' in lock or f'"node_modules/{name}"' in lock
