"""`builders` and `demo`, as far as they go without an engine."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import pytest

from s2ictl import scaffold
from s2ictl.builders import MADE_OF, Folder, fingerprint, load, load_all, settings, shelf
from s2ictl.cli.trials import Bench, all_tried
from s2ictl.demo import Trial
from s2ictl.errors import SampleFailed, Unreachable
from s2ictl.events import Emit, Event, Notice
from s2ictl.foundry import build_builder
from s2ictl.models import BuildRequest, Image, ImageFacts, Reference, Source, Tree
from s2ictl.transport import Response
from s2ictl.workshop import Workshop
from tests.cli import Ran, shell
from tests.fakes.engine import FakeEngine, Script

FOLDERS = load_all(shelf(Path(__file__).parent.parent / "s2ictl"))
NAMES = [folder.name for folder in FOLDERS]
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def run(tmp_path: Path, *arguments: str) -> Ran:
    return shell(tmp_path, **NO_ENGINE).run(*arguments)


def test_each_builder_is_listed_with_its_image_and_the_files_that_it_knows(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "list")
    head, *rows = [line.split(maxsplit=3) for line in ran.stdout.splitlines()]
    assert head == ["NAME", "VERSION", "IMAGE", "DETECTS"]
    assert rows == [
        [
            folder.name,
            ",".join((folder.blueprint.version, *folder.blueprint.versions)),
            f"s2ictl/{folder.name}:{folder.blueprint.version}",
            *filter(None, [", ".join(dict.fromkeys(sign.file for sign in folder.blueprint.detects))]),
        ]
        for folder in FOLDERS
    ]


def test_the_list_as_json_says_what_each_file_means(tmp_path: Path) -> None:
    listed = {each["name"]: each for each in json.loads(run(tmp_path, "builders", "list", "-o", "json").stdout)}
    assert list(listed) == NAMES
    assert listed["python"]["base"] == "debian:trixie-slim"
    sign = {"file": "uv.lock", "means": "dependencies locked by uv", "weak": False, "says": "", "version": ""}
    assert listed["python"]["detects"][0] == sign
    (plan,) = [folder.blueprint for folder in FOLDERS if folder.name == "python"]
    assert {key: listed["python"][key] for key in ("caches", "dependencies", "aliases", "reproducible")} == {
        "caches": list(plan.caches),
        "dependencies": list(plan.dependencies),
        "aliases": [str(alias) for alias in plan.aliases],
        "reproducible": plan.reproducible,
    }


def test_the_list_as_names_is_a_line_each(tmp_path: Path) -> None:
    assert run(tmp_path, "builders", "list", "-o", "name") == Ran(status=0, stdout="\n".join(NAMES) + "\n", stderr="")


def test_a_dry_run_says_which_image_would_be_made_of_what(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "build", "python", "--dry-run", "-o", "json")
    assert json.loads(ran.stdout) == {
        "builder": "python",
        "image": "s2ictl/python:3.13",
        "runtime-image": "",
        "base": "debian:trixie-slim",
        "id": "",
        "digest": "",
        "push": False,
        "dry-run": True,
    }


@pytest.mark.parametrize(
    ("environ", "yaml", "image"),
    [
        ("registry.example.com/team/", "", "registry.example.com/team/go:1.24"),
        ("localhost:5000", "registry.example.com/file", "localhost:5000/go:1.24"),
        ("", "registry.example.com/file", "registry.example.com/file/go:1.24"),
    ],
)
def test_the_images_of_our_builders_lie_where_the_environment_says_and_else_the_file(
    environ: str, yaml: str, image: str, tmp_path: Path
) -> None:
    here = shell(tmp_path, S2ICTL_BUILDERS=environ, **NO_ENGINE)
    if yaml:
        (here.cwd / "s2i.yaml").write_text(f"name: shop\nbuilders: {{prefix: {yaml}}}\n")
    made = json.loads(here.run("builders", "build", "go", "--push", "--dry-run", "-o", "json").stdout)
    assert (made["image"], made["runtime-image"]) == (image, image.replace("/go:", "/go-runtime:"))
    assert json.loads(here.run("builders", "show", "go", "-o", "json").stdout)["image"] == image
    here.run("builders", "create", "pages")
    assert (
        here.run("builders", "build", "./pages", "--dry-run").stdout == image.replace("/go:1.24", "/pages:1.0") + "\n"
    )


@pytest.mark.parametrize("place", ["team", "https://registry.example.com/team", "registry.example.com/Team", "a b"])
def test_a_place_for_builders_that_is_none_in_a_registry_is_a_wrong_usage(place: str, tmp_path: Path) -> None:
    ran = shell(tmp_path, S2ICTL_BUILDERS=place, **NO_ENGINE).run("builders", "list")
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"error: {place!r} is no place in a registry where builders could lie")


def test_a_push_without_such_a_place_is_refused_before_the_work(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "build", "python", "--push")
    assert (ran.status, ran.stdout) == (12, "")
    assert ran.stderr.startswith("error: s2ictl/python:3.13 names no registry to push to (Refused)")


@pytest.mark.parametrize("words", [("demo",), ("builders", "test", "python")])
def test_a_dry_run_of_a_trial_says_what_would_be_asked_and_expected(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(tmp_path, *words, "--dry-run") == Ran(
        status=0,
        stdout="BUILDER  PATH  STATUS  CONTAINS\npython   /     200     Hello from Python\n",
        stderr="",
    )


def test_all_means_every_builder(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "test", "--all", "--dry-run", "-o", "name")
    assert ran.stdout.splitlines() == NAMES


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("build", "pyton"), "there is no builder 'pyton'", f"there are: {', '.join(NAMES)}; or the directory of one"),
        (("test", "pyton"), "there is no builder 'pyton'", f"there are: {', '.join(NAMES)}; or the directory of one"),
        (("test",), "name the builders to test, or say --all", "s2ictl builders test --all"),
        (("test", "python", "--all"), "name the builders to test, or say --all", "s2ictl builders test --all"),
    ],
)
def test_a_wrong_word_is_a_wrong_usage(tmp_path: Path, words: tuple[str, ...], message: str, hint: str) -> None:
    assert run(tmp_path, "builders", *words) == Ran(
        status=2, stdout="", stderr=f"error: {message} (InvalidUsage)\n  try:  {hint}\n"
    )


@pytest.mark.parametrize("words", [("demo",), ("builders", "build", "python"), ("builders", "test", "--all")])
def test_without_an_engine_nothing_is_begun(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(tmp_path, *words)
    assert (ran.status, ran.stdout) == (10, "")
    assert ran.stderr.startswith("error: could not reach the container engine")


# ------------------------------------------------------------------------------------------------------------ show


def test_one_of_ours_is_shown_without_any_engine(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "show", "python")
    lines = ran.stdout.splitlines()
    assert (ran.status, ran.stderr) == (0, "")
    assert lines[:4] == [
        "builder       python 3.13",
        "image         s2ictl/python:3.13",
        "base          debian:trixie-slim",
        "detects       uv.lock: dependencies locked by uv",
    ]
    assert "user          1001" in lines
    assert "scripts       /usr/libexec/s2i" in lines
    assert "ports         8080/tcp" in lines
    assert "label         io.openshift.expose-services=8080:http" in lines
    (settings,) = [line.split()[1:] for line in lines if line.startswith("settings ")]
    assert {"APP_FILE", "WEB_CONCURRENCY", "PIP_INDEX_URL"} <= set(settings)


def test_another_platform_s_name_shows_the_builder_that_stands_in(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "show", "kubesphere/java-8-centos7:v3.2.0", "-o", "json")
    assert json.loads(ran.stdout)["name"] == "java"
    assert ran.stderr.startswith(
        "kubesphere/java-8-centos7:v3.2.0 is another platform's; the builder java stands in here"
    )
    ran = run(tmp_path, "builders", "show", "kubespheredev/tomcat85-java8-centos7:v3.2.0", "-o", "name")
    assert ran.stdout == "s2ictl/tomcat:9\n"


@pytest.mark.parametrize(
    ("word", "image"),
    [
        ("tomcat", "s2ictl/tomcat:10.1"),
        ("tomcat:latest", "s2ictl/tomcat:10.1"),
        ("tomcat:11", "s2ictl/tomcat:11"),
        ("s2ictl/tomcat:9-java25", "s2ictl/tomcat:9-java25"),
    ],
)
def test_a_builder_of_several_versions_is_built_in_the_one_that_is_named(word: str, image: str, tmp_path: Path) -> None:
    made = json.loads(run(tmp_path, "builders", "build", word, "--dry-run", "-o", "json").stdout)
    assert (made["builder"], made["image"]) == (image.removeprefix("s2ictl/").removesuffix(":10.1"), image)


def test_a_version_that_is_none_is_refused_with_the_nearest(tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", "show", "tomcat:8.5")
    assert (ran.status, ran.stdout) == (6, "")
    assert ran.stderr.startswith("error: the builder tomcat has no version 8.5; the nearest is 9")


def test_what_is_shown_as_json_is_the_folder_s_own_word(tmp_path: Path) -> None:
    shown = json.loads(run(tmp_path, "builders", "show", "python", "-o", "json").stdout)
    (folder,) = [folder for folder in FOLDERS if folder.name == "python"]
    plan = folder.blueprint
    assert shown == {
        "name": "python",
        "version": plan.version,
        "versions": [plan.version],
        "image": f"s2ictl/python:{plan.version}",
        "runtime-image": "",
        "base": str(plan.base),
        "detects": [asdict(sign) for sign in plan.detects],
        "caches": list(plan.caches),
        "dependencies": list(plan.dependencies),
        "aliases": [str(alias) for alias in plan.aliases],
        "reproducible": plan.reproducible,
        "settings": list(settings(folder)),
        "env": dict(plan.env),
        "user": plan.user,
        "assemble-user": "",
        "workdir": plan.workdir,
        "scripts": plan.scripts,
        "destination": "/tmp",
        "ports": [f"{plan.port}/tcp"],
        "labels": dict(plan.labels),
    }


@pytest.mark.parametrize("word", ["show", "usage"])
def test_of_an_image_the_engine_is_asked(word: str, tmp_path: Path) -> None:
    ran = run(tmp_path, "builders", word, "registry.example.com/builder")
    assert (ran.status, ran.stdout) == (10, "")
    assert ran.stderr.startswith("error: could not reach the container engine")


# ---------------------------------------------------------------------------------------------------------- create

FILES = (
    "README.md",
    "builder.yaml",
    "expect.yaml",
    "install",
    "s2i/bin/assemble",
    "s2i/bin/dependencies",
    "s2i/bin/run",
    "s2i/bin/save-artifacts",
    "s2i/bin/usage",
    "sample/index.html",
)


def test_a_new_builder_is_a_folder_that_the_other_words_take(tmp_path: Path) -> None:
    here = shell(tmp_path, **NO_ENGINE)
    ran = here.run("builders", "create", "my-pages")
    assert (ran.status, ran.stdout) == (0, "my-pages\n")
    assert ran.stderr == (
        "try it: s2ictl builders test my-pages; then build with it: s2ictl build SOURCE s2ictl/my-pages:1.0\n"
    )
    folder = load(here.cwd / "my-pages")
    assert (folder.name, str(folder.image)) == ("my-pages", "s2ictl/my-pages:1.0")
    assert here.run("builders", "build", "my-pages", "--dry-run").stdout == "s2ictl/my-pages:1.0\n"
    tested = here.run("builders", "test", "./my-pages", "--dry-run").stdout.splitlines()[1]
    assert tested.split(maxsplit=3) == ["my-pages", "/", "200", "Hello from my-pages"]
    assert here.run("builders", "show", "my-pages/").stdout.splitlines()[0] == "builder       my-pages 1.0"


def test_its_scripts_can_be_run_and_name_the_builder_alone(tmp_path: Path) -> None:
    scaffold.create("pages", tmp_path / "anywhere")
    found = {
        path.relative_to(tmp_path / "anywhere").as_posix(): path
        for path in (tmp_path / "anywhere").rglob("*")
        if path.is_file()
    }
    assert tuple(sorted(found)) == FILES
    assert [name for name, path in found.items() if "example" in path.read_text()] == []
    executable = {name for name, path in found.items() if os.access(path, os.X_OK)}
    assert executable == {name for name in FILES if name == "install" or name.startswith("s2i/bin/")}


def test_a_dry_run_names_the_files_and_writes_none(tmp_path: Path) -> None:
    here = shell(tmp_path, **NO_ENGINE)
    ran = here.run("builders", "create", "pages", "there", "--dry-run", "-o", "json")
    assert json.loads(ran.stdout) == {"builder": "pages", "directory": "there", "files": list(FILES), "dry-run": True}
    assert list(here.cwd.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "full directory", "link"])
def test_what_is_there_already_stays(kind: str, tmp_path: Path) -> None:
    here = shell(tmp_path, **NO_ENGINE)
    place = here.cwd / "pages"
    match kind:
        case "file":
            place.write_text("mine")
        case "link":
            place.symlink_to(tmp_path)
        case _:
            place.mkdir()
            (place / "mine").touch()
    ran = here.run("builders", "create", "pages")
    assert (ran.status, ran.stdout) == (13, "")
    assert "is there already, and not empty (Conflict)" in ran.stderr
    assert [path.name for path in here.cwd.iterdir()] == ["pages"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    here = shell(tmp_path, **NO_ENGINE)
    (here.cwd / "some").mkdir()
    assert here.run("builders", "create", "pages", "some").status == 0
    assert load(here.cwd / "some").name == "pages"
    assert [path.name for path in here.cwd.iterdir()] == ["some"]


@pytest.mark.parametrize("name", ["Pages", "a b", "-x", "a_b", "../x", "", "a" * 64, "python"])
def test_a_name_that_can_be_no_image_s_or_is_one_of_ours_is_refused(name: str, tmp_path: Path) -> None:
    here = shell(tmp_path, **NO_ENGINE)
    ran = here.run("builders", "create", "--", name)
    assert (ran.status, ran.stdout, list(here.cwd.iterdir())) == (2, "", [])


def test_a_folder_that_lacks_a_script_is_named_with_it(tmp_path: Path) -> None:
    here = shell(tmp_path, **NO_ENGINE)
    here.run("builders", "create", "pages")
    (here.cwd / "pages" / "s2i" / "bin" / "run").unlink()
    ran = here.run("builders", "build", "pages")
    assert (ran.status, ran.stdout) == (3, "")
    assert "s2i/bin/run: a builder needs this file" in ran.stderr


# ------------------------------------------------------------------------------------------------------------ test


@pytest.fixture
def pages(tmp_path: Path) -> Folder:
    scaffold.create("pages", tmp_path / "pages")
    return load(tmp_path / "pages")


def test_the_fingerprint_of_a_folder_is_of_what_its_image_is_made_of(pages: Folder, tmp_path: Path) -> None:
    before = fingerprint(pages)
    (pages.path / "sample" / "index.html").write_text("another")
    shutil.copytree(pages.path, tmp_path / "copy")
    assert fingerprint(load(tmp_path / "copy")) == before
    (pages.path / "s2i" / "bin" / "run").write_text("#!/bin/sh\n")
    assert fingerprint(load(pages.path)) != before
    yaml = tmp_path / "copy" / "builder.yaml"
    yaml.write_text(yaml.read_text().replace("8080", "8081"))
    assert fingerprint(load(tmp_path / "copy")) != before


def workshop(engine: FakeEngine) -> Workshop:
    @contextmanager
    def fetch(source: Source, emit: Emit) -> Iterator[Tree]:
        yield Tree(location="", context_dir="", commit=None, paths=(), read=lambda _: b"", members=lambda: iter(()))

    return Workshop(
        engine=engine,
        fetch=fetch,
        find_login=lambda _: None,
        folders=lambda _: (),
        root_filesystem=lambda _, __: nullcontext(iter(())),
        download=lambda _, __: None,
    )


def tried(pages: Folder, made_of: str, *, rebuild: bool) -> tuple[list[str], list[str]]:
    """What is said and what is assembled when a builder is tried whose image is here."""
    scripts = {f"/usr/libexec/s2i/{name}": Script(text="") for name in ("assemble", "run", "usage")}
    engine = FakeEngine()
    engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    labels = {**pages.blueprint.labels, MADE_OF: made_of}
    engine.images["s2ictl/pages:1.0"] = ImageFacts(id="sha256:pages", labels=labels, created="2026-01-02T03:04:05Z")
    engine.programs.update({"sha256:pages": scripts})
    said: list[Event] = []

    def emit(event: Event) -> None:
        said.append(event)
        made = engine.images["s2ictl/pages:1.0"].id
        engine.programs.setdefault(made, scripts)

    bench = Bench(
        request=BuildRequest(source=Source(kind="directory", location=""), builder="", names=()),
        workshop=workshop(engine),
        runner=engine,
        get=lambda _: Response(status=200, headers={}, body=b"Hello from pages"),
        emit=emit,
    )
    assert bench.try_as_it_is_now(pages, rebuild=rebuild).answer == "Hello from pages"
    notices = [event.text for event in said if isinstance(event, Notice)]
    return notices, [assembly.image for assembly in engine.assembled]


def test_a_builder_is_tried_by_its_image_when_that_is_of_its_folder_and_it_is_said(pages: Folder) -> None:
    notices, assembled = tried(pages, fingerprint(pages), rebuild=False)
    assert notices[0] == "s2ictl/pages:1.0 is here already, of 2026-01-02T03:04:05Z and of this very folder"
    assert assembled == ["s2ictl/pages:1.0"]


@pytest.mark.parametrize(
    ("made_of", "rebuild", "why"), [("sha256:other", False, "its folder is another now"), ("", True, "--rebuild")]
)
def test_a_builder_whose_folder_has_changed_is_made_anew(made_of: str, rebuild: bool, why: str, pages: Folder) -> None:
    notices, assembled = tried(pages, made_of or fingerprint(pages), rebuild=rebuild)
    assert notices[:2] == [
        f"s2ictl/pages:1.0 of 2026-01-02T03:04:05Z is made anew: {why}",
        "the base debian:trixie-slim is here already",
    ]
    assert assembled == ["debian:trixie-slim", "s2ictl/pages:1.0"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("images", "the base debian:trixie-slim is here already"),
        ("registry", "the base debian:trixie-slim was pulled"),
    ],
)
def test_it_is_said_where_the_base_of_a_builder_came_from(
    place: str, said: str, pages: Folder, emit: Emit, events: list[Event]
) -> None:
    engine = FakeEngine()
    getattr(engine, place)["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    request = BuildRequest(source=Source(kind="directory", location=""), builder="", names=())
    build_builder(pages, request, workshop(engine), emit=emit)
    assert [event.text for event in events if isinstance(event, Notice)] == [said]


def failing(folder: Folder) -> Trial:
    if folder.name != "good":
        raise Unreachable(f"no {folder.name}")
    image = Image(names=(Reference.parse("x:1"),), id="sha256:1")
    return Trial(builder="good", image=image, answer="hi", seconds=1.0, steps=())


def test_of_several_builders_each_is_tried_and_those_that_failed_are_named(
    tmp_path: Path, emit: Emit, events: list[Event]
) -> None:
    names = ("bad", "good", "worse")
    for name in names:
        scaffold.create(name, tmp_path / name)
    folders = load_all(tmp_path)
    with pytest.raises(SampleFailed, match="2 of 3 builders failed: bad, worse") as failed:
        all_tried(folders, failing, emit)
    assert failed.value.detail == "bad: no bad\nworse: no worse"
    assert [event.text for event in events if isinstance(event, Notice)] == ["bad: no bad", "worse: no worse"]
    assert [trial.answer for trial in all_tried(folders[1:2], failing, emit)] == ["hi"]
    with pytest.raises(Unreachable):
        all_tried(folders[:1], failing, emit)
