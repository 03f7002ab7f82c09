"""The builder contract on a real engine, case by case: what the older tool's builders and users rely on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from s2ictl.errors import AssembleFailed, FetchSourceFailed, PullBuilderImageFailed, Refused
from s2ictl.models import (
    Confinement,
    RuntimeArtifact,
    UidRange,
    Volume,
)
from s2ictl.sources import parse_source
from tests.engine import tiny
from tests.engine.kitchen import APP, LABELS, Kitchen, committed

SCRIPTS = tiny.SCRIPTS


# ------------------------------------------------------------------------------------------------------ labels, in, out


def test_a_result_says_where_it_came_from_and_inherits_the_rest(kitchen: Kitchen) -> None:
    builder = kitchen.builder(labels={**LABELS, "io.k8s.description": "A builder", "team": "base"})
    place = kitchen.source({"app/hello.txt": "hello\n"})
    commit = committed(place, origin="https://someone:canary@git.example.com/shop.git")
    source = parse_source(str(place), context_dir="app", cwd=place)
    made = kitchen.build_from(place, builder, source=source, labels=(("mine", "1"),), application_name="shop")
    labels = dict(made.facts.labels)
    assert labels.pop("io.openshift.s2i.build.commit.date")
    assert labels.pop("io.s2ictl.recipe").startswith("sha256:")
    assert labels == {
        "io.openshift.s2i.scripts-url": f"image://{SCRIPTS}",
        "io.k8s.description": "A builder",
        "io.k8s.display-name": "shop",
        "io.openshift.s2i.build.image": f"docker.io/{builder}",
        "io.openshift.s2i.build.source-location": "https://git.example.com/shop.git",
        "io.openshift.s2i.build.source-context-dir": "app",
        "io.openshift.s2i.build.commit.id": commit,
        "io.openshift.s2i.build.commit.ref": "main",
        "io.openshift.s2i.build.commit.author": "T <t@example.com>",
        "io.openshift.s2i.build.commit.message": "Say hello",
        "org.opencontainers.image.title": "shop",
        "org.opencontainers.image.source": "https://git.example.com/shop.git",
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.base.name": f"docker.io/{builder}",
        "team": "base",
        "mine": "1",
        "io.s2ictl.build": '{"labels":["mine"],"application-name":"shop"}',
    }


@pytest.mark.parametrize(
    ("labels", "instructions"),
    [
        ({"io.kubesphere.s2i.scripts-url": "image:///usr/libexec/s2i", "io.kubespehre.s2i.destination": "/opt/s"}, ()),
        ({"io.s2i.scripts-url": "image:///usr/libexec/s2i", "io.s2i.destination": "/opt/s"}, ()),
        ({}, ("ENV STI_SCRIPTS_URL=image:///usr/libexec/s2i", "ENV STI_LOCATION=/opt/s")),
    ],
)
def test_foreign_and_older_labels_are_understood(
    labels: Mapping[str, str], instructions: tuple[str, ...], kitchen: Kitchen
) -> None:
    scripts = {"assemble": "cat /opt/s/src/hello.txt", "run": "true"}
    builder = kitchen.image(scripts, *instructions, labels=labels)
    assert kitchen.build(builder).lines == ["hello"]


def test_what_assemble_writes_into_the_metadata_file_becomes_labels(kitchen: Kitchen) -> None:
    text = '{"labels": [{"a": "1"}, {"io.openshift.s2i.build.image": "forged", "b": "2"}]}'
    builder = kitchen.builder(f"mkdir /tmp/.s2i; echo '{text}' >/tmp/.s2i/image_metadata.json")
    labels = kitchen.build(builder).facts.labels
    assert (labels["a"], labels["b"]) == ("1", "2")
    assert labels["io.openshift.s2i.build.image"] == f"docker.io/{builder}"


def test_a_malformed_metadata_file_fails_the_build_and_nothing_has_the_name(kitchen: Kitchen) -> None:
    builder = kitchen.builder("""mkdir /tmp/.s2i; echo '{"labels": {"a": 1}}' >/tmp/.s2i/image_metadata.json""")
    with pytest.raises(AssembleFailed, match="not readable"):
        kitchen.build(builder)
    assert not kitchen.has(APP)


# ----------------------------------------------------------------------------------------------------------- scripts


def test_the_builder_s_scripts_are_run_where_they_lie(kitchen: Kitchen) -> None:
    made = kitchen.build(kitchen.builder("echo $0; cp -R /tmp/src/. /opt/app/"))
    assert made.lines == [f"{SCRIPTS}/assemble"]
    assert made.facts.command == (f"{SCRIPTS}/run",)
    assert kitchen.says(APP) == "hello\n"


def test_the_source_s_scripts_go_before_the_builder_s_each_alone(kitchen: Kitchen) -> None:
    made = kitchen.build(kitchen.builder("exit 9"), {".s2i/bin/assemble": "echo $0 $(ls -A /tmp/src/.s2i/bin)"})
    assert made.lines == ["/tmp/scripts/assemble"]
    assert made.facts.command == (f"{SCRIPTS}/run",)
    assert set(kitchen.files(APP)) == {"tmp/scripts/assemble"}


def test_the_user_s_scripts_go_before_all_others_each_alone(kitchen: Kitchen, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run").write_bytes(tiny.script("echo mine"))
    files = {".s2i/bin/assemble": "echo the source", ".s2i/bin/run": "echo the source"}
    made = kitchen.build(kitchen.builder("exit 9"), files, scripts_url=f"file://{tmp_path}/mine")
    assert made.lines == ["the source"]
    assert kitchen.says(APP) == "mine\n"


def test_scripts_of_an_address_are_brought_in(kitchen: Kitchen) -> None:
    kitchen.web["https://e.com/s/assemble"] = b"#!/bin/sh\r\necho from afar\r\n"
    assert kitchen.build(kitchen.builder("exit 9"), scripts_url="https://e.com/s").lines == ["from afar"]


def test_a_place_in_the_builder_goes_before_the_source(kitchen: Kitchen) -> None:
    scripts = {"assemble": "exit 9", "other/assemble": "echo other", "other/run": "echo other"}
    files = {".s2i/bin/assemble": "exit 9"}
    made = kitchen.build(kitchen.image(scripts), files, scripts_url=f"image://{SCRIPTS}/other")
    assert made.lines == ["other"]
    assert kitchen.says(APP) == "other\n"


def test_only_what_a_build_runs_is_taken_out_of_the_source(kitchen: Kitchen) -> None:
    names = ("save-artifacts", "usage", "assemble-runtime", "other")
    builder = kitchen.builder("cd /tmp && find scripts src -type f")
    made = kitchen.build(builder, {f".s2i/bin/{name}": "true" for name in names})
    left = [f"src/.s2i/bin/{name}" for name in ("assemble-runtime", "other", "usage")]
    assert sorted(made.lines) == ["scripts/save-artifacts", *left]


def test_a_script_of_the_source_may_be_a_link_in_it(kitchen: Kitchen) -> None:
    builder = kitchen.builder("exit 9")
    place = kitchen.source({"ops/s2i/bin/start": "echo linked"})
    (place / ".s2i").mkdir()
    (place / ".s2i" / "bin").symlink_to("../ops/s2i/bin")
    (place / "ops/s2i/bin/assemble").symlink_to("start")
    assert kitchen.build_from(place, builder).lines == ["linked"]


def test_a_script_that_leads_out_of_the_source_is_refused(kitchen: Kitchen) -> None:
    builder = kitchen.builder()
    place = kitchen.source({".s2i/bin/run": "true"})
    (place / ".s2i" / "bin" / "assemble").symlink_to("/bin/true")
    with pytest.raises(Refused, match=r"\.s2i/bin/assemble leads to '/bin/true'"):
        kitchen.build_from(place, builder)


def test_no_script_from_the_user_s_place_is_an_error(kitchen: Kitchen, tmp_path: Path) -> None:
    with pytest.raises(FetchSourceFailed, match="there is no script at"):
        kitchen.build(kitchen.builder(), scripts_url=f"file://{tmp_path}/nowhere")


def test_no_script_anywhere_is_an_error(kitchen: Kitchen) -> None:
    with pytest.raises(PullBuilderImageFailed, match="there is no run script"):
        kitchen.build(kitchen.image({}, labels={}), {".s2i/bin/assemble": "true"})


# --------------------------------------------------------------------------------------- environment, ignore, places


def test_the_user_s_variables_beat_the_source_s_and_all_stay_once(kitchen: Kitchen) -> None:
    builder = kitchen.image({"assemble": 'echo "$A $B $C"', "run": "true"}, "ENV A=image B=image C=image")
    files = {".s2i/environment": "B=source\r\nC=source\r\n# a comment\r\n"}
    made = kitchen.build(builder, files, env=(("C", "user"),))
    assert made.lines == ["image source user"]
    assert sorted(made.facts.env) == ["A=image", "B=source", "C=user", "PATH=/bin"]


def test_what_is_ignored_or_excluded_never_arrives(kitchen: Kitchen) -> None:
    ignore = "*.log\n!keep.log\n/build/\n"
    names = ("a.log", "keep.log", "build/x", "sub/b.log", "sub/build/y", "notes.md")
    files = {**dict.fromkeys(names, ""), ".s2iignore": ignore, ".git/config": ""}
    builder = kitchen.builder("cd /tmp/src && find . -type f")
    made = kitchen.build(builder, files, exclude=r"\.md$")
    assert sorted(made.lines) == ["./.s2iignore", "./keep.log", "./sub/build/y"]


def test_all_is_put_below_the_destination(kitchen: Kitchen) -> None:
    builder = kitchen.image(
        {"assemble": "cat /opt/flag/src/hello.txt", "run": "true"},
        labels={**LABELS, "io.openshift.s2i.destination": "/opt/label"},
    )
    files = {"hello.txt": "hello\n", ".s2i/bin/run": "echo $0"}
    assert kitchen.build(builder, files, destination="/opt/flag").lines == ["hello"]
    assert kitchen.says(APP) == "/opt/flag/scripts/run\n"


# -------------------------------------------------------------------------------------------------------------- users


@pytest.mark.parametrize(
    ("flag", "label", "assembles"), [("", "", "1001:0"), ("", "1234", "1234:0"), ("77:8", "1234", "77:8")]
)
def test_assemble_runs_as_the_named_user_and_the_result_as_the_builder_s(
    flag: str, label: str, assembles: str, kitchen: Kitchen
) -> None:
    builder = kitchen.image(
        {"assemble": "echo $(id -u):$(id -g); stat -c %u:%g /tmp/src/hello.txt", "run": "true"},
        labels={**LABELS, "io.openshift.s2i.assemble-user": label},
    )
    made = kitchen.build(builder, assemble_user=flag)
    assert (made.lines, made.facts.user) == ([assembles, assembles], "user")


@pytest.mark.parametrize("user", ["root", "0:0", "user", "+0"])
def test_a_user_whom_the_policy_does_not_name_is_refused(user: str, kitchen: Kitchen) -> None:
    with pytest.raises(Refused, match="not among the allowed ones: 1-"):
        kitchen.build(kitchen.builder(), assemble_user=user, allowed_uids=(UidRange(first=1),))


def test_a_number_that_the_policy_names_may(kitchen: Kitchen) -> None:
    builder = kitchen.builder("id -u", user="1001")
    assert kitchen.build(builder, allowed_uids=(UidRange(first=1),)).lines == ["1001"]


# -------------------------------------------------------------------------------------------------------- incremental

GIVING = {
    "assemble": "ls /tmp/artifacts 2>/dev/null; touch /opt/app/cache-1",
    "run": "true",
    "save-artifacts": "cd /opt/app && tar cf - cache-1",
}


def test_an_incremental_build_begins_with_what_the_earlier_image_saved(kitchen: Kitchen) -> None:
    builder = kitchen.image(GIVING)
    first = kitchen.build(builder, incremental=True)
    assert f"nothing is saved from an earlier build: there is no {APP} yet" in first.notices
    assert kitchen.build(builder, incremental=True).lines == ["cache-1"]
    assert set(kitchen.files(APP)) == {"opt/app/cache-1"}


@pytest.mark.parametrize(
    ("script", "saved"),
    [
        ("echo restoring; cd /opt/app; tar cf - cache-1; echo done", ["cache-1"]),
        ("true", []),
        ("exit 3", []),
        ("echo no tar at all", []),
    ],
)
def test_noise_and_failure_of_save_artifacts_are_harmless(script: str, saved: list[str], kitchen: Kitchen) -> None:
    builder = kitchen.image({**GIVING, "save-artifacts": script})
    kitchen.build(builder)
    assert [line for line in kitchen.build(builder, incremental=True).lines if "cache" in line] == saved


def test_what_assemble_moves_away_is_there_again_in_every_build_after(kitchen: Kitchen) -> None:
    moving = {
        "assemble": "mv /tmp/artifacts/deps deps; mv /tmp/src/* .; mkdir -p deps; echo built >>deps/log; cat deps/log",
        "run": "true",
        "save-artifacts": "cd /opt/app && tar cf - deps; cd -",
    }
    builder = kitchen.image(moving)
    kitchen.build(builder)
    kitchen.build(builder, incremental=True)
    assert kitchen.build(builder, incremental=True).lines[-3:] == ["built", "built", "built"]
    assert set(kitchen.files(APP)) == {"opt/app/deps/log", "opt/app/hello.txt"}


def test_an_edited_save_artifacts_acts_at_once(kitchen: Kitchen) -> None:
    builder = kitchen.image({**GIVING, "save-artifacts": "exit 3"})
    kitchen.build(builder)
    files = {".s2i/bin/save-artifacts": "cd /opt/app && tar cf - cache-1"}
    assert kitchen.build(builder, files, incremental=True).lines == ["cache-1"]


def test_the_earlier_image_is_forgotten_when_that_is_wished(kitchen: Kitchen) -> None:
    builder = kitchen.builder()
    first = kitchen.build(builder).image.id
    second = kitchen.build(builder, {"hello.txt": "again"}, remove_previous=True).image.id
    assert (kitchen.has(first), kitchen.has(second)) == (False, True)


# --------------------------------------------------------------------------------------------- what assemble is given


def test_volume_network_and_hosts_reach_assemble(kitchen: Kitchen) -> None:
    (kitchen.directory / "shared").mkdir(mode=0o755)
    (kitchen.directory / "shared" / "note").write_text("shared\n")
    confinement = Confinement(
        volumes=(Volume(source=str(kitchen.directory / "shared"), target="/shared", read_only=True),),
        network="none",
        hosts=("forge.example.com:192.0.2.7",),
        memory=256 << 20,
        cpus=0.5,
    )
    script = "cat /shared/note; ls /sys/class/net; grep forge /etc/hosts | tr '\\t' ' '"
    made = kitchen.build(kitchen.builder(script), confinement=confinement)
    assert made.lines == ["shared", "lo", "192.0.2.7 forge.example.com"]


# ----------------------------------------------------------------------------------------------------- runtime image


def test_a_runtime_image_is_given_the_artifacts_and_its_own_script(kitchen: Kitchen) -> None:
    builder = kitchen.builder("mkdir /opt/app/out; echo built >/opt/app/out/a.txt; echo no >/opt/app/out/b.md")
    labels = {**LABELS, "io.openshift.s2i.assemble-input-files": "/opt/app/out/*.txt:lib"}
    runtime = kitchen.image(
        {"assemble-runtime": "id -u; cat lib/a.txt; echo ready >state", "run": "exec cat lib/a.txt state"},
        labels=labels,
    )
    made = kitchen.build(builder, runtime_image=runtime, env=(("MODE", "x"),))
    assert made.lines == ["1001", "built"]
    assert kitchen.says(APP) == "built\nready\n"
    assert made.facts.labels["io.openshift.s2i.build.image"] == f"docker.io/{builder}"
    assert "MODE=x" in made.facts.env
    assert set(kitchen.files(APP)) == {"opt/app/lib/a.txt", "opt/app/state"}


def test_artifacts_that_are_not_there_fail_the_build(kitchen: Kitchen) -> None:
    artifacts = (RuntimeArtifact(source="/opt/app/*.jar", target=""),)
    with pytest.raises(AssembleFailed, match=r"/opt/app/\*\.jar"):
        kitchen.build(kitchen.builder(), runtime_image=kitchen.image({}, labels={}), runtime_artifacts=artifacts)
    assert not kitchen.has(APP)
