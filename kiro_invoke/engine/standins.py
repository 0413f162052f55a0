"""Stand-ins for official base images, made from the distribution's packages.

Where no registry answers, `rust`, `node`, `nginx` and `debian` images are built from Debian's own
packages. A stand-in behaves as its official model does where the models' users depend on it (paths,
users, commands), carries the label `dev.kiro.standin=<official name>` and tells what it really holds.
Pure: names in, Dockerfile texts out. `bases` does the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LABEL = "dev.kiro.standin"
LABEL_HOLDS = "dev.kiro.standin.holds"
#: The Debian release that stand-ins are made of, whatever the official tag says.
RELEASE = "trixie"
ROOT_IMAGE = f"kiro-standin/root:{RELEASE}"

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOCAL_CERTIFICATES = "/usr/local/share/ca-certificates"
#: Tells each tool of the kind in use where the bundle is (npm, cargo, git, curl, pip, OpenSSL).
_CA_ENV = f"""\
ENV SSL_CERT_FILE={CA_BUNDLE} CARGO_HTTP_CAINFO={CA_BUNDLE} NODE_EXTRA_CA_CERTS={CA_BUNDLE} \\
    CURL_CA_BUNDLE={CA_BUNDLE} GIT_SSL_CAINFO={CA_BUNDLE}
"""
_INSTALL = "apt-get update && apt-get install -y --no-install-recommends"
_CLEAN = "apt-get clean && rm -rf /var/lib/apt/lists/*"


@dataclass(frozen=True)
class Recipe:
    """How to make one kind of stand-in: what follows FROM, and a command that prints what it holds."""

    kind: str
    body: str
    version_command: str


_RECIPES = {
    "debian": Recipe("debian", "", "echo Debian $(cat /etc/debian_version)"),
    "rust": Recipe(
        "rust",
        f"""\
RUN {_INSTALL} rustc cargo gcc libc6-dev pkg-config git && {_CLEAN}
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN mkdir -p /usr/local/cargo/bin && chmod -R a+w /usr/local/cargo
CMD ["bash"]
""",
        "rustc --version | sed 's/^rustc /Rust /; s/ (.*//'",
    ),
    "node": Recipe(
        "node",
        f"""\
RUN {_INSTALL} nodejs npm && {_CLEAN} \\
 && groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
CMD ["node"]
""",
        "echo Node $(node --version | tr -d v), npm $(npm --version)",
    ),
    "nginx": Recipe(
        "nginx",
        f"""\
RUN groupadd --system --gid 101 nginx \\
 && useradd --system --uid 101 --gid nginx --no-create-home --home /nonexistent --shell /bin/false nginx \\
 && {_INSTALL} nginx curl && {_CLEAN} \\
 && rm -rf /etc/nginx/sites-enabled /etc/nginx/sites-available /var/www \\
 && mkdir -p /usr/share/nginx/html /etc/nginx/conf.d \\
 && sed -i 's/^user .*/user nginx;/; s#include /etc/nginx/sites-enabled/.*##' /etc/nginx/nginx.conf \\
 && ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
""",
        "nginx -v 2>&1 | sed 's#.*nginx/#nginx #; s/ .*(.*//'",
    ),
}

_OFFICIAL = re.compile(r"^(?:docker\.io/)?(?:library/)?(?P<name>[a-z0-9]+)(?::(?P<tag>[\w.-]+))?$")
#: Tags of these flavours are another system: Debian's packages cannot stand in for them.
_OTHER_SYSTEM = re.compile(r"alpine|windows|nanoserver|ubi|ubuntu")


def recipe_for(ref: str) -> Recipe | None:
    """The recipe that can stand in for the image `ref`, or None when there is none."""
    match = _OFFICIAL.match(ref)
    if match is None or _OTHER_SYSTEM.search(match["tag"] or ""):
        return None
    return _RECIPES.get(match["name"])


def standin_name(ref: str) -> str:
    """The tag under which the stand-in for `ref` is kept beside the official name."""
    match = _OFFICIAL.match(ref)
    assert match is not None, ref
    return f"kiro-standin/{match['name']}:{match['tag'] or 'latest'}"


def official(name: str) -> str:
    """An image's name as engines show it: without the registry and folder that need not be written."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def stands_in(labels: Mapping[str, str], ref: str) -> bool:
    """Whether an image with these labels, found under the name `ref`, is the stand-in for it.

    Whatever is built on a stand-in inherits its label: the label must name this very image.
    """
    named = labels.get(LABEL, "")
    return (
        recipe_for(named) is not None
        and recipe_for(ref) is not None
        and standin_name(named) == standin_name(ref)
    )


def dockerfile(recipe: Recipe, ref: str) -> str:
    """The Dockerfile text of the stand-in for `ref`, on top of ROOT_IMAGE."""
    return f"FROM {ROOT_IMAGE}\n{_CA_ENV}{recipe.body}LABEL {LABEL}={quoted(ref)}\n"


def holds_dockerfile(name: str, holds: str) -> str:
    """A Dockerfile that adds to the stand-in `name` the label that tells what it really holds."""
    return f"FROM {name}\nLABEL {LABEL_HOLDS}={quoted(holds)}\n"


def quoted(text: str) -> str:
    """`text` as one double-quoted word of a Dockerfile."""
    return '"' + re.sub(r'(["\\$])', r"\\\1", text.replace("\n", " ")) + '"'
