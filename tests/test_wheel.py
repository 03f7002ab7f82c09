"""What is installed is what stands here: the builders and the completions travel in the wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without any network and laid down beside nothing else of ours."""
    directory = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site")
    return directory / "site"


def said(site: Path, *words: str) -> str:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from s2ictl.__main__ import run; run()"
    command = [sys.executable, "-P", "-c", code, str(site), *words]
    return subprocess.run(command, cwd=site, check=True, capture_output=True, text=True).stdout


def files(directory: Path) -> dict[str, bytes]:
    kept = (path for path in sorted(directory.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in kept}


def test_the_wheel_brings_the_same_builders_and_completions(installed: Path) -> None:
    assert files(installed / "s2ictl/_builders") == files(ROOT / "builders")
    assert files(installed / "s2ictl/_completions") == files(ROOT / "completions")


@pytest.mark.parametrize(
    "words",
    [
        ("builders", "list", "-o", "json"),
        ("builders", "create", "pages", "--dry-run", "-o", "json"),
        ("completion", "show", "bash"),
        ("--help",),
    ],
)
def test_installed_it_says_what_it_says_here(words: tuple[str, ...], installed: Path) -> None:
    assert said(installed, *words) == said(ROOT, *words)
