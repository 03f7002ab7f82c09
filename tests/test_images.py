"""The store of the engine without a daemon: what Docker would say of its images, each layer once, nothing left over.

Who unpacks is a double here; the real one is in tests/embedded/.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from s2ictl import images, oci
from s2ictl.errors import (
    CommitContainerFailed,
    ConnectionLost,
    ImageNotFound,
    LimitReached,
    PullBuilderImageFailed,
)
from s2ictl.events import Event, Progress
from s2ictl.images import Room, Store
from s2ictl.layouts import Layout
from s2ictl.models import ImageFacts, Reference
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests.fakes.carried import Form, config_of, loaded, packed, saved
from tests.fakes.published import HOME, NAME, picture, published
from tests.fakes.registry import FakeRegistry, Fault, running
from tests.fakes.unpacker import Unpacking

BASE = packed({"etc/hello": b"hello" * 300})
ONE, TWO = packed({"one": b"1" * 1000}), packed({"two": b"2" * 1000})
DAY = 24 * 3600
MONTH = 31 * DAY


def quiet(_: Event) -> None:
    """Nobody looks on."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state/images"


@pytest.fixture
def unpacking(place: Path) -> Unpacking:
    return Unpacking(place)


def opened(place: Path, **given: Any) -> AbstractContextManager[Store]:
    return images.opened(place, unpacker=lambda: Unpacking(place), **given)


def blobs(place: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (place / "oci/blobs/sha256").iterdir()}


def trees(place: Path) -> set[str]:
    return {path.name for path in (place / "layers").iterdir()}


def blobs_of(base: oci.Base) -> set[str]:
    return {oci.digest_of(base.manifest), oci.digest_of(base.document), *(layer.digest for layer in base.layers)}


def age(place: Path, seconds: float) -> None:
    """All that is there was used so long ago."""
    for path in (*(place / "oci/blobs/sha256").iterdir(), *(place / "locks").iterdir()):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def names(place: Path) -> tuple[str, ...]:
    with opened(place) as store:
        return store.names()


# ------------------------------------------------------------------------------------------------------ taking in


def test_where_there_is_nothing_nothing_is_found_and_nothing_made(place: Path) -> None:
    with opened(place) as store:
        assert (store.held("any"), store.find("a", "b"), store.names()) == (None, None, ())
        with pytest.raises(ImageNotFound, match="there is no image any on this machine"):
            store.base("any")
    assert (images.kept(place), place.parent.exists()) == ((), False)


def test_what_was_pulled_says_of_itself_what_an_engine_would_say(place: Path) -> None:
    settings = {
        "Env": ["PATH=/bin"],
        "User": "1001",
        "Labels": {"is": "the base"},
        "Cmd": ["sh"],
        "WorkingDir": "/opt",
        "ExposedPorts": {"9090/tcp": {}, "8080/tcp": {}},
        "Volumes": {"/data": {}},
    }
    base = published(BASE, ONE, settings=settings, created="2026-01-02T03:04:05Z", variant="v3")
    with opened(place) as store:
        facts = store.pull(base, NAME, quiet)
        assert facts == ImageFacts(
            id=oci.digest_of(base.document),
            digest=base.digest,
            labels={"is": "the base"},
            env=("PATH=/bin",),
            user="1001",
            workdir="/opt",
            command=("sh",),
            exposed=("8080/tcp", "9090/tcp"),
            volumes=("/data",),
            platform="linux/amd64",
            created="2026-01-02T03:04:05Z",
            layers=(oci.digest_of(BASE), oci.digest_of(ONE)),
        )
        for image in (str(NAME), facts.id, facts.id[:19], facts.id[7:19], f"{NAME.name}@{base.digest}"):
            assert store.held(image) == facts, image
        assert store.names() == (str(NAME),)
        assert store.held(f"{NAME.name}:2") is None
    assert blobs(place) == blobs_of(base)


@pytest.mark.parametrize(
    ("pulled", "shown"),
    [
        ("tomcat", "tomcat:latest"),
        ("docker.io/library/tomcat:9", "tomcat:9"),
        ("index.docker.io/team/app:1", "team/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
    ],
)
def test_a_name_is_shown_as_the_engine_shows_it_and_found_by_every_spelling(
    pulled: str, shown: str, place: Path
) -> None:
    with opened(place) as store:
        store.pull(published(BASE), Reference.parse(pulled), quiet)
        assert store.names() == (shown,)
        assert store.held(pulled) == store.held(shown) is not None


def test_an_image_that_was_asked_for_by_its_digest_has_no_name_and_is_found_by_that(place: Path) -> None:
    base, index = published(BASE), f"sha256:{'d' * 64}"
    with opened(place) as store:
        facts = store.pull(base, NAME.at(index), quiet)
        assert (store.names(), facts.digest) == ((), index)
        for digest in (index, base.digest):
            assert store.held(f"{NAME.name}@{digest}") == facts


def test_an_image_for_several_platforms_has_the_digest_to_which_its_name_leads(place: Path) -> None:
    base, index = published(BASE), f"sha256:{'d' * 64}"
    with opened(place) as store:
        assert store.pull(base, NAME, quiet, digest=index).digest == index
        assert store.held(f"{NAME.name}@{base.digest}") == store.held(str(NAME)) is not None


def test_only_what_is_not_here_is_fetched(place: Path) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("these bytes are here")

    first, second = published(BASE, ONE), published(BASE, TWO)
    with opened(place) as store:
        store.pull(first, NAME, quiet)
        known = replace(second, layers=(replace(second.layers[0], chunks=never), second.layers[1]))
        store.pull(known, Reference.parse("other:1"), quiet)
    assert blobs(place) == blobs_of(first) | blobs_of(second)


def test_an_image_that_is_here_is_not_fetched_again_in_other_packing_unless_that_can_be_mounted(place: Path) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError("the image is here")

    layers, here = (BASE, ONE), Reference.parse("app:1")
    registrys = published(*layers, pack=lambda layer: gzip.compress(layer, 9, mtime=0))
    homeless = replace(registrys, layers=tuple(replace(layer, home="", chunks=never) for layer in registrys.layers))
    with opened(place) as store:
        made = store.load(iter((saved(layers, names=["app:1"]),)))
        packed_here = {layer.digest for layer in store.base(made.id).layers}
        assert store.pull(replace(homeless, document=config_of(layers)), here, quiet).id == made.id
        assert {layer.digest for layer in store.base(made.id).layers} == packed_here
        store.pull(registrys, here, quiet)
        assert [layer.digest for layer in store.base("app:1").layers] == [layer.digest for layer in registrys.layers]
        assert {layer.home for layer in store.base("app:1").layers} == {HOME}


def test_several_layers_are_on_their_way_at_once(place: Path) -> None:
    base, met = published(BASE, ONE, TWO), threading.Barrier(3)

    def together(layer: oci.Blob) -> oci.Blob:
        def chunks() -> Iterator[bytes]:
            met.wait(timeout=20)
            yield from layer.chunks()

        return replace(layer, chunks=chunks)

    with opened(place) as store:
        store.pull(replace(base, layers=tuple(map(together, base.layers))), NAME, quiet)
    assert blobs(place) == blobs_of(base)


def test_of_a_layer_that_does_not_come_nothing_is_left_nor_of_the_others(place: Path) -> None:
    base, over = published(BASE, ONE), threading.Event()

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1000)
            over.wait(0.01)

    def lost() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionLost("registry.example.com fell silent")

    layers = (replace(base.layers[0], chunks=endless), replace(base.layers[1], chunks=lost))
    with pytest.raises(ConnectionLost, match="fell silent"), opened(place) as store:
        store.pull(replace(base, layers=layers), NAME, quiet)
    assert (blobs(place), names(place)) == (set(), ())


def test_a_layer_that_comes_as_other_bytes_is_not_kept(place: Path) -> None:
    base = published(BASE, ONE)
    layers = (base.layers[0], replace(base.layers[1], chunks=lambda: iter((b"other",))))
    with pytest.raises(PullBuilderImageFailed, match=f"could not pull {NAME}") as failure, opened(place) as store:
        store.pull(replace(base, layers=layers), NAME, quiet)
    assert "came as other bytes" in failure.value.detail
    assert (blobs(place), names(place)) == (set(), ())


def test_where_there_is_no_room_it_is_said_and_nothing_is_left(place: Path) -> None:
    def full() -> Iterator[bytes]:
        yield b"half"
        raise OSError(errno.ENOSPC, "No space left on device")

    base = published(BASE, ONE)
    layers = (base.layers[0], replace(base.layers[1], chunks=full))
    with pytest.raises(LimitReached, match="no space is left to write") as failure, opened(place) as store:
        store.pull(replace(base, layers=layers), NAME, quiet)
    assert failure.value.exit_code == 11
    assert (blobs(place), names(place)) == (set(), ())


def test_what_could_not_be_unpacked_is_not_even_fetched(place: Path) -> None:
    def never() -> Iterator[bytes]:
        raise AssertionError

    base = published(BASE, kind=f"{oci.LAYER}+zstd")
    layers = tuple(replace(layer, chunks=never) for layer in base.layers)
    with pytest.raises(PullBuilderImageFailed) as failure, opened(place) as store:
        store.pull(replace(base, layers=layers), NAME, quiet)
    assert "zstd" in failure.value.detail
    assert not place.exists()


def test_a_layer_of_a_registry_is_taken_up_where_it_broke_off(place: Path) -> None:
    base, registry = published(packed({"large": os.urandom(3 << 20)}), ONE), FakeRegistry()
    for content in (base.document, *(b"".join(layer.chunks()) for layer in base.layers)):
        registry.put("team/base", content)
    registry.tag("team/base", "1", oci.MANIFEST, base.manifest)
    large = base.layers[0].digest
    registry.faults += [
        Fault(method="GET", path=f"/blobs/{large}", action="truncate"),
        Fault(method="GET", path=f"/blobs/{large}", status=503),
    ]
    with running(registry), Transport({}, emit=quiet, sleep=lambda _: None) as transport, opened(place) as store:
        name = Reference.parse(f"{registry.host}/team/base:1")
        repository = Repository(name, transport=transport, logins=lambda _: None)
        facts = store.pull(repository.bases(("linux/amd64",))[0], name, quiet)
        assert (facts.id, facts.digest) == (oci.digest_of(base.document), base.digest)
        assert {layer.home for layer in store.base(str(name)).layers} == {f"{registry.host}/team/base"}
    assert blobs(place) == blobs_of(base)
    ranges = [asked.headers.get("Range", "") for asked in registry.asked if large in asked.path]
    assert len(ranges) == 3
    assert ranges[0] == ""
    assert ranges[2].startswith("bytes=")


def test_an_archive_with_names_without_end_costs_nobody_his_images(place: Path) -> None:
    many = [f"team/app:{number}" for number in range(20_000)]
    with opened(place) as store:
        store.pull(published(BASE), NAME, quiet)
        with pytest.raises(LimitReached, match="names of images are too many"):
            store.load(iter((saved((ONE,), names=many),)))
        assert store.names() == (str(NAME),)


def test_progress_is_told_of_what_comes(place: Path) -> None:
    base, told = published(BASE), list[Event]()
    content = b"".join(base.layers[0].chunks())
    went_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield content[:10]
        went_on.wait(20)
        yield content[10:]

    def emit(event: Event) -> None:
        told.append(event)
        went_on.set()

    with opened(place) as store:
        store.pull(replace(base, layers=(replace(base.layers[0], chunks=slowly),)), NAME, emit)
    assert told[0] == Progress(subject=str(NAME), done=10, total=len(content))
    assert told[-1] == Progress(subject=str(NAME), done=len(content), total=len(content))


@pytest.mark.parametrize("form", ["docker", "blobs", "oci"])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
def test_an_image_that_another_engine_saved_keeps_its_id(form: Form, compress: bool, place: Path) -> None:
    layers = (BASE, ONE, BASE)
    archive = saved(layers, names=["team/app:1", "not a name"], form=form, compress=compress and form != "docker")
    with opened(place) as store:
        facts = store.load(iter((archive,)))
        assert facts.id == oci.digest_of(config_of(layers))
        assert facts.layers == tuple(map(oci.digest_of, layers))
        assert store.names() == (() if form == "oci" else ("team/app:1",))
        assert store.load(iter((archive,)), (Reference.parse("mine"),)).id == facts.id
        assert "mine:latest" in store.names()


def test_what_was_saved_cut_off_is_not_loaded_and_leaves_nothing(place: Path) -> None:
    archive = saved((BASE, ONE))
    with pytest.raises(CommitContainerFailed, match="could not load the image") as failure, opened(place) as store:
        store.load(iter((archive[: len(archive) // 2],)))
    assert "not a whole image" in failure.value.detail
    assert (blobs(place), names(place)) == (set(), ())


def test_what_is_saved_is_what_every_engine_loads(place: Path) -> None:
    base = published(BASE, ONE)
    with opened(place) as store:
        store.pull(base, NAME, quiet)
        store.name(str(NAME), (Reference.parse("other:2"),))
        archive = loaded(b"".join(store.save("other:2")))
        assert loaded(b"".join(store.save(oci.digest_of(base.document)))).names == ()
    assert archive.config == base.document
    assert archive.names == ("other:2",)
    assert archive.layers == {oci.digest_of(layer): layer for layer in (BASE, ONE)}


# -------------------------------------------------------------------------------------------------- made and named


def test_what_was_made_here_is_found_by_its_label_the_newest_first(place: Path) -> None:
    with opened(place) as store:
        store.pull(published(BASE, settings={"Labels": {"recipe": "abc"}}), NAME, quiet)
        assert store.find("recipe", "abc") is None, "anybody can publish any label"
        for number in ("1", "2"):
            made = picture(BASE, ONE, recipe="abc", number=number)
            store.keep(made, (Reference.parse(f"app:{number}"),))
        found = store.find("recipe", "abc")
        assert found is not None
        assert (found.id, found.digest, found.labels) == (made.id, "", {"recipe": "abc", "number": "2"})
        assert store.find("recipe", "abd") is None


def test_an_image_without_a_name_is_there_under_its_id_alone(place: Path) -> None:
    made = picture(BASE)
    with opened(place) as store:
        assert store.keep(made, ()).id == made.id
        assert (store.names(), store.held(made.id) is not None) == ((), True)
    with opened(place) as store:
        store.remove(made.id)
        assert store.held(made.id) is None
    assert blobs(place) == set()


def test_a_name_leads_to_the_image_that_had_it_last_and_one_with_a_name_is_not_removed(place: Path) -> None:
    old, new, app = picture(BASE, is_="old"), picture(BASE, is_="new"), Reference.parse("app")
    with opened(place) as store:
        store.keep(old, (app,))
        store.keep(new, (app, Reference.parse("app:2")))
        assert (store.names(), _id(store, "app")) == (("app:2", "app:latest"), new.id)
        store.name(old.id, (app,))
        assert (_id(store, "app"), _id(store, "app:2")) == (old.id, new.id)
        store.remove(old.id)
        assert store.held(old.id) is not None
        store.forget("app")
        assert (store.held(old.id), store.names()) == (None, ("app:2",))
        with pytest.raises(CommitContainerFailed, match="could not name"):
            store.name(old.id, (app,))


def test_where_one_name_is_none_the_image_gets_none_of_them(place: Path) -> None:
    fine, wrong = Reference.parse("app:2"), Reference(registry="", repository="UPPER")
    with opened(place) as store:
        made = store.keep(picture(BASE, is_="app"), (Reference.parse("app:1"),))
        with pytest.raises(CommitContainerFailed, match="could not name the image UPPER"):
            store.name(made.id, (fine, wrong))
        with pytest.raises(CommitContainerFailed, match="could not name the image UPPER"):
            store.keep(picture(ONE), (fine, wrong))
        assert store.names() == ("app:1",)


def _id(store: Store, name: str) -> str:
    facts = store.held(name)
    return facts.id if facts else ""


def test_layers_say_from_where_a_registry_can_mount_them(place: Path) -> None:
    base, made = published(BASE), picture(BASE, ONE, is_="app")
    with opened(place) as store:
        store.pull(base, NAME, quiet)
        store.keep(made, (Reference.parse("app:1"),))
        stands_on = store.base(str(NAME))
        assert (stands_on.name, stands_on.digest, stands_on.config) == (str(NAME), base.digest, base.config)
        assert [layer.home for layer in stands_on.layers] == [HOME]
        assert b"".join(stands_on.layers[0].chunks()) == b"".join(base.layers[0].chunks())
        assert [layer.home for layer in store.base("app:1").layers] == [HOME, ""]


def test_what_a_registry_has_now_is_known_by_its_digest_there(place: Path) -> None:
    made, digest = picture(BASE, is_="app"), f"sha256:{'e' * 64}"
    pushed = Reference.parse("r.example.com/app:1")
    with opened(place) as store:
        store.keep(made, (pushed,))
        store.registered(made.id, pushed, digest)
        facts = store.held(str(pushed))
        assert facts is not None
        assert facts.digest == digest
        assert [layer.home for layer in store.base(made.id).layers] == ["r.example.com/app"]


def test_other_tools_read_the_index(place: Path) -> None:
    made = picture(BASE, is_="app")
    with opened(place) as store:
        store.keep(made, (Reference.parse("app:1"), Reference.parse("app:2")))
    (base,) = Layout(place / "oci").bases("app:2", ("linux/amd64",))
    assert base.document == b"".join(made.blobs[-1].chunks())


# ------------------------------------------------------------------------------------------------------------- trees


def test_each_layer_is_unpacked_once_on_those_below_it(place: Path, unpacking: Unpacking) -> None:
    first, second = published(BASE, ONE), published(BASE, ONE, TWO)
    one = oci.digest_of(BASE)[7:]
    two = hashlib.sha256(f"sha256:{one} {oci.digest_of(ONE)}".encode()).hexdigest()
    three = hashlib.sha256(f"sha256:{two} {oci.digest_of(TWO)}".encode()).hexdigest()
    with images.opened(place, unpacker=lambda: unpacking) as store:
        store.pull(first, NAME, quiet)
        store.pull(second, Reference.parse("second:1"), quiet)
        assert store.trees(str(NAME), quiet) == (two, one)
        assert store.trees("second:1", quiet) == (three, two, one)
    assert unpacking.made == [(one, ()), (two, (one,)), (three, (two, one))]
    assert trees(place) == {one, two, three}
    assert (place / "layers" / two / "one").read_bytes() == b"1" * 1000


def test_an_image_without_layers_has_no_trees(place: Path) -> None:
    with opened(place) as store:
        store.pull(published(), NAME, quiet)
        assert store.trees(str(NAME), quiet) == ()


@pytest.mark.parametrize(
    ("base", "says"),
    [
        (published(BASE, plain=(ONE,)), "unpacks to other bytes"),
        (published(BASE, pack=lambda layer: gzip.compress(layer)[:-9]), "ends in the middle"),
        (published(BASE, pack=lambda layer: gzip.compress(layer)[:20] + b"nonsense" * 10), "cannot be unpacked"),
        (published(BASE, pack=lambda layer: b"\x28\xb5\x2f\xfd" + layer), "zstd"),
        (published(BASE, pack=lambda layer: gzip.compress(layer + bytes(512))), "unpacks to other bytes"),
    ],
    ids=["another layer", "cut off", "no gzip", "zstd", "more at its end"],
)
def test_what_unpacks_to_other_bytes_is_not_used_and_nothing_of_it_stays(
    base: oci.Base, says: str, place: Path
) -> None:
    with opened(place) as store:
        store.pull(base, NAME, quiet)
        with pytest.raises(PullBuilderImageFailed, match=f"{NAME} is broken") as failure:
            store.trees(str(NAME), quiet)
    assert says in failure.value.detail
    assert (trees(place), blobs(place), names(place)) == (set(), set(), ())


def test_a_blob_that_was_damaged_on_the_disk_is_found_out_and_fetched_again(place: Path) -> None:
    base = published(BASE, ONE)
    with opened(place) as store:
        store.pull(base, NAME, quiet)
    damaged = place / "oci/blobs/sha256" / base.layers[1].digest[7:]
    damaged.write_bytes(bytes(reversed(damaged.read_bytes())))
    with pytest.raises(PullBuilderImageFailed, match="is broken") as failure, opened(place) as store:
        store.trees(str(NAME), quiet)
    assert "came as other bytes" in failure.value.detail or "cannot be unpacked" in failure.value.detail
    with opened(place) as store:
        assert store.held(str(NAME)) is None
        store.pull(base, NAME, quiet)
        assert len(store.trees(str(NAME), quiet)) == 2


def test_an_image_of_which_a_part_is_gone_is_as_good_as_none(place: Path) -> None:
    base = published(BASE, ONE)
    with opened(place) as store:
        store.pull(base, NAME, quiet)
        (place / "oci/blobs/sha256" / base.layers[0].digest[7:]).unlink()
        assert store.held(str(NAME)) is None
        store.pull(base, NAME, quiet)
        assert store.held(str(NAME)) is not None


def test_a_tree_that_is_gone_is_made_again(place: Path, unpacking: Unpacking) -> None:
    with images.opened(place, unpacker=lambda: unpacking) as store:
        store.pull(published(BASE, ONE), NAME, quiet)
        top, bottom = store.trees(str(NAME), quiet)
        unpacking.discard((f"layers/{bottom}",))
        assert store.trees(str(NAME), quiet) == (top, bottom)
    assert [name for name, _ in unpacking.made] == [bottom, top, bottom]


# -------------------------------------------------------------------------------------------------------------- sweep


def test_what_a_killed_process_left_goes_with_the_next_that_is_alone(place: Path) -> None:
    with opened(place) as store:
        store.pull(published(BASE), NAME, quiet)
        store.trees(str(NAME), quiet)
    before = (blobs(place), trees(place))
    (place / "unswept").touch()
    for left in ("oci/blobs/sha256/.0123456789abcdef.partial", f"oci/blobs/sha256/{'f' * 64}"):
        (place / left).write_bytes(b"half of something")
    (place / "layers" / f"{'a' * 64}.partial").mkdir()
    (place / "locks" / ("b" * 64)).touch()
    (place / ".oci.0123456789abcdef.partial/blobs").mkdir(parents=True)
    with opened(place) as other:
        assert other.names() == (str(NAME),)
        with opened(place) as store:
            assert store.names() == (str(NAME),)
        assert (place / "layers" / f"{'a' * 64}.partial").exists(), "somebody else may be making it"
    assert (blobs(place), trees(place)) == before
    assert sorted(path.name for path in place.iterdir()) == ["layers", "lock", "locks", "oci"]
    assert {path.name for path in (place / "locks").iterdir()} == trees(place)


def test_an_index_that_cannot_be_read_costs_nobody_his_images(place: Path) -> None:
    made = picture(BASE, is_="app")
    with opened(place) as store:
        store.keep(made, (Reference.parse("app"),))
    before, index = blobs(place), (place / "oci/index.json").read_bytes()
    (place / "oci/index.json").write_bytes(b"{")
    (place / "unswept").touch()
    with opened(place) as store:
        assert (store.names(), store.held("app")) == ((), None)
        with pytest.raises(PullBuilderImageFailed, match="is broken"):
            store.keep(made, ())
    assert blobs(place) == before
    (place / "oci/index.json").write_bytes(index)
    assert names(place) == ("app:latest",)


def test_what_nobody_used_in_a_month_goes_but_never_what_was_made_here_under_a_name(place: Path) -> None:
    own, nameless, new = picture(BASE, is_="own"), picture(ONE, is_="nameless"), published(packed({"n": b"new"}))
    with opened(place) as store:
        store.pull(published(TWO), NAME, quiet)
        store.keep(own, (Reference.parse("app"),))
        store.keep(nameless, ())
        for image in (str(NAME), own.id, nameless.id):
            store.trees(image, quiet)
    age(place, MONTH)
    with opened(place) as store:
        store.pull(new, Reference.parse("new:1"), quiet)
    assert names(place) == ("app:latest", "new:1")
    assert blobs(place) == {blob.digest for blob in own.blobs} | {own.digest} | blobs_of(new)
    assert trees(place) == set()
    with opened(place) as store:
        assert len(store.trees("app", quiet)) == 1


def test_of_more_than_there_is_room_for_what_was_used_last_stays_and_all_that_was_used_today(place: Path) -> None:
    made = [published(packed({"it": os.urandom(20_000)})) for _ in range(4)]
    for number, base in enumerate(made):
        with opened(place, room=Room(images=50_000, trees=50_000)) as store:
            store.pull(base, Reference.parse(f"image:{number}"), quiet)
            store.trees(f"image:{number}", quiet)
        assert len(names(place)) == number + 1
    for number, base in enumerate(made):
        moment = time.time() - (10 - number) * DAY
        os.utime(place / "oci/blobs/sha256" / base.digest[7:], (moment, moment))
        os.utime(place / "locks" / base.config.rootfs.diff_ids[0][7:], (moment, moment))
    (place / "unswept").touch()
    with opened(place, room=Room(images=50_000, trees=50_000)) as store:
        assert len(store.names()) == 4
    assert names(place) == ("image:2", "image:3")
    assert trees(place) == {base.config.rootfs.diff_ids[0][7:] for base in made[2:]}


def test_what_there_is_is_told_with_its_size(place: Path) -> None:
    base, made = published(BASE), picture(BASE, ONE, is_="app")
    with opened(place) as store:
        store.pull(base, NAME, quiet)
        store.keep(made, (Reference.parse("app"),))
        store.trees(str(NAME), quiet)
        store.trees("app", quiet)
    there = {(each.kind, each.names, each.is_own): each.size for each in images.kept(place)}
    assert there.keys() == {
        ("image", ("app:latest",), True),
        ("image", (str(NAME),), False),
        ("tree", (str(NAME),), False),
        ("tree", ("app:latest",), False),
    }
    stored = sum(size for (kind, *_), size in there.items() if kind == "image")
    assert stored == sum(path.stat().st_size for path in (place / "oci/blobs/sha256").iterdir())
    assert there["tree", (str(NAME),), False] == 1500
    assert there["tree", ("app:latest",), False] == 1000


def test_what_is_forgotten_takes_along_only_what_is_nobody_else_s_and_nothing_from_who_uses_it(place: Path) -> None:
    base, other = published(BASE, ONE), published(BASE, TWO)
    with opened(place) as store:
        store.pull(base, NAME, quiet)
        store.pull(other, Reference.parse("other"), quiet)
        below = store.trees(str(NAME), quiet)[-1]
        store.trees("other", quiet)
        (image,) = (each for each in images.kept(place) if each.names == (str(NAME),) and each.kind == "image")
        assert not images.forget(place, image, lambda: Unpacking(place))
    assert images.forget(place, image, lambda: Unpacking(place))
    assert (names(place), blobs(place)) == (("other:latest",), blobs_of(other))
    assert len(trees(place)) == 2
    (tree,) = (each for each in images.kept(place) if each.name == below)
    assert images.forget(place, tree, lambda: Unpacking(place))
    assert below not in trees(place)


# -------------------------------------------------------------------------------------------------- hostile documents


def test_an_index_that_somebody_else_wrote_is_believed_as_far_as_it_can_be_understood(place: Path) -> None:
    made = picture(BASE, is_="app")
    with opened(place) as store:
        store.keep(made, (Reference.parse("app"),))
    index = json.loads((place / "oci/index.json").read_bytes())
    (own,) = index["manifests"]
    gone = {**own, "digest": f"sha256:{'0' * 64}"}
    index["manifests"] = [
        {**own, "annotations": {}},
        {**own, "annotations": {**own["annotations"], "io.s2ictl.id": "../../etc"}},
        {**gone, "annotations": {**own["annotations"], "io.s2ictl.id": f"sha256:{'1' * 64}"}},
        own,
    ]
    (place / "oci/index.json").write_text(json.dumps(index))
    with opened(place) as store:
        assert store.held(made.id) is not None
        assert store.held(f"sha256:{'1' * 64}") is None
        store.keep(picture(ONE, is_="other"), ())


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        ({"manifest": b"{"}, "not described by a valid document"),
        ({"manifest": b'{"schemaVersion": 2, "manifests": []}'}, f"{NAME} is broken"),
        ({"document": b"{}"}, f"{NAME} is broken"),
    ],
    ids=["no manifest", "an index", "another configuration"],
)
def test_documents_that_are_none_are_refused_and_leave_nothing(spoiled: dict[str, Any], says: str, place: Path) -> None:
    with pytest.raises(PullBuilderImageFailed, match=says), opened(place) as store:
        store.pull(replace(published(BASE), **spoiled), NAME, quiet)
    assert names(place) == ()


def test_an_image_with_more_layers_than_its_configuration_tells_of_is_refused(place: Path) -> None:
    base = published(BASE, ONE)
    manifest = msgspec.json.decode(base.manifest)
    fewer = oci.digest_of(short := config_of((BASE,)))
    manifest["config"] |= {"digest": fewer, "size": len(short)}
    with pytest.raises(PullBuilderImageFailed, match="broken"), opened(place) as store:
        store.pull(replace(base, manifest=json.dumps(manifest).encode(), document=short), NAME, quiet)
    assert (names(place), blobs(place)) == ((), set())


def test_whoever_is_interrupted_leaves_nothing(place: Path) -> None:
    archive = saved((BASE, ONE))

    def interrupted() -> Iterator[bytes]:
        yield archive[: len(archive) // 2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), opened(place) as store:
        store.load(interrupted())
    assert (blobs(place), names(place)) == (set(), ())
