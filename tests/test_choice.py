"""Which engine a command gets: every reason for one or the other, and what is said where there is none."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.cli.engine import told, wanted
from s2ictl.cli.session import World
from s2ictl.engines.choice import Choice, Name, Surroundings, Wanted, choose, passes
from s2ictl.errors import InvalidUsage, Unreachable
from s2ictl.models import BuildRequest, Confinement, Target, Volume
from tests.cli import shell
from tests.workbench import REQUEST

SILENT = Unreachable("nobody answers at unix:///d.sock", detail="no such file", hint="start it")
PASSING = Wanted(passes=True, images=("b:1",))
PUSHED = replace(REQUEST, push=True)


def here(
    *,
    silent: bool = False,
    lacking: str = "",
    docker: dict[str, str] | None = None,
    store: dict[str, str] | None = None,
) -> Surroundings:
    """A machine with these images; what it is not asked for it must not be asked for."""
    held: dict[Name, dict[str, str]] = {"docker": docker or {}, "embedded": store or {}}
    return Surroundings(
        silence=lambda: SILENT if silent else None,
        lacking=lambda: lacking,
        held=lambda engine, image: held[engine].get(image, ""),
    )


def nobody() -> Surroundings:
    def silence() -> Unreachable | None:
        raise AssertionError("nobody is to be asked")

    def ask(*_: str) -> str:
        raise AssertionError("nobody is to be asked")

    return Surroundings(silence=silence, lacking=ask, held=ask)


def test_docker_that_is_named_is_taken_without_a_look_at_anything() -> None:
    assert choose(Wanted(engine="docker", by="--engine docker"), nobody()) == Choice(
        engine="docker", because="as --engine docker says"
    )


def test_the_one_without_a_daemon_is_refused_by_what_it_lacks() -> None:
    with pytest.raises(Unreachable) as failure:
        choose(Wanted(engine="embedded", by="S2ICTL_ENGINE"), here(lacking="runc: nothing starts here"))
    assert (failure.value.message, failure.value.detail) == (
        "this machine cannot build without an engine",
        "runc: nothing starts here",
    )
    assert choose(Wanted(engine="embedded", by="S2ICTL_ENGINE"), here()).because == "as S2ICTL_ENGINE says"


@pytest.mark.parametrize(
    ("asked", "around", "choice"),
    [
        (Wanted(), here(), "docker: it answers"),
        (Wanted(), here(silent=True), "embedded: no Docker or Podman answers"),
        (PASSING, here(), "docker: it answers"),
        (PASSING, here(store={"b:1": "one"}), "embedded: it takes the image straight to where it is wanted"),
        (
            PASSING,
            here(store={"b:1": "one"}, docker={"b:1": "one"}),
            "embedded: it takes the image straight to where it is wanted",
        ),
        (PASSING, here(store={"b:1": "one"}, docker={"b:1": "another"}), "docker: it answers"),
        (PASSING, here(store={"b:1": "one"}, lacking="runc"), "docker: it answers"),
        (replace(PASSING, images=("b:1", "r:1")), here(store={"b:1": "one"}), "docker: it answers"),
        (replace(PASSING, images=()), here(store={"b:1": "one"}), "docker: it answers"),
        (replace(PASSING, passes=False), here(store={"b:1": "one"}), "docker: it answers"),
        (Wanted(holding="app:1"), here(store={"app:1": "one"}), "embedded: app:1 lies in its store"),
        (Wanted(holding="app:1"), here(store={"app:1": "one"}, docker={"app:1": "two"}), "docker: it answers"),
        (Wanted(holding="app:1"), here(), "docker: it answers"),
    ],
)
def test_what_is_not_named_is_what_suits_best(asked: Wanted, around: Surroundings, choice: str) -> None:
    assert str(choose(asked, around)) == choice


def test_what_both_lack_is_told_together() -> None:
    with pytest.raises(Unreachable) as failure:
        choose(Wanted(), here(silent=True, lacking="runc: no OCI runtime is installed"))
    assert failure.value.message == "nobody answers at unix:///d.sock"
    assert failure.value.detail == "no such file; and to do without one: runc: no OCI runtime is installed"
    assert failure.value.hint.startswith("start it; s2ictl doctor")


@pytest.mark.parametrize(
    ("request_", "does"),
    [
        (REQUEST, False),
        (PUSHED, True),
        (replace(REQUEST, targets=(Target(kind="oci", path=Path("/out")),)), True),
        (replace(PUSHED, here=True), False),
        (replace(PUSHED, remove_previous=True), False),
        (replace(PUSHED, incremental=True), False),
        (replace(PUSHED, keep=True), False),
        (replace(PUSHED, pull_policy="always"), False),
        (replace(PUSHED, confinement=Confinement(network="none")), True),
        (replace(PUSHED, confinement=Confinement(network="mine")), False),
        (replace(PUSHED, confinement=Confinement(volumes=(Volume(source="/srv", target="/x"),))), True),
        (replace(PUSHED, confinement=Confinement(volumes=(Volume(source="named", target="/x"),))), False),
    ],
)
def test_an_image_passes_where_nothing_asks_for_docker(request_: BuildRequest, does: bool) -> None:
    assert passes(request_) is does


# ------------------------------------------------------------------------------------------------------ as it is typed


def test_the_flag_counts_more_than_the_environment(tmp_path: Path) -> None:
    typed = shell(tmp_path, S2ICTL_ENGINE="embedded")
    (typed.cwd / "app.py").write_text("")
    dry = ("build", ".", "b:1", "app:1", "--dry-run")
    assert "engine    embedded, as S2ICTL_ENGINE says" in typed.run(*dry).stdout.splitlines()
    assert "engine    docker, as --engine docker says" in typed.run(*dry, "--engine", "docker").stdout.splitlines()
    auto = typed.run(*dry, "--engine", "auto").stdout.splitlines()
    assert "engine    docker or podman where one answers, else embedded" in auto


def test_an_environment_that_names_no_engine_is_a_wrong_word(tmp_path: Path) -> None:
    failed = shell(tmp_path, S2ICTL_ENGINE="podman").run("build", ".", "b:1", "--dry-run")
    assert (failed.status, failed.stderr.splitlines()[0]) == (2, "error: S2ICTL_ENGINE is 'podman' (InvalidUsage)")


def test_what_is_named_nowhere_is_auto() -> None:
    here, out = Path(), io.StringIO()
    world = World(arguments=(), environ={}, cwd=here, home=here, stdin=out, stdout=out, stderr=out)
    assert wanted(world) == Wanted(engine="auto", by="S2ICTL_ENGINE")
    assert told(Wanted(engine="embedded", by="--engine embedded")) == "embedded, as --engine embedded says"
    with pytest.raises(InvalidUsage):
        wanted(replace(world, environ={"S2ICTL_ENGINE": "both"}))
