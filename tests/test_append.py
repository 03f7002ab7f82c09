"""One layer on a base: the same bytes every time, and settings that follow from the base and the request."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.artifacts import read
from s2ictl.engines.append import Recipe, append, deliver, nothing, tar
from s2ictl.errors import CommitContainerFailed, InvalidArtifact, InvalidUsage, PullBuilderImageFailed
from s2ictl.events import Emit
from s2ictl.layouts import Layout, writable
from tests.fakes.images import LAYER, blob, program, small_image


def recipe(directory: Path, **settings: object) -> Recipe:
    path = directory / "app"
    path.write_bytes(program())
    return replace(Recipe(artifact=read(path)), **settings)  # type: ignore[arg-type]


def base(tmp_path: Path, emit: Emit, **settings: object) -> oci.Base:
    image = small_image(**settings)  # type: ignore[arg-type]
    with writable(tmp_path / "base") as layout:
        layout.write(blob(image.layer))
        layout.write(blob(image.config, oci.CONFIG))
        layout.tag(image.manifest, ("1",))
    return Layout(tmp_path / "base").base("1", "linux/amd64")


# ------------------------------------------------------------------------------------------------------------ bytes


def test_the_layer_is_a_tar_of_the_artifact_and_the_way_to_it(tmp_path: Path) -> None:
    content = b"".join(tar(recipe(tmp_path)))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = [(one.name, one.mode, one.uid, one.gid, one.uname, one.mtime, one.isdir()) for one in archive]
        app = archive.extractfile("opt/s2ictl/app/app")
        assert app is not None
        assert app.read() == program()
    assert members == [
        ("opt", 0o755, 0, 0, "", 0, True),
        ("opt/s2ictl", 0o755, 0, 0, "", 0, True),
        ("opt/s2ictl/app", 0o755, 0, 0, "", 0, True),
        ("opt/s2ictl/app/app", 0o755, 0, 0, "", 0, False),
    ]
    assert len(content) % 512 == 0


def test_the_bytes_of_the_layer_are_fixed_for_ever(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"".join(tar(recipe(tmp_path)))).hexdigest()
    assert digest == "8330b7cb359d5b5e3582cdee98090a3588222148d4f594ed2169297331207d09"


def test_the_digest_does_not_depend_on_path_age_mode_or_zone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other/deeper"
    one.mkdir()
    other.mkdir(parents=True)
    first = recipe(one)
    second = recipe(other)
    os.utime(other / "app", (1, 1))
    (other / "app").chmod(0o400)
    pictures = [append(each, nothing("linux/amd64")) for each in (first, second)]
    assert pictures[0].manifest == pictures[1].manifest
    assert (
        oci.digest_of(pictures[0].manifest) == "sha256:e75019d3b3bb5becb2dfd759869769d6cfc9af08ded3d05d5d04f3e50d279870"
    )


def test_the_epoch_stands_for_every_time(tmp_path: Path) -> None:
    dated = recipe(tmp_path, epoch=1_700_000_000)
    picture = append(dated, nothing("linux/amd64"))
    config = json.loads(b"".join(picture.blobs[-1].chunks()))
    assert (config["created"], config["history"][-1]["created"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z")
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar(dated)))) as archive:
        assert {one.mtime for one in archive} == {1_700_000_000}


@pytest.mark.parametrize("content", [b"", program() + b"more", program()[:-1]])
def test_an_artifact_that_changed_meanwhile_is_refused(content: bytes, tmp_path: Path) -> None:
    made = recipe(tmp_path)
    made.artifact.path.write_bytes(content)
    with pytest.raises(InvalidArtifact, match="was changed while it was read"):
        append(made, nothing("linux/amd64"))


# --------------------------------------------------------------------------------------------------------- settings


def test_an_image_of_nothing_but_a_program(tmp_path: Path) -> None:
    picture = append(recipe(tmp_path, ports=("8080/tcp",), arguments=("-v",)), nothing("linux/arm64"))
    config = json.loads(b"".join(picture.blobs[-1].chunks()))
    assert config == {
        "architecture": "arm64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": "1001",
            "ExposedPorts": {"8080/tcp": {}},
            "Entrypoint": ["/opt/s2ictl/app/app"],
            "Cmd": ["-v"],
            "Labels": {
                "io.k8s.display-name": "app",
                "io.openshift.s2i.build.source-location": "app",
                "org.opencontainers.image.title": "app",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [picture.blobs[0].digest]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "s2ictl b2i app"}],
    }


def test_a_base_keeps_what_it_says_but_for_what_is_run(tmp_path: Path, emit: Emit) -> None:
    settings: dict[str, object] = {
        "User": "65532",
        "Env": ["PATH=/bin", "A=base"],
        "ExposedPorts": {"9090/tcp": {}},
        "WorkingDir": "/work",
        "Entrypoint": ["/entry"],
        "Cmd": ["sh"],
        "Labels": {"of": "the base", "over": "base"},
        "OnBuild": ["RUN x"],
        "StopSignal": "SIGINT",
        "Volumes": None,
    }
    below = base(tmp_path, emit, settings=settings)
    above = recipe(tmp_path, env=(("A", "ours"), ("B", "2")), labels=(("over", "ours"),), ports=("8080/tcp",))
    picture = append(above, below)
    config = json.loads(b"".join(picture.blobs[-1].chunks()))
    assert config["config"] == {
        "User": "65532",
        "ExposedPorts": {"8080/tcp": {}, "9090/tcp": {}},
        "Env": ["PATH=/bin", "A=ours", "B=2"],
        "Entrypoint": ["/opt/s2ictl/app/app"],
        "WorkingDir": "/work",
        "Labels": {
            "io.k8s.display-name": "app",
            "io.openshift.s2i.build.source-location": "app",
            "of": "the base",
            "org.opencontainers.image.base.digest": below.digest,
            "org.opencontainers.image.title": "app",
            "over": "ours",
        },
        "StopSignal": "SIGINT",
    }
    assert config["rootfs"]["diff_ids"] == [oci.digest_of(LAYER), picture.blobs[1].digest]
    assert "container" not in config


def test_a_user_that_is_named_wins(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path, user="2000:0"), base(tmp_path, emit))
    assert json.loads(b"".join(picture.blobs[-1].chunks()))["config"]["User"] == "2000:0"


def test_docker_s_and_the_oci_s_form_of_a_base_give_the_same_image(tmp_path: Path, emit: Emit) -> None:
    made = recipe(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = append(made, base(tmp_path / "a", emit))
    other = append(made, base(tmp_path / "b", emit, docker=True))
    assert json.loads(one.manifest)["layers"] == json.loads(other.manifest)["layers"]


# ---------------------------------------------------------------------------------------------------------- layouts


def test_a_layout_holds_what_was_put_into_it(tmp_path: Path, emit: Emit) -> None:
    picture = append(recipe(tmp_path), base(tmp_path, emit))
    with writable(tmp_path / "out") as layout:
        digest = deliver(picture, layout, ("1.4", "latest"), emit=emit)
    found = Layout(tmp_path / "out").base("latest", "linux/amd64")
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
    first = append(recipe(tmp_path), nothing("linux/amd64"))
    second = append(recipe(tmp_path, user="7"), nothing("linux/amd64"))
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
        Layout(tmp_path / "base").base("1", "linux/amd64")


def test_a_layer_of_a_layout_that_was_changed_is_not_taken(tmp_path: Path, emit: Emit) -> None:
    below = base(tmp_path, emit)
    (tmp_path / "base/blobs/sha256" / oci.digest_of(LAYER)[7:]).write_bytes(bytes(len(LAYER)))
    with pytest.raises(PullBuilderImageFailed, match="is broken"):
        b"".join(below.layers[0].chunks())


def test_a_tag_that_a_layout_does_not_have_is_said_with_those_it_has(tmp_path: Path, emit: Emit) -> None:
    base(tmp_path, emit)
    with pytest.raises(PullBuilderImageFailed, match="has no image 2") as caught:
        Layout(tmp_path / "base").base("2", "linux/amd64")
    assert caught.value.detail == "it has 1"
