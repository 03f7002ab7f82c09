"""What the machine that runs these tests can do without a daemon: found by trying, and remembered."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.engines.embedded import runtimes, trials
from s2ictl.engines.embedded.examining import Candidates
from s2ictl.engines.embedded.machine import explored
from s2ictl.engines.embedded.surroundings import surroundings
from s2ictl.errors import Unreachable
from tests.embedded.rooms import Rooms, eventually, is_root, remains

# As crun does on a machine with both versions of cgroups; what a runtime has to say it writes into its log.
REFUSAL = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = --log ] && echo '{"msg":"hybrid mode not supported","level":"error"}' >"$2"; shift; done
exit 1
"""


def candidates(store: Path) -> Candidates:
    """The least: the kernel's overlay, whatever runtimes are there, and no way out."""
    here = surroundings({}, store)
    return Candidates(
        rootless=not is_root(),
        architecture=here.architecture,
        overlays=("overlay",),
        runtimes=runtimes.installed(here.programs),
        helpers=(),
        cgroups=here.cgroups,
        limits=here.limits,
    )


def test_this_machine_can_and_remembers_it(daemonless: None, tmp_path: Path) -> None:
    store, memory = tmp_path / "store", tmp_path / "machine.json"
    machine = explored({}, store=store, memory=memory)
    assert (machine.is_able, machine.rootless, machine.overlays) == (True, not is_root(), ("overlay",))
    assert os.access(machine.runtime, os.X_OK)
    written = memory.stat().st_mtime_ns
    assert explored({}, store=store, memory=memory) == machine
    assert memory.stat().st_mtime_ns == written
    assert remains(store, mark="trial-") == []


def test_the_first_runtime_that_starts_is_taken_and_the_others_say_why_not(daemonless: None, tmp_path: Path) -> None:
    wanted = candidates(tmp_path / "store")
    refusing = tmp_path / "crun"
    refusing.write_text(REFUSAL)
    refusing.chmod(0o755)
    found = trials.tried(replace(wanted, runtimes=(str(refusing), *wanted.runtimes)), tmp_path / "store")
    assert found.runtime in wanted.runtimes
    assert "hybrid mode not supported" in found.said(str(refusing))


def test_a_way_to_mount_layers_that_fails_leaves_the_next(daemonless: None, tmp_path: Path) -> None:
    wanted = replace(candidates(tmp_path), overlays=("/nonexistent/fuse-overlayfs", "overlay"))
    found = trials.tried(wanted, tmp_path / "store")
    assert (found.overlay, found.said("/nonexistent/fuse-overlayfs") != "") == ("overlay", True)


# ------------------------------------------------------------------------------------------------------ networks


def test_a_helper_that_leads_nowhere_is_told_with_its_words(rooms: Rooms) -> None:
    with rooms.chamber("led") as chamber, pytest.raises(Unreachable, match="sh led nowhere: no tap today") as told:
        chamber.network(("/bin/sh", "-c", "echo no tap today >&2; exit 1"))
    assert told.value.hint == "--network host shares this machine's network"


def test_a_helper_that_ends_before_it_is_ready_is_told_so(rooms: Rooms) -> None:
    with rooms.chamber("led") as chamber, pytest.raises(Unreachable, match="sh led nowhere: it was never ready"):
        chamber.network(("/bin/sh", "-c", "exit 0 {ready}"))


def test_helpers_and_forwarded_ports_end_with_the_container(rooms: Rooms) -> None:
    mark = f"led-{os.getpid()}"
    with rooms.chamber(mark) as chamber:
        chamber.network(("/bin/sh", "-c", f"echo >&{{ready}}; : {mark}; exec {shutil.which('sleep')} 600"))
        chamber.forward(80)
    assert eventually(lambda: remains(rooms.directory, mark=mark) == [] or None)


def test_what_is_cut_off_ends_while_its_container_is_still_there(rooms: Rooms) -> None:
    seconds = f"6{os.getpid():08}"  # by which its process is known
    with rooms.chamber("cut") as chamber:
        chamber.network(("/bin/sh", "-c", f"echo >&{{ready}}; exec {shutil.which('sleep')} {seconds}"))
        chamber.forward(80)
        chamber.cut_off()
        assert eventually(lambda: not [each for each in remains(rooms.directory, mark=seconds) if seconds in each])
        assert chamber.read("/etc/greeting", 100) == b"hello\n"
