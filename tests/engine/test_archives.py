"""Archives as they are typed for a source, on a real engine: what was packed is what assemble finds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny

BUILDER = "archive-sources/builder:1"
APP = "archive-sources/app:1"
LABELS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER user", "ENV PATH=/bin")
ASSEMBLE = tiny.script(
    "cd /tmp/src; for f in run same deep/er/file to; do stat -c '%n %F %a %h %u' $f; done; cat same to"
)
FOUND = [
    "run regular file 755 2 1001",
    "same regular file 755 2 1001",
    "deep/er/file regular file 644 1 1001",
    "to symbolic link 777 1 1001",
    "hello",
    "hello",
]


@pytest.fixture
def desk(engine_facts: testbed.Engine, tmp_path: Path) -> Iterator[Shell]:
    import docker

    api: Any = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    with ExitStack() as stack:
        stack.callback(api.close)
        filesystem = tiny.rootfs({"assemble": ASSEMBLE, "run": tiny.script("true")})
        stack.enter_context(tiny.imported(api, BUILDER, filesystem, *LABELS))
        stack.callback(tiny.remove_named, api, "archive-sources/app")
        yield shell(tmp_path, DOCKER_HOST=engine_facts.docker_host)


def packed(desk: Shell) -> Path:
    """A tar below one directory, in which only files are named: two of them are one."""
    top = desk.home / "shop-1.0"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "deep" / "er" / "file").write_text("deep\n")
    (top / "run").write_text("hello\n")
    (top / "run").chmod(0o755)
    (top / "same").hardlink_to(top / "run")
    (top / "to").symlink_to("run")
    names = [f"shop-1.0/{name}" for name in ("run", "same", "deep/er/file", "to")]
    subprocess.run(["tar", "-czf", desk.cwd / "shop.tgz", "-C", desk.home, *names], check=True)
    return desk.cwd / "shop.tgz"


@pytest.mark.parametrize("by", ["file", "standard input"])
def test_an_archive_is_what_assemble_finds(by: str, desk: Shell) -> None:
    archive = packed(desk)
    source, stdin = ("shop.tgz", b"") if by == "file" else ("-", archive.read_bytes())
    done = desk.run("build", source, BUILDER, APP, stdin=stdin)
    assert (done.status, done.stdout) == (0, f"{APP}\n"), done.stderr
    assert [line.strip("| ") for line in done.stderr.splitlines() if "  | " in line] == FOUND
