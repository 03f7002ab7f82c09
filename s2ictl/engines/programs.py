"""Whether a program of an image can start: a script that cannot is a broken builder, and said before the work."""

from __future__ import annotations

import stat
from typing import Protocol

from s2ictl.errors import PullBuilderImageFailed


class Held(Protocol):
    """What an image holds; `image` is what the user calls it."""

    @property
    def image(self) -> str: ...

    def mode(self, path: str) -> int | None:
        """The mode of a path; None when it is not there."""

    def interpreter(self, path: str) -> str:
        """The program that a script wants, "" for what is none."""


def check(held: Held, path: str) -> None:
    """Refuse a program that is not there, or cannot be executed, or wants an interpreter that is not there."""
    image, mode = held.image, held.mode(path)
    if mode is None:
        raise PullBuilderImageFailed(
            f"{image} has no {path}", hint="its label io.openshift.s2i.scripts-url names that place"
        )
    if stat.S_ISREG(mode) and not mode & 0o111:
        raise PullBuilderImageFailed(f"{path} in {image} is not executable")
    interpreter = held.interpreter(path)
    if interpreter.endswith("\r"):
        raise PullBuilderImageFailed(f"{path} in {image} has Windows line ends, which no interpreter understands")
    if interpreter.startswith("/") and held.mode(interpreter) is None:
        raise PullBuilderImageFailed(f"{path} in {image} wants {interpreter[:200]}, which is not there")


def interpreter_of(script: bytes) -> str:
    """The program that a script's first line names, "" for anything without one."""
    if not script.startswith(b"#!"):
        return ""
    line = script[2:].split(b"\n", 1)[0].decode(errors="replace").strip(" \t")
    return line if line.endswith("\r") else line.partition(" ")[0]
