"""One container described: what the engine is told of source, scripts, users and places."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from s2ictl.builders import MADE_OF
from s2ictl.errors import InvalidConfiguration, InvalidUsage, LimitReached, PullBuilderImageFailed, Refused
from s2ictl.events import Emit, StepFinished
from s2ictl.models import Confinement, Member, Secret, Volume
from tests.fakes.engine import Uploaded
from tests.workbench import BUILDER, FROM_ONE, INJECTED, NARROW, NPM, PLAIN, REQUEST, TAG, Bench, tree


def test_a_build_is_one_container_described() -> None:
    bench = Bench()
    bench.build(
        replace(
            REQUEST,
            env=(("A", "1"),),
            build_env=(("TOKEN", Secret("t")),),
            secrets=(NPM,),
            injections=(INJECTED,),
            confinement=NARROW,
            keep=True,
            timeout=60.0,
        )
    )
    assert bench.engine.assembled == [
        replace(
            PLAIN,
            env=(("A", "1"),),
            build_env=(("TOKEN", Secret("t")),),
            secrets=(NPM,),
            injections=(INJECTED,),
            confinement=NARROW,
            keep=True,
            timeout=60.0,
        )
    ]


def test_a_destination_that_is_named_counts_more_than_the_label_s() -> None:
    bench = Bench()
    labels = {**BUILDER.labels, "io.openshift.s2i.destination": "/label"}
    bench.engine.images["b:1"] = replace(BUILDER, labels=labels)
    bench.build(replace(REQUEST, destination="/opt/named/"))
    (done,) = bench.engine.assembled
    assert (done.workspace, done.leftovers) == ("/opt/named/.s2ictl", ("/opt/named/src", "/opt/named/artifacts"))
    assert sorted(bench.engine.uploads[0]) == ["opt/named/scripts", "opt/named/src", "opt/named/src/app.py"]


def test_what_stands_on_a_builder_of_ours_has_no_empty_place_for_scripts() -> None:
    bench = Bench()
    bench.engine.images["b:1"] = replace(BUILDER, labels={**BUILDER.labels, MADE_OF: "sha256:folder"})
    bench.build(REQUEST)
    assert sorted(bench.engine.uploads[0]) == ["tmp/src", "tmp/src/app.py"]


def test_the_source_stays_where_that_is_wished() -> None:
    bench = Bench()
    bench.build(replace(REQUEST, keep_source=True))
    assert bench.engine.assembled[0].leftovers == ("/tmp/artifacts",)


def test_what_the_pattern_matches_is_left_out_with_all_that_is_below() -> None:
    bench = Bench(tree=tree({"app.py": b"", "docs/a.md": b"", "src/docs/b.md": b"", ".s2i/bin/run": b""}))
    bench.build(replace(REQUEST, exclude=r"^docs/|\.s2i"))
    uploaded = ["tmp/scripts", "tmp/scripts/run", "tmp/src", "tmp/src/app.py", "tmp/src/src/docs/b.md"]
    assert sorted(bench.engine.uploads[0]) == uploaded


def test_a_hard_link_to_what_is_not_sent_brings_its_bytes_itself() -> None:
    entries = [
        (Member(path="a", kind="file", mode=0o644, size=1), io.BytesIO(b"x").read),
        (Member(path="b", kind="hardlink", mode=0o644, target="a"), lambda _: b""),
    ]
    shared = replace(tree({"a": b"x", "b": b"x"}), members=lambda: iter(entries))
    bench = Bench(tree=shared)
    bench.build(replace(REQUEST, exclude="^a$"))
    upload = bench.engine.uploads[0]
    assert upload["tmp/src/b"] == Uploaded(uid=1001, gid=0, mode=0o644, content=b"x")


@pytest.mark.parametrize("pattern", ["(", "*", "x" * 1001])
def test_a_pattern_that_is_none_is_refused_before_the_work(pattern: str) -> None:
    bench = Bench()
    with pytest.raises(InvalidUsage, match="--exclude"):
        bench.build(replace(REQUEST, exclude=pattern))
    assert bench.events == []


@pytest.mark.parametrize("target", ["/tmp/src", "/tmp/artifacts/", "/tmp/scripts", "/tmp/.s2ictl", "/tmp", "/"])
def test_a_volume_over_what_is_uploaded_is_refused(target: str) -> None:
    volume = Volume(source="cache", target=target)
    with pytest.raises(InvalidUsage, match=r"lies over /tmp/(src|artifacts|scripts|\.s2ictl)"):
        Bench().build(replace(REQUEST, confinement=Confinement(volumes=(volume,))))


@pytest.mark.parametrize("target", ["", "settings.xml", "../srv/m2/x", "/srv/m2/settings.xml"])
def test_nothing_is_injected_into_a_volume_which_is_the_user_s_own(target: str) -> None:
    bench = Bench()
    bench.engine.images["b:1"] = replace(BUILDER, workdir="/srv/m2" if "srv" not in target else "/opt")
    volume, injection = Volume(source="/home/me/.m2", target="/srv/m2"), replace(INJECTED, target=target)
    with pytest.raises(InvalidUsage, match=r"--inject would put settings into --volume /home/me/\.m2:/srv/m2"):
        bench.build(replace(REQUEST, confinement=Confinement(volumes=(volume,)), injections=(injection,)))


@pytest.mark.parametrize("declared", [False, True])
def test_a_place_in_which_a_volume_lies_is_not_cleared_away(declared: bool) -> None:
    bench = Bench()
    volumes = (Volume(source="/home/me/.m2", target="/tmp/artifacts/m2"),)
    bench.engine.images["b:1"] = replace(BUILDER, volumes=("/tmp/artifacts/m2",) if declared else ())
    bench.build(replace(REQUEST, confinement=Confinement(volumes=() if declared else volumes)))
    assert bench.engine.assembled[0].leftovers == ("/tmp/src",)
    assert "/tmp/artifacts stays in the image, since the volume /tmp/artifacts/m2 lies in it" in bench.notices()


def test_a_volume_below_or_beside_it_is_fine() -> None:
    bench = Bench()
    volumes = tuple(Volume(source="cache", target=target) for target in ("/tmp/artifacts/m2", "/tmp/srcs", "/data"))
    bench.build(replace(REQUEST, confinement=Confinement(volumes=volumes)))
    assert bench.engine.assembled[0].confinement.volumes == volumes


def test_the_source_s_variables_may_lie_in_the_old_place_or_behind_a_link(emit: Emit) -> None:
    bench = Bench(tree=tree({".sti/environment": b"A=1"}))
    bench.build()
    assert bench.engine.assembled[0].env == (("A", "1"),)
    assert bench.notices()[0].startswith(".sti/environment is taken, but")
    linked = Bench(tree=replace(tree({"env": b"A=2"}), links={".s2i/environment": "../env"}))
    linked.build()
    assert linked.engine.assembled[0].env == (("A", "2"),)


def test_a_file_of_variables_that_is_too_large_to_be_read_is_no_limit_of_ours() -> None:
    def read(path: str) -> bytes:
        raise LimitReached(f"{path} is larger than 16777216 bytes")

    bench = Bench(tree=replace(tree({".s2i/environment": b""}), read=read))
    with pytest.raises(InvalidConfiguration, match="10 MB"):
        bench.build()


# --------------------------------------------------------------------------------------------------------- scripts


def test_scripts_of_an_address_are_uploaded_and_recorded() -> None:
    bench = Bench(web={"https://e.com/s/assemble": b"#!/bin/sh\n"}, tree=tree({".s2i/bin/assemble": b"own"}))
    bench.build(replace(REQUEST, scripts_url="https://e.com/s"))
    (done,) = bench.engine.assembled
    assert (done.command, done.programs) == (("/tmp/scripts/assemble",), ("/usr/libexec/s2i/run",))
    upload = bench.engine.uploads[0]
    assert upload["tmp/scripts/assemble"] == Uploaded(uid=1001, gid=0, mode=0o755, content=b"#!/bin/sh\n")
    assert upload["tmp/src/.s2i/bin/assemble"].content == b"own"
    assert '"scripts-url":"https://e.com/s"' in bench.engine.images[str(TAG)].labels["io.s2ictl.build"]
    assert "fetch scripts" in [each.name for each in bench.events if isinstance(each, StepFinished)]


def test_of_the_source_s_scripts_only_those_of_this_container_are_taken_out_of_it() -> None:
    names = ("assemble", "run", "save-artifacts", "usage", "assemble-runtime")
    bench = Bench(tree=tree({f".s2i/bin/{name}": b"#!/bin/sh\n" for name in names}))
    bench.build()
    taken = [f"tmp/scripts/{name}" for name in ("assemble", "run", "save-artifacts")]
    left = [f"tmp/src/.s2i/bin/{name}" for name in ("assemble-runtime", "usage")]
    assert sorted(bench.engine.uploads[0]) == ["tmp/scripts", *taken, "tmp/src", *left]


def test_a_place_of_scripts_in_the_builder_is_looked_at_before_anything_starts() -> None:
    bench = Bench(tree=tree({".s2i/bin/run": b"own"}))
    with pytest.raises(PullBuilderImageFailed, match="b:1 has no /opt/mine/assemble"):
        bench.build(replace(REQUEST, scripts_url="image:///opt/mine"))
    assert bench.engine.assembled == []


# ----------------------------------------------------------------------------------------------------------- users


@pytest.mark.parametrize(("flag", "label"), [("root", "1001"), ("", "0"), ("", "default")])
def test_a_user_whom_the_policy_does_not_name_assembles_nothing(flag: str, label: str) -> None:
    bench = Bench()
    labels = {**BUILDER.labels, "io.openshift.s2i.assemble-user": label}
    bench.engine.images["b:1"] = replace(BUILDER, labels=labels)
    with pytest.raises(Refused, match="not among the allowed ones: 1-"):
        bench.build(replace(REQUEST, assemble_user=flag, allowed_uids=FROM_ONE))
    assert bench.engine.uploads == []


def test_a_user_whom_the_policy_names_replaces_the_image_s() -> None:
    bench = Bench()
    bench.engine.images["b:1"] = replace(BUILDER, user="")
    bench.build(replace(REQUEST, assemble_user="1001", allowed_uids=FROM_ONE))
    assert bench.engine.assembled[0].user == "1001"


def test_root_is_told_where_nobody_forbids_him() -> None:
    bench = Bench()
    bench.engine.images["b:1"] = replace(BUILDER, user="root")
    bench.build()
    assert bench.notices()[0].startswith("scripts run as root in b:1; --assemble-user UID names another user")
