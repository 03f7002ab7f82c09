"""Layers on a base: the same bytes every time, and settings that follow from the base and the request."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from s2ictl import oci
from s2ictl.archives import Entry, Part, file_entry
from s2ictl.engines.append import Recipe, append, nothing
from s2ictl.errors import (
    CommitContainerFailed,
    InvalidArtifact,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
)
from s2ictl.events import Emit
from s2ictl.layouts import Layout, writable
from s2ictl.models import ImageConfig, ImageFacts
from s2ictl.oci import deliver
from tests.fakes.images import LAYER, as_below, blob, program, program_recipe, small_image


def recipe(directory: Path, *, epoch: int = 0) -> Recipe:
    return replace(program_recipe(directory), epoch=epoch)


def base(tmp_path: Path, emit: Emit, **settings: object) -> oci.Base:
    image = small_image(**settings)  # type: ignore[arg-type]
    with writable(tmp_path / "base") as layout:
        layout.write(blob(image.layer))
        layout.write(blob(image.config, oci.CONFIG))
        layout.tag(image.manifest, ("1",))
    return Layout(tmp_path / "base").bases("1", ("linux/amd64",))[0]


def part(name: str, **files: bytes) -> Part:
    """A part with these files in the root."""
    return Part(
        name=name,
        way=(),
        entries=lambda: (file_entry(path, content, mode=0o644) for path, content in sorted(files.items())),
    )


def bytes_of(blobs: oci.Blob) -> bytes:
    return b"".join(blobs.chunks())


def config_of(picture: oci.Picture) -> dict[str, object]:
    found: dict[str, object] = json.loads(bytes_of(picture.blobs[-1]))
    return found


# ------------------------------------------------------------------------------------------------------------ bytes


def test_the_layer_is_a_tar_of_the_artifact_and_the_way_to_it(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path), (nothing("linux/amd64"),), emit=emit)
    with tarfile.open(fileobj=io.BytesIO(bytes_of(picture.blobs[0]))) as archive:
        members = [(one.name, oct(one.mode), one.uid, one.gid, one.uname, one.mtime, one.isdir()) for one in archive]
        app = archive.extractfile("opt/app-root/bin/app")
        assert app is not None
        assert app.read() == program()
    assert members == [
        ("opt", "0o755", 0, 0, "", 0, True),
        ("opt/app-root", "0o755", 0, 0, "", 0, True),
        ("opt/app-root/bin", "0o775", 1001, 0, "", 0, True),
        ("opt/app-root/bin/app", "0o755", 1001, 0, "", 0, False),
    ]


def test_the_bytes_of_the_image_are_fixed_for_ever(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path), (nothing("linux/amd64"),), emit=emit)
    assert (hashlib.sha256(bytes_of(picture.blobs[0])).hexdigest(), picture.digest) == (
        "9e815e4ce13525f2ab456affb0d3161b9604899d05399898787734cfa46e0ccb",
        "sha256:8d358e204a8ed0aaa2c2da748735e227d40b9bcd1f280ecd495943a420523510",
    )


def test_the_digest_does_not_depend_on_path_age_mode_or_zone(tmp_path: Path, emit: Emit) -> None:
    one, other = tmp_path / "one", tmp_path / "other/deeper"
    one.mkdir()
    other.mkdir(parents=True)
    (other / "app").write_bytes(program())
    os.utime(other / "app", (1, 1))
    (other / "app").chmod(0o400)
    pictures = [append(recipe(each), (nothing("linux/amd64"),), emit=emit) for each in (one, other)]
    assert pictures[0].manifest == pictures[1].manifest


def test_the_epoch_stands_for_every_time(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path, epoch=1_700_000_000), (nothing("linux/amd64"),), emit=emit)
    config = json.loads(bytes_of(picture.blobs[-1]))
    assert (config["created"], config["history"][-1]["created"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z")
    with tarfile.open(fileobj=io.BytesIO(bytes_of(picture.blobs[0]))) as archive:
        assert {one.mtime for one in archive} == {1_700_000_000}


@pytest.mark.parametrize("content", [b"", program() + b"more", program()[:-1]])
def test_an_artifact_that_changed_meanwhile_is_refused(content: bytes, tmp_path: Path, emit: Emit) -> None:
    made = recipe(tmp_path)
    (tmp_path / "app").write_bytes(content)
    with pytest.raises(InvalidArtifact, match="was changed while it was read"):
        append(made, (nothing("linux/amd64"),), emit=emit)


def test_an_artifact_that_is_another_one_when_it_is_sent_is_refused(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path), (nothing("linux/amd64"),), emit=emit)
    (tmp_path / "app").write_bytes(bytes(len(program())))
    os.utime(tmp_path / "app", (1, 1))
    with pytest.raises(InvalidArtifact, match="was changed while it was read"):
        bytes_of(picture.blobs[0])


# --------------------------------------------------------------------------------------------------------- settings


def test_an_image_of_nothing_but_a_program(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path), (nothing("linux/arm64"),), emit=emit)
    assert config_of(picture) == {
        "architecture": "arm64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"User": "1001", "Cmd": ["/opt/app-root/bin/app"]},
        "rootfs": {"type": "layers", "diff_ids": [picture.blobs[0].digest]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "s2ictl b2i app", "comment": "binary"}],
    }


def test_an_image_says_of_itself_what_it_is_told_to_and_keeps_the_rest_of_its_base(tmp_path: Path, emit: Emit) -> None:
    settings: dict[str, object] = {
        "User": "65532",
        "Env": ["PATH=/bin", "A=base"],
        "ExposedPorts": {"9090/tcp": {}},
        "WorkingDir": "/work",
        "Entrypoint": ["/entry"],
        "Labels": {"of": "the base"},
        "OnBuild": ["RUN x"],
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30000000000},
        "Volumes": {"/data": {}},
    }

    def config(facts: ImageFacts) -> ImageConfig:
        said = as_below(facts, command=("/run",))
        variables = tuple({**facts.variables, "A": "ours", "B": "2"}.items())
        labels = {**facts.labels, "base": facts.digest}
        return replace(said, entrypoint=facts.entrypoint, env=variables, labels=labels, exposed=("8080/tcp",))

    below = base(tmp_path, emit, settings=settings)
    picture = append(replace(recipe(tmp_path), config=config), (below,), emit=emit)
    said = config_of(picture)
    assert said["config"] == {
        "User": "65532",
        "ExposedPorts": {"8080/tcp": {}},
        "Env": ["PATH=/bin", "A=ours", "B=2"],
        "Entrypoint": ["/entry"],
        "Cmd": ["/run"],
        "WorkingDir": "/work",
        "Labels": {"base": below.digest, "of": "the base"},
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30000000000},
        "Volumes": {"/data": {}},
    }
    assert said["rootfs"] == {"type": "layers", "diff_ids": [oci.digest_of(LAYER), picture.blobs[1].digest]}
    assert "container" not in said


def test_docker_s_and_the_oci_s_form_of_a_base_give_the_same_image(tmp_path: Path, emit: Emit) -> None:
    made = recipe(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = append(made, (base(tmp_path / "a", emit),), emit=emit)
    other = append(made, (base(tmp_path / "b", emit, docker=True),), emit=emit)
    assert json.loads(one.manifest)["layers"] == json.loads(other.manifest)["layers"]


def test_a_base_whose_history_does_not_tell_of_each_layer_tells_nothing(tmp_path: Path, emit: Emit) -> None:
    below = base(tmp_path, emit)
    empty = oci.Step(created_by="ENV A=1", empty_layer=True)
    for history in (None, (), (empty,), (oci.Step(created_by="one"), oci.Step(created_by="two"))):
        told = replace(below, config=msgspec.structs.replace(below.config, history=history))
        config = json.loads(bytes_of(append(recipe(tmp_path), (told,), emit=emit).blobs[-1]))
        assert [step.get("created_by") for step in config["history"]] == [None, "s2ictl b2i app"]


# ----------------------------------------------------------------------------------------------- parts and platforms


def test_each_part_is_a_layer_with_its_name_in_the_history(tmp_path: Path, emit: Emit) -> None:
    made = replace(recipe(tmp_path), parts=(part("dependencies", a=b"1"), part("application", b=b"2")))
    picture = append(made, (base(tmp_path, emit),), emit=emit)
    config = json.loads(bytes_of(picture.blobs[-1]))
    layers = [blob.digest for blob in picture.blobs[1:3]]
    assert [layer["digest"] for layer in json.loads(picture.manifest)["layers"][1:]] == layers
    assert config["rootfs"]["diff_ids"][1:] == layers
    assert [step.get("comment") for step in config["history"]] == [None, "dependencies", "application"]


def test_a_change_in_one_part_leaves_the_layers_of_the_others(tmp_path: Path, emit: Emit) -> None:
    made = recipe(tmp_path)
    first, second = (
        append(
            replace(made, parts=(part("dependencies", a=b"1"), part("application", b=change))),
            (nothing("linux/amd64"),),
            emit=emit,
        )
        for change in (b"2", b"3")
    )
    assert [one.digest == other.digest for one, other in zip(first.blobs, second.blobs, strict=True)] == [
        True,
        False,
        False,
    ]


def test_several_platforms_are_an_index_of_images_that_share_the_layer(tmp_path: Path, emit: Emit) -> None:
    read = 0
    content = part("jar", app=b"the same everywhere")

    def entries() -> Iterator[Entry]:
        nonlocal read
        read += 1
        return content.entries()

    made = replace(recipe(tmp_path), parts=(replace(content, entries=entries),))
    bases = (nothing("linux/amd64"), nothing("linux/arm/v7"))
    picture = append(made, bases, emit=emit)
    alone = [append(made, (each,), emit=emit) for each in bases]
    assert read == 3
    assert (picture.kind, picture.children) == (oci.INDEX, tuple(each.manifest for each in alone))
    assert json.loads(picture.manifest) == {
        "schemaVersion": 2,
        "mediaType": oci.INDEX,
        "manifests": [
            {
                "mediaType": oci.MANIFEST,
                "digest": each.digest,
                "size": len(each.manifest),
                "platform": {"os": "linux", **platform},
            }
            for each, platform in zip(
                alone, ({"architecture": "amd64"}, {"architecture": "arm", "variant": "v7"}), strict=True
            )
        ],
    }
    assert [blob.digest for blob in picture.blobs] == [
        alone[0].blobs[0].digest,
        alone[0].blobs[1].digest,
        alone[1].blobs[1].digest,
    ]


def test_one_platform_twice_is_refused(tmp_path: Path, emit: Emit) -> None:
    with pytest.raises(InvalidUsage, match="twice for one platform"):
        append(recipe(tmp_path), (nothing("linux/amd64"), nothing("linux/amd64")), emit=emit)


# ----------------------------------------------------------------------------------------------------------- limits


def test_a_base_with_as_many_layers_as_engines_take_has_no_room(tmp_path: Path, emit: Emit) -> None:
    below = base(tmp_path, emit)
    full = replace(below, layers=below.layers * (oci.MOST_LAYERS - 1))
    made = replace(recipe(tmp_path), parts=(part("dependencies", a=b"1"), part("application", b=b"2")))
    with pytest.raises(PullBuilderImageFailed, match="has 126 layers already: no room for 2 more"):
        append(made, (full,), emit=emit)


def test_an_image_that_says_more_of_itself_than_is_read_again_is_refused(tmp_path: Path, emit: Emit) -> None:
    loud = ("A", "x" * oci.LARGEST_DOCUMENT)
    made = replace(recipe(tmp_path), config=lambda facts: replace(as_below(facts, command=()), env=(loud,)))
    with pytest.raises(LimitReached, match="what the image says of itself has"):
        append(made, (nothing("linux/amd64"),), emit=emit)


# ---------------------------------------------------------------------------------------------------------- layouts


def test_a_layout_holds_what_was_put_into_it(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path), (base(tmp_path, emit),), emit=emit)
    with writable(tmp_path / "out") as layout:
        digest = deliver(picture, layout, ("1.4", "latest"), emit=emit)
    found = Layout(tmp_path / "out").bases("latest", ("linux/amd64",))[0]
    assert (found.digest, [len(b"".join(one.chunks())) for one in found.layers]) == (
        digest,
        [one.size for one in picture.blobs[:-1]],
    )
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    assert [entry["annotations"][oci.TAG] for entry in index["manifests"]] == ["1.4", "latest"]
    assert (tmp_path / "out/oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'


def test_a_layout_keeps_the_images_of_others_and_gives_a_tag_to_the_last(tmp_path: Path, emit: Emit) -> None:
    base(tmp_path, emit)
    index = tmp_path / "base/index.json"
    document = json.loads(index.read_bytes())
    document["manifests"][0]["artifactType"] = "of others"
    index.write_text(json.dumps(document))
    first = append(recipe(tmp_path), (nothing("linux/amd64"),), emit=emit)
    second = append(recipe(tmp_path, epoch=7), (nothing("linux/amd64"),), emit=emit)
    for picture in (first, second):
        with writable(tmp_path / "base") as layout:
            deliver(picture, layout, ("mine",), emit=emit)
    entries = json.loads(index.read_bytes())["manifests"]
    assert [(entry["annotations"][oci.TAG], entry.get("artifactType")) for entry in entries] == [
        ("1", "of others"),
        ("mine", None),
    ]
    assert entries[1]["digest"] == oci.digest_of(second.manifest)


def test_a_layout_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    wrong = replace(blob(LAYER), chunks=lambda: iter((b"other bytes",)))
    with pytest.raises(CommitContainerFailed, match="could not write oci:"), writable(tmp_path / "out") as layout:
        layout.write(wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_layout_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        yield LAYER
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), writable(tmp_path / "out") as layout:
        layout.write(replace(blob(LAYER), chunks=interrupted))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidUsage, match="is not an OCI layout"), writable(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("index.json", "is not an OCI layout"),
        (f"blobs/sha256/{small_image().digest[7:]}", "is broken"),
        (f"blobs/sha256/{oci.digest_of(small_image().config)[7:]}", "is broken"),
    ],
)
def test_a_layout_with_something_missing_is_broken(spoil: str, words: str, tmp_path: Path, emit: Emit) -> None:
    base(tmp_path, emit)
    (tmp_path / "base" / spoil).unlink()
    with pytest.raises(PullBuilderImageFailed, match=words):
        Layout(tmp_path / "base").bases("1", ("linux/amd64",))[0]


def test_a_layer_of_a_layout_that_was_changed_is_not_taken(tmp_path: Path, emit: Emit) -> None:
    below = base(tmp_path, emit)
    (tmp_path / "base/blobs/sha256" / oci.digest_of(LAYER)[7:]).write_bytes(bytes(len(LAYER)))
    with pytest.raises(PullBuilderImageFailed, match="is broken"):
        b"".join(below.layers[0].chunks())


def test_a_tag_that_a_layout_does_not_have_is_said_with_those_it_has(tmp_path: Path, emit: Emit) -> None:
    base(tmp_path, emit)
    with pytest.raises(PullBuilderImageFailed, match="has no image 2") as caught:
        Layout(tmp_path / "base").bases("2", ("linux/amd64",))[0]
    assert caught.value.detail == "it has 1"
