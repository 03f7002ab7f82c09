"""Archives, streamed: written for an engine, read from a program or a file, and never unpacked on this machine.

members             what every archive is read into, and what none of them may do
unpacked            a file → members: how it is packed, by its content;  tar, zip: the two kinds
writing             members → a tar;  headers: what stands before each
"""

from s2ictl.archives.members import CHUNK, Budget, Entry, Limits, Reader, called, reader_of
from s2ictl.archives.tar import read_tar
from s2ictl.archives.writing import (
    Part,
    directory_entry,
    file_entry,
    joined,
    layer_stream,
    rerooted,
    tar_beginning,
    tar_stream,
)

__all__ = [
    "CHUNK",
    "Budget",
    "Entry",
    "Limits",
    "Part",
    "Reader",
    "called",
    "directory_entry",
    "file_entry",
    "joined",
    "layer_stream",
    "read_tar",
    "reader_of",
    "rerooted",
    "tar_beginning",
    "tar_stream",
]
