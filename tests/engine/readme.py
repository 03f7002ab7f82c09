"""The directory in which the README's examples are typed: a small application, a war, and a finished program."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import console, testbed
from tests.parts import need

ROOT = Path(__file__).parent.parent.parent
REGISTRY = "registry.example.com"
PROGRAM = """
#include <unistd.h>
int main(void) { write(1, "here\\n", 5); return 0; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody who types what the README shows, layer by layer."""

    directory: Path
    environ: Mapping[str, str]
    registry: testbed.Registry

    def type(self, *layers: str) -> list[str]:
        """Type the examples of these layers in order; answers those that printed something else."""
        wrong = []
        for example in console.examples(ROOT / "README.md"):
            if example.layer in layers:
                names = {REGISTRY: self.registry.open}
                printed = console.run(example, cwd=self.directory, environ=self.environ, names=names)
                if not console.matches(example.expected, printed):
                    wrong.append(f"README.md:{example.line}: {example.command}\n{printed}")
        return wrong


def reader(directory: Path, engine: testbed.Engine, registry: testbed.Registry, **environ: str) -> Reader:
    need("gcc", "libc6-dev")
    shutil.copytree(ROOT / "builders/python/sample", directory / "hello")
    # Of a source that no earlier reader has had: what is built already would not be built again.
    with (directory / "hello" / "app.py").open("a") as program:
        program.write(f"# {os.urandom(8).hex()}\n")
    (directory / "home").mkdir()
    with zipfile.ZipFile(directory / "shop.war", "w") as war:
        war.writestr("WEB-INF/web.xml", "<web-app/>")
        war.writestr("index.html", "a page")
    (directory / "server.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-static", "-O2", "-s", "-o", "server", "server.c"], cwd=directory, check=True)
    # What stands in the environment besides (mirrors, proxies, a CA) is how this machine reaches its packages.
    here = {"HOME": str(directory / "home"), "DOCKER_HOST": engine.docker_host}
    return Reader(directory=directory, environ={**os.environ, **here, **environ}, registry=registry)
