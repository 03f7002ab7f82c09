"""A warden with an image of two layers, the smallest documents for its runtime, and what is left of it afterwards."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from s2ictl.engines.embedded.wardens import Chamber, Process, Warden, warden
from s2ictl.engines.outcomes import Ended
from tests.engine.tiny import busybox

PROGRAMS = (
    "cat",
    "chmod",
    "env",
    "head",
    "id",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "setsid",
    "sh",
    "sleep",
    "tail",
    "touch",
    "tr",
    "yes",
)
IMAGE = ("upper", "lower")
OURS = f"chamber-{os.getpid()}"  # others run such tests at the same time
PATIENCE = 20.0
Content = bytes | str | None  # a file's, where a link leads, or a directory


@dataclass(frozen=True)
class Rooms:
    directory: Path
    warden: Warden

    @contextmanager
    def chamber(self, name: str = "") -> Iterator[Chamber]:
        with self.warden.chamber(f"{OURS}-{name}", IMAGE) as chamber:
            yield chamber


def is_root() -> bool:
    return os.geteuid() == 0


@contextmanager
def rooms_in(directory: Path, *, overlays: tuple[str, ...] = ("overlay",)) -> Iterator[Rooms]:
    with warden(directory, rootless=not is_root(), overlays=overlays) as there:
        if not (directory / "layers" / IMAGE[0]).exists():
            there.unpack(iter([first_layer()]), on=(), to="lower")
            there.unpack(iter([tar_of({"etc/greeting": b"hello\n"})]), on=("lower",), to="upper")
        yield Rooms(directory, there)


def first_layer() -> bytes:
    links: dict[str, Content] = {f"bin/{name}": "busybox" for name in PROGRAMS}
    places: dict[str, Content] = dict.fromkeys(("dev", "etc", "proc", "sys", "tmp"))
    files: dict[str, Content] = {"bin/busybox": busybox().read_bytes(), "etc/passwd": b"root:x:0:0:::\n"}
    return tar_of({"bin": None, **files, **links, **places})


def tar_of(members: Mapping[str, Content]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = 0o755, 1_000_000_000
            if isinstance(content, bytes):
                member.size = len(content)
            else:
                member.type, member.linkname = (tarfile.DIRTYPE, "") if content is None else (tarfile.SYMTYPE, content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def members_of(tar: bytes) -> dict[str, Content]:
    """The inverse, with whiteouts as the files that they are."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {member.name: _content(archive, member) for member in archive}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Content:
    if member.issym():
        return member.linkname
    file = archive.extractfile(member)
    return file.read() if file else None


# ------------------------------------------------------------------------------------------------- what runs


def runtime() -> str:
    found = shutil.which("runc", path="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
    assert found is not None
    return found


def group_of(chamber: Chamber) -> str:
    return f"/s2ictl/{chamber.name}" if is_root() else ""


def spec(chamber: Chamber, *command: str, memory: int = 0) -> bytes:
    """The least that a runtime takes."""
    linux: dict[str, object] = {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]}
    if group := group_of(chamber):
        linux["cgroupsPath"] = group
        linux["resources"] = {"memory": {"limit": memory}} if memory else {}
    system = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    ]
    user = {"uid": 0, "gid": 0}
    process = {"user": user, "args": command, "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": True}
    return json.dumps(
        {
            "ociVersion": "1.0.2",
            "process": process,
            "root": {"path": chamber.root},
            "hostname": "chamber",
            "mounts": system,
            "linux": linux,
        }
    ).encode()


def started(chamber: Chamber, *command: str, memory: int = 0) -> AbstractContextManager[Process]:
    return chamber.running(spec(chamber, *command, memory=memory), runtime(), group_of(chamber))


def output_of(chamber: Chamber, *command: str, memory: int = 0) -> tuple[bytes, bytes, Ended | None]:
    """What a command says on both of its streams, and how it ended."""
    with started(chamber, *command, memory=memory) as process:
        stdout = read_all(process.stdout)
        stderr = read_all(process.stderr)
        return stdout, stderr, process.ended(PATIENCE)


def script_of(chamber: Chamber, text: str, *, memory: int = 0) -> tuple[bytes, bytes, Ended | None]:
    return output_of(chamber, "/bin/sh", "-c", text, memory=memory)


def read_some(descriptor: int) -> bytes:
    return os.read(descriptor, 1 << 16)


def read_all(descriptor: int) -> bytes:
    blocks = []
    while block := os.read(descriptor, 1 << 16):
        blocks.append(block)
    return b"".join(blocks)


# ------------------------------------------------------------------------------------------------- what is left


def remains(directory: Path, *, mark: str) -> list[str]:
    """What is left of a warden: directories, and mounts below them in anybody's sight; and what has the mark in its
    name, of control groups, or in its command line, of processes."""
    left = [f"directory {each.name}" for each in (directory / "chambers").iterdir()]
    left += [f"control group {each}" for each in Path("/sys/fs/cgroup").glob(f"*/s2ictl/*{mark}*")]
    left += [f"control group {each}" for each in Path("/sys/fs/cgroup").glob(f"s2ictl/*{mark}*")]
    for process in Path("/proc").glob("[0-9]*"):
        left += _remains_of(process, str(directory), mark)
    return left


def _remains_of(process: Path, directory: str, mark: str) -> list[str]:
    if int(process.name) == os.getpid():
        return []
    command = _said_by(process / "cmdline").replace("\0", " ")
    mounted = directory in _said_by(process / "mountinfo")
    return [f"process {command}"] * (mark in command) + [f"mount seen by {command}"] * mounted


def _said_by(file: Path) -> str:
    """Nothing where it has ended meanwhile, or is another user's."""
    try:
        return file.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def eventually(condition: Callable[[], object]) -> bool:
    """Whether it comes about while anybody would wait for it."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
