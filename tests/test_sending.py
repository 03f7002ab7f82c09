"""A layer on its way: read once, wherever and to how many places it goes, and never lost by the last of them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from s2ictl import layouts, oci
from s2ictl.build import build
from s2ictl.engines import Layered
from s2ictl.engines.append import nothing
from s2ictl.errors import CommitContainerFailed, PushUnauthorized, S2IError, Unreachable
from s2ictl.events import Emit, Event, Notice
from s2ictl.layouts import Layout
from s2ictl.models import Assembly, ImageConfig, ImageFacts, Reference, Target
from s2ictl.sending import Packing, base_of, send
from s2ictl.targets import REGISTRY, Ways
from s2ictl.workshop import Outlet
from tests.fakes.engine import FakeEngine
from tests.workbench import BUILDER, PLAIN, REQUEST, TAG, Bench

HERE = "linux/amd64"
OTHER = Reference.parse("other.example.com/app:1")
SAID = ImageConfig(command=("run",), entrypoint=(), user="1", workdir="/", env=(), labels={"a": "b"})
BASE = nothing(HERE)


@dataclass
class Remote:
    """A repository that takes everything in, or breaks off so often first."""

    breaks: int = 0
    refuses: S2IError | None = None
    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        if blob.digest in self.blobs:
            return oci.descriptor_of(blob)
        if self.refuses:
            raise self.refuses
        while self.breaks:
            self.breaks -= 1
            next(blob.chunks())
        content = b"".join(blob.chunks())
        digest = oci.digest_of(content)
        self.blobs[digest] = content
        return oci.Descriptor(media_type=blob.media_type, digest=digest, size=len(content))

    def tag(
        self, manifest: bytes, tags: tuple[str, ...], *, kind: str = oci.MANIFEST, children: tuple[bytes, ...] = ()
    ) -> str:
        self.tags.update(dict.fromkeys(tags, oci.digest_of(manifest)))
        return oci.digest_of(manifest)


@dataclass
class Store:
    """An engine's own place, in a layout."""

    layout: Layout
    kept: dict[str, tuple[Reference, ...]] = field(default_factory=dict)
    known: list[tuple[str, str]] = field(default_factory=list)

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        return self.layout.write(blob)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        return self.layout.read(descriptor)

    def keeping(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        return self.layout.keeping(chunks)

    def keep(self, picture: oci.Picture, names: tuple[Reference, ...]) -> None:
        assert all(self.layout.has(blob) for blob in picture.blobs[:-1])
        self.kept[picture.id] = names

    def registered(self, image: str, name: Reference, digest: str) -> None:
        self.known.append((str(name), digest))


@dataclass
class Leaving:
    """What assemble left, and how often it was read."""

    content: bytes = b"layer " * 1000
    read: int = 0

    @property
    def layer(self) -> Layered:
        return Layered(config=SAID, chunks=self._chunks, epoch=7)

    def _chunks(self) -> Iterator[bytes]:
        self.read += 1
        yield self.content[:2000]
        yield self.content[2000:]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with layouts.writable(tmp_path / "store"):
        """A new one appears whole."""
    return Store(layout=Layout(tmp_path / "store"))


def ways(*remotes: tuple[Reference, Remote]) -> Ways:
    known = {str(replace(name, tag="")): remote for name, remote in remotes}

    def nowhere() -> FakeEngine:
        raise AssertionError("no engine is to be asked")

    return Ways(repository=lambda name: known[str(name)], carrier=nowhere, platform=HERE)


def sent(
    left: Leaving,
    remote: Remote,
    packing: Packing,
    *,
    to: tuple[Target, ...] = (REGISTRY,),
    names: tuple[Reference, ...] = (TAG,),
    emit: Emit = lambda _: None,
) -> ImageFacts:
    return send(left.layer, BASE, to, names, ways((TAG, remote), (OTHER, remote)), packing, emit=emit)


def nowhere() -> Store:
    raise AssertionError("nothing is to be packed here")


def test_to_one_registry_it_goes_in_one_pass_and_lies_nowhere_here() -> None:
    left, remote = Leaving(), Remote()
    facts = sent(left, remote, Packing(place=nowhere))
    assert (left.read, remote.tags) == (1, {"1": facts.digest})
    diff_id = f"sha256:{hashlib.sha256(left.content).hexdigest()}"
    assert (facts.layers, facts.labels, facts.created) == ((diff_id,), {"a": "b"}, "1970-01-01T00:00:07Z")
    assert left.content in {gzip.decompress(blob) for blob in remote.blobs.values() if blob[:2] == b"\x1f\x8b"}


def test_what_breaks_off_is_read_again_and_is_the_same() -> None:
    once, again = sent(Leaving(), Remote(), Packing(place=nowhere)), Leaving()
    assert sent(again, Remote(breaks=2), Packing(place=nowhere)) == once
    assert again.read == 3


def test_where_images_stay_it_is_kept_while_it_is_sent(store: Store) -> None:
    left, remote = Leaving(), Remote(breaks=1)
    facts = sent(left, remote, Packing(place=nowhere, keeping=store))
    assert (left.read, store.kept, store.known) == (2, {facts.id: (TAG,)}, [(str(TAG), facts.digest)])


def test_to_several_places_it_is_packed_once(store: Store, tmp_path: Path) -> None:
    left, remote = Leaving(), Remote()
    directory = Target(kind="oci", path=tmp_path / "out")
    facts = sent(left, remote, Packing(place=lambda: store), to=(REGISTRY, directory), names=(TAG, OTHER))
    assert (left.read, remote.tags) == (1, {"1": facts.digest})
    assert layouts.picture(Layout(tmp_path / "out"), "1").digest == facts.digest
    assert store.kept == {}


def test_one_digest_wherever_it_goes(store: Store, tmp_path: Path) -> None:
    directory = Target(kind="oci", path=tmp_path / "out")
    kept = Packing(place=lambda: store, keeping=store)
    ways_there: tuple[Callable[[], ImageFacts], ...] = (
        lambda: sent(Leaving(), Remote(), Packing(place=nowhere)),
        lambda: sent(Leaving(), Remote(), kept),
        lambda: sent(Leaving(), Remote(), kept, to=(directory,)),
        lambda: sent(Leaving(), Remote(), Packing(place=lambda: store), to=(directory, REGISTRY)),
    )
    assert len({way().digest for way in ways_there}) == 1


@pytest.mark.parametrize("names", [(TAG,), (TAG, OTHER)], ids=["at once", "packed first"])
def test_what_a_registry_refuses_is_kept_where_images_stay(store: Store, names: tuple[Reference, ...]) -> None:
    left, said = Leaving(), list[Event]()
    packing = Packing(place=lambda: store, keeping=store)
    with pytest.raises(PushUnauthorized):
        sent(left, Remote(refuses=PushUnauthorized("no")), packing, names=names, emit=said.append)
    assert list(store.kept.values()) == [names]
    assert left.read == 1
    notices = [event.text for event in said if isinstance(event, Notice)]
    assert notices == ["the image is in the engine: the same build once more only sends it"]


# ------------------------------------------------------------------------------------------------- what it stands on


@dataclass
class Shelf:
    kept: dict[str, oci.Base] = field(default_factory=dict)

    def held(self, image: str) -> oci.Base | None:
        return self.kept.get(image)

    def keep(self, facts: ImageFacts, image: Iterator[bytes], *, name: str) -> oci.Base:
        b"".join(image)
        return self.kept.setdefault(facts.id, replace(BASE, name=name))


@dataclass(frozen=True)
class Published:
    base: oci.Base | None

    def bases(self, platforms: tuple[str, ...] = ()) -> tuple[oci.Base, ...]:
        if self.base is None:
            raise Unreachable("could not reach registry.example.com")
        return (self.base,)


def standing(base: oci.Base | None, last: Assembly, shelf: Shelf, said: list[Event]) -> oci.Base:
    engine = FakeEngine(images={"b:1": replace(BUILDER, id=last.image_id)})
    return base_of(last, engine, lambda _: Published(base), shelf, said.append)


def test_it_stands_on_the_image_that_its_registry_has_by_that_digest() -> None:
    document = b"{}"
    theirs = replace(BASE, name="b:1", document=document)
    last = replace(PLAIN, image_id=oci.digest_of(document))
    assert standing(theirs, last, Shelf(), []) is theirs


@pytest.mark.parametrize("theirs", [None, replace(BASE, document=b"another image")])
def test_what_no_registry_has_so_is_taken_out_of_the_engine_once(theirs: oci.Base | None) -> None:
    shelf = Shelf()
    said: list[Event] = []
    assert standing(theirs, PLAIN, shelf, said).name == "b:1"
    assert standing(theirs, PLAIN, shelf, said) is shelf.kept[PLAIN.image_id]
    warnings = [event.text for event in said if isinstance(event, Notice)]
    assert (
        warnings == [] if theirs else ["could not reach registry.example.com; so b:1 is sent as the engine has it"] * 2
    )


# ---------------------------------------------------------------------------------------------------------- the story


def outlet(bench: Bench, remote: Remote, packing: Packing, *, keeps: bool) -> Outlet:
    return Outlet(
        layered=bench.engine.layered,
        base=lambda *_: BASE,
        send=lambda left, base, to, names, emit: send(left, base, to, names, ways((TAG, remote)), packing, emit=emit),
        keeps=keeps,
    )


def test_a_build_that_is_pushed_makes_no_image_in_an_engine_it_passes_by() -> None:
    bench, remote = Bench(), Remote()
    bench.outlet = outlet(bench, remote, Packing(place=nowhere), keeps=False)
    before = dict(bench.engine.images)
    image = bench.build(replace(REQUEST, push=True))
    assert (image.digest, bench.engine.images) == (remote.tags["1"], before)
    assert image.facts is not None
    assert image.facts.id == image.id


@pytest.mark.parametrize("change", [{"here": True}, {"remove_previous": True}, {"incremental": True}, {"push": False}])
def test_it_is_made_there_where_something_asks_for_it(change: dict[str, bool]) -> None:
    bench = Bench()
    bench.outlet = outlet(bench, Remote(), Packing(place=nowhere), keeps=False)
    bench.build(replace(REQUEST, **{"push": True, **change}))  # type: ignore[arg-type]
    assert str(TAG) in bench.engine.images


def test_an_engine_that_keeps_what_it_sends_is_never_passed_by(store: Store) -> None:
    bench, remote = Bench(), Remote()
    bench.outlet = outlet(bench, remote, Packing(place=nowhere, keeping=store), keeps=True)
    image = bench.build(replace(REQUEST, push=True, here=True))
    assert (image.digest, store.kept) == (remote.tags["1"], {image.id: (TAG,)})


def test_what_fails_on_its_way_fails_the_build() -> None:
    bench = Bench()
    bench.outlet = outlet(bench, Remote(refuses=CommitContainerFailed("full")), Packing(place=nowhere), keeps=False)
    with pytest.raises(CommitContainerFailed):
        build(replace(REQUEST, push=True), bench.workshop(), emit=lambda _: None)
