"""Where s2ictl departs from the older tool, each departure on a real engine by a test that is called like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.errors import AssembleFailed, CommitContainerFailed, InvalidUsage, PullBuilderImageFailed, Refused
from s2ictl.models import BuildSecret, Confinement, Injection, Reference, RuntimeArtifact, Secret, UidRange, Volume
from s2ictl.sources import parse_source
from tests import testbed
from tests.cli import Shell, shell
from tests.engine import tiny
from tests.engine.grounds import on_docker
from tests.engine.kitchen import APP, Kitchen, committed
from tests.engine.world import believed

SCRIPTS = tiny.SCRIPTS
LOOKS = b"#!/bin/busybox sh\n/bin/busybox stat -c '%u %a' /tmp/src/hello.txt\n/bin/busybox cat /tmp/src/hello.txt\n"


def test_the_real_exit_status_is_reported(kitchen: Kitchen) -> None:
    with pytest.raises(AssembleFailed) as failure:
        kitchen.build(kitchen.builder("echo no luck; exit 7"))
    assert (failure.value.message, failure.value.detail) == ("assemble ended with 7", "no luck")


def test_what_is_injected_or_for_the_build_alone_stays_in_no_layer(kitchen: Kitchen) -> None:
    settings = kitchen.directory / "settings"
    settings.write_text("canary-injected\n")
    script = "cat /run/secrets/npm conf/settings; echo; echo $TOKEN; cp -R /tmp/src/. /opt/app/"
    made = kitchen.build(
        kitchen.builder(script),
        secrets=(BuildSecret(id="npm", content=Secret("canary-secret")),),
        injections=(Injection(source=settings, target="conf/"),),
        build_env=(("TOKEN", Secret("canary-variable")),),
    )
    assert made.lines == ["canary-secretcanary-injected", "", "canary-variable"]
    assert b"canary" not in kitchen.saved(APP)
    assert set(kitchen.files(APP)) == {"opt/app/hello.txt"}


def test_an_entrypoint_neither_hides_assemble_nor_is_lost(kitchen: Kitchen) -> None:
    builder = kitchen.image({"assemble": "echo assembled", "run": "true"}, 'ENTRYPOINT ["/bin/echo", "entry"]')
    made = kitchen.build(builder)
    assert (made.lines, made.facts.entrypoint) == (["assembled"], ("/bin/echo", "entry"))
    assert kitchen.says(APP) == f"entry {SCRIPTS}/run\n"


def test_source_and_artifacts_are_not_kept_and_scripts_are(kitchen: Kitchen) -> None:
    kitchen.build(kitchen.builder("mkdir -p /tmp/artifacts; touch /tmp/artifacts/x"), {"a": "", ".s2i/bin/run": ""})
    assert set(kitchen.files(APP)) == {"tmp/scripts/run"}


def test_the_source_is_kept_where_that_is_wished(kitchen: Kitchen) -> None:
    kitchen.build(kitchen.builder("true"), keep_source=True)
    assert set(kitchen.files(APP)) == {"tmp/src/hello.txt"}


def test_links_stay_links_and_are_never_followed_here(kitchen: Kitchen) -> None:
    place = kitchen.source({"hello.txt": "hello\n"})
    (place / "out").symlink_to("/etc/hostname")
    (place / "in").symlink_to("hello.txt")
    kitchen.build_from(place, kitchen.builder())
    files = kitchen.files(APP)
    assert (files["opt/app/out"].content, files["opt/app/in"].content) == (b"/etc/hostname", b"hello.txt")


def test_a_builder_with_onbuild_is_refused_with_the_way_to_build_it(kitchen: Kitchen) -> None:
    with pytest.raises(PullBuilderImageFailed, match="ONBUILD"):
        kitchen.build(kitchen.image({"assemble": "true", "run": "true"}, "ONBUILD RUN true"))


def test_scripts_in_the_image_are_looked_at_before_anything_starts(kitchen: Kitchen) -> None:
    with pytest.raises(PullBuilderImageFailed, match=f"has no {SCRIPTS}/run"):
        kitchen.build(kitchen.image({"assemble": "touch /opt/app/started"}))


def test_the_upload_needs_neither_tar_nor_a_shell(kitchen: Kitchen) -> None:
    builder = kitchen.image({}, shell=False)
    place = kitchen.source({"hello.txt": "hello\n"})
    (place / ".s2i" / "bin").mkdir(parents=True)
    for name in ("assemble", "run"):
        (place / ".s2i" / "bin" / name).write_bytes(LOOKS)
    assert kitchen.build_from(place, builder).lines == ["1001 644", "hello"]


def test_a_runtime_image_without_scripts_keeps_its_own_command(kitchen: Kitchen) -> None:
    runtime = kitchen.image({}, 'CMD ["cat", "hello.txt"]', labels={})
    artifacts = (RuntimeArtifact(source="/opt/app/hello.txt", target=""),)
    made = kitchen.build(kitchen.builder(), runtime_image=runtime, runtime_artifacts=artifacts)
    assert made.facts.command == ("cat", "hello.txt")
    assert kitchen.says(APP) == "hello\n"


@pytest.mark.parametrize("user", ["root", "user"])
def test_a_runtime_image_obeys_the_policy_on_users(user: str, kitchen: Kitchen) -> None:
    runtime = kitchen.image({}, user=user, labels={})
    with pytest.raises(Refused, match="of the runtime image"):
        kitchen.build(
            kitchen.builder(user="1001"),
            runtime_image=runtime,
            runtime_artifacts=(RuntimeArtifact(source="/opt/app/hello.txt", target=""),),
            allowed_uids=(UidRange(first=1),),
        )


def test_a_volume_over_the_source_is_refused_and_not_found_out_later(kitchen: Kitchen) -> None:
    volume = Volume(source="whole-story-cache", target="/tmp/src")
    with pytest.raises(InvalidUsage, match="lies over /tmp/src"):
        kitchen.build(kitchen.builder(), confinement=Confinement(volumes=(volume,)))


@pytest.fixture
def mine(kitchen: Kitchen) -> Volume:
    """A directory of the user's, in which everybody may write."""
    (kitchen.directory / "m2").mkdir()
    (kitchen.directory / "m2").chmod(0o777)
    (kitchen.directory / "m2" / "precious").write_text("")
    return Volume(source=f"{kitchen.directory}/m2", target="/tmp/artifacts/m2")


def test_a_volume_in_what_is_cleared_away_keeps_its_files(kitchen: Kitchen, mine: Volume) -> None:
    made = kitchen.build(kitchen.builder("touch /tmp/artifacts/m2/new"), confinement=Confinement(volumes=(mine,)))
    assert sorted(path.name for path in Path(mine.source).iterdir()) == ["new", "precious"]
    assert "/tmp/artifacts stays in the image, since the volume /tmp/artifacts/m2 lies in it" in made.notices
    assert kitchen.files(APP) == {}


@on_docker
def test_a_volume_that_comes_there_by_a_link_of_the_builder_keeps_its_files(kitchen: Kitchen, mine: Volume) -> None:
    kitchen.build(kitchen.builder("[ -e /temporary ] || ln -s /tmp /temporary", user="root"))
    hidden = Confinement(volumes=(replace(mine, target="/temporary/src/m2"),))
    with pytest.raises(CommitContainerFailed, match="could not be removed again, and nothing was committed"):
        kitchen.build(APP, names=(Reference.parse("whole-story/app:2"),), confinement=hidden)
    assert [path.name for path in Path(mine.source).iterdir()] == ["precious"]


def test_directories_that_nobody_may_write_to_are_cleared_away(kitchen: Kitchen) -> None:
    place = kitchen.source({"pkg/mod/a.go": ""})
    (place / "pkg" / "mod").chmod(0o555)
    kitchen.build_from(place, kitchen.builder("mkdir -p /tmp/src/b/c; touch /tmp/src/b/c/d; chmod -R a-w /tmp/src"))
    assert kitchen.files(APP) == {}


def test_variables_are_not_in_the_image_twice(kitchen: Kitchen) -> None:
    made = kitchen.build(kitchen.builder(), {".s2i/environment": "A=1\nPATH=/bin:/x\n"}, env=(("A", "2"),))
    assert sorted(made.facts.env) == ["A=2", "PATH=/bin:/x"]


def test_the_result_of_another_build_as_builder_tells_nothing_of_its_own_making(kitchen: Kitchen) -> None:
    place = kitchen.source({"hello.txt": "hello\n"})
    committed(place)
    first = kitchen.build_from(place, kitchen.builder(), source=parse_source(str(place), cwd=place))
    assert "io.openshift.s2i.build.commit.id" in first.facts.labels
    second = kitchen.build(APP, names=(Reference.parse("whole-story/app:2"),))
    assert second.facts.labels["io.openshift.s2i.build.commit.id"] == ""
    assert second.facts.labels["org.opencontainers.image.revision"] == ""


def test_the_result_is_labelled_with_the_digest_that_its_builder_has_in_the_registry(
    kitchen: Kitchen, registry_facts: testbed.Registry
) -> None:
    local, there = kitchen.builder(), f"{registry_facts.open}/whole-story/app-builder:1"
    kitchen.engine.name(local, (Reference.parse(there),))
    digest = kitchen.engine.push(Reference.parse(there), login=None, confirm=believed, emit=lambda _: None)
    labels = kitchen.build(there).facts.labels
    assert labels["org.opencontainers.image.base.digest"] == digest
    assert labels["org.opencontainers.image.base.name"] == there


# ------------------------------------------------------------------------------------------------------- as it is typed


@pytest.fixture
def desk(kitchen: Kitchen) -> Shell:
    return shell(kitchen.directory, **kitchen.ground.environ)


@pytest.mark.parametrize(
    "words",
    [
        ("build", ".", "b:1", "UPPER:1"),
        ("build", ".", "b:1", "--incremental", "--runtime-image", "r:1", "--no-cache"),
        ("build", ".", "b:1", "--allowed-uids", "all"),
        ("build", ".", "b:1", "--runtime-image", "r:1", "--runtime-artifact", "../etc"),
        ("build", ".", "b:1", "-E", "gone"),
        ("build", ".", "b:1", "--destination", "/a/../b"),
        ("build", ".", "b:1", "--context-dir", "../.."),
        ("build", "https://example.com/a b", "b:1"),
    ],
)
def test_wrong_usage_ends_with_2_and_contacts_nobody(words: tuple[str, ...], tmp_path: Path) -> None:
    ran = shell(tmp_path, DOCKER_HOST="unix:///nonexistent").run(*words)
    assert (ran.status, ran.stdout) == (2, "")


def test_a_ref_behind_the_source_is_honoured(kitchen: Kitchen, desk: Shell) -> None:
    place = kitchen.source({"hello.txt": "first\n"})
    first = committed(place)
    (place / "hello.txt").write_text("second\n")
    committed(place)
    ran = desk.run("build", f"file://{place}#{first}", kitchen.builder(), APP)
    assert (ran.status, kitchen.says(APP)) == (0, "first\n")


def test_a_variable_that_is_typed_beats_the_file_and_the_file_the_source(kitchen: Kitchen, desk: Shell) -> None:
    place = kitchen.source({".s2i/environment": "A=source\nB=source\nC=source\n"})
    (desk.cwd / "vars").write_text("B=file\nC=file\n")
    builder = kitchen.builder('echo "$A $B $C"')
    ran = desk.run("build", str(place), builder, APP, "-E", "vars", "-e", "C=flag", "--plain")
    assert "  | source file flag" in ran.stderr.splitlines(), ran.stderr


def test_uncommitted_work_is_named_and_built_only_with_copy(kitchen: Kitchen, desk: Shell) -> None:
    place, builder = kitchen.source({"hello.txt": "committed\n"}), kitchen.builder()
    committed(place)
    (place / "hello.txt").write_text("later\n")
    ran = desk.run("build", str(place), builder, APP)
    assert "not committed, so not built (--copy builds the directory as it is): hello.txt" in ran.stderr
    assert kitchen.says(APP) == "committed\n"
    assert desk.run("build", str(place), builder, APP, "--copy").status == 0
    assert kitchen.says(APP) == "later\n"


def test_a_policy_of_never_asks_no_registry(desk: Shell) -> None:
    ran = desk.run("build", ".", "127.0.0.1:9/nobody/builder:1", "--pull-policy", "never", "--copy")
    assert (ran.status, "looked in the engine\n" in ran.stderr) == (6, True), ran.stderr


def test_a_login_in_an_address_is_in_no_label_log_or_layer(kitchen: Kitchen, desk: Shell) -> None:
    place = kitchen.source({"hello.txt": "hello\n"})
    committed(place, origin="https://someone:canary@git.example.com/shop.git")
    ran = desk.run("build", str(place), kitchen.builder(), APP, "-vv")
    assert ran.status == 0, ran.stderr
    assert "canary" not in ran.stdout + ran.stderr + repr(kitchen.facts(APP))
    assert b"canary" not in kitchen.saved(APP)


def test_a_rebuild_asks_for_all_that_was_asked_for(kitchen: Kitchen, desk: Shell) -> None:
    assemble = "id -u; ls /opt/s/src; cat /opt/s/src/hello.txt"
    files = {"app/hello.txt": "first\n", "app/notes.md": "", "app/.s2i/bin/assemble": assemble}
    place = kitchen.source(files)
    committed(place)
    builder = kitchen.builder("exit 9", user="1001")
    asked = {
        "--env": "MODE=typed",
        "--context-dir": "app",
        "--ref": "main",
        "--assemble-user": "1234",
        "--allowed-uids": "1-",
        "--exclude": r"\.md$",
        "--destination": "/opt/s",
        "--label": "team=a",
        "--description": "A shop",
    }
    words = [word for pair in asked.items() for word in pair]
    first = desk.run("build", str(place), builder, APP, *words, "--plain")
    before = kitchen.facts(APP)
    (place / "app/hello.txt").write_text("second\n")
    committed(place)
    second = replace(desk, cwd=place).run("rebuild", APP, "--plain")
    after = kitchen.facts(APP)
    assert (first.status, second.status) == (0, 0), first.stderr + second.stderr
    assert second.stdout == f"{APP}\n"
    told = [line.removeprefix("  | ") for line in second.stderr.splitlines() if line.startswith("  | ")]
    assert told == ["1234", "hello.txt", "second"]
    changed = {name for name in before.labels if before.labels[name] != after.labels.get(name)}
    assert changed <= {f"io.openshift.s2i.build.commit.{each}" for each in ("id", "date")} | {
        "org.opencontainers.image.revision",
        "io.s2ictl.recipe",
    }
    assert (after.env, after.command, after.user) == (before.env, before.command, before.user)
