"""A finished artifact, read before anything runs: what it is, what runs it, and why it cannot be used.

reading                  a file or a directory → Artifact, by its content
elf                      a program for Linux;  java: a jar or a war
manifest, classes, libraries   what those say and show: texts, levels and servlets, names of libraries
packs                    files that lie together;  zips, folders: the two ways in which they do
meaning                  Artifact and the user's wishes → who runs it, and how
"""

from s2ictl.artifacts.meaning import Meaning, Server, Type, Wishes, meaning_of
from s2ictl.artifacts.reading import LARGEST, SUPPORTED, content_digest, is_artifact, read, safe_name

__all__ = [
    "LARGEST",
    "SUPPORTED",
    "Meaning",
    "Server",
    "Type",
    "Wishes",
    "content_digest",
    "is_artifact",
    "meaning_of",
    "read",
    "safe_name",
]
