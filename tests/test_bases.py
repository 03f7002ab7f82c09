from __future__ import annotations

import os
from pathlib import Path

import pytest

from s2ictl.bases import command, root_filesystem
from s2ictl.errors import PullBuilderImageFailed
from s2ictl.events import Emit, Event, Line, Notice


def standing_in(directory: Path, script: str) -> dict[str, str]:
    """An environment in which mmdebstrap is this script."""
    program = directory / "mmdebstrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def test_a_base_is_the_smallest_that_can_speak_tls() -> None:
    assert command("trixie") == [
        "mmdebstrap",
        "--variant=minbase",
        "--include=ca-certificates",
        "--quiet",
        "trixie",
        "-",
    ]


def test_the_tar_is_what_the_program_writes_and_its_words_are_told(
    tmp_path: Path, events: list[Event], emit: Emit
) -> None:
    environ = standing_in(tmp_path, "echo careful >&2; printf tar")
    with root_filesystem("trixie", environ, emit) as chunks:
        assert b"".join(chunks) == b"tar"
    assert events == [
        Notice(text="no registry has the base: it is made of the packages of Debian trixie"),
        Line(text="careful", stream="stderr"),
    ]


def test_half_a_file_system_is_never_taken_for_the_whole(tmp_path: Path, emit: Emit) -> None:
    environ = standing_in(tmp_path, "printf half; exit 25")
    with (
        root_filesystem("trixie", environ, emit) as chunks,
        pytest.raises(PullBuilderImageFailed, match="mmdebstrap could not make Debian trixie"),
    ):
        b"".join(chunks)


def test_whoever_stops_reading_ends_the_program(tmp_path: Path, emit: Emit) -> None:
    environ = standing_in(tmp_path, "echo $$; exec sleep 60")
    with root_filesystem("trixie", environ, emit) as chunks:
        process = int(next(chunks))
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_machine_without_the_program_hears_what_to_install(tmp_path: Path, emit: Emit) -> None:
    with (
        pytest.raises(PullBuilderImageFailed) as missing,
        root_filesystem("trixie", {"PATH": str(tmp_path)}, emit),
    ):
        pass
    assert missing.value.hint == "apt-get install mmdebstrap"
