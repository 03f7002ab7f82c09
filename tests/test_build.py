"""The build story, on an engine that runs nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.assemblies import METADATA
from s2ictl.build import DONE, Prepared, build, prepare
from s2ictl.builders import MADE_OF, Folder, fingerprint
from s2ictl.errors import (
    AssembleFailed,
    InvalidUsage,
    LimitReached,
    NothingDetected,
    PullBuilderImageFailed,
    PushUnauthorized,
    Refused,
)
from s2ictl.events import Notice, StepFinished
from s2ictl.foundry import build_builder
from s2ictl.labels import canonical, read_metadata
from s2ictl.models import Image, ImageFacts, Login, PullPolicy, Reference, Secret
from tests.fakes.engine import FakeEngine, Script, Uploaded, committed
from tests.test_builders import folder
from tests.workbench import BUILDER, COMMIT, JAR, PLAIN, REQUEST, TAG, Bench, Offline, tree

DATED = replace(PLAIN, exports=(("SOURCE_DATE_EPOCH", "1"),), epoch=1)  # by the time of its commit


def test_the_story_ends_with_an_image_and_its_last_word_says_so() -> None:
    bench = Bench(tree=tree({"app.py": b"x"}, COMMIT))
    image = bench.build()
    assert image == Image(names=(TAG,), id=image.id, builder="b:1", commit="c" * 40)
    assert [each.name for each in bench.events if isinstance(each, StepFinished)] == [
        "fetch",
        "choose builder",
        "assemble",
    ]
    assert bench.events[-1] == Notice(text=DONE)


def test_a_push_is_answered_with_the_digest() -> None:
    bench = Bench()
    image = bench.build(replace(REQUEST, push=True))
    assert image.digest == bench.engine.registry[str(TAG)].digest


def test_the_login_that_pushes_comes_nowhere_near_what_the_builder_runs() -> None:
    login = Login(host="registry.example.com", username="bot", password=Secret("canary"), origin="a test")
    bench = Bench(engine=FakeEngine(closed=frozenset({"registry.example.com"})))
    workshop = replace(bench.workshop(), find_login=lambda _: login)
    build(replace(REQUEST, push=True), workshop, emit=bench.events.append)
    assert bench.engine.assembled == [PLAIN]
    assert str(TAG) in bench.engine.registry


def test_a_refused_push_is_said_and_the_build_is_not_called_good() -> None:
    bench = Bench(engine=FakeEngine(closed=frozenset({"registry.example.com"})))
    with pytest.raises(PushUnauthorized):
        bench.build(replace(REQUEST, push=True))
    assert DONE not in bench.notices()


def test_what_is_prepared_is_what_would_be_performed_and_nothing_runs() -> None:
    bench = Bench(tree=tree({"app.py": b"x"}, COMMIT))
    with prepare(REQUEST, bench.workshop(), emit=bench.events.append) as prepared:
        assert prepared == Prepared(assembly=DATED, builder="b:1", commit="c" * 40)
    assert bench.engine.assembled == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"incremental": True, "runtime_image": "r:1", "cache": False},
            "--incremental and --runtime-image exclude each other where no cache is kept",
        ),
        ({"runtime_artifacts": (JAR,)}, "--runtime-artifact says nothing without --runtime-image"),
        (
            {"names": (TAG.at("sha256:" + "a" * 64),)},
            "a digest cannot be chosen: it follows from the content",
        ),
        ({"destination": "relative"}, "'relative' is not the path of a directory in an image"),
        ({"destination": "/a/../b"}, "'/a/../b' is not the path of a directory in an image"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(changes: dict[str, object], message: str) -> None:
    bench = Bench()
    with pytest.raises(InvalidUsage) as refused:
        bench.build(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert (refused.value.message, bench.events) == (message, [])


# ------------------------------------------------------------------------------------------------------ the upload


def test_the_source_is_uploaded_below_the_destination_and_belongs_to_the_assemble_user() -> None:
    bench = Bench()
    bench.build()
    assert bench.engine.uploads == [
        {
            "tmp/scripts": Uploaded(uid=1001, gid=0, mode=0o755, content=b""),
            "tmp/src": Uploaded(uid=1001, gid=0, mode=0o755, content=b""),
            "tmp/src/app.py": Uploaded(uid=1001, gid=0, mode=0o644, content=b"x"),
        }
    ]


def test_a_script_of_the_source_comes_before_the_builder_s_and_each_is_found_alone() -> None:
    bench = Bench(tree=tree({".s2i/bin/assemble": b"#!/bin/sh\r\ntrue\r\n", ".s2i/bin/notes": b"n"}))
    bench.build()
    (done,) = bench.engine.assembled
    assert (done.command, done.programs) == (("/tmp/scripts/assemble",), ("/usr/libexec/s2i/run",))
    upload = bench.engine.uploads[0]
    assert upload["tmp/scripts/assemble"] == Uploaded(uid=1001, gid=0, mode=0o755, content=b"#!/bin/sh\ntrue\n")
    assert sorted(upload) == ["tmp/scripts", "tmp/scripts/assemble", "tmp/src", "tmp/src/.s2i/bin/notes"]
    assert ".s2i/bin/assemble has Windows line ends; they are made Unix ones in the upload" in bench.notices()


def test_a_run_script_of_the_source_is_what_the_image_runs() -> None:
    bench = Bench(tree=tree({".s2i/bin/run": b"#!/bin/sh\n"}))
    bench.build()
    assert bench.engine.images[str(TAG)].command == ("/tmp/scripts/run",)


@pytest.mark.parametrize(("flag", "label", "user"), [("7", "8", "7"), ("", "8", "8"), ("", "", "1001")])
def test_the_assemble_user_is_the_flag_s_then_the_label_s_then_the_image_s(flag: str, label: str, user: str) -> None:
    bench = Bench()
    labels = {**BUILDER.labels, "io.openshift.s2i.assemble-user": label}
    bench.engine.images["b:1"] = replace(BUILDER, labels=labels)
    bench.build(replace(REQUEST, assemble_user=flag))
    assert bench.engine.assembled[0].user == user
    assert bench.engine.images[str(TAG)].user == "1001"


# ------------------------------------------------------------------------------------------------------- the image


def test_the_image_is_configured_as_its_builder_but_for_command_environment_and_labels() -> None:
    bench = Bench(tree=tree({".s2i/environment": b"MODE=source\nOWN=1\n# no\n"}, COMMIT))
    bench.build(replace(REQUEST, env=(("MODE", "user"),), labels=(("team", "a"),), description="A shop"))
    assert bench.engine.images[str(TAG)] == replace(
        committed(bench.engine.assembled[0].config(None)),
        command=("/usr/libexec/s2i/run",),
        entrypoint=("/entry",),
        user="1001",
        workdir="/opt/app",
        env=("PATH=/bin", "MODE=user", "OWN=1"),
        exposed=("8080/tcp",),
        labels={
            "io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i",
            "io.k8s.display-name": str(TAG),
            "io.k8s.description": "A shop",
            "io.openshift.s2i.build.image": "docker.io/library/b:1",
            "io.openshift.s2i.build.source-location": "/src",
            "io.openshift.s2i.build.commit.id": "c" * 40,
            "io.openshift.s2i.build.commit.ref": "main",
            "io.openshift.s2i.build.commit.author": "A <a@b.c>",
            "io.openshift.s2i.build.commit.date": "Mon Jan 1",
            "io.openshift.s2i.build.commit.message": ("Say more " * 12)[:78] + "..",
            "org.opencontainers.image.title": str(TAG),
            "org.opencontainers.image.description": "A shop",
            "org.opencontainers.image.source": "/src",
            "org.opencontainers.image.revision": "c" * 40,
            "org.opencontainers.image.base.name": "docker.io/library/b:1",
            "org.opencontainers.image.base.digest": "sha256:" + "b" * 64,
            "team": "a",
            "io.s2ictl.build": '{"env":["MODE"],"labels":["team"],"description":"A shop"}',
        },
    )


def test_what_is_for_the_build_alone_is_not_in_the_image() -> None:
    bench = Bench()
    bench.build(replace(REQUEST, build_env=(("TOKEN", Secret("canary")),)))
    assert bench.engine.assembled[0].build_env == (("TOKEN", Secret("canary")),)
    assert "canary" not in repr(bench.engine.images[str(TAG)])


def test_labels_that_assemble_asks_for_are_set_but_never_replace_ours() -> None:
    bench = Bench()
    asked = b'{"labels": [{"team": "a"}, {"io.openshift.s2i.build.source-location": "forged"}]}'
    bench.script(Script(text="", metadata=asked))
    bench.build()
    labels = bench.engine.images[str(TAG)].labels
    assert (labels["team"], labels["io.openshift.s2i.build.source-location"]) == ("a", "/src")


@pytest.mark.parametrize(
    "content", [b"", b"no", b"[]", b'{"labels": {"a": "b"}}', b'{"labels": [{"a": 1}]}', b"\xff", b"[" * 100_000]
)
def test_metadata_that_is_not_readable_fails_the_build(content: bytes) -> None:
    with pytest.raises(AssembleFailed, match=r"image_metadata\.json"):
        read_metadata(content, METADATA, 1 << 20)


def test_metadata_has_a_limit() -> None:
    with pytest.raises(AssembleFailed, match="more than 10 bytes"):
        read_metadata(b" " * 11, METADATA, 10)


def test_too_many_labels_are_refused_before_anything_runs() -> None:
    bench = Bench()
    with pytest.raises(LimitReached, match="the limit is 10240"):
        bench.build(replace(REQUEST, labels=(("big", "x" * 10_240),)))
    assert bench.engine.uploads == []


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("python", "docker.io/library/python:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        (f"r.io/a@sha256:{'a' * 64}", f"r.io/a@sha256:{'a' * 64}"),
    ],
)
def test_a_label_names_an_image_in_full(written: str, name: str) -> None:
    assert canonical(written) == name


def test_what_an_image_below_says_of_its_own_making_is_not_said_of_the_result() -> None:
    bench = Bench()
    own = {
        "io.openshift.s2i.build.commit.id": "d" * 40,
        "io.s2ictl.build": '{"ref":"dev"}',
        "org.opencontainers.image.version": "13",
    }
    bench.engine.images["b:1"] = replace(BUILDER, labels={**BUILDER.labels, **own})
    bench.build()
    labels = bench.engine.images[str(TAG)].labels
    assert {name: labels[name] for name in own} == {
        "io.openshift.s2i.build.commit.id": "",
        "io.s2ictl.build": "{}",
        "org.opencontainers.image.version": "",
    }


# ----------------------------------------------------------------------------------------------------- the builder


def test_a_builder_that_is_nowhere_is_said() -> None:
    with pytest.raises(PullBuilderImageFailed, match="there is no builder image gone:1"):
        Bench().build(replace(REQUEST, builder="gone:1"))


def test_a_builder_that_is_nowhere_may_have_been_meant_as_the_name_of_the_result() -> None:
    with pytest.raises(PullBuilderImageFailed) as nowhere:
        Bench().build(replace(REQUEST, builder="team/app:1", names=()))
    assert nowhere.value.hint.endswith("; if the result was to be called so: --tag team/app:1")


def test_a_builder_s_name_mistyped_is_told_before_an_image_of_that_name_is_looked_for(python: Folder) -> None:
    bench = Bench(folders=(python,))
    with pytest.raises(PullBuilderImageFailed, match="there is no builder image pyhton"):
        bench.build(replace(REQUEST, builder="pyhton"))
    assert bench.notices() == [
        "no builder here is called pyhton, so an image of that name is looked for; did you mean python?"
    ]


def test_an_image_without_scripts_is_no_builder() -> None:
    bench = Bench()
    bench.engine.images["b:1"] = replace(BUILDER, labels={})
    with pytest.raises(PullBuilderImageFailed, match="b:1 is not labelled as a builder"):
        bench.build()


def test_the_result_may_not_replace_its_builder() -> None:
    with pytest.raises(Refused, match="its own builder"):
        Bench().build(replace(REQUEST, names=(Reference.parse("docker.io/library/b:1"),)))


def test_the_result_may_not_replace_one_of_our_own_builders_either(python: Folder) -> None:
    bench = Bench(folders=(python,))
    bench.engine.images["s2ictl/python:1"] = replace(BUILDER, labels={**BUILDER.labels, MADE_OF: fingerprint(python)})
    with pytest.raises(Refused, match="its own builder s2ictl/python:1"):
        bench.build(replace(REQUEST, builder="", names=(Reference.parse("s2ictl/python:1"),)))
    assert bench.engine.assembled == []


def test_a_push_without_a_name_is_refused_before_the_work() -> None:
    bench = Bench()
    with pytest.raises(InvalidUsage):
        bench.build(replace(REQUEST, names=(), push=True))
    assert bench.events == []


def test_nothing_detected_stops_before_anything_runs() -> None:
    bench = Bench(folders=(folder("python", "requirements.txt"),))
    with pytest.raises(NothingDetected):
        bench.build(replace(REQUEST, builder=""))


@pytest.fixture
def python(tmp_path: Path) -> Folder:
    """A builder's folder on disk, with the least that one has."""
    described = folder("python", "app.py")
    scripts = tmp_path / "s2i" / "bin"
    scripts.mkdir(parents=True)
    for name in ("assemble", "run", "usage"):
        (scripts / name).write_text("#!/bin/sh\n")
    (tmp_path / "install").write_text("#!/bin/sh\n")
    labels = {"io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"}
    blueprint = replace(described.blueprint, labels=labels, env={"HOME": "/opt/app"})
    return Folder(path=tmp_path, blueprint=blueprint, version=blueprint.version)


def made_by(bench: Bench) -> None:
    """What `install` leaves behind is known beforehand here: the scripts."""
    for facts in list(bench.engine.images.values()):
        bench.engine.programs.setdefault(facts.id, bench.engine.programs[BUILDER.id])


def test_a_builder_is_made_of_its_folder_as_an_application_is(python: Folder) -> None:
    bench = Bench(folders=(python,))
    bench.engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian", env=("PATH=/bin",))
    image = build_builder(python, REQUEST, bench.workshop(), emit=bench.events.append)
    assert [str(name) for name in image.names] == ["s2ictl/python:1", "s2ictl/python:latest"]
    facts = bench.engine.images["s2ictl/python:1"]
    assert (facts.user, facts.env, facts.exposed) == ("1001", ("PATH=/bin", "HOME=/opt/app"), ("8080/tcp",))
    assert bench.engine.assembled[0].user == "0:0"
    assert sorted(bench.engine.uploads[0]) == [
        "run/secrets",
        "tmp/src",
        "tmp/src/install",
        "usr/libexec",
        "usr/libexec/s2i",
        "usr/libexec/s2i/assemble",
        "usr/libexec/s2i/run",
        "usr/libexec/s2i/usage",
    ]


def test_a_base_that_no_registry_has_is_made_of_packages(python: Folder) -> None:
    bench = Bench()
    build_builder(python, REQUEST, bench.workshop(), emit=bench.events.append)
    assert bench.made == ["trixie"]
    assert bench.engine.images["debian:trixie-slim"].command == ("/bin/bash",)


def test_a_registry_that_does_not_answer_is_no_obstacle_to_a_base(python: Folder) -> None:
    bench = Bench(engine=Offline())
    build_builder(python, REQUEST, bench.workshop(), emit=bench.events.append)
    assert (bench.made, bench.notices()) == (["trixie"], ["could not pull: no such host"])


def test_a_detected_builder_that_is_not_here_is_built_on_the_spot(python: Folder) -> None:
    bench = Bench(folders=(python,))
    bench.engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    with pytest.raises(PullBuilderImageFailed, match="has no /usr/libexec/s2i/assemble"):  # the fake installs nothing
        bench.build(replace(REQUEST, builder=""))
    made_by(bench)
    assert bench.build(replace(REQUEST, builder="")).builder == "s2ictl/python:1"
    assert bench.notices()[:2] == [
        "builder python, because of app.py: a python file",
        "s2ictl/python:1 is not here yet: it is built now, once",
    ]


def test_one_of_our_builders_is_named_by_its_name_alone(python: Folder) -> None:
    bench = Bench(folders=(python,))
    bench.engine.images["s2ictl/python:1"] = replace(BUILDER, labels={**BUILDER.labels, MADE_OF: fingerprint(python)})
    assert bench.build(replace(REQUEST, builder="python")).builder == "s2ictl/python:1"


def test_one_of_our_builders_is_made_anew_when_its_folder_is_another(python: Folder) -> None:
    bench = Bench(folders=(python,))
    bench.engine.images["s2ictl/python:1"] = replace(BUILDER, labels={MADE_OF: "older"})
    bench.engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    with pytest.raises(PullBuilderImageFailed, match="has no /usr/libexec/s2i/assemble"):  # the fake installs nothing
        bench.build(replace(REQUEST, builder="python"))
    assert bench.engine.images["s2ictl/python:1"].labels[MADE_OF] == fingerprint(python)
    assert bench.notices()[0] == "s2ictl/python:1 was made of another version of its folder: it is built now, once"


def test_one_of_our_builders_in_full_or_of_another_version_is_never_pulled(python: Folder) -> None:
    bench = Bench(folders=(python,))
    bench.engine.images["s2ictl/python:1"] = replace(BUILDER, labels={**BUILDER.labels, MADE_OF: fingerprint(python)})
    bench.engine.registry["docker.io/s2ictl/python:0"] = BUILDER
    assert bench.build(replace(REQUEST, builder="docker.io/s2ictl/python:1")).builder == "s2ictl/python:1"
    with pytest.raises(PullBuilderImageFailed) as nowhere:
        bench.build(replace(REQUEST, builder="docker.io/s2ictl/python:0"))
    assert nowhere.value.detail == "looked in the engine"


@pytest.mark.parametrize(("policy", "cached"), [("if-not-present", True), ("never", True), ("always", False)])
def test_a_step_says_whether_the_builder_was_here_already(policy: PullPolicy, cached: bool) -> None:
    bench = Bench()
    bench.engine.registry["b:1"] = BUILDER
    bench.build(replace(REQUEST, pull_policy=policy))
    (chosen,) = (each for each in bench.events if isinstance(each, StepFinished) and each.name == "choose builder")
    assert chosen.cached is cached


def test_a_builder_that_speaks_as_in_the_old_days_is_understood_and_told(python: Folder) -> None:
    bench = Bench()
    env = ("STI_SCRIPTS_URL=image:///usr/libexec/s2i",)
    bench.engine.images["b:1"] = replace(BUILDER, labels={"io.s2i.destination": "/opt/s2i"}, env=env)
    bench.build()
    assert bench.engine.assembled[0].leftovers == ("/opt/s2i/src", "/opt/s2i/artifacts")
    assert bench.notices()[:2] == [
        "b:1 says STI_SCRIPTS_URL, which has another name now: the label io.openshift.s2i.scripts-url",
        "b:1 says io.s2i.destination, which has another name now: the label io.openshift.s2i.destination",
    ]
