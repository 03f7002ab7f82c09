"""However a process ends that has a warden, or the warden itself: nothing of it remains on the machine."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2ictl.errors import LimitReached
from tests.embedded.rooms import IMAGE, Rooms, eventually, is_root, remains, rooms_in, script_of, tar_of
from tests.embedded.victim import STATES

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def store(daemonless: None, tmp_path: Path) -> Path:
    """Where the image lies already."""
    with rooms_in(tmp_path / "store"):
        return tmp_path / "store"


@pytest.fixture
def mark() -> str:
    """A name, and a number of seconds, that nothing else on the machine has."""
    return str(secrets.randbelow(10**9) + 10**9)


@contextmanager
def victim(store: Path, state: str, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has come so far."""
    command = [sys.executable, "-m", "tests.embedded.victim", str(store), state]
    environ = {**os.environ, "MARK": mark}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == b"ready\n"
            yield process
        finally:
            process.kill()


def wardens_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The outer process of its warden, and the inner one."""
    outer = _child_of(process.pid)
    return [outer, _child_of(outer)]


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


@pytest.mark.parametrize("state", STATES)
def test_a_process_that_is_killed_leaves_nothing(store: Path, state: str, mark: str) -> None:
    with victim(store, state, mark) as process:
        wardens = wardens_of(process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert eventually(lambda: not remains(store, mark=mark)), remains(store, mark=mark)
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in wardens))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("which", ["outer", "inner"])
def test_what_a_killed_warden_leaves_the_next_takes_away(store: Path, state: str, which: str, mark: str) -> None:
    with victim(store, state, mark) as process:
        os.kill(wardens_of(process)[which == "inner"], signal.SIGKILL)
        process.kill()
    in_sight = ("mount", "process")
    assert eventually(lambda: not [each for each in remains(store, mark=mark) if each.startswith(in_sight)])
    with rooms_in(store) as rooms:
        rooms.warden.size("layers")
    assert remains(store, mark=mark) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_warden_hears_no_signal_of_the_terminal(store: Path, number: signal.Signals, mark: str) -> None:
    with victim(store, "mounted", mark) as process:
        wardens = wardens_of(process)
        for pid in wardens:
            os.kill(pid, number)
        assert wardens_of(process) == wardens
        assert os.getsid(wardens[0]) != os.getsid(process.pid)


def test_whose_chamber_is_at_work_is_not_swept(store: Path, mark: str) -> None:
    with victim(store, "running", mark) as process:
        # It is ready a moment before the last of its commands has taken the place of the shell that starts it.
        assert eventually(lambda: "echo ready" not in " ".join(remains(store, mark=mark)))
        before = remains(store, mark=mark)
        with rooms_in(store) as rooms:
            rooms.warden.size("layers")
        assert sorted(remains(store, mark=mark)) == sorted(before)
        assert process.poll() is None


def test_an_interrupted_process_waits_until_all_is_gone(store: Path, mark: str) -> None:
    with victim(store, "running", mark) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait() != 0
        assert remains(store, mark=mark) == []


def test_a_process_that_forked_is_dead_all_the_same(store: Path, mark: str) -> None:
    """Its child has copies of its end of every line, and outlives it."""
    with victim(store, "mounted", mark) as process:
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            process.kill()
            process.wait()
            assert eventually(lambda: not remains(store, mark=mark)), remains(store, mark=mark)
        finally:
            os.kill(child, signal.SIGKILL)


def test_no_tree_is_too_deep_or_too_closed_to_be_removed(rooms: Rooms) -> None:
    chain = "mkdir -p /new/$(yes d | head -n 500 | tr '\\n' /)"
    deep = f"{chain}; mv /new /old; for i in 1 2 3 4 5 6; do {chain}; cd /new; cd $(yes d | head -n 500 | tr '\\n' /)"
    deep += "; mv /old .; cd /; mv /new /old; done"
    closed = "mkdir -p /closed/inner; touch /closed/inner/file; chmod 0 /closed/inner /closed"
    with rooms.chamber() as chamber:
        assert script_of(chamber, f"{deep}; {closed}; echo done")[0] == b"done\n"
    assert eventually(lambda: not list((rooms.directory / "chambers").iterdir()))


def _unpack(rooms: Rooms, _: str, tar: Iterator[bytes]) -> None:
    rooms.warden.unpack(tar, on=IMAGE, to="third")


def _put(rooms: Rooms, name: str, tar: Iterator[bytes]) -> None:
    with rooms.chamber(name) as chamber:
        chamber.put(tar)


@pytest.mark.skipif(not is_root(), reason="only root mounts a small disk")
@pytest.mark.parametrize("work", [_unpack, _put])
def test_a_full_disk_is_a_limit_and_nothing_of_it_remains(
    tmp_path: Path, daemonless: None, work: Callable[[Rooms, str, Iterator[bytes]], None], mark: str
) -> None:
    large = iter([tar_of({"large": bytes(32 << 20)})])
    with small_disk(tmp_path / "disk") as disk:
        with rooms_in(disk / "store") as rooms, pytest.raises(LimitReached, match="the disk is full"):
            work(rooms, mark, large)
        assert remains(disk / "store", mark=mark) == []
        assert sorted(each.name for each in (disk / "store/layers").iterdir()) == ["lower", "upper"]


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "small", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
