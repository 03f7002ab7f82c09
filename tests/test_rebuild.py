"""From the labels of an image back to the request that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.errors import FetchSourceFailed, PullBuilderImageFailed, Refused, S2IError
from s2ictl.events import Emit, Event
from s2ictl.labels import labels_of, record_of
from s2ictl.models import (
    Builder,
    BuildRequest,
    BuildSecret,
    Confinement,
    ImageFacts,
    Injection,
    Reference,
    RuntimeArtifact,
    Secret,
    Source,
    UidRange,
    Volume,
)
from s2ictl.rebuild import request_of
from s2ictl.uids import shown
from tests.logs import texts
from tests.workbench import COMMIT, tree

TAG = Reference.parse("registry.example.com/team/app:1")
SHOP = Source(kind="git", location="https://git.example.com/shop.git")
BUILDER = Builder(
    image="s2ictl/python:1",
    destination="/tmp",
    scripts="/usr/libexec/s2i",
    assemble_user="",
    facts=ImageFacts(id="sha256:builder"),
)
REQUEST = BuildRequest(source=SHOP, builder="docker.io/s2ictl/python:1", names=(TAG,))


def made_by(request: BuildRequest, *, location: str = "") -> ImageFacts:
    """The image that a build of this request would label."""
    source = replace(
        tree({}, COMMIT), location=location or request.source.location, context_dir=request.source.context_dir
    )
    labels = labels_of(request, source, BUILDER, record_of(request, allowed_uids=shown(request.allowed_uids)))
    return ImageFacts(
        id="sha256:" + "a" * 64, labels=labels, env=("PATH=/bin", *(f"{name}={value}" for name, value in request.env))
    )


def again(facts: ImageFacts, emit: Emit, image: str = str(TAG), names: tuple[Reference, ...] = ()) -> BuildRequest:
    return request_of(facts, image, names=names, cwd=Path("/here"), emit=emit)


FULL = replace(
    REQUEST,
    source=replace(SHOP, ref="main", context_dir="app", submodules=False, lfs=True),
    env=(("MODE", "a=b"), ("EMPTY", "")),
    labels=(("team", "a"),),
    description="A shop",
    application_name="shop",
    scripts_url="image:///opt/mine",
    destination="/opt/s2i",
    assemble_user="1001",
    assemble_runtime_user="1002",
    allowed_uids=(UidRange(first=5, last=5), UidRange(first=1000)),
    exclude=r"\.md$",
    runtime_image="r:1",
    runtime_artifacts=(
        RuntimeArtifact(source="/opt/app/*.jar", target=""),
        RuntimeArtifact(source="/etc", target="x"),
    ),
    keep_source=True,
    confinement=Confinement(network="none", cap_drop=("ALL",)),
    cache=False,
    caches=("/opt/app/downloads",),
)


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        FULL,
        replace(REQUEST, incremental=True),
        replace(
            REQUEST,
            source=Source(kind="archive", location="https://example.com/app.tar.gz", checksum="c" * 64),
        ),
    ],
)
def test_what_was_asked_for_is_asked_for_again(request_: BuildRequest, events: list[Event], emit: Emit) -> None:
    assert again(made_by(request_), emit) == request_
    assert events == []


def test_a_directory_is_built_again_from_where_it_is(tmp_path: Path, emit: Emit) -> None:
    source = Source(kind="directory", location=str(tmp_path), path=tmp_path, copy=True)
    assert again(made_by(replace(REQUEST, source=source)), emit).source == source


def test_a_working_copy_is_built_again_from_the_address_it_was_cloned_from(emit: Emit) -> None:
    here = replace(REQUEST, source=Source(kind="directory", location=".", path=Path("/here")))
    assert again(made_by(here, location=SHOP.location), emit).source == SHOP


def test_a_directory_that_is_gone_is_said(emit: Emit) -> None:
    gone = replace(REQUEST, source=Source(kind="directory", location="/nowhere/shop", path=Path("/nowhere/shop")))
    with pytest.raises(FetchSourceFailed, match=f"the source of {TAG} is not here: /nowhere/shop"):
        again(made_by(gone), emit)


def test_what_came_by_standard_input_cannot_come_again(emit: Emit) -> None:
    with pytest.raises(FetchSourceFailed, match="built from standard input, which is kept nowhere"):
        again(made_by(replace(REQUEST, source=Source(kind="stdin", location="-"))), emit)


@pytest.mark.parametrize(
    ("image", "names"),
    [
        (str(TAG), (TAG,)),
        (f"{TAG}@sha256:{'b' * 64}", (TAG,)),
        ("sha256:" + "a" * 64, ()),
        ("a" * 12, ()),
        ("a" * 11, (Reference(registry="", repository="a" * 11),)),
    ],
)
def test_the_result_is_called_as_the_image_is(image: str, names: tuple[Reference, ...], emit: Emit) -> None:
    assert again(made_by(REQUEST), emit, image).names == names


def test_the_result_may_have_names_of_its_own(emit: Emit) -> None:
    other = Reference.parse("other:2")
    assert again(made_by(REQUEST), emit, names=(other,)).names == (other,)


def test_values_come_from_the_image_and_what_it_lost_is_told(events: list[Event], emit: Emit) -> None:
    facts = made_by(replace(REQUEST, env=(("A", "1"), ("B", "2"))))
    facts = replace(facts, env=("PATH=/bin", "B=changed"))
    assert again(facts, emit).env == (("B", "changed"),)
    assert texts(events) == [f"{TAG} does not have A any more, which its build was given"]


def test_what_was_handed_over_is_kept_nowhere_and_told(events: list[Event], emit: Emit) -> None:
    asked = replace(
        REQUEST,
        build_env=(("TOKEN", Secret("canary")),),
        secrets=(BuildSecret(id="npm", content=Secret("canary")),),
        injections=(Injection(source=Path("/home/canary"), target="/x"),),
        confinement=Confinement(volumes=(Volume(source="/home/canary", target="/y"),), network="host"),
    )
    facts = made_by(asked)
    assert "canary" not in repr(facts.labels)
    assert again(facts, emit) == REQUEST
    assert texts(events) == [
        f"{TAG} was built with --secret, --inject, --volume, --network: what was handed over is kept nowhere"
    ]


# ------------------------------------------------------------------------------------------------ foreign and hostile

OLDER = {
    "io.openshift.s2i.build.image": "docker.io/library/b:1",
    "io.openshift.s2i.build.source-location": "https://git.example.com/shop.git",
    "io.openshift.s2i.build.source-context-dir": "app",
    "io.openshift.s2i.build.commit.id": "c" * 40,
    "io.openshift.s2i.build.commit.ref": "main",
}


@pytest.mark.parametrize(("ref", "asked"), [("main", "main"), ("HEAD", "c" * 40), ("", "c" * 40)])
def test_an_image_of_the_older_tool_is_rebuilt_as_far_as_its_labels_go(
    ref: str, asked: str, events: list[Event], emit: Emit
) -> None:
    facts = ImageFacts(id="sha256:1", labels={**OLDER, "io.openshift.s2i.build.commit.ref": ref}, env=("A=1",))
    assert again(facts, emit, "shop:1") == BuildRequest(
        source=replace(SHOP, ref=asked, context_dir="app"),
        builder="docker.io/library/b:1",
        names=(Reference.parse("shop:1"),),
    )
    assert texts(events)[0].startswith("another tool made shop:1: variables, users, scripts and the runtime image")


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        ({}, "build.image"),
        ({"io.openshift.s2i.build.image": "b:1"}, "build.source-location"),
    ],
)
def test_an_image_that_does_not_say_how_it_was_made_is_refused(
    labels: Mapping[str, str], missing: str, emit: Emit
) -> None:
    with pytest.raises(PullBuilderImageFailed) as failure:
        again(ImageFacts(id="sha256:1", labels=labels), emit)
    assert missing in failure.value.detail


@pytest.mark.parametrize("text", ["", "no", "[]", "null", '{"env": 1}', "{" * 10_000, "\ud800"])
def test_a_record_that_cannot_be_read_is_as_none(text: str, emit: Emit) -> None:
    request = again(ImageFacts(id="sha256:1", labels={**OLDER, "io.s2ictl.build": text}), emit)
    assert request.source.ref == "main"


def test_a_record_of_a_later_version_is_read_as_far_as_it_is_known(events: list[Event], emit: Emit) -> None:
    labels = {**OLDER, "io.s2ictl.build": '{"ref":"dev","of-tomorrow":[1]}'}
    assert again(ImageFacts(id="sha256:1", labels=labels), emit).source.ref == "dev"
    assert events == []


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("io.openshift.s2i.build.source-location", "ext::sh -c id"),
        ("io.openshift.s2i.build.source-location", "http://git.example.com/shop.git"),
        ("io.openshift.s2i.build.source-context-dir", "../.."),
        ("io.s2ictl.build", '{"ref":"--upload-pack=x"}'),
        ("io.s2ictl.build", '{"scripts-url":"http://evil.example.com"}'),
        ("io.s2ictl.build", '{"runtime-artifacts":["../etc"]}'),
        ("io.s2ictl.build", '{"allowed-uids":"all"}'),
    ],
)
def test_a_label_is_read_by_the_rules_for_what_is_typed(label: str, text: str, emit: Emit) -> None:
    with pytest.raises(S2IError) as failure:
        again(ImageFacts(id="sha256:1", labels={**OLDER, label: text}), emit)
    assert failure.value.exit_code in (2, 12)


def test_plain_http_has_to_be_allowed_again(emit: Emit) -> None:
    labels = {**OLDER, "io.openshift.s2i.build.source-location": "http://git.example.com/shop.git"}
    facts = ImageFacts(id="sha256:1", labels=labels)
    with pytest.raises(Refused):
        request_of(facts, "shop:1", cwd=Path("/here"), emit=emit)
    assert request_of(facts, "shop:1", allow_http=True, cwd=Path("/here"), emit=emit).source.kind == "git"
