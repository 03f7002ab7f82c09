"""What need not be built, as it is typed: in the real engine and registry, also where an engine knows nothing of it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from s2ictl.build import build
from s2ictl.engines import Engine
from s2ictl.events import Emit
from s2ictl.labels import RECIPE
from s2ictl.models import BuildRequest, Login, Member, Reference, Source, Tree
from s2ictl.sources import FetchOptions, fetch, parse_source
from s2ictl.workshop import Workshop
from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import grounds, tiny
from tests.engine.grounds import Ground
from tests.engine.test_build import committed
from tests.test_main import FOR_OTHERS
from tests.test_start_up import loaded

HOME = "unchanged-story"
BUILDER, APP = f"{HOME}/builder:1", f"{HOME}/app:1"
LABELS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER user", "ENV PATH=/bin")
UNCHANGED = "unchanged: nothing to build (recipe sha256:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A directory with a source in it, and a builder whose assemble says each time that it runs."""

    shell: Shell
    ground: Ground

    def build(self, *words: str) -> Ran:
        """Build it, named for people, so that it may bear any name."""
        done = self.shell.run("build", ".", BUILDER, APP, "--application-name", "app", *words)
        assert done.status == 0, done.stderr
        return done

    def builder(self, text: str = "") -> str:
        scripts = {
            "assemble": tiny.script(f"echo assembling; mv /tmp/src/* .{text}"),
            "run": tiny.script("cat hello.txt"),
        }
        filesystem = tiny.rootfs(scripts)
        return grounds.made(self.ground, BUILDER, filesystem, *LABELS, "WORKDIR /opt/app")

    def recipe(self) -> str:
        return grounds.facts_of(self.ground, APP).labels.get(RECIPE, "")

    def id(self, name: str = APP) -> str:
        return grounds.facts_of(self.ground, name).id


@pytest.fixture
def desk(ground: Ground, api: Any, tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        stack.callback(tiny.remove_named, api, f"{HOME}/", f"/{HOME}/")
        made = shell(tmp_path, **ground.environ)
        (made.cwd / "hello.txt").write_text("hello\n")
        # What an interrupted run has left in the engine would be found by the next.
        (made.cwd / "never-seen.txt").write_text(str(uuid.uuid4()))
        desk = Desk(shell=made, ground=ground)
        desk.builder()
        yield desk


def built(done: Ran) -> bool:
    """Whether a container ran; else it was found, and said to be."""
    assert ("assembling" in done.stderr) != (UNCHANGED in done.stderr), done.stderr
    assert done.stderr.splitlines()[-1] == "Build completed successfully"
    return "assembling" in done.stderr


def test_the_same_again_is_found_and_answered_as_ever(desk: Desk) -> None:
    first = json.loads(desk.build("-o", "json").stdout)
    again = desk.build("-o", "json")
    answer = json.loads(again.stdout)
    assert not built(again)
    assert (first["unchanged"], answer["unchanged"]) == (False, True)
    told = ("image", "tags", "digest", "id", "builder", "commit")
    assert [answer[key] for key in told] == [first[key] for key in told]
    assert [step["name"] for step in answer["steps"]] == ["fetch", "choose builder"]


def test_it_is_built_again_where_that_is_wanted(desk: Desk) -> None:
    desk.build()
    assert built(desk.build("--force"))
    assert built(desk.build("--no-cache"))
    assert not built(desk.build())


@pytest.mark.parametrize(
    "words",
    [
        ("-e", "GREETING=hi"),
        ("--build-env", "TOKEN=1"),
        ("--label", "team=a"),
        ("--exclude", "^nothing"),
        ("--keep-source",),
        ("--cache", "/opt/app/downloads"),
    ],
)
def test_another_wish_is_another_build_and_the_same_wish_is_not(desk: Desk, words: tuple[str, ...]) -> None:
    desk.build()
    assert built(desk.build(*words))
    assert not built(desk.build(*words))


def test_a_byte_a_name_a_mode_or_another_file_is_another_build(desk: Desk) -> None:
    file = desk.shell.cwd / "hello.txt"
    desk.build()
    file.write_text("hallo\n")
    assert built(desk.build())
    file.chmod(0o755)
    assert built(desk.build())
    (desk.shell.cwd / "more").mkdir()
    (desk.shell.cwd / "more" / "a").write_text("")
    assert built(desk.build())
    file.rename(desk.shell.cwd / "hello.txt~")
    (desk.shell.cwd / "hello.txt").write_text("hallo\n")
    (desk.shell.cwd / "hello.txt~").unlink()
    file.chmod(0o755)
    assert not built(desk.build())


def test_another_time_of_the_files_is_not_another_build(desk: Desk) -> None:
    desk.build()
    os.utime(desk.shell.cwd / "hello.txt", (1, 1))
    assert not built(desk.build())


def test_a_builder_that_is_made_anew_builds_anew(desk: Desk) -> None:
    desk.build()
    desk.builder("; echo more >more.txt")
    assert built(desk.build())
    assert not built(desk.build())


def test_an_image_of_which_only_the_recipe_is_known_gets_its_name_back(desk: Desk) -> None:
    desk.build()
    first = desk.id()
    (desk.shell.cwd / "hello.txt").write_text("later\n")
    desk.build()
    (desk.shell.cwd / "hello.txt").write_text("hello\n")
    assert not built(desk.build("--rm"))
    assert desk.id() == first
    assert desk.shell.run("build", ".", BUILDER, f"{HOME}/other:1", "--application-name", "app").status == 0
    assert desk.id(f"{HOME}/other:1") == first


def test_what_changes_while_it_is_read_is_not_remembered(desk: Desk) -> None:
    place = desk.shell.cwd

    @contextmanager
    def edited(source: Source, emit: Emit) -> Iterator[Tree]:
        """The tree of a directory in which somebody works: a file is another when its turn to be sent has come."""

        def members() -> Iterator[tuple[Member, Callable[[int], bytes]]]:
            (place / "hello.txt").write_text("hallo\n")
            yield from tree.members()

        with fetch(source, cache=place.parent / "cache", environ={}, emit=emit, **_AS_NOBODY) as tree:
            yield replace(tree, members=members)

    request = BuildRequest(
        source=parse_source(".", cwd=place), builder=BUILDER, names=(Reference.parse(APP),), application_name="app"
    )
    build(request, _workshop(desk.ground.engine, edited), emit=lambda _: None)
    assert (grounds.output_of(desk.ground, APP), desk.recipe()) == ("hallo\n", "")
    assert built(desk.build())
    assert desk.recipe().startswith("sha256:")


def _nobody(_host: str) -> Login | None:
    """There is no login for anybody."""


_AS_NOBODY: Any = {"find_login": _nobody, "options": FetchOptions()}


def _workshop(engine: Engine, fetched: Callable[[Source, Emit], AbstractContextManager[Tree]]) -> Workshop:
    return Workshop(
        engine=engine,
        fetch=fetched,
        find_login=_nobody,
        folders=lambda _: (),
        root_filesystem=lambda *_: pytest.fail("no base is made here"),
        download=lambda *_: None,
    )


def test_a_commit_is_found_from_another_checkout(desk: Desk) -> None:
    commit = committed(desk.shell.cwd)
    assert built(desk.build())
    (desk.shell.cwd / "hello.txt").write_text("not committed\n")
    again = desk.build("-o", "json")
    assert not built(again)
    assert json.loads(again.stdout)["commit"] == commit


# ---------------------------------------------------------------------------------------------------- the registry


def push(desk: Desk, name: str, *words: str) -> Ran:
    done = desk.shell.run("build", ".", BUILDER, name, "--push", *words)
    assert done.status == 0, done.stderr
    return done


def test_what_the_registry_has_is_found_by_an_engine_that_has_never_seen_it(
    desk: Desk, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/{HOME}/app:1"
    first = push(desk, name)
    desk.ground.forget(name)
    again = push(desk, name)
    assert not built(again)
    assert again.stdout == first.stdout
    assert name not in desk.ground.engine.names()


def test_what_the_engine_alone_has_is_only_pushed(desk: Desk, registry_facts: testbed.Registry) -> None:
    name = f"{registry_facts.open}/{HOME}/late:1"
    done = desk.shell.run("build", ".", BUILDER, name)
    assert built(done)
    again = push(desk, name, "-o", "json")
    assert not built(again)
    assert [step["name"] for step in json.loads(again.stdout)["steps"]] == ["fetch", "choose builder", "deliver"]


def test_it_runs_and_is_told_of_although_nothing_was_pulled(desk: Desk, registry_facts: testbed.Registry) -> None:
    name = f"{registry_facts.open}/{HOME}/run:1"
    push(desk, name)
    desk.ground.forget(name)
    again = push(desk, name, "--run", "--result-file", "result.json")
    assert "hello" in again.stderr
    assert json.loads((desk.shell.cwd / "result.json").read_text())["unchanged"] is True


def test_a_closed_registry_refuses_as_ever(desk: Desk, registry_facts: testbed.Registry) -> None:
    name = f"{registry_facts.closed}/{HOME}/closed:1"
    assert desk.shell.run("build", ".", BUILDER, name).status == 0
    done = desk.shell.run("build", ".", BUILDER, name, "--push")
    assert (done.status, done.stdout) == (4, "")
    assert f"no login for {registry_facts.closed} was found" in done.stderr


def test_rebuild_finds_that_nothing_is_newer_and_builds_where_that_is_wanted(desk: Desk) -> None:
    desk.build()
    again = desk.shell.run("rebuild", APP)
    assert (again.status, built(again)) == (0, False)
    forced = desk.shell.run("rebuild", APP, "--force")
    assert (forced.status, built(forced)) == (0, True)


FOR_WHAT_IS_BUILT = (
    *FOR_OTHERS,
    *("yaml", "tempfile", "encodings.idna", "documents", "config", "bases", "tarballs", "saved", "layouts", "images"),
    *("engines.carrying", "engines.caches", "engines.settling", "engines.pushing", "engines.embedded", "cli.wrapping"),
)


@grounds.on_docker
def test_where_nothing_has_changed_nothing_is_loaded_of_what_a_build_needs(desk: Desk) -> None:
    foreign = f"{HOME}/s2i-tiny"  # whose name is in no description of a builder of ours
    desk.ground.api.tag(BUILDER, foreign, "1")
    words = ("build", str(desk.shell.cwd), f"{foreign}:1", APP, "--application-name", "app")
    assert built(desk.shell.run(*words))
    assert loaded(FOR_WHAT_IS_BUILT, *words, environ=desk.shell.environ, calls=True) == []
    assert not built(desk.shell.run(*words))
