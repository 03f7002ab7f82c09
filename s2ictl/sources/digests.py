"""What a directory holds, in one word; and no file is read for it again that nobody has touched.

As git does in its index, a record of our own says which bytes a file had when it was in this place, of this size and
last changed then: the kernel lets nobody set that last time. A file that was changed around the moment in which it was
read can be changed once more without anything to be seen of it, so nothing is remembered of that one until it has come
to rest. Whatever is wrong with a record, the files are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from s2ictl.files import write_whole
from s2ictl.models import Member
from s2ictl.values import dataclass

Facts = bytes
"""Of a file: its device, inode, size, times of its content and of itself, and mode, as the kernel says them."""

Listed = tuple[Member, Facts]

_FACTS = struct.Struct("<QQqqqI")
_FORMAT = b"s2ictl digests 1"
_SHA256 = 32
_HEAD = len(_FORMAT) + 3 * _SHA256
_ROW = _FACTS.size + _SHA256
_LARGEST = 64 << 20
_REST_NS = 2_000_000_000  # the coarsest clock of a file system
_UNUSED_FOR_NS = 30 * 24 * 3600 * 1_000_000_000
_MOST_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where it is kept what is known of one directory, and the time now in nanoseconds."""

    place: Path
    now: int


def record_for(cache: Path, directory: Path, root: os.stat_result, *, now: int) -> Record:
    """The record of a directory that is called so and is this very one."""
    name = hashlib.sha256(b"%d %d %b" % (root.st_dev, root.st_ino, os.fsencode(directory))).hexdigest()[:32]
    return Record(place=cache / "digests" / name, now=now)


def facts_of(facts: os.stat_result) -> Facts:
    return _FACTS.pack(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_mode)


def digest_of(listing: Sequence[Listed], record: Record, read: Callable[[Member, Facts], bytes]) -> str:
    """The digest of what was listed; `read` answers the sha256 of a file, or b"" where it is not that file any more.

    The answer is then "" too: what such a directory holds cannot be said.
    """
    seen = _seen(listing)
    known = _known_whole(record.place, seen)
    if known:
        _used(record)
        return known.hex()
    table = _table(record.place)
    contents = [(table.get(facts) or read(member, facts)) if facts else b"" for member, facts in listing]
    if any(facts and not content for (_, facts), content in zip(listing, contents, strict=True)):
        return ""
    digest = _digest(listing, contents)
    files = {facts: content for (_, facts), content in zip(listing, contents, strict=True) if facts}
    _keep(record, seen, digest, files, before=table)
    return digest.hex()


# --------------------------------------------------------------------------------------------------- what is hashed


def _seen(listing: Sequence[Listed]) -> bytes:
    """All that the listing says, in one word: the quick answer to whether anything is different at all."""
    return _hashed(b"", listing, (facts for _, facts in listing))


def _digest(listing: Iterable[Listed], contents: Iterable[bytes]) -> bytes:
    return _hashed(b"s2ictl directory 1\0", listing, contents)


def _hashed(form: bytes, listing: Iterable[Listed], ends: Iterable[bytes]) -> bytes:
    word = hashlib.sha256(form)
    for (member, _), end in zip(listing, ends, strict=True):
        word.update(_line(member) + end)
    return word.digest()


def _line(member: Member) -> bytes:
    """What is sent of a member beside its bytes and its time; none of these texts can hold the byte that ends them."""
    return os.fsencode(f"{member.kind} {member.mode & 0o755:o} {member.path}\0{member.target}\0")


# -------------------------------------------------------------------------------------------------- what is kept


def _known_whole(place: Path, seen: bytes) -> bytes:
    """The digest of a listing that is the recorded one to the last word; b"" for any other."""
    head = _content(place, _HEAD)
    body, check = head[:-_SHA256], head[-_SHA256:]
    sound = len(head) == _HEAD and hashlib.sha256(body).digest() == check and head.startswith(_FORMAT + seen)
    return body[-_SHA256:] if sound else b""


def _table(place: Path) -> Mapping[Facts, bytes]:
    """The sha256 of each file of which something is known, by its facts: those of one file are never another's."""
    rows, check = (content := _content(place, _LARGEST)[_HEAD:])[:-_SHA256], content[-_SHA256:]
    if len(rows) % _ROW or hashlib.sha256(rows).digest() != check:
        return {}
    starts = range(0, len(rows), _ROW)
    return {rows[start : start + _FACTS.size]: rows[start + _FACTS.size : start + _ROW] for start in starts}


def _content(place: Path, most: int) -> bytes:
    with contextlib.suppress(OSError), place.open("rb") as file:
        return file.read(most)
    return b""


def _keep(
    record: Record, seen: bytes, digest: bytes, files: Mapping[Facts, bytes], *, before: Mapping[Facts, bytes]
) -> None:
    settled = {facts: content for facts, content in files.items() if _changed_last(facts) < record.now - _REST_NS}
    at_rest = len(settled) == len(files)
    if (settled == before and not at_rest) or len(settled) * _ROW > _LARGEST // 2:
        return
    head = _FORMAT + (seen if at_rest else bytes(_SHA256)) + digest
    rows = b"".join(part for row in sorted(settled.items()) for part in row)
    whole = head + hashlib.sha256(head).digest() + rows + hashlib.sha256(rows).digest()
    with contextlib.suppress(OSError):
        record.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(record.place, whole, mode=0o600)
        _used(record)
        for old in _out_of_use(record):
            old.unlink(missing_ok=True)


def _changed_last(facts: Facts) -> int:
    return int(max(_FACTS.unpack(facts)[3:5]))


def _used(record: Record) -> None:
    with contextlib.suppress(OSError):
        os.utime(record.place, ns=(record.now, record.now))


def _out_of_use(record: Record) -> Iterator[Path]:
    """What nobody has asked for in a month, and the oldest of too many."""
    kept = sorted(((place.stat().st_mtime_ns, place) for place in record.place.parent.iterdir()), reverse=True)
    for number, (used, place) in enumerate(kept):
        if number >= _MOST_KEPT or used < record.now - _UNUSED_FOR_NS:
            yield place
