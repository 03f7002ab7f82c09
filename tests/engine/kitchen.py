"""The build story on real engines, with small builders and sources made of a few words; nothing of it is left."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s2ictl.build import build
from s2ictl.engines import Whole
from s2ictl.events import Event, Line
from s2ictl.models import BuildRequest, Image, ImageFacts, Reference
from s2ictl.sources import FetchOptions, fetch, parse_source
from s2ictl.workshop import Workshop
from tests.engine import grounds, tiny
from tests.engine.grounds import Ground
from tests.logs import texts

OWNER = "whole-story"
APP = "whole-story/app:1"
LABELS = {"io.openshift.s2i.scripts-url": f"image://{tiny.SCRIPTS}"}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file of an image as its container would see it; for a link `content` is where it leads."""

    uid: int
    mode: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What came of a build, and what it said."""

    image: Image
    facts: ImageFacts
    events: list[Event]

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Line)]

    @property
    def notices(self) -> list[str]:
        return texts(self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kitchen:
    ground: Ground
    directory: Path
    stack: ExitStack
    web: dict[str, bytes] = field(default_factory=dict)

    @property
    def engine(self) -> Whole:
        return self.ground.engine

    @property
    def api(self) -> Any:
        """The Docker in which builders are made, and images judged."""
        return self.ground.api

    def image(
        self,
        scripts: Mapping[str, str],
        *instructions: str,
        user: str = "user",
        labels: Mapping[str, str] = LABELS,
        shell: bool = True,
    ) -> str:
        """A small image with these scripts; answers its name."""
        name = f"whole-story/builder-{next(_numbers)}:1"
        filesystem = tiny.rootfs({script: tiny.script(text) for script, text in scripts.items()}, shell=shell)
        said = [f'LABEL "{label}"="{value}"' for label, value in labels.items()]
        words = ("ENV PATH=/bin", f"USER {user}", "WORKDIR /opt/app", *said, *instructions)
        self.stack.enter_context(tiny.imported(self.api, name, filesystem, *words))
        self.ground.take(name)
        return name

    def builder(self, assemble: str = "cp -R /tmp/src/. /opt/app/", **more: Any) -> str:
        return self.image({"assemble": assemble, "run": "exec cat hello.txt"}, **more)

    def source(self, files: Mapping[str, str]) -> Path:
        """A directory with these files; those of `.s2i/bin` are scripts."""
        place = self.directory / "source"
        shutil.rmtree(place, ignore_errors=True)
        for path, text in files.items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(tiny.script(text) if "s2i/bin/" in path else text.encode())
        place.mkdir(exist_ok=True)
        return place

    def build(self, builder: str, files: Mapping[str, str] | None = None, **changes: Any) -> Made:
        """Build a directory with these files."""
        place = self.source({"hello.txt": "hello\n"} if files is None else files)
        return self.build_from(place, builder, **changes)

    def build_from(self, place: Path, builder: str, **changes: Any) -> Made:
        events: list[Event] = []
        asked = {
            "source": parse_source(str(place), copy=True, cwd=self.directory),
            "builder": builder,
            "names": (Reference.parse(APP),),
            "owner": OWNER,
            "pull_policy": "never",
            "force": True,  # what an earlier test has left in the engine is no answer
            **changes,
        }
        image = build(BuildRequest(**asked), self.workshop(), emit=events.append)
        return Made(image=image, facts=self.facts(image.id), events=events)

    def workshop(self) -> Workshop:
        return Workshop(
            engine=self.engine,
            fetch=lambda source, emit: fetch(
                source,
                cache=self.directory / "cache",
                environ={},
                emit=emit,
                options=FetchOptions(),
                find_login=lambda _: None,
            ),
            find_login=lambda _: None,
            folders=lambda _: (),
            root_filesystem=lambda *_: pytest.fail("no base is made here"),
            download=lambda url, _: self.web.get(url),
        )

    def facts(self, image: str) -> ImageFacts:
        facts = self.engine.facts(image, pull="never", login=None, emit=lambda _: None)
        assert facts is not None
        return facts

    def has(self, image: str) -> bool:
        return self.engine.facts(image, pull="never", login=None, emit=lambda _: None) is not None

    def files(self, image: str) -> dict[str, Found]:
        """Everything in the image but what every small image has."""
        shown = self.ground.show(image)
        container = self.api.create_container_from_config({"Image": shown, "Cmd": ["none"]})["Id"]
        try:
            content = b"".join(self.api.export(container))
        finally:
            self.api.remove_container(container)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {
                member.name: Found(uid=member.uid, mode=member.mode & 0o7777, content=_content(tar, member))
                for member in tar
                if not member.isdir() and member.name.startswith(("opt/", "tmp/", "srv/", "run/"))
            }

    def saved(self, image: str) -> bytes:
        """All of the image: layers, configuration, history."""
        return grounds.saved(self.ground, image)

    def says(self, image: str) -> str:
        """What the image prints when it is run."""
        return grounds.output_of(self.ground, image)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.issym():
        return member.linkname.encode()
    file = tar.extractfile(member)
    return file.read() if file else b""


def committed(directory: Path, *, origin: str = "") -> str:
    """All that is in the directory, as a commit; `origin` is where the repository says that it was cloned from."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "core.hooksPath=/dev/null"]
        done = subprocess.run(["git", *who, *words], cwd=directory, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    if not (directory / ".git").exists():
        git("init", "--quiet", "--initial-branch=main")
        if origin:
            git("remote", "add", "origin", origin)
    git("add", ".")
    git("commit", "--quiet", "--message", "Say hello\n\nand more")
    return git("rev-parse", "HEAD")
