"""A finished artifact, read before anything runs: what it is, what runs it, and why it cannot be used.

reading                  a file or a directory → Artifact, by its content
elf                      a program for Linux;  java: a jar or a war
manifest, classes, libraries   what those say and show: texts, levels and servlets, names of libraries
packs                    files that lie together;  zips, folders: the two ways in which they do
meaning                  Artifact and the user's wishes → who runs it, and how
contents, parts          its files one by one;  which of them is in which layer of an image, and where
trees                    the same files as the source of an ordinary build
"""

from s2ictl.artifacts.meaning import Meaning, Server, Type, Wishes, meaning_of
from s2ictl.artifacts.parts import parts_of
from s2ictl.artifacts.reading import LARGEST, content_digest, is_artifact, read
from s2ictl.artifacts.trees import tree_of

__all__ = [
    "LARGEST",
    "Meaning",
    "Server",
    "Type",
    "Wishes",
    "content_digest",
    "is_artifact",
    "meaning_of",
    "parts_of",
    "read",
    "tree_of",
]
