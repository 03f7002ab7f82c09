"""Images that were taken out of an engine: read once, found again, shared, bounded, and gone when somebody says so."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2ictl import oci, shelf
from s2ictl.errors import CommitContainerFailed, PullBuilderImageFailed
from s2ictl.models import ImageFacts
from tests.fakes.carried import config_of, packed, saved

BASE = packed({"etc/hello": b"hello" * 300})
ONE, TWO = packed({"one": b"1" * 1000}), packed({"two": b"2" * 1000})
MONTH = 31 * 24 * 3600


def image(*layers: bytes, **labels: str) -> tuple[ImageFacts, bytes]:
    """What an engine says of an image, and what it saves of it."""
    settings = {"Labels": labels}
    facts = ImageFacts(id=oci.digest_of(config_of(layers, settings)), labels=labels)
    return facts, saved(layers, settings=settings)


def keep(place: Path, made: tuple[ImageFacts, bytes], name: str = "s2ictl/jar:21") -> oci.Base:
    with shelf.opened(place) as kept:
        return kept.keep(made[0], iter((made[1],)), name=name)


def blobs(place: Path) -> set[str]:
    return {path.name for path in (place / "blobs/sha256").iterdir()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache/bases"


def test_where_nothing_is_kept_nothing_is_found_and_nothing_made(place: Path) -> None:
    with shelf.opened(place) as kept:
        assert (kept.find("made-of", "abc", name="any"), kept.held("sha256:abc")) == (None, None)
    assert (shelf.kept(place), place.parent.exists()) == ((), False)


def test_an_image_is_found_by_its_label_and_by_its_id(place: Path) -> None:
    facts, archive = image(BASE, ONE, made_of="abc")
    first = keep(place, (facts, archive))
    with shelf.opened(place) as kept:
        found = kept.find("made_of", "abc", name="s2ictl/jar:21")
        assert found is not None
        assert (found.name, found.digest, found.config) == ("s2ictl/jar:21", "", first.config)
        assert [each.digest for each in found.layers] == [each.digest for each in first.layers]
        assert kept.held(facts.id) is not None
        assert kept.find("made_of", "abd", name="s2ictl/jar:21") is None


def test_what_somebody_made_of_an_image_is_not_taken_for_it_though_it_inherits_the_label(place: Path) -> None:
    keep(place, image(BASE, TWO, made_of="abc"), "mine:1")
    with shelf.opened(place) as kept:
        assert kept.find("made_of", "abc", name="s2ictl/jar:21") is None


def test_a_base_that_a_registry_knows_says_by_which_digest(place: Path) -> None:
    facts, archive = image(BASE)
    digest = f"sha256:{'d' * 64}"
    known = ImageFacts(id=facts.id, digest=digest)
    assert keep(place, (known, archive), "registry.example.com/base:1").digest == digest


def test_two_images_share_what_they_have_in_common(place: Path) -> None:
    keep(place, image(BASE, ONE, is_="one"))
    before = blobs(place)
    keep(place, image(BASE, TWO, is_="two"))
    assert len(blobs(place) - before) == 3  # a layer, a configuration, a manifest
    assert sum(each.size for each in shelf.kept(place)) == sum(
        path.stat().st_size for path in (place / "blobs/sha256").iterdir()
    )


def test_what_is_forgotten_takes_along_only_what_is_nobody_else_s(place: Path) -> None:
    one, two = image(BASE, ONE, is_="one"), image(BASE, TWO, is_="two")
    keep(place, one)
    alone = blobs(place)
    keep(place, two)
    assert shelf.forget(place, two[0].id)
    assert blobs(place) == alone
    assert [each.id for each in shelf.kept(place)] == [one[0].id]


def test_nothing_is_taken_away_from_somebody_who_reads(place: Path) -> None:
    made = image(BASE, ONE, is_="one")
    keep(place, made)
    with shelf.opened(place) as reading:
        base = reading.held(made[0].id)
        assert base is not None
        assert not shelf.forget(place, made[0].id)
        assert all(b"".join(layer.chunks()) for layer in base.layers)
    assert shelf.forget(place, made[0].id)


def test_what_passes_through_is_there_while_it_is_read_and_gone_afterwards(place: Path) -> None:
    keep(place, image(BASE, ONE, is_="one"))
    before = blobs(place)
    facts, archive = image(BASE, TWO, is_="passing")
    with shelf.opened(place) as passing:
        with passing.passing(iter((archive,))) as picture:
            assert picture.id == facts.id
            assert len(b"".join(picture.blobs[-1].chunks())) == picture.blobs[-1].size
        assert passing.held(facts.id) is None
    assert blobs(place) == before


def test_two_that_pass_at_once_leave_nothing_when_the_last_is_done(place: Path) -> None:
    archive = image(BASE, ONE, is_="app")[1]
    with shelf.opened(place) as one:
        with shelf.opened(place) as other, one.passing(iter((archive,))), other.passing(iter((archive,))) as picture:
            """Both have the same blobs."""
        assert all(b"".join(each.chunks()) for each in picture.blobs)
    assert blobs(place) == set()


def test_what_is_cut_off_is_not_kept_and_leaves_nothing(place: Path) -> None:
    facts, archive = image(BASE, ONE, is_="one")
    with pytest.raises(PullBuilderImageFailed, match="could not keep s2ictl/jar:21"):
        keep(place, (facts, archive[: len(archive) // 2]))
    with (
        pytest.raises(CommitContainerFailed, match="not a whole image"),
        shelf.opened(place) as passing,
        passing.passing(iter((archive[: len(archive) // 2],))),
    ):
        raise AssertionError
    assert (shelf.kept(place), blobs(place)) == ((), set())


def test_what_a_killed_process_left_goes_with_the_next_one(place: Path) -> None:
    keep(place, image(BASE, is_="one"))
    left = [place / "blobs/sha256" / name for name in (".0123456789abcdef.partial", "f" * 64)]
    for path in left:
        path.write_bytes(b"half of something")
    keep(place, image(BASE, is_="one"))
    assert not any(path.exists() for path in left)


def test_an_image_of_which_a_part_is_gone_is_as_good_as_none_and_is_read_again(place: Path) -> None:
    made = image(BASE, ONE, is_="one")
    base = keep(place, made)
    (place / "blobs/sha256" / base.layers[0].digest.removeprefix("sha256:")).write_bytes(b"")
    with shelf.opened(place) as kept:
        assert kept.held(made[0].id) is None
    keep(place, made)
    with shelf.opened(place) as kept:
        assert kept.held(made[0].id) is not None


def test_what_nobody_asked_for_in_a_month_goes_when_something_new_comes(place: Path) -> None:
    old = image(BASE, ONE, is_="old")
    keep(place, old)
    for path in (place / "blobs/sha256").iterdir():
        os.utime(path, (time.time() - MONTH, time.time() - MONTH))
    new = image(TWO, is_="new")
    keep(place, new)
    assert [each.id for each in shelf.kept(place)] == [new[0].id]


def test_to_look_past_an_image_is_not_to_use_it(place: Path) -> None:
    old, new = image(BASE, ONE, is_="old"), image(TWO, is_="new")
    keep(place, old)
    keep(place, new)
    for path in (place / "blobs/sha256").iterdir():
        os.utime(path, (1, 1))
    with shelf.opened(place) as kept:
        assert kept.find("is_", "new", name="s2ictl/jar:21") is not None
    assert [(each.id, each.used == 1) for each in shelf.kept(place)] == [(new[0].id, False), (old[0].id, True)]


def test_a_place_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(CommitContainerFailed, match="could not use") as failure:
        keep(tmp_path / "cache/bases", image(BASE))
    assert failure.value.hint == "name another: S2ICTL_CACHE=DIR"


def test_what_cannot_be_cleared_up_is_no_trouble_of_whoever_has_what_he_came_for(place: Path) -> None:
    made = image(BASE, is_="one")
    with shelf.opened(place) as kept:
        kept.keep(made[0], iter((made[1],)), name="s2ictl/jar:21")
        (place / "blobs/sha256/a directory").mkdir()
    assert [each.id for each in shelf.kept(place)] == [made[0].id]


def test_a_place_that_cannot_be_made_is_the_one_thing_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "bases").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(CommitContainerFailed, match="could not write"):
        keep(tmp_path / "bases", image(BASE))


def test_an_index_that_is_damaged_is_as_good_as_none_until_something_is_to_be_kept(place: Path) -> None:
    made = image(BASE, is_="one")
    keep(place, made)
    (place / "index.json").write_bytes(b"{")
    with shelf.opened(place) as kept:
        assert kept.held(made[0].id) is None
    assert shelf.kept(place) == ()
    with pytest.raises(PullBuilderImageFailed, match="could not keep") as failure:
        keep(place, made)
    assert failure.value.hint == "remove the layout, or name another"


def test_whoever_asks_for_an_image_uses_it(place: Path) -> None:
    old = image(BASE, ONE, is_="old")
    keep(place, old)
    for path in (place / "blobs/sha256").iterdir():
        os.utime(path, (time.time() - MONTH, time.time() - MONTH))
    with shelf.opened(place) as kept:
        kept.held(old[0].id)
    keep(place, image(TWO, is_="new"))
    assert len(shelf.kept(place)) == 2


def test_of_more_than_there_is_room_for_what_was_used_last_stays(place: Path) -> None:
    images = [image(os.urandom(20_000), is_=str(number)) for number in range(3)]
    for made in images:
        with shelf.opened(place, most=50_000) as kept:
            kept.keep(made[0], iter((made[1],)), name="s2ictl/jar:21")
    assert [each.id for each in shelf.kept(place)] == [images[2][0].id, images[1][0].id]


def test_what_has_no_room_at_all_is_there_for_the_next_that_asks(place: Path) -> None:
    for number in range(2):
        made = image(os.urandom(20_000), is_=str(number))
        with shelf.opened(place, most=10) as kept:
            kept.keep(made[0], iter((made[1],)), name="s2ictl/jar:21")
        assert [each.id for each in shelf.kept(place)] == [made[0].id]


def test_whoever_is_interrupted_leaves_nothing(place: Path) -> None:
    facts, archive = image(BASE, ONE, is_="one")

    def interrupted() -> Iterator[bytes]:
        yield archive[: len(archive) // 2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), shelf.opened(place) as kept:
        kept.keep(facts, interrupted(), name="s2ictl/jar:21")
    assert (shelf.kept(place), blobs(place)) == ((), set())
