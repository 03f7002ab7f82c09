"""Bridges that are ours by their alias, and firewall rules that are ours by their comment.

Containers behind a bridge reach the outside by masquerading, and the testbed's own servers on this machine's loopback
at the bridge's address: the port stays, so that `10.125.0.1:24601` in a pod is `127.0.0.1:24601` here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from tests.testbed import kernel
from tests.testbed.bed import SLOTS, Bed
from tests.testbed.errors import BedError, Unavailable
from tests.testbed.models import Name

FAMILIES = ("iptables", "ip6tables")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge device with the first address of its subnet."""

    name: str
    subnet: IPv4Network

    @property
    def address(self) -> str:
        return str(self.subnet[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One firewall rule; it stands before whatever the machine has, which may drop what is forwarded."""

    table: str
    chain: str
    words: tuple[str, ...]

    def command(self, comment: str) -> list[str]:
        mark = ("-m", "comment", "--comment", comment)
        return ["iptables", "--wait", "30", "--table", self.table, "--insert", self.chain, *self.words, *mark]


def bridge(bed: Bed, part: Name) -> Bridge:
    """The bridge of a part: containers of the engine are behind one, pods behind another."""
    name, second = {"engine": ("s2ibed", 124), "cluster": ("s2inode", 125)}[part]
    return Bridge(name=f"{name}{bed.slot}", subnet=IPv4Network(f"10.{second}.{bed.slot}.0/24"))


def connect(bed: Bed, part: Name) -> Bridge:
    """Make the bridge of a part and the rules around it."""
    made = bridge(bed, part)
    owner = alias(made.name)
    if owner is not None:
        raise Unavailable(part, f"the network device {made.name} belongs to {owner or 'somebody else'}")
    kernel.claim(bed, part, {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"})
    # In one go, so that no interruption of ours leaves a bridge without its owner's name.
    run("ip", "-batch", "-", given=birth(made, str(bed.directory)))
    # Packets for loopback are dropped on a device unless it says otherwise; this device goes with the part.
    kernel.at(f"net.ipv4.conf.{made.name}.route_localnet").write_text("1")
    for rule in rules(made, ports=(bed.port(0), bed.port(99))):
        run(*rule.command(made.name))
    return made


def birth(made: Bridge, owner: str) -> str:
    return f"""\
link add {made.name} type bridge
link set {made.name} alias {owner}
address add {made.address}/{made.subnet.prefixlen} dev {made.name}
link set {made.name} up
"""


def rules(made: Bridge, *, ports: tuple[int, int]) -> list[Rule]:
    """What lets the containers behind a bridge out, and to our servers on loopback."""
    first, last = ports
    to_ours = ("-d", made.address, "-p", "tcp", "--dport", f"{first}:{last}")
    to_loopback = (*to_ours, "-j", "DNAT", "--to-destination", "127.0.0.1")
    outside = ("-s", str(made.subnet), "!", "-o", made.name, "-j", "MASQUERADE")
    return [
        Rule(table="nat", chain="POSTROUTING", words=outside),
        Rule(table="nat", chain="PREROUTING", words=("-i", made.name, *to_loopback)),
        Rule(table="nat", chain="OUTPUT", words=to_loopback),
        Rule(table="filter", chain="INPUT", words=("-i", made.name, "-j", "ACCEPT")),
        Rule(table="filter", chain="FORWARD", words=("-i", made.name, "-j", "ACCEPT")),
        Rule(table="filter", chain="FORWARD", words=("-o", made.name, "-j", "ACCEPT")),
    ]


def is_ours(bed: Bed, part: Name) -> bool:
    """Whether what bears this part's name on the machine is of this testbed, and not of one in the same slot."""
    return alias(bridge(bed, part).name) in (None, str(bed.directory))


def stand_alone(bed: Bed, part: Name) -> bool:
    """Whether no other testbed has this part."""
    ours = bridge(bed, part).name
    return not [
        other for slot in SLOTS if (other := bridge(replace(bed, slot=slot), part).name) != ours and alias(other)
    ]


def disconnect(bed: Bed, part: Name, *, chains: str = "") -> None:
    """Remove the bridge, the rules that carry its name, and every chain whose name begins so."""
    gone = bridge(bed, part)
    if alias(gone.name) is not None:
        for plugged in Path(f"/sys/class/net/{gone.name}/brif").iterdir():
            # The kernel removes the devices of ended containers too, but in its own time; either may be the first.
            subprocess.run(["ip", "link", "delete", plugged.name], capture_output=True, check=False)
        run("ip", "link", "delete", gone.name)
    commented = re.compile(rf'--comment "?{gone.name}"?( |$)')
    for family in FAMILIES:
        if undo := undoing(saved(family), lambda rule: bool(commented.search(rule)), chains):
            run(f"{family}-restore", "--noflush", "--wait", "30", given=undo)
    kernel.release(bed, part)


def undoing(rules_saved: str, ours: Callable[[str], bool], chains: str) -> str:
    """The words for iptables-restore that take back our rules and chains alone; "" when there are none."""
    words = [word for table in tables(rules_saved) for word in undoing_in(table, ours, chains)]
    return "\n".join([*words, ""]) if words else ""


def undoing_in(table: list[str], ours: Callable[[str], bool], chains: str) -> list[str]:
    our_chains = [line[1:].split()[0] for line in table if chains and line.startswith(f":{chains}")]
    deleted = [
        line.replace("-A ", "-D ", 1)
        for line in table
        if line.startswith("-A ") and line.split()[1] not in our_chains and (ours(line) or target(line) in our_chains)
    ]
    if not (deleted or our_chains):
        return []
    # Naming a chain empties it; only then can those that jump to each other be deleted.
    emptied = [f":{chain} - [0:0]" for chain in our_chains]
    return [table[0], *emptied, *deleted, *(f"-X {chain}" for chain in our_chains), "COMMIT"]


def tables(rules_saved: str) -> Iterator[list[str]]:
    """The lines of each table, its name first."""
    for part in re.split(r"^(?=\*)", rules_saved, flags=re.MULTILINE):
        if part.startswith("*"):
            yield part.splitlines()


def target(rule: str) -> str:
    found = re.search(r" -[jg] (\S+)", rule)
    return found.group(1) if found else ""


def has_chains(prefix: str) -> bool:
    """Whether any chain of that name stands on this machine."""
    return any(re.search(rf"^:{prefix}", saved(family), re.MULTILINE) for family in FAMILIES)


def saved(family: str) -> str:
    return run(f"{family}-save") if shutil.which(f"{family}-save") else ""


def alias(device: str) -> str | None:
    """Who made a network device; "" when it does not say, None when there is no such device."""
    try:
        return Path(f"/sys/class/net/{device}/ifalias").read_text().strip()
    except FileNotFoundError:
        return None


def run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BedError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
