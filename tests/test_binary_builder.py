"""The scripts of builders/binary, run as they are on this machine: which program is taken and started, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scripted import Ended, provide, run

SCRIPTS = Path(__file__).parent.parent / "builders" / "binary" / "s2i" / "bin"
ELF = Path("/bin/sh").read_bytes()
FOREIGN = ELF[:18] + b"\xff\xff" + ELF[20:]
SCRIPT = b'#!/bin/sh\nprintf "%s\\n" "$@" >"$CALLS"\npwd >"$CALLS-at"\n'
TINI = '#!/bin/sh\nshift 2\nexec "$@"\n'

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container."""

    root: Path

    def assemble(self, files: Files, **environ: str) -> Ended:
        lay(self.root / "src", files)
        return self._run("assemble", environ)

    def start(self, *arguments: str, **environ: str) -> Ended:
        return self._run("run", environ, *arguments)

    def left(self) -> Mapping[str, str]:
        """What is in the image, and its modes."""
        home = self.root / "app"
        files = (path for path in home.rglob("*") if path.is_file())
        return {str(path.relative_to(home)): oct(path.stat().st_mode & 0o777) for path in files}

    def _run(self, name: str, environ: Mapping[str, str], *arguments: str) -> Ended:
        usual = {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "S2I_DESTINATION": str(self.root),
            "APP_ROOT": str(self.root / "app"),
            "PORT": "8080",
        }
        return run(SCRIPTS / name, *arguments, root=self.root, cwd=self.root, environ={**usual, **environ})


def lay(directory: Path, files: Files) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for directory in ("src", "app/bin", "app/src"):
        (tmp_path / directory).mkdir(parents=True)
    provide(tmp_path / "programs", {"tini": TINI})
    return Host(root=tmp_path)


@pytest.mark.parametrize("name", ["shop", "my own shop", "größter $HOME 'shop'", "-rf"])
def test_the_only_file_is_taken_whatever_it_is_called(host: Host, name: str) -> None:
    ended = host.assemble({name: SCRIPT, ".s2i/environment": b"", ".gitignore": b""})
    assert (ended.status, ended.stdout) == (0, f"---> Taking {name}\n")
    assert host.left() == {f"bin/{name}": "0o755"}
    assert host.start().stdout == f"---> Starting {name}, port 8080\n"


def test_it_is_told_words_as_in_a_shell_and_nothing_in_them_is_looked_up_or_run(host: Host) -> None:
    host.assemble({"shop": SCRIPT})
    ended = host.start("and; this", ARGS="* 'two words' $HOME `touch x` \\\"quoted\\\" ; größer\nsecond")
    told = ("*", "two words", "$HOME", "`touch", "x`", '"quoted"', ";", "größer", "second", "and; this")
    assert ended.calls == told
    assert (host.root / "calls-at").read_text() == f"{host.root}/app/src\n"


def test_a_quote_that_nothing_closes_is_named(host: Host) -> None:
    host.assemble({"shop": SCRIPT})
    ended = host.start(ARGS="it's")
    assert (ended.status, ended.error, ended.calls) == (1, "error: ARGS has a quote that nothing closes: it's", ())


def test_among_several_files_the_program_is_the_one_that_is_no_library(host: Host) -> None:
    files = {
        "shop": ELF,
        "libshop.so": ELF,
        "libshop.so.1": ELF,
        "lib/more": ELF,
        "conf/shop.ini": b"a=b",
        "tool": SCRIPT,
        ".env": b"C=D",
        ".s2i/bin/usage": SCRIPT,
    }
    ended = host.assemble(files, SOURCE_DATE_EPOCH="1700000000")
    assert (ended.status, ended.stdout) == (0, "---> Taking shop\n")
    assert host.left() == {
        "src/shop": "0o755",
        "src/libshop.so": "0o755",
        "src/libshop.so.1": "0o755",
        "src/lib/more": "0o755",
        "src/conf/shop.ini": "0o644",
        "src/tool": "0o755",
        "src/.env": "0o644",
    }
    assert {path.stat().st_mtime for path in (host.root / "app/src").rglob("*")} == {1_700_000_000}
    assert "---> Starting shop, port 8080" in host.start(ARGS="-c true").stdout


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, "there is no program in the source"),
        ({"a": ELF, "b": ELF}, "there are several programs: a, b"),
        ({"a": SCRIPT, "b": b""}, "there is no program in the source's root: no file there is an ELF file"),
        ({"sub/a": ELF, "b": b""}, "there is no program in the source's root: no file there is an ELF file"),
    ],
)
def test_what_leaves_the_choice_open_is_refused(host: Host, files: Files, error: str) -> None:
    ended = host.assemble(files)
    assert (ended.status, ended.error) == (1, f"error: {error}")


def test_a_program_for_another_machine_is_refused(host: Host) -> None:
    ended = host.assemble({"shop": FOREIGN})
    assert (ended.status, ended.error.partition(";")[0]) == (1, "error: shop is a program for another machine")


def test_a_loader_that_is_not_here_is_named(host: Host) -> None:
    for loader in (b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-linux-aarch64.so.1"):
        changed = ELF.replace(loader, loader[:-1] + b"9")
        if changed != ELF:
            assert "which is not here" in host.assemble({"shop": changed}).error


def test_an_image_without_a_program_says_that_it_is_a_builder(host: Host) -> None:
    assert host.start().error == "error: there is no program in this image: it is a builder"
