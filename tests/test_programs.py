"""Programs of an image that cannot start, by what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from s2ictl.engines import programs
from s2ictl.errors import PullBuilderImageFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What lies in an image: the modes of its files, and the first lines of its scripts."""

    modes: Mapping[str, int]
    scripts: Mapping[str, bytes]
    image: str = "builder:1"

    def mode(self, path: str) -> int | None:
        return self.modes.get(path)

    def interpreter(self, path: str) -> str:
        return programs.interpreter_of(self.scripts.get(path, b""))


@pytest.mark.parametrize(
    ("script", "interpreter"),
    [
        (b"\x7fELF", ""),
        (b"#!/bin/sh\n", "/bin/sh"),
        (b"#! /usr/bin/env bash\n", "/usr/bin/env"),
        (b"#!/bin/sh\r\n", "/bin/sh\r"),
    ],
)
def test_the_first_line_names_the_interpreter(script: bytes, interpreter: str) -> None:
    assert programs.interpreter_of(script) == interpreter


@pytest.mark.parametrize(
    ("mode", "script", "why"),
    [
        (None, b"", "builder:1 has no /run"),
        (0o100644, b"", "/run in builder:1 is not executable"),
        (0o100755, b"#!/bin/sh\r\n", "/run in builder:1 has Windows line ends, which no interpreter understands"),
        (0o100755, b"#!/bin/fish\n", "/run in builder:1 wants /bin/fish, which is not there"),
    ],
)
def test_what_cannot_start_is_refused_with_its_reason(mode: int | None, script: bytes, why: str) -> None:
    modes = {"/bin/sh": 0o100755, **({"/run": mode} if mode is not None else {})}
    with pytest.raises(PullBuilderImageFailed) as refused:
        programs.check(Image(modes=modes, scripts={"/run": script}), "/run")
    assert refused.value.message == why


@pytest.mark.parametrize("script", [b"", b"#!/bin/sh\n", b"#!sh\n"])
def test_what_can_start_passes(script: bytes) -> None:
    programs.check(Image(modes={"/bin/sh": 0o100755, "/run": 0o100755}, scripts={"/run": script}), "/run")


def test_a_link_is_what_it_leads_to() -> None:
    programs.check(Image(modes={"/run": 0o120777}, scripts={}), "/run")
