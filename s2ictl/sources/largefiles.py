"""The large files that git keeps elsewhere: found by their pointers, brought into the cache by their own digest.

No git-lfs is needed, and none is run. What is in the cache under a digest has that digest; an object that nobody has
used for a month goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from s2ictl.addresses import shown, split
from s2ictl.archives import CHUNK
from s2ictl.errors import (
    FetchSourceFailed,
    FetchSourceUnauthorized,
    Refused,
    Unreachable,
)
from s2ictl.sources.access import files_of
from s2ictl.sources.credentials import basic, logins
from s2ictl.sources.lfs import (
    BEGINNING,
    LARGEST_POINTER,
    MEDIA_TYPE,
    Action,
    Pointer,
    answered,
    check_href,
    endpoint,
    missing,
    pointer,
    question,
)
from s2ictl.sources.objects import content, contents, found
from s2ictl.sources.options import LARGEST_READ, Surroundings
from s2ictl.sources.program import Git
from s2ictl.sources.submodules import Part
from s2ictl.sources.walls import is_behind_walls
from s2ictl.transport import TRANSIENT, Response, Transport
from s2ictl.values import dataclass

_BATCH = 100
_UNUSED_FOR = 30 * 24 * 3600.0
_MOST_SWEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFile:
    """A file of the tree whose bytes lie in the cache."""

    size: int
    content: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """The large files of a part, by their path in the whole; `moved` says that something had to be fetched for them."""

    files: Mapping[str, LargeFile]
    moved: bool


def pointers(part: Part) -> tuple[Pointer, ...]:
    """The files of a part that git-lfs would replace: those with its attribute that hold a pointer."""
    git, files = part.snapshot.git, [entry for entry in part.kept if entry.is_file]
    small = [entry for entry in files if len(BEGINNING) < entry.size < LARGEST_POINTER]
    if not _speaks_of_lfs(git, part):
        return ()
    read = zip(small, contents(git, small), strict=True)
    known = {entry.path: pointer(entry.path, content) for entry, content in read if content.startswith(BEGINNING)}
    filtered = _filtered(part, tuple(known))
    return tuple(replace(one, path=part.placed(path)) for path, one in known.items() if one and path in filtered)


def _speaks_of_lfs(git: Git, part: Part) -> bool:
    """Whether any of its attributes, those above the context directory included, name the filter at all."""
    above = ["", *(f"{'/'.join(part.inside.split('/')[:depth])}/" for depth in range(1, part.inside.count("/") + 1))]
    outer = [found(git, part.snapshot.commit, f"{directory}.gitattributes") for directory in above if part.inside]
    inner = [entry for entry in part.kept if entry.path.rpartition("/")[2] == ".gitattributes"]
    small = [entry for entry in (*outer, *inner) if entry and entry.is_file and entry.size <= LARGEST_READ]
    return any(b"filter=lfs" in text for text in contents(git, small))


def _filtered(part: Part, paths: Sequence[str]) -> frozenset[str]:
    """Those of the paths that have the attribute filter=lfs, as git itself reads the commit's attributes."""
    if not paths:
        return frozenset()
    with tempfile.TemporaryDirectory(dir=part.surroundings.cache) as scratch:
        ours = part.snapshot.git
        git = replace(ours, variables={**ours.variables, "GIT_INDEX_FILE": f"{scratch}/index"})
        git.answer("read-tree", part.snapshot.commit)
        given = b"".join(os.fsencode(part.own(path)) + b"\0" for path in paths)
        answer = git.answer("check-attr", "--cached", "-z", "--stdin", "filter", given=given)
    values = answer.split(b"\0")[2::3]
    return frozenset(path for path, value in zip(paths, values, strict=True) if value == b"lfs")


# -------------------------------------------------------------------------------------------------------- brought


def bring_large(part: Part, wanted: Sequence[Pointer]) -> Brought:
    """Have what these pointers stand for in the cache: from beside the repository, or from its server."""
    store = Store(part.surroundings.cache / "lfs")
    unique = {one.oid: one for one in reversed(wanted)}  # of two files with the same bytes, the first is named
    lacking = [one for one in unique.values() if not (store.has(one) or _from_here(part, one, store))]
    if lacking:
        _from_server(part, lacking, store)
        store.sweep(now=time.time())
    return Brought(
        files={one.path: LargeFile(size=one.size, content=store.place(one)) for one in wanted}, moved=bool(lacking)
    )


class Store:
    """Objects by their sha256."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, wanted: Pointer) -> Path:
        return self._directory / wanted.oid[:2] / wanted.oid

    def has(self, wanted: Pointer) -> bool:
        place = self.place(wanted)
        if not place.is_file() or place.stat().st_size != wanted.size:
            return False
        os.utime(place)
        return True

    def put(self, wanted: Pointer, write: Callable[[BinaryIO], object]) -> bool:
        """Keep what is written, if it is what the pointer says; whether it is."""
        place = self.place(wanted)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".new-", delete=False) as partial:
            try:
                write(cast("BinaryIO", partial))
                partial.flush()
                if not _is(wanted, Path(partial.name)):
                    return False
                Path(partial.name).rename(place)
                return True
            finally:
                Path(partial.name).unlink(missing_ok=True)

    def sweep(self, *, now: float) -> None:
        """Take away some of what nobody has used for a month."""
        for place in islice(self._unused(now), _MOST_SWEPT):
            place.unlink(missing_ok=True)

    def _unused(self, now: float) -> Iterator[Path]:
        for place in self._directory.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if now - place.stat().st_mtime > _UNUSED_FOR:
                    yield place


def _is(wanted: Pointer, path: Path) -> bool:
    with path.open("rb") as file:
        return path.stat().st_size == wanted.size and hashlib.file_digest(file, "sha256").hexdigest() == wanted.oid


def _from_here(part: Part, wanted: Pointer, store: Store) -> bool:
    """Out of a repository of this machine; only what has the right digest, so a link there leads nowhere."""
    here = part.snapshot.here
    if here is None:
        return False
    place = here / "lfs" / "objects" / wanted.oid[:2] / wanted.oid[2:4] / wanted.oid
    if not place.is_file() or place.stat().st_size != wanted.size:
        return False
    with place.open("rb") as file:
        return store.put(wanted, lambda partial: shutil.copyfileobj(file, partial, CHUNK))


def _from_server(part: Part, lacking: Sequence[Pointer], store: Store) -> None:
    asked = endpoint(part.source.location, _configured(part))
    surroundings = part.surroundings
    with (
        files_of(surroundings.options) as options,
        Transport(
            surroundings.environ, emit=surroundings.emit, ca_bundle=options.ca_bundle, sleep=surroundings.wait
        ) as transport,
    ):
        for begin in range(0, len(lacking), _BATCH):
            batch = lacking[begin : begin + _BATCH]
            actions = _asked(part, batch, asked, transport)
            for one in batch:
                _check_way(actions[one.oid].href, asked, surroundings)
                _download(one, actions[one.oid], transport, store, options.timeout)


def _check_way(href: str, asked: str, surroundings: Surroundings) -> None:
    check_href(href, asked)
    host = split(href).hostname or ""
    strange = surroundings.options.public_only and host != split(asked).hostname
    if strange and is_behind_walls(host, surroundings.resolve):
        raise Refused(f"{shown(asked)} sends us for a large file to {shown(href)[:200]}", detail="it is private")


def _configured(part: Part) -> str:
    """What .lfsconfig says of the server."""
    git = part.snapshot.git
    entry = found(git, part.snapshot.commit, ".lfsconfig")
    if entry is None:
        return ""
    if not entry.is_file:
        raise Refused(".lfsconfig is a link", hint="without --lfs the pointers stay as they are")
    content(git, entry)  # refuses what is too large to be one
    answer = git.answer("config", "-z", "--no-includes", f"--blob={entry.id}", "--list")
    lines = [line.partition("\n")[::2] for line in answer.decode(errors="replace").split("\0")]
    return next((value for key, value in lines if key in ("lfs.url", "remote.origin.lfsurl")), "")


def _asked(part: Part, batch: Sequence[Pointer], asked: str, transport: Transport) -> Mapping[str, Action]:
    """What the server says of a batch, to the first login that it lets in."""
    url = f"{asked}/objects/batch"
    headers = {"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
    source = replace(part.source, location=asked)
    for login in chain([None], filter(None, logins(source, part.surroundings))):
        response = transport.request("POST", url, headers={**headers, **basic(login)}, body=question(batch))
        if response.status not in (401, 403):
            _refuse_status(response, asked)
            return answered(response.body, batch, asked)
    raise FetchSourceUnauthorized(
        f"{asked} refuses the login, or asks for one", hint="the login for large files is that of the repository"
    )


def _refuse_status(response: Response, asked: str) -> None:
    if response.status == 200:
        return
    detail = f"the answer was {response.status}"
    if response.status in TRANSIENT:
        raise Unreachable(f"{asked} keeps failing", detail=detail, hint="try again later")
    raise FetchSourceFailed(f"{asked} serves no large files", detail=detail, hint="ask the forge to switch git-lfs on")


def _download(wanted: Pointer, action: Action, transport: Transport, store: Store, seconds: float) -> None:
    host = split(action.href).netloc.rpartition("@")[2]

    def arrive(file: BinaryIO) -> None:
        answer = transport.download(action.href, file, headers=action.headers, limit=wanted.size, seconds=seconds)
        if answer.status in (401, 403):
            raise FetchSourceUnauthorized(f"{host} does not hand out the large file {wanted.path[:100]}")
        if answer.status in TRANSIENT:
            raise Unreachable(f"{host} keeps failing", detail=f"the answer was {answer.status}", hint="try again later")
        if answer.status != 200:
            raise missing(wanted, host, f"the answer was {answer.status}")

    if not store.put(wanted, arrive):
        raise FetchSourceFailed(
            f"what {host} sends as {wanted.path[:100]} is not that file", detail=f"its object is {wanted.oid}"
        )
