"""Layers made smaller on their way; the only importer of isal.

A build waits for it, so the fastest level is the right one: a quarter of the time of zlib's usual level, for nearly the
same size. The bytes follow from the input and the version of the library, which is pinned for that reason; where they
must be the same everywhere, a layer is not compressed at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from s2ictl.errors import S2IError

_LEVEL = 1
_GZIP = 31
_BLOCK = 1 << 20
_GZIP_MARK, _ZSTD_MARK = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
NO_ZSTD = "a layer of it is compressed with zstd, which is not read here"


def compressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same as gzip, without a name or a time in it."""
    from isal import isal_zlib

    packer = isal_zlib.compressobj(_LEVEL, wbits=_GZIP)
    for chunk in _even(chunks):
        if data := packer.compress(chunk):
            yield data
    yield packer.flush()


def plain(chunks: Iterator[bytes], *, error: Callable[[str], S2IError]) -> Iterator[bytes]:
    """A layer's tar, however it is packed: what it is said to be is no more than somebody's word."""
    first = next(chunks, b"")
    if first.startswith(_ZSTD_MARK):
        raise error(NO_ZSTD)
    pieces = chain((first,), chunks)
    return _unpacked(pieces, error) if first.startswith(_GZIP_MARK) else pieces


def _unpacked(chunks: Iterator[bytes], error: Callable[[str], S2IError]) -> Iterator[bytes]:
    """Block by block, however much the next bytes grow to."""
    from isal import igzip_lib, isal_zlib

    unpacker = isal_zlib.decompressobj(wbits=_GZIP)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                if unpacker.eof:
                    unpacker = isal_zlib.decompressobj(wbits=_GZIP)
                yield unpacker.decompress(left, _BLOCK)
                left = unpacker.unconsumed_tail or unpacker.unused_data
    except igzip_lib.IsalError as broken:  # type: ignore[misc]  # its stub calls the class an instance
        raise error(f"a layer of it cannot be unpacked: {broken}") from broken
    if not unpacker.eof:
        raise error("a layer of it ends in the middle")


def _even(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of one size: the library packs differently what is handed to it in other pieces, and
    pieces that come over a network are never the same twice."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= _BLOCK:
            yield bytes(memoryview(held)[:_BLOCK])
            del held[:_BLOCK]
    if held:
        yield bytes(held)
