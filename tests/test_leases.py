from __future__ import annotations

from dataclasses import replace

import pytest

from s2ictl.leases import Host, is_abandoned, name_for, this_host

HERE = Host(place="0123456789ab", pid=7, is_alive=lambda pid: pid == 7, now=lambda: 1000.0)
ELSEWHERE = replace(HERE, place="ba9876543210")
DAY = 24 * 3600


def test_a_container_of_a_living_process_is_kept_for_ever() -> None:
    later = replace(HERE, now=lambda: 1000.0 + 100 * DAY)
    assert not is_abandoned(name_for("build", HERE, seconds=60), later)


def test_a_container_of_a_dead_process_is_abandoned_at_once() -> None:
    assert is_abandoned(name_for("build", replace(HERE, pid=8), seconds=60), HERE)


def test_a_container_from_elsewhere_is_abandoned_a_day_after_its_time() -> None:
    name = name_for("build", ELSEWHERE, seconds=60)
    assert not is_abandoned(name, replace(HERE, now=lambda: 1059.0 + DAY))
    assert is_abandoned(name, replace(HERE, now=lambda: 1061.0 + DAY))


@pytest.mark.parametrize(
    "name", ["", "web", "s2ictl-web", "s2ictl-mine-0123456789ab-8-1-abcdeg", "x-s2ictl-a-b-1-1-abcdef"]
)
def test_what_we_did_not_name_is_never_ours(name: str) -> None:
    assert not is_abandoned(name, HERE)


def test_an_owner_of_any_spelling_makes_a_name_of_ours() -> None:
    assert is_abandoned(name_for("Büild/№ 7;rm -rf " + "x" * 99, replace(HERE, pid=8), seconds=1), HERE)
    assert is_abandoned(name_for("", replace(HERE, pid=8), seconds=1), HERE)


def test_this_process_is_alive_here() -> None:
    host = this_host()
    assert host.is_alive(host.pid)
    assert not host.is_alive(2**22 + 1)
    assert host.place == this_host().place
