"""What is decided of an artifact before anybody is contacted, and what ends there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import aliases, builders
from s2ictl.artifacts import Wishes
from s2ictl.builders import Folder, load_all
from s2ictl.errors import InvalidArtifact, InvalidUsage, Refused, S2IError, WrongPlatform
from s2ictl.events import Emit, Event, Notice
from s2ictl.footing import shown
from s2ictl.layouts import Laid
from s2ictl.models import BuildRequest, Confinement, Reference, Source, Target
from s2ictl.planning import B2IRequest, Plan, plan_of
from s2ictl.targets import ENGINE, REGISTRY
from tests.fakes.artifacts import packed, runnable, war
from tests.fakes.images import program

FOLDERS = load_all(Path(__file__).parent.parent / "builders")
NAME = Reference.parse("registry.example.com/team/shop:1")
BUILD = BuildRequest(source=Source(kind="archive", location="typed"), builder="", names=(NAME,))
FILES: Mapping[str, bytes] = {
    "shop.war": packed(war()),
    "old.war": packed(war("javax", level=8)),
    "new.war": packed(war(level=25)),
    "shop.jar": packed(runnable()),
    "static": program(),
    "dynamic": program(interpreter=b"/lib64/ld-linux-x86-64.so.2\0"),
    "arm": program(machine=183),
}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def named(word: str, emit: Emit) -> Folder | None:
    if own := builders.named(word, FOLDERS):
        return own
    other = aliases.meant(word, FOLDERS)
    if other is not None:
        emit(other.notice)
    return other.folder if other else None


def planned(request: B2IRequest, emit: Emit, *, prefix: str = "s2ictl") -> Plan:
    return plan_of(request, named=named, prefix=prefix, platform="linux/amd64", emit=emit)


def of(path: Path, *, builder: str = "", wishes: Wishes | None = None, **changes: object) -> B2IRequest:
    request = B2IRequest(path=path, build=replace(BUILD, builder=builder, push=True), wishes=wishes or Wishes())
    return replace(request, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "builder", "base", "by"),
    [
        ("shop.war", "", "s2ictl/tomcat:10.1", "s2ictl/tomcat:10.1"),
        ("old.war", "", "s2ictl/tomcat:9", "s2ictl/tomcat:9"),
        ("new.war", "", "s2ictl/tomcat:10.1-java25", "s2ictl/tomcat:10.1-java25"),
        ("shop.war", "tomcat", "s2ictl/tomcat:10.1", "s2ictl/tomcat:10.1"),
        ("shop.war", "tomcat:11", "s2ictl/tomcat:11", "s2ictl/tomcat:11"),
        ("shop.war", "s2ictl/tomcat:11-java25", "s2ictl/tomcat:11-java25", "s2ictl/tomcat:11-java25"),
        ("shop.jar", "", "s2ictl/jar:21", "s2ictl/jar:21"),
        ("shop.jar", "jar:25", "s2ictl/jar:25", "s2ictl/jar:25"),
        ("static", "", "scratch", "binary"),
        ("dynamic", "", "s2ictl/binary:13", "s2ictl/binary:13"),
        ("dynamic", "binary", "s2ictl/binary:13", "s2ictl/binary:13"),
    ],
)
def test_the_artifact_and_the_builders_name_choose_the_base_and_whoever_would_assemble_it(
    name: str, builder: str, base: str, by: str, shelf: Path, emit: Emit
) -> None:
    plan = planned(of(shelf / name, builder=builder), emit)
    assert (plan.road.road, shown(plan.base), plan.build.builder) == ("append", base, by)


@pytest.mark.parametrize("word", ["kubesphere/tomcat85-java11-centos7:v3.2.0", "kubespheredev/tomcat85-java8-centos7"])
def test_another_platforms_name_for_tomcat_means_the_one_that_serves_the_war(
    word: str, shelf: Path, emit: Emit, events: list[Event]
) -> None:
    assert shown(planned(of(shelf / "old.war", builder=word), emit).base) == "s2ictl/tomcat:9"
    assert shown(planned(of(shelf / "shop.war", builder=word), emit).base) == "s2ictl/tomcat:10.1"
    assert any(isinstance(event, Notice) and word in event.text for event in events)


def test_somebody_elses_builder_is_what_assembles_whatever_the_artifact_belongs_to(shelf: Path, emit: Emit) -> None:
    plan = planned(of(shelf / "shop.war", builder="registry.example.com/their/tomcat:8.5"), emit)
    assert (plan.road.road, plan.build.builder) == ("container", "registry.example.com/their/tomcat:8.5")


def test_our_images_are_where_the_prefix_says(shelf: Path, emit: Emit) -> None:
    folders = load_all(Path(__file__).parent.parent / "builders", prefix="registry.example.com/ours")
    plan = plan_of(
        of(shelf / "shop.war"),
        named=lambda word, _: builders.named(word, folders),
        prefix="registry.example.com/ours",
        platform="linux/amd64",
        emit=emit,
    )
    assert shown(plan.base) == "registry.example.com/ours/tomcat:10.1"


def test_what_a_container_would_be_asked_for_names_no_place_of_this_machine(shelf: Path, emit: Emit) -> None:
    wishes = Wishes(jvm_options=("-Xss1m",), arguments=("serve", "a b"))
    request = of(shelf / "shop.jar", wishes=wishes)
    request = replace(request, build=replace(request.build, env=(("A", "1"),), targets=(ENGINE,)))
    plan = planned(request, emit)
    assert plan.build == replace(
        BUILD,
        source=Source(kind="archive", location="shop.jar"),
        builder="s2ictl/jar:21",
        env=(("JAVA_OPTIONS", "-Xss1m"), ("JAVA_ARGS", "serve 'a b'"), ("A", "1")),
        push=True,
        here=True,
        epoch=0,
    )
    assert plan.targets == (REGISTRY, ENGINE)


def test_the_base_may_be_anybodys(shelf: Path, emit: Emit) -> None:
    def base(text: str) -> object:
        return planned(of(shelf / "static", wishes=Wishes(base=text)), emit).base

    assert base("debian:13") == Reference.parse("debian:13")
    assert base("oci:/layout:1") == Laid(kind="oci", path=Path("/layout"), tag="1")
    assert base("scratch") is None
    assert isinstance(base("s2ictl/binary:13"), Folder)


@pytest.mark.parametrize(
    ("name", "platforms", "targets", "expected"),
    [
        ("shop.war", (), (), ()),  # as many as the base is for
        ("shop.war", (), (ENGINE,), ("linux/amd64",)),
        ("shop.war", ("linux/arm64", "linux/amd64"), (ENGINE,), ("linux/arm64", "linux/amd64")),
        ("arm", (), (Target(kind="oci", path=Path("out")),), ("linux/arm64",)),
        ("arm", ("linux/arm64",), (ENGINE,), ("linux/arm64",)),
    ],
)
def test_the_image_is_for_the_machines_that_its_artifact_runs_on(
    name: str,
    platforms: tuple[str, ...],
    targets: tuple[Target, ...],
    expected: tuple[str, ...],
    shelf: Path,
    emit: Emit,
) -> None:
    request = of(shelf / name, platforms=platforms)
    request = replace(request, build=replace(request.build, push=not targets, targets=targets))
    assert planned(request, emit).platforms == expected


@pytest.mark.parametrize(
    ("name", "changes", "error", "message"),
    [
        (
            "arm",
            {"targets": (ENGINE,)},
            WrongPlatform,
            "arm is a program for linux/arm64, and is to run on linux/amd64",
        ),
        (
            "arm",
            {"builder": "somebody/elses:1", "targets": (REGISTRY,)},
            WrongPlatform,
            "arm is a program for linux/arm64, and is to run on linux/amd64",
        ),
        (
            "static",
            {"platforms": ("linux/arm64",)},
            WrongPlatform,
            "static is a program for linux/amd64, and is to run on linux/arm64",
        ),
        ("gone", {}, InvalidArtifact, "there is no artifact"),
        ("shop.jar", {"builder": "tomcat"}, InvalidArtifact, ""),
        (
            "shop.jar",
            {"builder": "jar", "wishes": Wishes(type="war")},
            InvalidUsage,
            "the builder jar takes no war",
        ),
        (
            "shop.jar",
            {"builder": "jar", "wishes": Wishes(base="debian:13")},
            InvalidUsage,
            "--base and the builder jar are two bases",
        ),
        (
            "shop.jar",
            {"confinement": Confinement(memory=1)},
            InvalidUsage,
            "--memory is for a container, and this image is made without one",
        ),
        (
            "dynamic",
            {"wishes": Wishes(base=str(NAME))},
            Refused,
            f"the result would replace its own base {NAME}",
        ),
        ("shop.war", {"labels": (("io.s2ictl.recipe", "x"),)}, InvalidUsage, "the label io.s2ictl.recipe is not for"),
        (
            "old.war",
            {"wishes": Wishes(server="tomcat10")},
            WrongPlatform,
            "old.war is for javax servlets, and Tomcat 10.1",
        ),
        ("old.war", {"builder": "tomcat:10.1"}, WrongPlatform, "old.war is for javax servlets, and Tomcat 10.1"),
    ],
)
def test_what_cannot_work_ends_before_anybody_is_asked(
    name: str, changes: Mapping[str, object], error: type[S2IError], message: str, shelf: Path, emit: Emit
) -> None:
    of_build = {key: value for key, value in changes.items() if key in ("targets", "confinement", "labels")}
    others = {key: value for key, value in changes.items() if key not in of_build}
    request = of(shelf / name, **others)  # type: ignore[arg-type]
    request = replace(request, build=replace(request.build, **of_build))  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        planned(request, emit)
    assert caught.value.message.startswith(message)
