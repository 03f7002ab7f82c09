"""An OCI layout: whole images, tags that move, indexes of several platforms, and nothing half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from s2ictl import layouts, oci
from s2ictl.errors import CommitContainerFailed, InvalidUsage, LimitReached, PullBuilderImageFailed
from s2ictl.events import Emit
from s2ictl.layouts import Layout, writable
from tests.fakes.images import blob, index_of, picture_of, several, small_image


def put(directory: Path, picture: oci.Picture, *tags: str, emit: Emit) -> str:
    with writable(directory) as layout:
        return oci.deliver(picture, layout, tags, emit=emit)


def entries(directory: Path) -> list[tuple[str, str]]:
    """What the index names: kind and tag."""
    named = json.loads((directory / "index.json").read_text())["manifests"]
    return [(one["mediaType"], one.get("annotations", {}).get(oci.TAG, "")) for one in named]


def test_one_image_has_all_of_its_tags(tmp_path: Path, emit: Emit) -> None:
    digest = put(tmp_path / "out", picture_of(small_image()), "1", "latest", "1", emit=emit)
    assert entries(tmp_path / "out") == [(oci.MANIFEST, "1"), (oci.MANIFEST, "latest")]
    assert {layouts.first(Layout(tmp_path / "out"), tag).digest for tag in ("", "1", "latest")} == {digest}


def test_an_index_is_named_and_its_images_are_only_there(tmp_path: Path, emit: Emit) -> None:
    picture = several(amd64=picture_of(small_image()), arm64=picture_of(small_image(architecture="arm64")))
    assert put(tmp_path / "out", picture, "1", emit=emit) == picture.digest
    assert entries(tmp_path / "out") == [(oci.INDEX, "1")]
    assert {str(base.config.platform) for base in Layout(tmp_path / "out").bases("1", ())} == {
        "linux/amd64",
        "linux/arm64",
    }


def test_two_that_make_the_same_layout_at_once_both_find_their_image_in_it(tmp_path: Path, emit: Emit) -> None:
    place = tmp_path / "new"
    with layouts.writable(place) as one:
        first = oci.deliver(picture_of(small_image()), one, ("1", "both"), emit=emit)
        with layouts.writable(place) as other:
            second = oci.deliver(picture_of(small_image(architecture="arm64")), other, ("2", "both"), emit=emit)
    found = {layouts.tag_of(entry): entry.digest for entry in layouts.entries(Layout(place))}
    assert found == {"1": first, "2": second, "both": first}
    assert layouts.picture(Layout(place), "2").digest == second
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_was_put_in_comes_out_byte_for_byte(tmp_path: Path, emit: Emit) -> None:
    for name, picture in {
        "one": picture_of(small_image()),
        "docker": picture_of(small_image(docker=True)),
        "several": several(amd64=picture_of(small_image()), arm64=picture_of(small_image(architecture="arm64"))),
    }.items():
        put(tmp_path / name, picture, "1", emit=emit)
        found = layouts.picture(Layout(tmp_path / name), "1")
        assert (found.manifest, found.children, found.id) == (picture.manifest, picture.children, picture.id)
        assert {each.digest: b"".join(each.chunks()) for each in found.blobs} == {
            each.digest: b"".join(each.chunks()) for each in picture.blobs
        }


def test_a_tag_that_is_taken_away_leaves_the_others(tmp_path: Path, emit: Emit) -> None:
    put(tmp_path / "out", picture_of(small_image()), "1", "2", emit=emit)
    with writable(tmp_path / "out") as layout:
        layout.untag(("1",))
    assert entries(tmp_path / "out") == [(oci.MANIFEST, "2")]


def test_of_two_images_one_has_to_be_named(tmp_path: Path, emit: Emit) -> None:
    put(tmp_path / "out", picture_of(small_image()), "1", emit=emit)
    put(tmp_path / "out", picture_of(small_image(layer=b"another")), "2", emit=emit)
    with pytest.raises(PullBuilderImageFailed, match="has 2 images") as failure:
        layouts.picture(Layout(tmp_path / "out"), "")
    assert (failure.value.detail, failure.value.hint) == (
        "it has 1, 2",
        f"name the one that is meant: oci:{tmp_path}/out:TAG",
    )


def test_a_directory_that_is_something_else_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(b"mine")
    for place in (tmp_path, tmp_path / "photo"):
        with pytest.raises(InvalidUsage, match="exists and is not an OCI layout"):
            layouts.check(place)
    for odd in (tmp_path / ("n" * 300), tmp_path / "photo" / "x"):
        with pytest.raises((InvalidUsage, CommitContainerFailed)), layouts.writable(odd):
            """It cannot be made there."""
    for fine in (tmp_path / "new", tmp_path / "deep/new"):
        layouts.check(fine)


def test_an_index_of_more_images_than_anybody_makes_is_not_followed(tmp_path: Path) -> None:
    images = {f"a{number}": small_image(architecture=f"a{number}") for number in range(65)}
    index = index_of(**images)
    with writable(tmp_path / "out") as layout:
        layout.tag(index, ("1",), kind=oci.INDEX, children=tuple(each.manifest for each in images.values()))
    with pytest.raises(LimitReached, match="has an index of 65 images"):
        layouts.picture(Layout(tmp_path / "out"), "1")


@pytest.mark.parametrize("part", ["index.json", "blob"])
@pytest.mark.parametrize("what", ["fifo", "directory", "device", "too large"])
def test_what_is_no_file_of_a_layout_is_not_waited_for(part: str, what: str, tmp_path: Path, emit: Emit) -> None:
    image = small_image()
    put(tmp_path / "out", picture_of(image), "1", emit=emit)
    path = tmp_path / "out/index.json" if part == "index.json" else Layout(tmp_path / "out").path(image.digest)
    path.unlink()
    match what:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "too large":
            path.touch()
            os.truncate(path, 5 << 30)
    with pytest.raises(PullBuilderImageFailed):
        layouts.picture(Layout(tmp_path / "out"), "1")


def test_an_index_that_is_no_file_is_not_written_anew(tmp_path: Path, emit: Emit) -> None:
    put(tmp_path / "out", picture_of(small_image()), "1", emit=emit)
    (tmp_path / "out/index.json").unlink()
    os.mkfifo(tmp_path / "out/index.json")
    with pytest.raises(CommitContainerFailed, match="could not write oci:"):
        put(tmp_path / "out", picture_of(small_image()), "2", emit=emit)


def test_an_index_of_indexes_is_refused(tmp_path: Path) -> None:
    inner = index_of(amd64=small_image())
    descriptor = {"mediaType": oci.INDEX, "digest": oci.digest_of(inner), "size": len(inner)}
    outer = json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode()
    with writable(tmp_path / "out") as layout:
        layout.write(blob(inner, oci.INDEX))
        layout.tag(outer, ("1",), kind=oci.INDEX)
    with pytest.raises(PullBuilderImageFailed, match="index of indexes"):
        layouts.picture(Layout(tmp_path / "out"), "1")
