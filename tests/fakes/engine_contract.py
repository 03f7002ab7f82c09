"""What every engine does, the fake one and the real one: imported by a test file that has a fixture `world`."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import pytest

from s2ictl.engines import Engine, Listing
from s2ictl.errors import AssembleFailed, CommitContainerFailed, ImageNotFound, LimitReached, PullBuilderImageFailed
from s2ictl.events import Event, Line
from s2ictl.models import Assembly, ImageConfig, ImageFacts, Reference, Secret
from tests.fakes.engine import Script

SCRIPTS = "/usr/libexec/s2i"
NAME = Reference.parse("contract/app:1")

QUIET = Script(text="exit 0")
TALKS = Script(text="echo one; echo two >&2; echo three", says=("one", "two", "three"))
FAILS = Script(
    text="i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; exit 3",
    says=tuple(f"line {number}" for number in range(30)),
    status=3,
)
HANGS = Script(text="sleep 60", seconds=60)
ASKS_FOR_LABELS = Script(
    text="mkdir -p /tmp/.s2i; printf '{\"labels\": []}' >/tmp/.s2i/image_metadata.json", metadata=b'{"labels": []}'
)


class Shown(Engine, Listing, Protocol):
    """An engine that also tells what it has."""


class World(Protocol):
    """An engine, and a way to have a small builder in it."""

    @property
    def engine(self) -> Shown: ...

    def builder(self, assemble: Script, *, user: str = "user", entrypoint: tuple[str, ...] = ()) -> ImageFacts:
        """A builder that has a `user` with number 1001 and group 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What reached the caller's functions."""

    ids: list[tuple[int, int]]
    metadata: list[bytes | None]


def assembly(base: ImageFacts, seen: Seen | None = None, **changes: object) -> Assembly:
    seen = seen or Seen(ids=[], metadata=[])

    def upload(uid: int, gid: int) -> Iterator[bytes]:
        seen.ids.append((uid, gid))
        return iter((archive({"tmp/src/hello.txt": b"hello"}, uid=uid, gid=gid),))

    def config(metadata: bytes | None) -> ImageConfig:
        seen.metadata.append(metadata)
        return CONFIG

    described: dict[str, object] = {
        "image": "contract/builder:1",
        "image_id": base.id,
        "owner": "contract",
        "command": (f"{SCRIPTS}/assemble",),
        "programs": (f"{SCRIPTS}/assemble", f"{SCRIPTS}/run"),
        "user": base.user,
        "upload": upload,
        "workspace": "/tmp/.s2ictl",
        "leftovers": ("/tmp/src", "/tmp/artifacts"),
        "env": (("KEPT", "yes"),),
        "build_env": (),
        "ca_bundle": b"",
        "timeout": 30.0,
        "metadata": "/tmp/.s2i/image_metadata.json",
        "config": config,
        "names": (NAME,),
    }
    return Assembly(**{**described, **changes})  # type: ignore[arg-type]


CONFIG = ImageConfig(
    command=(f"{SCRIPTS}/run",),
    entrypoint=(),
    user="user",
    workdir="/opt/app",
    env=(("PATH", "/bin"), ("KEPT", "yes")),
    labels={"io.openshift.s2i.build.image": "contract"},
)


def archive(files: Mapping[str, bytes], *, uid: int, gid: int) -> bytes:
    """A plain upload: every directory on the way is the user's."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        root = tarfile.TarInfo("./")
        root.type, root.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(root)
        for directory in sorted({path.rpartition("/")[0] for path in files}):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, uid, gid
            tar.addfile(entry)
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.mode, entry.uid, entry.gid, entry.size = 0o644, uid, gid, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def ask(world: World, name: Reference) -> ImageFacts | None:
    return world.engine.facts(str(name), pull="never", login=None, emit=lambda _: None)


def test_an_image_that_is_nowhere_is_none(world: World) -> None:
    assert ask(world, Reference.parse("contract/never-made:1")) is None


def test_the_image_says_of_itself_what_was_described(world: World, events: list[Event]) -> None:
    image = world.engine.assemble(assembly(world.builder(QUIET)), events.append).id
    facts = ask(world, NAME)
    assert facts is not None
    assert (facts.id, facts.command, facts.entrypoint, facts.user, facts.workdir) == (
        image,
        CONFIG.command,
        (),
        "user",
        "/opt/app",
    )
    assert facts.env == ("PATH=/bin", "KEPT=yes")
    assert facts.labels["io.openshift.s2i.build.image"] == "contract"


def test_an_entrypoint_of_the_builder_does_not_stand_before_assemble(world: World, events: list[Event]) -> None:
    base = world.builder(TALKS, entrypoint=("/bin/false",))
    world.engine.assemble(assembly(base), events.append)
    assert sorted(_texts(events)) == ["one", "three", "two"]


def test_output_is_told_line_by_line(world: World, events: list[Event]) -> None:
    world.engine.assemble(assembly(world.builder(TALKS)), events.append)
    assert sorted(_texts(events)) == ["one", "three", "two"]


def test_a_failure_carries_the_status_and_the_last_lines(world: World, events: list[Event]) -> None:
    with pytest.raises(AssembleFailed) as failure:
        world.engine.assemble(
            assembly(world.builder(FAILS), names=(Reference.parse("contract/failed:1"),)), events.append
        )
    assert failure.value.message == "assemble ended with 3"
    assert failure.value.detail.splitlines() == [f"line {number}" for number in range(10, 30)]
    assert ask(world, Reference.parse("contract/failed:1")) is None


def test_a_script_that_the_image_does_not_have_is_a_broken_builder(world: World, events: list[Event]) -> None:
    broken = assembly(world.builder(QUIET), programs=(f"{SCRIPTS}/nowhere",))
    with pytest.raises(PullBuilderImageFailed, match="contract/builder:1 has no /usr/libexec/s2i/nowhere"):
        world.engine.assemble(broken, events.append)


def test_the_upload_belongs_to_the_numeric_user(world: World, events: list[Event]) -> None:
    seen = Seen(ids=[], metadata=[])
    world.engine.assemble(assembly(world.builder(QUIET), seen), events.append)
    assert seen.ids == [(1001, 0)]


def test_what_assemble_wrote_about_the_image_is_read(world: World, events: list[Event]) -> None:
    seen = Seen(ids=[], metadata=[])
    world.engine.assemble(assembly(world.builder(ASKS_FOR_LABELS), seen), events.append)
    assert seen.metadata == [None, b'{"labels": []}']


def test_what_does_not_end_is_stopped(world: World, events: list[Event]) -> None:
    with pytest.raises(LimitReached, match="assemble did not end"):
        world.engine.assemble(assembly(world.builder(HANGS), timeout=1.0), events.append)


def test_build_only_variables_are_in_no_part_of_the_image(world: World, events: list[Event]) -> None:
    hidden = assembly(world.builder(QUIET), build_env=(("TOKEN", Secret("canary")),))
    world.engine.assemble(hidden, events.append)
    assert "canary" not in repr(ask(world, NAME))


def test_a_base_is_made_of_a_root_file_system(world: World) -> None:
    name = Reference.parse("contract/base:1")
    tar = archive({"etc/hello": b"hello"}, uid=0, gid=0)
    facts = world.engine.load_base(iter((tar,)), name, command=("/bin/sh",))
    assert (facts.command, ask(world, name)) == (("/bin/sh",), facts)


def test_a_name_that_was_given_is_among_all_names(world: World) -> None:
    image = world.engine.assemble(assembly(world.builder(QUIET)), lambda _: None).id
    also = Reference.parse("contract/also:2")
    world.engine.name(image, (also,))
    assert {str(NAME), str(also)} <= set(world.engine.names())


def test_what_is_not_there_cannot_be_pushed(world: World) -> None:
    nowhere = Reference.parse("127.0.0.1:1/contract/never-made:1")
    with pytest.raises(ImageNotFound, match="there is no image"):
        world.engine.push(nowhere, login=None, confirm=lambda name, _: name.digest, emit=lambda _: None)


def test_what_was_saved_is_taken_in_again_as_the_same_image(world: World) -> None:
    image = world.engine.assemble(assembly(world.builder(QUIET)), lambda _: None).id
    with world.engine.save(image) as saved:
        content = b"".join(saved)
    assert world.engine.load(iter((content,))) == image


def test_what_is_not_there_cannot_be_saved(world: World) -> None:
    with pytest.raises(ImageNotFound, match="there is no image"), world.engine.save("contract/never-made:1") as saved:
        b"".join(saved)


@pytest.mark.parametrize("content", [b"no tar at all" * 100, archive({"etc/hello": b"hello"}, uid=0, gid=0)])
def test_what_is_no_image_is_not_taken_in(world: World, content: bytes) -> None:
    with pytest.raises(CommitContainerFailed, match="could not load the image"):
        world.engine.load(iter((content,)))


def _texts(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Line)]
