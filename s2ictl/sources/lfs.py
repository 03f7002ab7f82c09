"""git-lfs as it is written down: what a pointer says, what its server is asked, and what the server answers.

Pure: https://github.com/git-lfs/git-lfs/tree/main/docs is the text that this follows. Everything here was written by
others, the repository's owner or a server, so nothing is taken that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from s2ictl.addresses import is_loopback, origin_of, shown, split
from s2ictl.errors import FetchSourceFailed, Refused
from s2ictl.expressions import expression
from s2ictl.values import dataclass

LARGEST_POINTER = 1024
BEGINNING = b"version https://git-lfs.github.com/"
MEDIA_TYPE = "application/vnd.git-lfs+json"
_POINTER = expression(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]+\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?"
)
_HEADER = expression(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\xa0-\xff]*")
_FOREIGN_HEADERS = frozenset({"host", "range", "content-length", "transfer-encoding", "connection", "accept-encoding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """What stands in the place of a large file."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Where one object is to be had, and what is sent along."""

    href: str
    headers: Mapping[str, str]


class _Download(msgspec.Struct, frozen=True):
    href: str
    header: dict[str, str] | None = None


class _Actions(msgspec.Struct, frozen=True):
    download: _Download | None = None


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Object(msgspec.Struct, frozen=True):
    oid: str
    actions: _Actions | None = None
    error: _Error | None = None


class _Answer(msgspec.Struct, frozen=True):
    objects: list[_Object]
    transfer: str = "basic"
    hash_algo: str = "sha256"


def pointer(path: str, content: bytes) -> Pointer | None:
    """Read a pointer file; None for a file that only begins like one."""
    match = _POINTER.fullmatch(content)
    return Pointer(path=path, oid=match[1].decode(), size=int(match[2])) if match else None


def endpoint(location: str, configured: str) -> str:
    """Where the large files of a repository are asked for; its own .lfsconfig may name another place on its host."""
    if configured:
        return _on_same_host(location, configured.rstrip("/"))
    if split(location).scheme not in ("https", "http"):
        raise FetchSourceFailed(
            f"the large files of {location} cannot be asked for: that takes https",
            detail="they come from the repository's own host, over https alone",
            hint="give the source as https://HOST/PATH",
        )
    address = location.rstrip("/")
    return f"{address}{'' if address.endswith('.git') else '.git'}/info/lfs"


def _on_same_host(location: str, configured: str) -> str:
    there = split(configured)
    ours = split(location if "://" in location else f"ssh://{location.partition(':')[0]}")
    wanted = ("https", ours.hostname, 443) if ours.scheme == "ssh" else origin_of(location)
    if origin_of(configured) != wanted or there.query or there.fragment:
        raise Refused(
            f".lfsconfig of {location} names another host: {shown(configured)[:200]}",
            detail="what the source itself says is not believed about hosts",
            hint="without --lfs the pointers stay as they are",
        )
    return f"{there.scheme}://{there.netloc.rpartition('@')[2]}{there.path}"


def question(pointers: Iterable[Pointer]) -> bytes:
    """The body of a batch request."""
    return msgspec.json.encode(
        {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": one.oid, "size": one.size} for one in pointers],
            "hash_algo": "sha256",
        }
    )


def answered(body: bytes, pointers: Iterable[Pointer], where: str) -> Mapping[str, Action]:
    """Where each of the objects is; one that the server does not have is named by its path."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FetchSourceFailed(f"{where} does not answer as a server for git-lfs", detail=str(error)[:200]) from None
    objects = {one.oid: one for one in answer.objects}
    return {one.oid: _action(one, objects.get(one.oid), where) for one in pointers}


def _action(pointer: Pointer, said: _Object | None, where: str) -> Action:
    download = said.actions.download if said and said.actions else None
    if download is None:
        why = f"{said.error.code} {said.error.message[:200]}" if said and said.error else ""
        raise missing(pointer, where, why)
    given = download.header or {}
    if not all(_HEADER.fullmatch(f"{name}: {value}") for name, value in given.items()):
        raise FetchSourceFailed(f"{where[:100]} sends along what is no header", detail=f"for {pointer.path[:100]}")
    headers = {name: value for name, value in given.items() if name.lower() not in _FOREIGN_HEADERS}
    return Action(href=download.href, headers=headers)


def missing(pointer: Pointer, where: str, why: str = "") -> FetchSourceFailed:
    """The failure that a large file is nowhere."""
    return FetchSourceFailed(
        f"the large file {pointer.path[:100]} is not at {where[:100]}",
        detail=f"its object is {pointer.oid}\n{why}".strip(),
        hint="push it there: git lfs push --all REMOTE",
    )


def check_href(href: str, asked: str) -> None:
    """Whether an object may be had from there: on any host, but not with less safety."""
    there, here = split(href), split(asked)
    host = there.hostname or ""
    same = origin_of(href) == origin_of(asked)
    plain = there.scheme == "http" and (same or (is_loopback(host) and is_loopback(here.hostname or "")))
    if not host or origin_of(href)[2] < 1 or not (there.scheme == "https" or plain):
        raise Refused(
            f"{shown(asked)} sends us for a large file to {shown(href)[:200]}", detail="only https is followed"
        )
