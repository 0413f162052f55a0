"""A bridge of the benchmark's own, so that its engine has a network and leaves the shared engine's alone.

An engine without a bridge takes another engine's away, and one that writes firewall rules takes
over theirs: this one is given a ready bridge, and the few rules that it needs are added and removed here.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from kiro_invoke.engine.protocol import Run
from kiro_invoke.model.errors import EngineError

#: Where a free network is looked for.
_POOL = ipaddress.IPv4Network("10.213.0.0/16")


@dataclass(frozen=True)
class Bridge:
    """A bridge's name and the network behind it."""

    name: str
    network: ipaddress.IPv4Network

    @property
    def address(self) -> str:
        """The bridge's own address, with the length of its network's prefix."""
        return f"{next(self.network.hosts())}/{self.network.prefixlen}"

    @property
    def rules(self) -> tuple[tuple[str, ...], ...]:
        """What the firewall must know: table, chain, rule."""
        mark = ("-m", "comment", "--comment", self.name)
        return (
            ("nat", "POSTROUTING", "-s", str(self.network), "!", "-o", self.name, *mark, "-j", "MASQUERADE"),
            ("filter", "FORWARD", "-i", self.name, *mark, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-o", self.name, *mark, "-j", "ACCEPT"),
        )


def bridge_name(folder: Path) -> str:
    """A name (15 characters at most) that belongs to the engine in `folder` alone."""
    return f"kirob{sha256(str(folder).encode()).hexdigest()[:8]}"


def free_network(taken: Iterable[str]) -> ipaddress.IPv4Network:
    """A /24 that overlaps none of the `taken` networks; EngineError if there is none."""
    known = [ipaddress.ip_network(each, strict=False) for each in taken]
    used = [each for each in known if isinstance(each, ipaddress.IPv4Network)]
    for candidate in _POOL.subnets(new_prefix=24):
        if not any(candidate.overlaps(each) for each in used):
            return candidate
    raise EngineError(f"no network of {_POOL} is free", fix="remove a route that nobody needs")


def set_up(name: str, run: Run) -> Bridge:
    """Make the bridge and its firewall rules anew; EngineError if that is refused."""
    take_down(name, run)
    routes = json.loads(_must(run, ["ip", "-json", "-4", "route", "show", "table", "all"]))
    bridge = Bridge(name, free_network(str(row["dst"]) for row in routes if row["dst"] != "default"))
    _must(run, ["ip", "link", "add", name, "type", "bridge"])
    _must(run, ["ip", "address", "add", bridge.address, "dev", name])
    _must(run, ["ip", "link", "set", name, "up"])
    for table, chain, *rule in bridge.rules:
        _must(run, ["iptables", "--wait", "-t", table, "-I", chain, "1", *rule])
    return bridge


def take_down(name: str, run: Run) -> None:
    """Remove the bridge of that name and every rule that carries its name; nothing if there is none."""
    for table in ("nat", "filter"):
        listed = run(["iptables", "--wait", "-t", table, "-S"])
        for words in rules_of(name, listed.stdout.splitlines()):
            run(["iptables", "--wait", "-t", table, "-D", *words])
    run(["ip", "link", "delete", name])


def rules_of(name: str, listed: Sequence[str]) -> list[list[str]]:
    """Of rules as `iptables -S` lists them, those with the comment `name`: chain and rule."""
    rows = [line.split() for line in listed]
    marks = {name, f'"{name}"'}
    return [
        row[1:]
        for row in rows
        if row[:1] == ["-A"] and "--comment" in row and row[row.index("--comment") + 1] in marks
    ]


def _must(run: Run, argv: Sequence[str]) -> str:
    done = run(argv)
    if not done.ok:
        raise EngineError(
            f"{' '.join(argv)}: {done.stderr.strip()}", fix="run it as root, with iproute2 and iptables"
        )
    return done.stdout
