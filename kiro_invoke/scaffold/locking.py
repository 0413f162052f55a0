"""A lockfile made in the image that a service's builds stand on, where this machine has no package manager."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from posixpath import basename, dirname

from kiro_invoke.builds.bake import literal, secret_option
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.model.service import Secret
from kiro_invoke.scaffold.found import Found
from kiro_invoke.scaffold.images import RustImages

#: The name under which the lockfile leaves the image.
MADE = "kiro-lockfile"
#: How a program that is not there ends.
MISSING = 127
_CA = "ca_bundle"
#: Where the package managers look for a person's credentials.
_PLACES = {"npmrc": "/root/.npmrc", "cargo_credentials": "/usr/local/cargo/credentials.toml"}
_NO_TOOLCHAIN = re.compile(r"rustup could not choose a version|toolchain '.*' is not installed")
_READ = re.compile(
    r"(^|/)(package\.json|[^/]*\.toml|[^/]*\.lock|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml"
    r"|pnpm-workspace\.yaml|\.npmrc|\.yarnrc|\.yarnrc\.yml|\.pnpmfile\.c?js|\.cargo/config|[^/]*\.tgz)$"
    r"|(^|/)(\.yarn|patches)/"
)
_CREDENTIALS = re.compile(r"(^|/)\.cargo/credentials(\.toml)?$")


@dataclass(frozen=True)
class Making:
    """How a lockfile is made: the image that has its manager, and a Dockerfile whose last stage holds it as MADE."""

    image: str
    dockerfile: str
    secrets: tuple[Secret, ...]


def is_absent(done: Completed) -> bool:
    """Whether a package manager is not there, or, as rustup's cargo, only seems to be."""
    return done.returncode == MISSING or bool(_NO_TOOLCHAIN.search(done.stderr))


def making(service: Found, path: str, argv: Sequence[str], secrets: Sequence[Secret]) -> Making:
    """Make the lockfile at `path`, from the repository's root, by `argv` in its folder."""
    images = service.images
    image = images.rust_image if isinstance(images, RustImages) else images.node_image
    # the compiler and the registry's clients each have a variable of their own
    trust = f"export SSL_CERT_FILE={_secret(_CA)} CARGO_HTTP_CAINFO={_secret(_CA)} NODE_EXTRA_CA_CERTS={_secret(_CA)}"
    mounts = [f"--mount=type=secret,id={_CA}", *map(_mount, secrets)]
    lines = [f"[ ! -s {_secret(_CA)} ] || {trust}; \\"]
    for secret in secrets:
        if secret.id not in _PLACES:
            file = _secret(secret.id)
            lines.append(f'[ ! -s {file} ] || export {secret.id}="$(cat {file})"; \\')
    folder = f"/app/{dirname(path)}".rstrip("/")
    lines.append(f"cd {shlex.quote(folder)} && {shlex.join(argv)} && cp {basename(path)} /{MADE}")
    run = " \\\n    ".join(mounts) + " \\\n    " + "\n    ".join(lines)
    text = f"FROM {image}\nCOPY . /app\nRUN {run}\nFROM scratch\nCOPY --from=0 /{MADE} /{MADE}\n"
    return Making(image, text, tuple(secrets))


def definition(made: Making, context: str, into: str, contexts: Mapping[str, str], ca_bundle: str) -> str:
    """The bake definition that writes what is made to the folder `into`. `context` holds what is_sent tells."""
    ca = [Secret(_CA, f"file:{ca_bundle}")] if ca_bundle else []
    target = {
        "context": literal(context),
        "dockerfile-inline": literal(made.dockerfile),
        "contexts": {ref: literal(place) for ref, place in contexts.items()},
        "secret": [literal(secret_option(secret)) for secret in (*ca, *made.secrets)],
        "output": [literal(f"type=local,dest={into}")],
        "no-cache": True,  # what a registry had another time is not what it has
    }
    return json.dumps({"group": {"default": {"targets": ["lockfile"]}}, "target": {"lockfile": target}})


def is_sent(path: str, left_out: frozenset[str]) -> bool | None:
    """Whether a manager reads a file of the repository. None: only that it is there, as with sources of Rust."""
    if path in left_out or _CREDENTIALS.search(path):
        return False
    if _READ.search(path) and not PurePosixPath(path).name.startswith("rust-toolchain"):
        return True
    return None if path.endswith(".rs") else False


def _secret(id: str) -> str:
    return f"/run/secrets/{id}"


def _mount(secret: Secret) -> str:
    place = _PLACES.get(secret.id)
    return f"--mount=type=secret,id={secret.id}{f',target={place}' if place else ''}"
