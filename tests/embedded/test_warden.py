"""One container from its mounts to its layer, asked for by a process that has no right to any of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2ictl.engines.embedded.wardens import Warden, warden
from s2ictl.engines.outcomes import Ended
from s2ictl.errors import ConnectionLost, InvalidUsage, PullBuilderImageFailed, S2IError, Unreachable
from tests.embedded.rooms import (
    IMAGE,
    OURS,
    PATIENCE,
    Content,
    Rooms,
    eventually,
    group_of,
    is_root,
    members_of,
    output_of,
    remains,
    rooms_in,
    runtime,
    script_of,
    spec,
    started,
    tar_of,
)

MEMORY = 32 << 20
SECONDS = f"9{os.getpid():08}"  # that a command sleeps, by which it is known


def output_by(program: str, option: str, place: Path) -> str:
    return subprocess.run((program, option, place), capture_output=True, text=True, check=False).stdout


def a_tar(**members: Content) -> Iterator[bytes]:
    return iter([tar_of({name.replace("__", "/"): content for name, content in members.items()})])


# ------------------------------------------------------------------------------------------------- its root


def test_a_chamber_shows_its_image_and_leaves_its_layers_as_they_are(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        assert script_of(chamber, "cat /etc/greeting; echo bye > /etc/greeting; rm /etc/passwd")[0] == b"hello\n"
        assert chamber.read("/etc/greeting", 100) == b"bye\n"
    with rooms.chamber("another") as chamber:
        assert chamber.read("/etc/greeting", 100) == b"hello\n"
        assert chamber.read("/etc/passwd", 100) == b"root:x:0:0:::\n"


def test_containers_lie_far_apart_on_a_disk_that_can_be_told_so(rooms: Rooms, warden: Warden) -> None:
    place = rooms.directory / "chambers"
    assert warden.size("chambers") >= 0  # it has begun
    assert ("T" in output_by("lsattr", "-d", place).split(" ")[0]) is ("ext" in output_by("stat", "-fc%T", place))


def test_the_mode_is_that_of_the_link_and_not_of_what_it_leads_to(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        chamber.put(a_tar(opt__there="/etc/greeting"))
        assert [chamber.mode(path) for path in ("/opt", "/opt/there", "/opt/gone", "/etc/greeting/below")] == [
            stat.S_IFDIR | 0o755,
            stat.S_IFLNK | 0o777,
            None,
            None,
        ]


def test_links_lead_nowhere_outside(rooms: Rooms, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("not to be seen")
    with rooms.chamber() as chamber:
        chamber.put(a_tar(up="../" * 40 + str(outside), straight=str(outside), me="/proc/self/root"))
        assert [chamber.read(f"{link}/secret", 100) for link in ("/up", "/straight", f"/me{outside}")] == [None] * 3
        chamber.erase(("/up/secret", "/straight/secret"))
        with pytest.raises(InvalidUsage, match="could not mount into the container"):
            chamber.mount_points((("/straight/made", False),))
    assert [each.name for each in outside.iterdir()] == ["secret"]


def test_only_the_first_bytes_of_a_file_are_read_and_nothing_of_what_is_none(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        assert chamber.read("/etc/greeting", 3) == b"hell"
        assert chamber.read("/etc", 3) is None
        assert chamber.read("/nothing", 3) is None


def test_what_is_handed_in_lies_in_memory_and_in_no_layer(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        chamber.hand(a_tar(secret=b"hunter2"))
        assert members_of(b"".join(chamber.layer((), epoch=0))) == {}
        assert not [path for path in rooms.directory.rglob("*") if path.name == "secret"]


def test_mount_points_are_made_where_they_are_missing_and_taken_back(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        made = chamber.mount_points((("/run/secrets/one", True), ("/etc", False), ("/etc/passwd", True)))
        assert made == ("/run", "/run/secrets", "/run/secrets/one")
        assert chamber.mode("/run/secrets/one") == stat.S_IFREG | 0o644
        chamber.erase(tuple(reversed(made)))
        assert chamber.mode("/run") is None


@pytest.mark.parametrize(("target", "is_file"), [("/etc", True), ("/etc/passwd", False), ("/nowhere", False)])
def test_a_mount_that_does_not_fit_is_refused(rooms: Rooms, target: str, is_file: bool) -> None:
    with rooms.chamber() as chamber:
        chamber.put(a_tar(nowhere="/lost"))
        with pytest.raises(InvalidUsage) as caught:
            chamber.mount_points(((target, is_file),))
        assert target in caught.value.detail


def test_what_is_erased_is_a_file_or_an_empty_directory(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        chamber.erase(("/etc/passwd", "/etc", "/tmp", "/nothing", "/nothing/below"))
        assert [chamber.mode(path) is None for path in ("/etc/passwd", "/etc", "/tmp")] == [True, False, True]


# ------------------------------------------------------------------------------------------------- its command


def test_a_command_speaks_on_two_streams_and_its_status_is_its_own(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        said = script_of(chamber, "echo out; echo err >&2; exit 3")
    assert said == (b"out\n", b"err\n", Ended(status=3))


@pytest.mark.parametrize(("command", "status"), [("/bin/nothing", 127), ("/etc/greeting", 126), ("nothing", 127)])
def test_a_command_that_cannot_be_run_ends_as_a_shell_says_it(rooms: Rooms, command: str, status: int) -> None:
    with rooms.chamber() as chamber:
        chamber.put(a_tar(etc__greeting=b"hello"))
        script_of(chamber, "chmod 644 /etc/greeting")
        assert output_of(chamber, command)[2] == Ended(status=status)


def test_a_command_that_runs_has_not_ended_and_hears_a_signal(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        script = "trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        with started(chamber, "/bin/sh", "-c", script) as process:
            assert os.read(process.stdout, 100) == b"ready\n"
            assert process.ended(0) is None
            process.signal("TERM")
            assert process.ended(PATIENCE) == Ended(status=5)
            assert os.read(process.stdout, 100) == b"heard\n"
            process.signal("KILL")
            assert process.ended(0) == Ended(status=5)


def test_no_signal_is_ignored_in_it_and_nothing_of_ours_is_open(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        said = script_of(chamber, "cat /proc/self/status; ls /proc/self/fd")[0].decode()
    assert int(said.split("SigIgn:")[1].split()[0], 16) & 0x7FFFFFFF == 0  # above are the C library's own
    assert said.endswith("0\n1\n2\n3\n")  # the last is the directory that is listed


def test_killed_is_said_as_a_shell_says_it(rooms: Rooms) -> None:
    with rooms.chamber() as chamber, started(chamber, "/bin/sleep", "1000") as process:
        process.signal("KILL")
        assert process.ended(PATIENCE) == Ended(status=137)


def test_a_command_is_not_spared_a_signal_that_it_sends_itself(rooms: Rooms) -> None:
    """As it would be if it were the first process of its namespace."""
    with rooms.chamber() as chamber:
        assert script_of(chamber, "kill -9 $$")[2] == Ended(status=137)
        assert script_of(chamber, "kill -11 $$")[2] == Ended(status=139)
        assert script_of(chamber, "kill -15 $$")[2] == Ended(status=143)


def test_somebody_waits_for_its_orphans(rooms: Rooms) -> None:
    script = "sh -c 'sleep 0 & sleep 0 &'; sleep 0.3; cat /proc/[0-9]*/status"
    with rooms.chamber() as chamber:
        said = script_of(chamber, script)[0]
    assert said.count(b"State:") >= 2
    assert b"zombie" not in said


def test_what_waits_for_them_cannot_be_looked_into_or_ended(rooms: Rooms) -> None:
    script = "kill -9 1; cat /proc/1/environ /proc/1/maps; ls /proc/1/root/ /proc/1/fd/0/; cat /proc/1/comm"
    with rooms.chamber() as chamber:
        stdout, stderr, _ = script_of(chamber, script)
    assert stdout == b"s2ictl-warden\n"
    assert stderr.count(b"Permission denied") == 4


def test_when_the_context_ends_every_process_of_it_is_gone(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        script = f"setsid sh -c 'sleep {SECONDS}' & setsid sleep {SECONDS} & echo ready; exec sleep {SECONDS}"
        with started(chamber, "/bin/sh", "-c", script) as process:
            assert os.read(process.stdout, 100) == b"ready\n"
            assert remains(rooms.directory, mark=SECONDS)
        left = [each for each in remains(rooms.directory, mark=SECONDS) if SECONDS in each]
        assert left == []


@pytest.mark.skipif(not is_root(), reason="an ordinary user sets no limits here")
def test_running_out_of_memory_is_told_from_being_killed(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        ended = script_of(chamber, "yes | tail -c 200m > /dev/null", memory=MEMORY)[2]
        assert ended is not None
        assert ended.out_of_memory
        with started(chamber, "/bin/sleep", "1000", memory=MEMORY) as process:
            process.signal("KILL")
            assert process.ended(PATIENCE) == Ended(status=137)


def test_a_runtime_that_is_not_there_is_said(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        asked = chamber.running(spec(chamber, "/bin/id"), "/nonexistent/runc", group_of(chamber))
        with pytest.raises(Unreachable) as caught, asked:
            pass
    assert caught.value.in_passing == "could not run the container: /nonexistent/runc: No such file or directory"


def test_a_document_that_the_runtime_does_not_take_is_its_error(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        with pytest.raises(Unreachable, match="the runtime could not start a container: "):
            chamber.running(b"{}", runtime(), group_of(chamber)).__enter__()
        assert script_of(chamber, "echo well")[0] == b"well\n"


# ------------------------------------------------------------------------------------------------- what leaves it


def test_the_layer_is_what_was_changed_without_what_is_skipped(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        chamber.put(a_tar(tmp__src__main=b"source"))
        script_of(chamber, "mkdir /opt; echo made > /opt/made; rm /etc/passwd; mv /tmp/src/main /opt/moved")
        layer = b"".join(chamber.layer(("/tmp/src",), epoch=0))
        assert members_of(layer) == {
            "etc": None,
            "etc/.wh.passwd": b"",
            "opt": None,
            "opt/made": b"made\n",
            "opt/moved": b"source",
        }
        assert b"".join(chamber.layer(("/tmp/src",), epoch=0)) == layer


def test_a_layer_that_is_no_longer_wanted_keeps_nobody_waiting(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        chamber.put(a_tar(large=bytes(8 << 20)))
        blocks = chamber.layer((), epoch=0)
        next(blocks)
        blocks.close()  # type: ignore[attr-defined]  # it is a generator
        assert chamber.mode("/large") == stat.S_IFREG | 0o755


def test_what_lies_somewhere_is_taken_as_a_tar_of_its_last_name(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        with chamber.taken("/etc") as read:
            assert read is not None
            taken = b"".join(iter(lambda: read(1 << 16), b""))
        with chamber.taken("/nothing") as read:
            assert read is None
    assert members_of(taken) == {"etc": None, "etc/greeting": b"hello\n", "etc/passwd": b"root:x:0:0:::\n"}


def test_what_one_chamber_gives_another_takes(rooms: Rooms) -> None:
    with rooms.chamber("giver") as giver, rooms.chamber("taker") as taker:
        giver.put(a_tar(opt__app=bytes(3 << 20)))
        with giver.taken("/opt/app") as read:
            assert read is not None
            taker.put(iter(lambda: read(1 << 16), b""))
        assert taker.read("/app", 4 << 20) == bytes(3 << 20)


def test_a_source_that_fails_while_it_is_put_leaves_the_chamber_at_work(rooms: Rooms) -> None:
    def broken() -> Iterator[bytes]:
        yield tar_of({"half": bytes(1 << 20)})[: 1 << 19]
        raise KeyboardInterrupt

    with rooms.chamber() as chamber:
        with pytest.raises(KeyboardInterrupt):
            chamber.put(broken())
        assert chamber.mode("/etc") == stat.S_IFDIR | 0o755


# ------------------------------------------------------------------------------------------------- the store


def test_a_layer_that_breaks_off_leaves_nothing(rooms: Rooms) -> None:
    def broken() -> Iterator[bytes]:
        yield tar_of({"whole": b"file"})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rooms.warden.unpack(broken(), on=IMAGE, to="third")
    assert {each.name for each in (rooms.directory / "layers").iterdir()} == set(IMAGE)
    assert list((rooms.directory / "chambers").iterdir()) == []


def test_a_layer_that_is_no_tar_is_a_broken_image(rooms: Rooms) -> None:
    with pytest.raises(PullBuilderImageFailed, match="could not unpack a layer"):
        rooms.warden.unpack(iter([b"no tar" * 1000]), on=IMAGE, to="third")
    assert not (rooms.directory / "layers/third").exists()


def test_a_layer_that_is_made_again_takes_the_place_of_the_older(rooms: Rooms) -> None:
    for content in (b"one", b"other"):
        assert rooms.warden.unpack(a_tar(file=content), on=IMAGE, to="third") == len(content)
    with rooms.warden.chamber(OURS, ("third", *IMAGE)) as chamber:
        assert chamber.read("/file", 10) == b"other"


def test_as_many_layers_as_an_image_may_have_are_mounted_at_once(rooms: Rooms) -> None:
    names = [*IMAGE]
    for number in range(125):
        name = f"{number:064}"
        rooms.warden.unpack(a_tar(**{f"file-{number}": b"x"}), on=tuple(names[:1]), to=name)
        names.insert(0, name)
    with rooms.warden.chamber(OURS, tuple(names)) as chamber:
        assert [chamber.read(f"/file-{number}", 1) for number in (0, 124)] == [b"x", b"x"]
        assert chamber.read("/etc/greeting", 10) == b"hello\n"


def test_the_root_of_a_container_is_as_its_image_has_it(rooms: Rooms) -> None:
    (rooms.directory / "layers/upper").chmod(0o711)
    with rooms.chamber() as chamber:
        assert chamber.mode("/") == stat.S_IFDIR | 0o711


def test_a_cache_is_made_once_filled_measured_and_discarded(rooms: Rooms, warden: Warden) -> None:
    place = warden.cache("app", 0, 0)
    assert place == str(rooms.directory / "caches/app")
    warden.fill(a_tar(kept=b"12345"), to="caches/app")
    assert warden.cache("app", 0, 0) == place
    assert warden.size("caches/app") == 5
    warden.discard(("caches/app", "caches/never-there"))
    assert not Path(place).exists()
    assert warden.size("caches/app") == 0


@pytest.mark.parametrize("name", ["../outside", "/etc", "layers/../..", "", "."])
def test_nothing_outside_of_the_store_is_discarded_or_measured(warden: Warden, name: str) -> None:
    with pytest.raises(S2IError, match="could not"):
        warden.discard((name,))
    with pytest.raises(S2IError):
        warden.size(name)


def test_several_chambers_are_at_work_at_once(rooms: Rooms) -> None:
    said = dict[str, bytes]()

    def work(name: str) -> None:
        with rooms.chamber(name) as chamber:
            said[name] = script_of(chamber, f"echo {name} > /name; cat /name")[0]

    threads = [threading.Thread(target=work, args=(f"chamber-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {f"chamber-{number}": f"chamber-{number}\n".encode() for number in range(8)}


def test_a_chamber_that_is_there_already_is_not_made_twice(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        with pytest.raises(Unreachable, match="could not make a container"), rooms.chamber():
            pass
        assert chamber.mode("/etc") == stat.S_IFDIR | 0o755


def test_what_keeps_a_warden_from_starting_is_said_when_it_is_asked(tmp_path: Path, daemonless: None) -> None:
    (tmp_path / "chambers").write_text("in the way")
    with warden(tmp_path, rootless=not is_root()) as there, pytest.raises(Unreachable) as caught:
        there.size("layers")
    assert caught.value.in_passing == (f"could not start the engine's helper process: {tmp_path}/chambers: File exists")


def test_a_store_that_cannot_be_made_is_said(daemonless: None) -> None:
    with pytest.raises(Unreachable) as caught, warden(Path("/proc/nowhere/store"), rootless=not is_root()):
        """Nothing can be asked."""
    told = "could not start the engine's helper process: /proc/nowhere: No such file or directory"
    assert caught.value.in_passing == told


def test_nobody_else_comes_near_what_is_unpacked(rooms: Rooms) -> None:
    rooms.directory.chmod(0o755)
    with rooms_in(rooms.directory) as again:
        again.warden.size("layers")
        places = (rooms.directory, *(rooms.directory / name for name in ("layers", "chambers", "caches")))
        assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o700] * 4


@pytest.mark.skipif("os.geteuid() != 0", reason="an ordinary user cannot give a directory away")
def test_a_store_of_another_user_s_is_refused(tmp_path: Path, daemonless: None) -> None:
    store = tmp_path / "store"
    store.mkdir()
    os.chown(store, 12345, 12345)
    with pytest.raises(Unreachable, match="belongs to another user") as refused, rooms_in(store):
        """It is said at the first question."""
    assert "S2ICTL_STATE" in refused.value.hint
    assert list(store.iterdir()) == []


def test_a_mount_that_is_refused_is_said(tmp_path: Path, daemonless: None) -> None:
    with (
        warden(tmp_path / "store", rootless=not is_root(), overlays=("/nonexistent/overlay",)) as there,
        pytest.raises(Unreachable, match="the layers could not be mounted") as caught,
        there.chamber(OURS, ()),
    ):
        pass
    assert caught.value.hint
    assert remains(tmp_path / "store", mark=OURS) == []


def test_where_the_kernel_has_no_overlay_a_program_has(tmp_path: Path, daemonless: None) -> None:
    program = shutil.which("fuse-overlayfs")
    assert program is not None
    with rooms_in(tmp_path / "store", overlays=(program,)) as rooms:
        with rooms.chamber() as chamber:
            script_of(chamber, "echo made > /made; rm /etc/passwd")
            layer = b"".join(chamber.layer((), epoch=0))
        assert members_of(layer) == {"etc": None, "etc/.wh.passwd": b"", "made": b"made\n"}


def test_what_is_asked_of_a_warden_that_was_killed_is_a_lost_connection(rooms: Rooms) -> None:
    with rooms.chamber() as chamber:
        _kill(_inner(rooms.directory))
        with pytest.raises(ConnectionLost):
            chamber.mode("/etc")
    with pytest.raises(ConnectionLost):
        rooms.warden.size("layers")
    _sweep(rooms.directory)


def test_a_command_whose_warden_was_killed_is_lost(rooms: Rooms) -> None:
    with rooms.chamber() as chamber, started(chamber, "/bin/sleep", SECONDS) as process:
        _kill(_inner(rooms.directory))
        ended = process.ended(PATIENCE)
    assert ended is not None
    assert ended.lost
    assert eventually(lambda: not [each for each in remains(rooms.directory, mark=SECONDS) if SECONDS in each])
    _sweep(rooms.directory)


def _sweep(directory: Path) -> None:
    """What a killed warden leaves the next takes away."""
    with rooms_in(directory):
        assert eventually(lambda: not remains(directory, mark=OURS))


def _inner(directory: Path) -> int:
    """The warden that sees mounts of this directory: the first process of its process namespace."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            is_first = process.joinpath("status").read_text().split("NSpid:")[1].split("\n")[0].split()[1:] == ["1"]
            if is_first and str(directory) in process.joinpath("mountinfo").read_text():
                return int(process.name)
        except (OSError, IndexError):
            continue
    raise AssertionError("there is no warden")


def _kill(pid: int) -> None:
    os.kill(pid, 9)
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())
