"""Images that are there already, on their way to a registry: out of an engine that runs nothing, and out of files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from s2ictl import layouts, oci, tarballs
from s2ictl.errors import ImageNotFound, InvalidUsage
from s2ictl.events import Emit, Event
from s2ictl.layouts import Laid
from s2ictl.models import Image, ImageFacts, Reference
from s2ictl.push import Attachment, PushRequest, Stock, push
from s2ictl.registry import OpenRepository, Repository
from s2ictl.transport import Transport
from tests.fakes.images import LAYER, SmallImage, blob, index_of, small_image
from tests.fakes.registry import FakeRegistry, running
from tests.workbench import Bench

HERE = Reference.parse("shop:1")
FACTS = ImageFacts(id=f"sha256:{'1' * 64}")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def repository(emit: Emit) -> Iterator[OpenRepository]:
    with Transport({}, emit=emit) as transport:
        yield partial(Repository, transport=transport, logins=lambda _: None)


@pytest.fixture
def bench(events: list[Event]) -> Bench:
    bench = Bench(events=events)
    bench.engine.images[str(HERE)] = FACTS
    return bench


def stock_of(bench: Bench) -> Stock:
    return Stock(workshop=bench.workshop(), listing=bench.engine)


def no_engine() -> Stock:
    raise AssertionError("no engine is needed")


def named(registry: FakeRegistry, *names: str) -> tuple[Reference, ...]:
    return tuple(Reference.parse(f"{registry.host}/{name}") for name in names)


def laid(directory: Path, *images: SmallImage) -> Laid:
    """These images in a layout, as an index where there are several."""
    several = {"amd64": images[0], "arm64": images[-1]}
    picture = oci.Picture(
        blobs=tuple(each for image in images for each in (blob(image.layer), blob(image.config, oci.CONFIG))),
        manifest=index_of(**several) if len(images) > 1 else images[0].manifest,
        id=oci.digest_of(images[0].config),
        kind=oci.INDEX if len(images) > 1 else oci.MANIFEST,
        children=tuple(image.manifest for image in images) if len(images) > 1 else (),
    )
    with layouts.writable(directory) as layout:
        oci.deliver(picture, layout, ("1",), emit=lambda _: None)
    return Laid(kind="oci", path=directory, tag="1")


# -------------------------------------------------------------------------------------------------- out of an engine


def test_an_image_of_the_engine_is_given_its_names_and_pushed_under_all_of_them(bench: Bench, emit: Emit) -> None:
    names = tuple(map(Reference.parse, ("r.example.com/shop:1", "r.example.com/shop:latest")))
    request = PushRequest(image=HERE, names=names)
    made = push((request,), stock=lambda: stock_of(bench), repository=never, emit=emit)
    assert made == (Image(names=names, id=FACTS.id, digest=FACTS.id),)
    assert sorted(bench.engine.registry) == [str(name) for name in names]
    assert str(HERE) in bench.engine.images


def test_an_image_for_another_machine_is_pushed_as_any_other(bench: Bench, emit: Emit) -> None:
    there = Reference.parse("r.example.com/shop:1")
    bench.engine.images[str(there)] = replace(FACTS, platform="linux/arm64")
    (made,) = push(
        (PushRequest(image=there, names=(there,)),), stock=lambda: stock_of(bench), repository=never, emit=emit
    )
    assert (made.id, list(bench.engine.registry)) == (FACTS.id, [str(there)])


def test_nothing_is_pushed_where_one_of_several_is_not_there(bench: Bench, emit: Emit) -> None:
    there, absent = (Reference.parse(f"r.example.com/{name}") for name in ("shop:1", "shop:2"))
    bench.engine.images[str(there)] = FACTS
    requests = tuple(PushRequest(image=name, names=(name,)) for name in (there, absent))
    with pytest.raises(ImageNotFound) as failure:
        push(requests, stock=lambda: stock_of(bench), repository=never, emit=emit)
    assert failure.value.message == "there is no image r.example.com/shop:2 in the engine"
    assert failure.value.detail == "there is r.example.com/shop:1, shop:1"
    assert bench.engine.registry == {}


@pytest.mark.parametrize(
    ("typed", "near"),
    [("shop:2", "there is shop:1"), ("shpo:1", "there is shop:1"), ("something/else:1", "")],
)
def test_what_is_not_there_is_said_with_what_is_near(typed: str, near: str, bench: Bench, emit: Emit) -> None:
    request = PushRequest(image=Reference.parse(typed), names=(Reference.parse("r.example.com/shop:1"),))
    with pytest.raises(ImageNotFound) as failure:
        push((request,), stock=lambda: stock_of(bench), repository=never, emit=emit)
    assert failure.value.detail == near


def test_two_images_cannot_have_one_name(bench: Bench, emit: Emit) -> None:
    name = Reference.parse("r.example.com/shop:1")
    requests = tuple(PushRequest(image=Reference.parse(image), names=(name,)) for image in ("shop:1", "shop:2"))
    with pytest.raises(InvalidUsage, match=r"shop:1 and shop:2 would both be r.example.com/shop:1"):
        push(requests, stock=lambda: stock_of(bench), repository=never, emit=emit)


def never(name: Reference) -> Repository:
    raise AssertionError(f"nobody asks for {name}")


# ----------------------------------------------------------------------------------------------------- out of a file


def test_an_image_of_a_layout_is_pushed_byte_for_byte_and_once_for_all_tags(
    registry: FakeRegistry, repository: OpenRepository, tmp_path: Path, emit: Emit
) -> None:
    image, names = small_image(), named(registry, "shop:1", "shop:latest")
    request = PushRequest(image=laid(tmp_path / "layout", image), names=names)
    made = push((request,), stock=no_engine, repository=repository, emit=emit)
    assert made == (Image(names=names, id=oci.digest_of(image.config), digest=image.digest),)
    assert [registry.manifests["shop", tag] for tag in ("1", "latest")] == [(oci.MANIFEST, image.manifest)] * 2
    assert registry.tried("POST", "/blobs/uploads/") == 2  # the layer and the configuration


def test_an_image_for_several_platforms_goes_whole(
    registry: FakeRegistry, repository: OpenRepository, tmp_path: Path, emit: Emit
) -> None:
    images = small_image(), small_image(architecture="arm64")
    request = PushRequest(image=laid(tmp_path / "layout", *images), names=named(registry, "shop:1"))
    (made,) = push((request,), stock=no_engine, repository=repository, emit=emit)
    index = index_of(amd64=images[0], arm64=images[1])
    assert (made.digest, registry.manifests["shop", "1"]) == (oci.digest_of(index), (oci.INDEX, index))
    assert all(("shop", image.digest) in registry.manifests for image in images)


def test_an_image_of_a_tar_is_the_one_of_its_layout(
    registry: FakeRegistry, repository: OpenRepository, tmp_path: Path, emit: Emit
) -> None:
    image = small_image()
    picture = layouts.picture(layouts.Layout(laid(tmp_path / "layout", image).path), "1")
    tarballs.write(tmp_path / "app.tar", picture, (HERE,), platform="linux/amd64", emit=emit)
    request = PushRequest(image=Laid(kind="tar", path=tmp_path / "app.tar"), names=named(registry, "shop:1"))
    (made,) = push((request,), stock=no_engine, repository=repository, emit=emit)
    assert (made.digest, registry.blobs["shop", oci.digest_of(LAYER)]) == (image.digest, LAYER)


@pytest.mark.parametrize("kind", ["oci", "tar"])
def test_a_file_that_is_not_there_is_no_image(kind: str, tmp_path: Path, emit: Emit) -> None:
    request = PushRequest(image=Laid(kind=kind, path=tmp_path / "nothing"), names=(HERE,))  # type: ignore[arg-type]
    with pytest.raises(ImageNotFound):
        push((request,), stock=no_engine, repository=never, emit=emit)


def test_a_tag_that_a_layout_does_not_have_is_said_with_those_that_it_has(tmp_path: Path, emit: Emit) -> None:
    there = laid(tmp_path / "layout", small_image())
    request = PushRequest(image=Laid(kind="oci", path=there.path, tag="2"), names=(HERE,))
    with pytest.raises(ImageNotFound) as failure:
        push((request,), stock=no_engine, repository=never, emit=emit)
    assert failure.value.detail == "it has 1"


def test_what_is_attached_is_found_by_the_digest_in_every_repository(
    registry: FakeRegistry, repository: OpenRepository, tmp_path: Path, emit: Emit
) -> None:
    names = named(registry, "shop:1", "shop:latest", "also:1")
    said = Attachment(kind="application/spdx+json", name="sbom.json", content=b"{}")
    request = PushRequest(image=laid(tmp_path / "layout", small_image()), names=names, attachments=(said,))
    (made,) = push((request,), stock=no_engine, repository=repository, emit=emit)
    found = [repository(name).referrers(made.digest, kind=said.kind) for name in (names[0], names[2])]
    assert [len(each) for each in found] == [1, 1]
