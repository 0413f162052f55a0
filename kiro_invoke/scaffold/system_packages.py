"""What crates need of the system: well-known names of Cargo.lock, and Debian's packages for them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """Packages to compile with, and to run with; `because` of a crate."""

    because: str
    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


#: Crate -> what it needs. Libraries to run with are as they are named in Debian 13; 12 has some under older names.
_KNOWN = (
    System("openssl-sys", ("libssl-dev",), ("libssl3t64",)),
    System("openssl-src", ("make", "perl")),
    System("pq-sys", ("libpq-dev",), ("libpq5",)),
    System("mysqlclient-sys", ("libmariadb-dev",), ("libmariadb3",)),
    System("libsqlite3-sys", ("libsqlite3-dev",), ("libsqlite3-0",)),
    System("libz-sys", ("zlib1g-dev",), ("zlib1g",)),
    System("curl-sys", ("libcurl4-openssl-dev",), ("libcurl4t64",)),
    System("libssh2-sys", ("libssh2-1-dev",), ("libssh2-1t64",)),
    System("libgit2-sys", ("cmake",)),
    System("libdbus-sys", ("libdbus-1-dev",), ("libdbus-1-3",)),
    System("libudev-sys", ("libudev-dev",), ("libudev1",)),
    System("alsa-sys", ("libasound2-dev",), ("libasound2t64",)),
    System("rdkafka-sys", ("cmake", "g++", "libsasl2-dev"), ("libsasl2-2",)),
    System("zmq-sys", ("libzmq3-dev",), ("libzmq5",)),
    System("libxml", ("libxml2-dev", "libclang-dev"), ("libxml2",)),
    System("gssapi-sys", ("libkrb5-dev",), ("libgssapi-krb5-2",)),
    System("libgssapi-sys", ("libkrb5-dev", "libclang-dev"), ("libgssapi-krb5-2",)),
    System("librocksdb-sys", ("clang", "libclang-dev", "g++"), ("libstdc++6",)),
    System("prost-build", ("protobuf-compiler",)),
    System("tonic-build", ("protobuf-compiler",)),
    System("protobuf-codegen", ("protobuf-compiler",)),
    System("bindgen", ("clang", "libclang-dev")),
    System("cmake", ("cmake", "make", "g++")),
    System("cxx", ("g++",), ("libstdc++6",)),
    System("aws-lc-sys", ("cmake", "make")),
    System("native-tls", (), ("ca-certificates",)),
    System("rustls-native-certs", (), ("ca-certificates",)),
    System("rustls-platform-verifier", (), ("ca-certificates",)),
    System("openssl-probe", (), ("ca-certificates",)),
)
_LOCKED = re.compile(r'^name = "([^"]+)"$', re.MULTILINE)


def locked_names(lock: str) -> frozenset[str]:
    """The names of the crates in a Cargo.lock."""
    return frozenset(_LOCKED.findall(lock))


def needed(names: Collection[str], release: int) -> tuple[System, ...]:
    """What these crates need on a Debian of this release."""
    return tuple(_on(each, release) for each in _KNOWN if each.because in names)


def _on(system: System, release: int) -> System:
    if release >= 13:
        return system
    return System(system.because, system.build, tuple(name.removesuffix("t64") for name in system.run))
