"""What a container may reach, as data: its network, the program that leads out of it, its resolv.conf and its hosts.

Without a word of the user's it has a network of its own where a helper leads out of that: what this machine offers to
itself alone cannot be reached from inside then.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from pathlib import Path

from s2ictl.engines.embedded.machine import Machine
from s2ictl.errors import InvalidUsage, Refused
from s2ictl.values import dataclass

NAMESPACE, READY = "{namespace}", "{ready}"  # stand in a helper's words for what the warden alone knows

_GATEWAY = "host-gateway"  # this machine, as Docker calls it
_MOST_RESOLVERS = 3  # that C libraries ask
_OWN_RESOLVER = {"pasta": "169.254.1.1", "slirp4netns": "10.0.2.3"}
_LOCALHOST = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """`is_own` says that the container has one apart from this machine's; `helper` leads out of it, () is no way out.

    `notice` is what the user did not ask for and should know.
    """

    is_own: bool
    helper: tuple[str, ...] = ()
    resolvers: bytes = b""
    notice: str = ""


def chosen(asked: str, machine: Machine, resolvers: bytes) -> Network:
    """The network that these words mean here; `resolvers` is this machine's resolv.conf."""
    if asked == "host":
        return Network(is_own=False, resolvers=resolvers)
    if asked == "none":
        return Network(is_own=True)
    if asked not in ("", "bridge", "default"):
        raise InvalidUsage(
            f"there is no network {asked} without a container engine",
            hint="--network none or host; without the flag it is one of its own",
        )
    if machine.network_helper:
        return _isolated(machine.network_helper, resolvers)
    if asked:
        raise Refused(
            f"--network {asked} needs pasta or slirp4netns, and neither works here",
            hint="s2ictl doctor says what is missing; --network host shares this machine's",
        )
    return Network(
        is_own=False,
        resolvers=resolvers,
        notice="the container shares this machine's network: no pasta or slirp4netns works here (see s2ictl doctor)",
    )


def leading_out(helper: str) -> tuple[str, ...]:
    """The command by which this program leads out of a network."""
    return helper, *_COMMANDS[Path(helper).name]


def _isolated(helper: str, resolvers: bytes) -> Network:
    own = _OWN_RESOLVER[Path(helper).name]
    return Network(is_own=True, helper=leading_out(helper), resolvers=_reachable(resolvers, own))


# Neither opens a port of the container's to anybody, nor one of this machine's loopback to the container. pasta goes to
# the background when all is ready.
_COMMANDS = {
    "pasta": (
        "--config-net",
        "--no-map-gw",
        *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
        *("--dns-forward", _OWN_RESOLVER["pasta"]),
        "--quiet",
        *("--runas", "0"),  # nobody, which it would become, could not go into the namespace
        *("--netns", NAMESPACE),
    ),
    "slirp4netns": (
        "--configure",
        "--mtu=65520",
        "--disable-host-loopback",
        "--enable-sandbox",
        "--enable-seccomp",
        "--enable-ipv6",
        f"--ready-fd={READY}",
        "--netns-type=path",
        *(NAMESPACE, "tap0"),
    ),
}


def _reachable(resolvers: bytes, own: str) -> bytes:
    """A resolv.conf for whoever does not share this machine's loopback: the helper's own resolver asks that one."""
    lines = resolvers.decode(errors="replace").splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    rest = [line for line in lines if line.split()[:1] in (["search"], ["domain"], ["options"])]
    asked = list(dict.fromkeys((own, *filter(_is_outside, servers))))[:_MOST_RESOLVERS]
    return "".join(f"{line}\n" for line in (*(f"nameserver {server}" for server in asked), *rest)).encode()


def _is_outside(address: str) -> bool:
    """Whether it is the same machine from wherever it is asked; one with a zone is of a link, and loopback is near."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)


def hosts_file(network: Network, hostname: str, added: Iterable[str], own: bytes) -> bytes:
    """The container's /etc/hosts: `added` are NAME:ADDRESS, `own` is this machine's file."""
    known = _LOCALHOST if network.is_own else own.decode(errors="replace").rstrip("\n") + "\n"
    return (known + f"127.0.1.1\t{hostname}\n" + "".join(_lines(network, added))).encode()


def _lines(network: Network, added: Iterable[str]) -> Iterator[str]:
    for each in added:
        name, _, address = each.partition(":")
        if address == _GATEWAY and network.is_own:
            raise Refused(
                f"--add-host {each}: this machine cannot be reached from the container's network",
                hint="--network host shares it, or write the address",
            )
        address = "127.0.0.1" if address == _GATEWAY else address.removeprefix("[").removesuffix("]")
        yield f"{address}\t{name}\n"
