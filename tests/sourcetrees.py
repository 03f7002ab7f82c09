"""What the tests of sources share: one way to fetch, and trees as plain values that can be compared."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from s2ictl.errors import S2IError
from s2ictl.events import Event, Notice
from s2ictl.models import Login, Tree
from s2ictl.sources import FetchOptions, fetch, parse_source

Content = tuple[str, bool, bytes]
"""Kind, whether it may be run, and the bytes of a file or the target of a link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A place to fetch from: a cache and a current directory of its own, and all that was said."""

    root: Path
    events: list[Event] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    open: ExitStack = field(default_factory=ExitStack)
    later: float = 0.0  # seconds by which its clock goes before the kernel's

    def fetch(
        self,
        text: str,
        *,
        ref: str = "",
        context_dir: str = "",
        copy: bool = False,
        submodules: bool = True,
        lfs: bool = False,
        options: FetchOptions | None = None,
        find_login: Callable[[str], Login | None] = lambda _: None,
        environ: Mapping[str, str] = os.environ,
        stdin: BinaryIO | None = None,
    ) -> Tree:
        source = parse_source(
            text, ref=ref, context_dir=context_dir, copy=copy, submodules=submodules, lfs=lfs, cwd=self.root
        )
        fetched = fetch(
            source,
            cache=self.root / "cache",
            environ={name: value for name, value in environ.items() if not name.lower().endswith("_proxy")},
            emit=self.events.append,
            options=options or FetchOptions(),
            find_login=find_login,
            stdin=stdin,
            wait=self._wait,
            clock=lambda: time.time_ns() + int(self.later * 1e9),
        )
        return self.open.enter_context(fetched)

    def _wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        time.sleep(min(seconds, 0.01))

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice) and event.level == "warning"]


def failing(bench: Bench, text: str, **how: Any) -> S2IError:
    """Why a source cannot be had."""
    with pytest.raises(S2IError) as caught:
        bench.fetch(text, **how)
    return caught.value


def plain(root: Path, files: Mapping[str, str]) -> Path:
    """A directory with these files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def streamed(tree: Tree) -> dict[str, Content]:
    """The members of a tree, by path."""
    return {
        member.path: (
            member.kind,
            member.kind == "file" and bool(member.mode & 0o100),
            os.fsencode(member.target) if member.kind == "link" else read(1 << 24),
        )
        for member, read in tree.members()
    }


def on_disk(directory: Path) -> dict[str, Content]:
    """The same of a directory, git's own left out."""
    found: dict[str, Content] = {}
    for path in directory.rglob("*"):
        name = str(path.relative_to(directory))
        if ".git" not in name.split("/"):
            found[name] = _content(path)
    return found


def _content(path: Path) -> Content:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link", False, os.fsencode(path.readlink())
    if stat.S_ISDIR(mode):
        return "directory", False, b""
    return "file", bool(mode & 0o100), path.read_bytes()
