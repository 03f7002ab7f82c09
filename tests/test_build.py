"""The build story, on an engine that runs nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from s2ictl.assemblies import METADATA, environment_of, parse_environment
from s2ictl.build import DONE, Workshop, build, build_builder
from s2ictl.builders import Folder
from s2ictl.engines import Engine
from s2ictl.errors import (
    AssembleFailed,
    InvalidUsage,
    LimitReached,
    NothingDetected,
    PullBuilderImageFailed,
    PushUnauthorized,
    Refused,
    Unreachable,
)
from s2ictl.events import Emit, Event, Notice, StepFinished
from s2ictl.labels import canonical, read_metadata
from s2ictl.models import BuildRequest, Commit, Image, ImageFacts, Member, Reference, Secret, Source, Tree
from tests.fakes.engine import FakeEngine, Script, Uploaded, committed
from tests.test_builders import folder

BUILDER = ImageFacts(
    id="sha256:builder",
    digest="sha256:" + "b" * 64,
    labels={"io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i"},
    env=("PATH=/bin", "MODE=image"),
    user="1001",
    workdir="/opt/app",
    entrypoint=("/entry",),
    exposed=("8080/tcp",),
)
COMMIT = Commit(
    id="c" * 40, ref="main", author="A <a@b.c>", date="Mon Jan 1", message="Say more " * 12 + "\n\nbody", epoch=1
)
TAG = Reference.parse("registry.example.com/team/app:1")
REQUEST = BuildRequest(source=Source(kind="directory", location="/src"), builder="b:1", names=(TAG,))


def tree(files: dict[str, bytes], commit: Commit | None = None) -> Tree:
    def members() -> Iterator[tuple[Member, Callable[[int], bytes]]]:
        for path, content in sorted(files.items()):
            yield Member(path=path, kind="file", mode=0o644, size=len(content)), io.BytesIO(content).read

    paths = tuple(sorted(files))
    return Tree(location="/src", context_dir="", commit=commit, paths=paths, read=files.__getitem__, members=members)


@dataclass(slots=True)
class Bench:
    """A workshop in which everything can be looked at afterwards."""

    engine: FakeEngine = field(default_factory=FakeEngine)
    tree: Tree = field(default_factory=lambda: tree({"app.py": b"x"}))
    folders: tuple[Folder, ...] = ()
    events: list[Event] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine.images["b:1"] = BUILDER
        self.script(Script(text=""))

    def script(self, assemble: Script) -> None:
        path = "/usr/libexec/s2i"
        self.engine.programs[BUILDER.id] = {f"{path}/assemble": assemble, f"{path}/run": Script(text="")}

    def build(self, request: BuildRequest = REQUEST, engine: Engine | None = None) -> Image:
        return build(request, self.workshop(engine), emit=self.events.append)

    def workshop(self, engine: Engine | None = None) -> Workshop:
        return Workshop(
            engine=engine or self.engine,
            fetch=lambda *_: nullcontext(self.tree),
            find_login=lambda _: None,
            folders=self.folders,
            root_filesystem=self.root_filesystem,
        )

    def root_filesystem(self, suite: str, emit: Emit) -> AbstractContextManager[Iterator[bytes]]:
        @contextmanager
        def making() -> Iterator[Iterator[bytes]]:
            self.made.append(suite)
            yield iter((b"tar",))

        return making()

    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


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


def test_a_refused_push_is_said_and_the_build_is_not_called_good() -> None:
    bench = Bench(engine=FakeEngine(closed=frozenset({"registry.example.com"})))
    with pytest.raises(PushUnauthorized):
        bench.build(replace(REQUEST, push=True))
    assert DONE not in bench.notices()


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


def test_a_bad_line_of_an_environment_file_is_left_out_and_named(events: list[Event], emit: Emit) -> None:
    text = '\n# c\nA = "1" \nexport B=2\nC\nD=\n'
    assert list(parse_environment(text, "env", emit)) == [("A", '"1"'), ("D", "")]
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "env:4 is not NAME=VALUE and is left out",
        "env:5 is not NAME=VALUE and is left out",
    ]


def test_the_user_s_word_beats_the_source_s(emit: Emit) -> None:
    source = tree({".s2i/environment": b"A=source\nB=source"})
    assert environment_of(replace(REQUEST, env=(("A", "user"),)), source, emit) == {"A": "user", "B": "source"}


# ----------------------------------------------------------------------------------------------------- the builder


def test_a_builder_that_is_nowhere_is_said() -> None:
    with pytest.raises(PullBuilderImageFailed, match="there is no builder image gone:1"):
        Bench().build(replace(REQUEST, builder="gone:1"))


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
    bench.engine.images["s2ictl/python:1"] = BUILDER
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
    return Folder(path=tmp_path, blueprint=replace(described.blueprint, labels=labels, env={"HOME": "/opt/app"}))


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
    class Offline(FakeEngine):
        def facts(self, image: str, **how: object) -> ImageFacts | None:
            if how["pull"] == "never" or image in self.images:
                return self.images.get(image)
            raise Unreachable("could not pull", detail="no such host")

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
    bench.engine.images["s2ictl/python:1"] = BUILDER
    assert bench.build(replace(REQUEST, builder="python")).builder == "s2ictl/python:1"
