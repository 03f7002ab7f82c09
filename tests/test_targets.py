"""One image in several places: each has it under all of its names, and by the same digest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from s2ictl import layouts, oci, shelf, tarballs
from s2ictl.build import build
from s2ictl.errors import InvalidUsage, RegistryFailed
from s2ictl.events import Emit
from s2ictl.layouts import Layout
from s2ictl.models import ImageFacts, Reference, Target
from s2ictl.targets import ENGINE, REGISTRY, Ways, carried, check, places, put
from tests.fakes.engine import FakeEngine
from tests.fakes.images import picture_of, small_image
from tests.workbench import REQUEST, Bench, tree

ONE = Reference.parse("registry.example.com/team/shop:1.4")
ALSO = Reference.parse("registry.example.com/team/shop:latest")
OTHER = Reference.parse("other.example.com/shop:1.4")
IMAGE = picture_of(small_image())


@dataclass(slots=True)
class Registry:
    """A registry that only listens."""

    tagged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    is_broken: bool = False

    def open(self, name: Reference) -> oci.Target:
        return _Repository(self, str(name))

    def ways(self, engine: FakeEngine, *held: str) -> Ways:
        return Ways(repository=self.open, carrier=lambda: engine, platform="linux/amd64", held=held)


@dataclass(slots=True)
class _Repository:
    registry: Registry
    name: str

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        if self.registry.is_broken:
            raise RegistryFailed("it keeps failing")
        return oci.descriptor_of(blob)

    def tag(
        self, manifest: bytes, tags: tuple[str, ...], *, kind: str = oci.MANIFEST, children: tuple[bytes, ...] = ()
    ) -> str:
        self.registry.tagged[self.name] = tags
        return oci.digest_of(manifest)


def everywhere(directory: Path) -> tuple[Target, ...]:
    return (
        REGISTRY,
        ENGINE,
        Target(kind="oci", path=directory / "out"),
        Target(kind="tar", path=directory / "out.tar"),
    )


def test_every_place_has_the_image_under_all_of_its_names(tmp_path: Path, emit: Emit) -> None:
    registry, engine = Registry(), FakeEngine()
    digest = put(IMAGE, everywhere(tmp_path), (ONE, ALSO, OTHER), registry.ways(engine), emit=emit)
    assert digest == IMAGE.digest
    assert registry.tagged == {
        "registry.example.com/team/shop": ("1.4", "latest"),
        "other.example.com/shop": ("1.4",),
    }
    assert engine.names() == tuple(sorted(map(str, (ONE, ALSO, OTHER))))
    assert {layouts.picture(Layout(tmp_path / "out"), tag).digest for tag in ("1.4", "latest")} == {digest}
    with tarballs.opened(tmp_path / "out.tar") as stored:
        assert layouts.picture(stored, "latest").digest == digest


def test_places_are_named_as_other_tools_find_them(tmp_path: Path) -> None:
    out = Target(kind="oci", path=Path("/srv/out"))
    tar = Target(kind="tar", path=Path("/srv/out.tar"))
    assert places((out, tar), (ONE, ALSO, OTHER)) == ("oci:/srv/out:1.4", "oci:/srv/out:latest", "tar:/srv/out.tar")
    assert places((REGISTRY, ENGINE), (ONE,)) == (str(ONE),)
    assert places((out,), ()) == ("oci:/srv/out",)


def test_where_a_registry_fails_the_rest_is_there(tmp_path: Path, emit: Emit) -> None:
    with pytest.raises(RegistryFailed):
        put(IMAGE, everywhere(tmp_path), (ONE,), Registry(is_broken=True).ways(FakeEngine()), emit=emit)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.tar"}


def test_an_engine_is_sent_only_what_it_does_not_hold(tmp_path: Path, emit: Emit) -> None:
    engine, layer = FakeEngine(), IMAGE.blobs[0]
    engine.layers[layer.digest] = b"".join(layer.chunks())
    put(IMAGE, (ENGINE,), (ONE,), Registry().ways(engine, layer.digest), emit=emit)
    assert engine.sent == [()]


def test_an_engine_that_does_not_hold_it_after_all_is_sent_everything(tmp_path: Path, emit: Emit) -> None:
    engine, layer = FakeEngine(), IMAGE.blobs[0]
    put(IMAGE, (ENGINE,), (ONE,), Registry().ways(engine, layer.digest), emit=emit)
    assert engine.sent == [(layer.digest,)]


def test_an_image_of_an_engine_is_packed_once_for_all_places(tmp_path: Path, emit: Emit) -> None:
    engine = FakeEngine(images={str(ONE): ImageFacts(id="sha256:1", layers=("one", "two"))})
    targets = tuple(target for target in everywhere(tmp_path) if target != ENGINE)
    with shelf.opened(tmp_path / "bases") as kept:
        digest = carried("sha256:1", targets, (ONE,), Registry().ways(engine), shelf=kept, emit=emit)
    assert layouts.picture(Layout(tmp_path / "out"), "1.4").digest == digest
    assert list((tmp_path / "bases/blobs/sha256").iterdir()) == []


def test_what_stands_in_the_way_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/photo").touch()
    with pytest.raises(InvalidUsage, match="is not an OCI layout"):
        check(everywhere(tmp_path))
    with pytest.raises(InvalidUsage, match="is no file"):
        check((Target(kind="tar", path=tmp_path),))


# ------------------------------------------------------------------------------------------------- the build's end


def test_a_build_for_a_file_and_a_registry_is_carried_there_at_once(tmp_path: Path) -> None:
    bench = Bench(tree=tree({"hello.txt": b"hello"}))
    asked: list[tuple[object, ...]] = []

    def carry(*words: object) -> str:
        asked.append(words[:3])
        return f"sha256:{'d' * 64}"

    out = Target(kind="oci", path=tmp_path / "out")
    request = replace(REQUEST, push=True, targets=(out,))
    image = build(request, replace(bench.workshop(), carry=carry), emit=bench.events.append)
    assert asked == [(image.id, (REGISTRY, out), REQUEST.names)]
    assert (image.digest, bench.engine.registry) == (f"sha256:{'d' * 64}", {})


def test_a_file_in_the_source_is_pointed_out(tmp_path: Path) -> None:
    bench = Bench(tree=tree({"hello.txt": b"hello"}))
    here = Target(kind="tar", path=tmp_path / "out.tar")
    there = Target(kind="tar", path=tmp_path.parent / "out.tar")
    request = replace(REQUEST, source=replace(REQUEST.source, path=tmp_path), targets=(here, there))
    build(request, bench.workshop(), emit=bench.events.append)
    said = [text for text in bench.notices() if "lies in the source" in text]
    assert said == [f"{here} lies in the source: the next build takes it along, unless .s2iignore leaves it out"]


def test_what_only_the_registry_has_is_built_for_a_file(tmp_path: Path) -> None:
    bench = Bench(tree=tree({"hello.txt": b"hello"}, digest=lambda: "sha256:tree"))
    bench.registered = lambda name, _: bench.engine.registry.get(str(name))
    bench.build(replace(REQUEST, push=True))
    bench.engine.images = {"b:1": bench.engine.images["b:1"]}
    assert bench.build(replace(REQUEST, push=True)).unchanged
    again = bench.build(replace(REQUEST, push=True, targets=(Target(kind="oci", path=tmp_path / "out"),)))
    assert not again.unchanged
