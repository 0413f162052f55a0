"""`setup` on a machine without Docker, and `setup --undo`: afterwards the machine is as it was.

The machine is a container made of Debian bookworm's packages, with this checkout and its virtual
environment's libraries mounted into it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator

import pytest

from kiro_invoke.engine import installer, process
from tests.support.engine import ROOT, docker

pytestmark = [pytest.mark.docker, pytest.mark.long]

IMAGE = "kiro-test/bookworm"
NAME = f"kiro-setup-{os.getpid()}"
#: What a setup could change: packages, and every file where packages and settings live.
STATE = """
dpkg-query -W -f '${binary:Package} ${db:Status-Abbrev}\\n'
find /etc /usr /opt /root /home /srv /var/lib/kiro-invoke -xdev \\( -name __pycache__ -o -path '/usr/share/doc' \\
    -o -path /usr/share/man -o -path /usr/share/locale \\) -prune \\
    -o -type f -printf '%p %s\\n' -o -type l -printf '%p -> %l\\n'
cat /etc/group /etc/passwd /etc/apt/sources.list
"""
#: Package managers' own caches, rewritten by any installation.
CACHES = ("/etc/ld.so.cache", "/etc/.pwd.lock", "/etc/group-", "/etc/gshadow-", "/etc/subgid-", "/var/cache")


@pytest.fixture(scope="module")
def bookworm(engine: None) -> str:
    """An image of bookworm with Python 3.11, and nothing of Docker."""
    if not docker("images", "--quiet", IMAGE):
        mirror = installer.host_facts(process.run).mirror
        if mirror is None:
            pytest.fail("no Debian mirror in apt's sources: this test needs a Debian machine")
        script = f"""
            set -eu
            folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
            debootstrap --variant=minbase --include=python3,ca-certificates bookworm "$folder/root" {mirror} >/dev/null
            tar -C "$folder/root" -c . | docker import - {IMAGE} >&2
        """
        subprocess.run(["sh", "-c", script], check=True, stdin=subprocess.DEVNULL, timeout=600)
    return IMAGE


@pytest.fixture
def machine(bookworm: str) -> Iterator[str]:
    libraries = sysconfig.get_path("purelib")
    docker(
        "run", "--detach", "--privileged", "--name", NAME, "--volume", f"{ROOT}:/checkout:ro",
        "--volume", f"{libraries}:/libraries:ro", "--volume", "/var/lib/docker", "--workdir", "/root",
        "--env=PYTHONPATH=/checkout:/libraries", "--env=PYTHONDONTWRITEBYTECODE=1",
        bookworm, "sleep", "1800",
    )  # fmt: skip
    try:
        # a policy that denies starting services, as many machines without an init system have
        docker(
            "exec",
            NAME,
            "sh",
            "-c",
            "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d",
        )
        yield NAME
    finally:
        docker("rm", "--force", "--volumes", NAME)


def inside(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["docker", "exec", NAME, "python3", "-m", "kiro_invoke.cli", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)


def state() -> list[str]:
    lines = docker("exec", NAME, "sh", "-c", STATE).splitlines()
    return sorted(line for line in lines if not line.startswith(CACHES))


def test_setup_brings_an_engine_and_undo_takes_exactly_that_back(machine: str) -> None:
    before = state()
    refused = inside("build")
    assert refused.returncode == 2  # no repository here
    ran = inside("setup", "--format", "json")
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)["engine"]
    assert facts["ours"] is True
    assert int(facts["version"].split(".")[0]) >= 26
    assert "install docker.io/trixie" in ran.stderr  # the plan was shown first
    server = docker("exec", NAME, "docker", "version", "--format", "{{.Server.Version}}")
    assert server.startswith(facts["version"])
    assert docker("exec", NAME, "docker", "compose", "version")

    docker("exec", NAME, "sh", "-c", "kill -9 $(cat /var/run/docker.pid)")
    again = inside("setup")
    assert again.returncode == 0, again.stderr
    assert "starting the engine that kiro installed" in again.stderr

    undone = inside("setup", "--undo", "--yes")
    assert undone.returncode == 0, undone.stderr
    after = state()
    assert [line for line in after if line not in before] == []
    assert [line for line in before if line not in after] == []
    assert inside("setup", "--undo").returncode == 2


def fail_to_set_up() -> None:
    """A setup that ends in the middle: apt has decided and downloaded, and dpkg is not started."""
    broken = "/etc/apt/apt.conf.d/99-broken"
    docker("exec", NAME, "sh", "-c", f"echo 'Dpkg::Pre-Install-Pkgs {{\"exit 1\";}};' >{broken}")
    failed = inside("setup")
    assert failed.returncode == 3
    assert "apt-get could not install the engine" in failed.stderr
    docker("exec", NAME, "rm", broken)


def test_an_interrupted_setup_can_be_repeated_and_undone(machine: str) -> None:
    before = state()
    fail_to_set_up()
    assert inside("setup").returncode == 0
    undone = inside("setup", "--undo", "--yes")
    assert undone.returncode == 0, undone.stderr
    assert state() == before


def test_a_package_installed_by_hand_after_a_failed_setup_survives_its_undo(machine: str) -> None:
    docker("exec", NAME, "apt-get", "-qq", "update")
    before = state()
    fail_to_set_up()
    docker("exec", NAME, "apt-get", "-qq", "install", "-y", "--no-install-recommends", "hello")
    told = json.loads(inside("setup", "--undo", "--dry-run", "--format", "json").stdout)
    assert "package hello" not in told["would_remove"]
    undone = inside("setup", "--undo", "--yes")
    assert undone.returncode == 0, undone.stderr
    assert docker("exec", NAME, "hello")
    docker("exec", NAME, "apt-get", "-qq", "purge", "-y", "hello")
    assert state() == before
