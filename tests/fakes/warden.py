"""A warden without a container: files are held in memory, and a command says what a test wants it to say."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from s2ictl.archives import Reader, reader_of
from s2ictl.engines.outcomes import Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    mode: int
    uid: int = 0
    content: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """What becomes of a command: `makes` is done in its container; with `ends` False it runs on until it is killed, and
    has closed its output before where it `is_silent`."""

    stdout: bytes = b""
    stderr: bytes = b""
    ended: Ended = field(default_factory=lambda: Ended(status=0))
    makes: Mapping[str, bytes] = field(default_factory=dict)
    ends: bool = True
    is_silent: bool = False


@dataclass(slots=True, kw_only=True)
class FakeProcess:
    """Its output ends with it, and it ends with the first signal where it does not by itself."""

    stdout: int
    stderr: int
    says: Says
    theirs: list[int]
    signals: list[str] = field(default_factory=list)

    def ended(self, seconds: float) -> Ended | None:
        if self.says.ends or self.signals:
            return self.says.ended
        return None

    def signal(self, name: str) -> None:
        self.signals.append(name)
        self.end()

    def end(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())


@dataclass(slots=True, kw_only=True)
class FakeChamber:
    """`ran` are the documents by which commands were started; `memory` is what was handed in and never in the layer."""

    name: str
    says: list[Says]
    files: dict[str, Held]
    root: str = "/run/chamber/root"
    handed: str = "/run/chamber/handed"
    memory: dict[str, Held] = field(default_factory=dict)
    ran: list[dict[str, Any]] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    skipped: tuple[str, ...] = ()
    led: list[int] = field(default_factory=list)
    processes: list[FakeProcess] = field(default_factory=list)

    def mode(self, path: str) -> int | None:
        found = self.files.get(path.rstrip("/") or "/")
        return found.mode if found else None

    def read(self, path: str, limit: int) -> bytes | None:
        found = self.files.get(path)
        return found.content[: limit + 1] if found and stat.S_ISREG(found.mode) else None

    def put(self, tar: Iterator[bytes]) -> None:
        self.files.update(unpacked(tar, "/"))

    def hand(self, tar: Iterator[bytes]) -> None:
        self.memory.update(unpacked(tar, ""))

    @contextmanager
    def taken(self, path: str) -> Iterator[Reader | None]:
        below = {name: held for name, held in self.files.items() if PurePosixPath(name).is_relative_to(path)}
        yield reader_of(iter((packed(below, PurePosixPath(path).parent),))) if path in self.files else None

    def erase(self, paths: tuple[str, ...]) -> None:
        for path in paths:
            if path in self.files and not any(name.startswith(f"{path}/") for name in self.files):
                del self.files[path]
                self.erased.append(path)

    def mount_points(self, targets: tuple[tuple[str, bool], ...]) -> tuple[str, ...]:
        made = []
        for target, is_file in targets:
            parents = [str(parent) for parent in reversed(PurePosixPath(target).parents)]
            kinds = [(parent, stat.S_IFDIR | 0o755) for parent in parents]
            for path, mode in (*kinds, (target, stat.S_IFREG | 0o644 if is_file else stat.S_IFDIR | 0o755)):
                if path not in self.files:
                    self.files[path] = Held(mode=mode)
                    made.append(path)
        return tuple(made)

    @contextmanager
    def running(self, spec: bytes, runtime: str, cgroup: str = "") -> Iterator[FakeProcess]:
        self.ran.append(json.loads(spec))
        says = self.says.pop(0) if self.says else Says()
        self.files.update({path: Held(mode=stat.S_IFREG | 0o644, content=text) for path, text in says.makes.items()})
        (stdout, one), (stderr, other) = (_said(text) for text in (says.stdout, says.stderr))
        process = FakeProcess(stdout=stdout, stderr=stderr, says=says, theirs=[one, other])
        self.processes.append(process)
        if says.ends or says.is_silent:
            process.end()
        try:
            yield process
        finally:
            process.end()
            os.close(stdout)
            os.close(stderr)

    def network(self, helper: tuple[str, ...]) -> str:
        return "/run/chamber/network"

    def forward(self, port: int) -> int:
        self.led.append(port)
        return 40000 + port

    def cut_off(self) -> None:
        """It leads nowhere anyway."""

    def layer(self, skip: tuple[str, ...], *, volumes: tuple[str, ...] = (), epoch: int | None) -> Iterator[bytes]:
        self.skipped = skip
        kept = {name: held for name, held in self.files.items() if name != "/" and not name.startswith(skip or ("\0",))}
        yield packed(kept, PurePosixPath("/"))


@dataclass(slots=True, kw_only=True)
class FakeWarden:
    """`image` is what every chamber begins with; `says` are the commands in their order, whoever runs them."""

    store: Path
    image: Mapping[str, Held]
    says: list[Says] = field(default_factory=list)
    rootless: bool = False
    chambers: list[FakeChamber] = field(default_factory=list)
    caches: dict[str, dict[str, Held]] = field(default_factory=dict)
    discarded: list[str] = field(default_factory=list)

    def unpack(self, tar: Iterator[bytes], *, on: tuple[str, ...], to: str) -> int:
        size = sum(map(len, tar))
        (self.store / "layers" / to).mkdir()
        return size

    @contextmanager
    def chamber(self, name: str, layers: tuple[str, ...]) -> Iterator[FakeChamber]:
        chamber = FakeChamber(name=name, says=self.says, files=dict(self.image))
        self.chambers.append(chamber)
        yield chamber

    def cache(self, name: str, uid: int, gid: int) -> str:
        self.caches.setdefault(name, {})
        return f"/store/caches/{name}"

    def fill(self, tar: Iterator[bytes], *, to: str) -> None:
        self.caches[to.removeprefix("caches/")].update(unpacked(tar, ""))

    def discard(self, paths: tuple[str, ...]) -> None:
        self.discarded += paths

    def size(self, path: str) -> int:
        return sum(len(held.content) for held in self.caches[path.removeprefix("caches/")].values())


def _said(text: bytes) -> tuple[int, int]:
    outlet, inlet = os.pipe()
    os.write(inlet, text)
    return outlet, inlet


def script(text: str = "exit 0", mode: int = 0o755) -> Held:
    return Held(mode=stat.S_IFREG | mode, content=f"#!/bin/sh\n{text}\n".encode())


def link(target: str) -> Held:
    return Held(mode=stat.S_IFLNK | 0o777, content=target.encode())


def directory() -> Held:
    return Held(mode=stat.S_IFDIR | 0o755)


def unpacked(tar: Iterator[bytes], root: str) -> dict[str, Held]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar))) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            kind = stat.S_IFREG if member.isreg() else stat.S_IFLNK if member.issym() else stat.S_IFDIR
            if member.name != ".":
                held = Held(mode=kind | member.mode, uid=member.uid, content=file.read() if file else b"")
                found[f"{root}{member.name}"] = held
    return found


def packed(files: Mapping[str, Held], below: PurePosixPath) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, held in sorted(files.items()):
            entry = tarfile.TarInfo(str(PurePosixPath(path).relative_to(below)))
            entry.mode, entry.uid, entry.size = stat.S_IMODE(held.mode), held.uid, len(held.content)
            entry.type = tarfile.DIRTYPE if stat.S_ISDIR(held.mode) else tarfile.REGTYPE
            if stat.S_ISLNK(held.mode):
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, held.content.decode(), 0
            archive.addfile(entry, io.BytesIO(held.content))
    return buffer.getvalue()
