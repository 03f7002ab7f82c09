"""What a container may reach, by the words of the user and by what this machine has."""

from __future__ import annotations

import pytest

from s2ictl.engines.embedded.machine import Machine
from s2ictl.engines.embedded.networks import Network, chosen, hosts_file
from s2ictl.errors import InvalidUsage, Refused

ALONE = Machine(rootless=True, architecture="x86_64")
PASTA = Machine(rootless=True, architecture="x86_64", network_helper="/usr/bin/pasta")
SLIRP = Machine(rootless=False, architecture="x86_64", network_helper="/usr/bin/slirp4netns")
RESOLVERS = b"""# made by somebody
nameserver 127.0.0.53
nameserver ::1
nameserver fe80::1%eth0
nameserver 192.0.2.53
nameserver 2001:db8::53
nameserver 198.51.100.53
search example.com corp
options edns0 trust-ad
"""


def test_without_a_word_it_is_one_of_its_own_by_slirp4netns() -> None:
    assert chosen("", SLIRP, RESOLVERS) == Network(
        is_own=True,
        helper=(
            "/usr/bin/slirp4netns",
            "--configure",
            "--mtu=65520",
            "--disable-host-loopback",
            "--enable-sandbox",
            "--enable-seccomp",
            "--enable-ipv6",
            "--ready-fd={ready}",
            "--netns-type=path",
            "{namespace}",
            "tap0",
        ),
        resolvers=b"nameserver 10.0.2.3\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n"
        b"search example.com corp\noptions edns0 trust-ad\n",
    )


def test_without_a_word_it_is_one_of_its_own_by_pasta() -> None:
    assert chosen("", PASTA, b"nameserver 127.0.0.53\n") == Network(
        is_own=True,
        helper=(
            "/usr/bin/pasta",
            "--config-net",
            "--no-map-gw",
            *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
            *("--dns-forward", "169.254.1.1"),
            "--quiet",
            *("--runas", "0"),
            *("--netns", "{namespace}"),
        ),
        resolvers=b"nameserver 169.254.1.1\n",
    )


@pytest.mark.parametrize("asked", ["bridge", "default"])
def test_docker_s_words_for_it_mean_the_same(asked: str) -> None:
    assert chosen(asked, PASTA, RESOLVERS) == chosen("", PASTA, RESOLVERS)


def test_where_no_helper_is_it_is_the_machine_s_and_that_is_said() -> None:
    assert chosen("", ALONE, RESOLVERS) == Network(
        is_own=False,
        resolvers=RESOLVERS,
        notice="the container shares this machine's network: no pasta or slirp4netns works here (see s2ictl doctor)",
    )


def test_asked_for_and_not_to_be_had_it_is_refused() -> None:
    with pytest.raises(Refused, match="--network bridge needs pasta or slirp4netns"):
        chosen("bridge", ALONE, RESOLVERS)


@pytest.mark.parametrize("machine", [ALONE, PASTA, SLIRP])
def test_host_and_none_are_to_be_had_everywhere(machine: Machine) -> None:
    assert chosen("host", machine, RESOLVERS) == Network(is_own=False, resolvers=RESOLVERS)
    assert chosen("none", machine, RESOLVERS) == Network(is_own=True)


@pytest.mark.parametrize("asked", ["builds", "container:db"])
def test_networks_of_an_engine_do_not_exist_without_one(asked: str) -> None:
    with pytest.raises(InvalidUsage, match=f"there is no network {asked}") as error:
        chosen(asked, PASTA, RESOLVERS)
    assert "none or host" in error.value.hint


# ----------------------------------------------------------------------------------------------------- the hosts

OWN, SHARED = Network(is_own=True), Network(is_own=False)
ADDED = ("db:192.0.2.7", "six:[2001:db8::7]")


def test_in_a_network_of_its_own_it_knows_itself_and_what_was_added() -> None:
    assert hosts_file(OWN, "s2ictl", ADDED, b"192.0.2.9 secret\n").decode() == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "127.0.1.1\ts2ictl\n"
        "192.0.2.7\tdb\n"
        "2001:db8::7\tsix\n"
    )


def test_in_the_machine_s_it_knows_what_the_machine_knows() -> None:
    added = (*ADDED, "me:host-gateway")
    assert hosts_file(SHARED, "s2ictl", added, b"127.0.0.1 localhost\n192.0.2.9 near").decode() == (
        "127.0.0.1 localhost\n192.0.2.9 near\n127.0.1.1\ts2ictl\n192.0.2.7\tdb\n2001:db8::7\tsix\n127.0.0.1\tme\n"
    )


def test_from_a_network_of_its_own_the_machine_cannot_be_reached_by_any_name() -> None:
    with pytest.raises(Refused, match="me:host-gateway"):
        hosts_file(OWN, "s2ictl", ("me:host-gateway",), b"")
