"""The caches of builds: a directory of the store for each, and beside it whose it is, and a lock.

Package managers are not made for two machines at one directory, and each container is one of those to them. So whoever
has the lock has the cache until his command has ended; the kernel gives it back however that comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from s2ictl import files
from s2ictl.archives import Entry, Reader, read_tar, tar_stream
from s2ictl.engines import Kept, transfers
from s2ictl.engines.accounts import Account
from s2ictl.engines.embedded.spec import Mount
from s2ictl.engines.embedded.wardens import Chamber, Warden
from s2ictl.errors import CommitContainerFailed, LimitReached
from s2ictl.events import Emit, Notice
from s2ictl.models import Assembly, Cache
from s2ictl.values import dataclass

_CACHES = "caches"
_PAUSE = 0.2
_LARGEST = 64 * 1024
_WITHOUT = "build without them: --no-cache"


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a cache is: what one user has left there another could not write to."""

    app: str
    builder: str
    target: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloads:
    """All caches in the directory of a store; the warden is whoever may touch what lies in them."""

    directory: Path
    warden: Callable[[], Warden]

    # --------------------------------------------------------------------------------------------------- for one build

    @contextmanager
    def claimed(
        self, assembly: Assembly, account: Account, chamber: Chamber, emit: Emit, *, wait: Callable[[float], None]
    ) -> Iterator[tuple[Mount, ...]]:
        """The caches of a build as mounts, for it alone while the context lasts."""
        with ExitStack() as opened:
            # Always in one order: so nobody waits for one who waits for him.
            for cache in sorted(assembly.caches, key=lambda cache: cache.name):
                opened.enter_context(self._turn(cache, assembly.timeout, emit, wait))
            yield tuple(self._mount(cache, assembly.user, account, chamber) for cache in assembly.caches)

    @contextmanager
    def _turn(self, cache: Cache, seconds: float, emit: Emit, wait: Callable[[float], None]) -> Iterator[None]:
        deadline, waiting = time.monotonic() + seconds, False
        with self._lock(cache.name) as lock:
            while not files.taken(lock):
                if not waiting:
                    emit(Notice(text=f"another build uses the downloads of {cache.app}; it is waited for"))
                    waiting = True
                if time.monotonic() > deadline:
                    raise LimitReached(
                        f"another build has been using the downloads of {cache.app} for {seconds:.0f} s", hint=_WITHOUT
                    )
                wait(_PAUSE)
            os.utime(lock)
            yield

    def _mount(self, cache: Cache, user: str, account: Account, chamber: Chamber) -> Mount:
        """A new one begins with what the image has at its place; it is known for whole by what is said of it."""
        wanted = _About(app=cache.app, builder=cache.builder, target=cache.target, user=user)
        place, about = f"{_CACHES}/{cache.name}", self._about(cache.name)
        if _read(about) != wanted or not files.is_directory(self.directory / place):
            about.unlink(missing_ok=True)
            self.warden().discard((place,))
        source = self.warden().cache(cache.name, account.uid, account.gid)
        if not about.exists():
            with chamber.taken(cache.target) as read:
                if read is not None:
                    tar = tar_stream(_below(read, cache.target), uid=account.uid, gid=account.gid)
                    self.warden().fill(tar, to=place)
            files.write_whole(about, msgspec.json.encode(wanted), mode=0o600)
        return Mount(source=source, target=cache.target)

    # ----------------------------------------------------------------------------------------------------- all of them

    def kept(self) -> Iterator[Kept]:
        """Every cache, with its size and when it was used last."""
        for file in sorted(self._place.glob("*.json")):
            if about := _read(file):
                used = _used(self._place / f"{file.stem}.lock")
                size = self.warden().size(f"{_CACHES}/{file.stem}")
                app, builder, target = about.app, about.builder, about.target
                yield Kept(kind="cache", app=app, builder=builder, name=file.stem, what=target, size=size, used=used)

    def forget(self, name: str) -> bool:
        """Let go of it; False when a build uses it right now."""
        with self._lock(name) as lock:
            if not files.taken(lock):
                return False
            self._about(name).unlink(missing_ok=True)
            self.warden().discard((f"{_CACHES}/{name}",))
        return True

    # ---------------------------------------------------------------------------------------------------------- places

    @property
    def _place(self) -> Path:
        return self.directory / _CACHES

    def _about(self, name: str) -> Path:
        return self._place / f"{name}.json"

    @contextmanager
    def _lock(self, name: str) -> Iterator[int]:
        """Its lock, not taken yet. It outlives the cache: whoever waits for it must have the same as who comes next."""
        try:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._place / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CommitContainerFailed(
                f"could not use {self._place}", detail=error.strerror or "", hint=_WITHOUT
            ) from error
        try:
            yield lock
        finally:
            os.close(lock)


def _below(read: Reader, target: str) -> Iterator[Entry]:
    """What lies in the image's directory; it is called by that one's name there."""
    for member, content in read_tar(read, name=target, limits=transfers.LIMITS):
        _, slash, path = member.path.partition("/")
        if slash:
            link = member.target.partition("/")[2] if member.kind == "hardlink" else member.target
            yield replace(member, path=path, target=link), content


def _read(file: Path) -> _About | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(files.read_small(file, most=_LARGEST), type=_About)
    return None


def _used(lock: Path) -> str:
    with suppress(OSError):
        return moment(lock.stat().st_mtime)
    return ""


def moment(seconds: float) -> str:
    """A time since 1970, as it is shown."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
