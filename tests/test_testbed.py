"""What is pure of the testbed, and what it does with processes of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests import testbed
from tests.testbed import compiled, mounts, network, packages, processes
from tests.testbed.models import from_document, to_document
from tests.testbed.nodes import nameservers, toml

# ------------------------------------------------------------------------------------------------------ always tested


@pytest.mark.parametrize(
    ("part", "facts"),
    [
        ("engine", testbed.Engine(docker_host="unix:///run/docker.sock", own=False)),
        ("registry", testbed.Registry(open="127.0.0.1:1", closed="127.0.0.1:2", username="u", password="p")),
        ("cluster", testbed.Cluster(kubeconfig=Path("/bed/admin.kubeconfig"), node_ip="10.125.0.1", context="c")),
        ("forge", testbed.Forge(url="http://127.0.0.1:3", username="u", password="p", token="t")),
        ("user", testbed.User(name="s2ibed0", home=Path("/bed/user/home"))),
    ],
)
def test_facts_survive_the_way_through_their_file(part: testbed.Name, facts: testbed.Facts) -> None:
    assert from_document(part, json.loads(json.dumps(to_document(facts)))) == facts


def test_passwords_and_tokens_are_not_shown() -> None:
    shown = f"{testbed.Forge(url='u', username='n', password='secret-1', token='secret-2')}"
    assert "secret" not in shown


def test_a_slot_beyond_the_ten_is_refused() -> None:
    with pytest.raises(testbed.BedError, match="S2ICTL_TESTBED_SLOT is '10'"):
        testbed.Bed.of({"S2ICTL_TESTBED_SLOT": "10"})


def test_a_directory_that_is_a_link_to_elsewhere_is_refused(bed: testbed.Bed, tmp_path: Path) -> None:
    (bed.directory / "link").symlink_to(tmp_path)
    linked = replace(bed, directory=bed.directory / "link")
    with pytest.raises(testbed.Unavailable, match="not a directory of this user's own"):
        linked.claim()


def test_a_directory_too_deep_for_sockets_is_refused(bed: testbed.Bed) -> None:
    with pytest.raises(testbed.BedError, match="is too long"):
        replace(bed, directory=bed.directory / ("deep" * 15)).claim()


def test_down_where_nothing_ever_was_does_nothing(bed: testbed.Bed) -> None:
    nowhere = replace(bed, directory=bed.directory / "nowhere")
    testbed.down(bed=nowhere)
    assert not nowhere.directory.exists()


def test_a_process_that_got_the_same_id_later_is_not_ended(bed: testbed.Bed) -> None:
    crew = processes.Crew(part="registry", directory=bed.make("registry"))
    with subprocess.Popen(["sleep", "60"]) as innocent:
        line = Path(f"/proc/{innocent.pid}/stat").read_text()
        found = processes.parse(Path(f"/proc/{innocent.pid}/stat"))
        assert found
        (crew.directory / "processes").mkdir()
        record = crew.directory / "processes" / "sleep"
        record.write_text(line.replace(f" {found.started} ", f" {found.started - 1} "))
        crew.end()
        assert innocent.poll() is None
        assert not record.exists()
        innocent.kill()


def test_a_process_that_does_not_hear_is_killed(bed: testbed.Bed) -> None:
    crew = processes.Crew(part="registry", directory=bed.make("registry"))
    crew.start("deaf", ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"])
    assert processes.eventually(lambda: "deaf" in crew.last_words("deaf"), patience=10)
    crew.end(patience=0.2)
    assert not crew.alive("deaf")
    assert not list((crew.directory / "processes").iterdir())


def test_the_last_words_of_a_server_that_died_are_in_the_error(bed: testbed.Bed) -> None:
    crew = processes.Crew(part="registry", directory=bed.make("registry"))
    crew.start("brief", ["sh", "-c", "echo the port is taken; exit 1"])
    with pytest.raises(testbed.DidNotComeUp, match="brief died\nbrief: the port is taken"):
        crew.wait(lambda: False, "brief", what="the server")


def test_what_was_not_finished_vanishes(tmp_path: Path) -> None:
    def interrupted() -> None:
        with compiled.unfinished(tmp_path / "servers-1") as directory:
            (directory / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_was_finished_stands_under_its_name(tmp_path: Path) -> None:
    with compiled.unfinished(tmp_path / "servers-1") as directory:
        (directory / "server").touch()
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("server")] == [Path("servers-1/server")]


def test_versions_are_compared_as_numbers() -> None:
    assert compiled.numbers("go1.26.10") > compiled.numbers("1.26.2") > compiled.numbers("go1.9")
    assert compiled.numbers("") == ()


def test_a_package_that_nobody_has_is_missing() -> None:
    assert packages.missing(["s2ictl-no-such-package"]) == ["s2ictl-no-such-package"]


def test_only_our_rules_and_chains_are_taken_back() -> None:
    saved = """\
*filter
:FORWARD ACCEPT [0:0]
:DOCKER - [0:0]
-A FORWARD -i s2ibed0 -m comment --comment s2ibed0 -j ACCEPT
-A FORWARD -j DOCKER
-A FORWARD -m comment --comment "not of s2ibed0" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
COMMIT
"""
    commented = "--comment s2ibed0 "
    assert (
        network.undoing(saved, lambda rule: commented in rule, "KUBE-")
        == """\
*filter
-D FORWARD -i s2ibed0 -m comment --comment s2ibed0 -j ACCEPT
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-X KUBE-SERVICES
-X KUBE-NODEPORTS
COMMIT
"""
    )


def test_where_no_rule_is_ours_nothing_is_restored() -> None:
    assert network.undoing("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n", lambda _: False, "") == ""


def test_mount_points_with_blanks_are_found() -> None:
    assert mounts.unescape(r"/var/tmp/a\040b") == "/var/tmp/a b"


def test_tables_of_toml() -> None:
    assert toml({"": {"version": 2}, "grpc": {"address": "/a"}}) == 'version = 2\n\n[grpc]\naddress = "/a"\n'


def test_resolvers_of_a_machine() -> None:
    assert nameservers("# local\nsearch example.com\nnameserver 10.0.0.1\nnameserver ::1\n") == ["10.0.0.1", "::1"]


def test_a_published_name_is_a_function_or_a_value() -> None:
    assert [name for name in testbed.__all__ if not hasattr(testbed, name)] == []
