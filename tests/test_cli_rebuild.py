"""`rebuild`, as far as no engine is needed: whom it asks for the image, and what of its words it believes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from s2ictl.cli.rebuild import facts_of, refuse_foreign_paths
from s2ictl.errors import ImageNotFound, Refused
from s2ictl.events import Emit
from s2ictl.models import BuildRequest, ImageFacts, Login, PullPolicy, Secret, Source
from tests.fakes.engine import FakeEngine

HERE = ImageFacts(id="sha256:here")
THERE = ImageFacts(id="sha256:there")
IMAGE = "r.io/shop:1"


class Logins:
    """What is asked for a login is kept."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, place: str) -> Login:
        self.asked.append(place)
        return Login(host=place.partition("/")[0], username="u", password=Secret("p"), origin="test")


@pytest.mark.parametrize(
    ("policy", "images", "registry", "found", "asked"),
    [
        ("if-not-present", {IMAGE: HERE}, {IMAGE: THERE}, HERE, []),
        ("if-not-present", {}, {IMAGE: THERE}, THERE, ["r.io/shop"]),
        ("always", {IMAGE: HERE}, {IMAGE: THERE}, THERE, ["r.io/shop"]),
        ("never", {IMAGE: HERE}, {IMAGE: THERE}, HERE, []),
    ],
)
def test_the_registry_is_asked_only_where_the_engine_is_not_enough(
    policy: PullPolicy,
    images: dict[str, ImageFacts],
    registry: dict[str, ImageFacts],
    found: ImageFacts,
    asked: list[str],
    emit: Emit,
) -> None:
    logins, engine = Logins(), FakeEngine(images=dict(images), registry=registry)
    assert facts_of(IMAGE, policy, engine, login=logins, emit=emit) == found
    assert logins.asked == asked


@pytest.mark.parametrize(
    ("policy", "where"), [("never", "looked in the engine"), ("always", "looked in the engine and in its registry")]
)
def test_an_image_that_is_nowhere_is_said_with_where_it_was_looked_for(
    policy: PullPolicy, where: str, emit: Emit
) -> None:
    with pytest.raises(ImageNotFound) as raised:
        facts_of(IMAGE, policy, FakeEngine(), login=Logins(), emit=emit)
    assert (raised.value.message, raised.value.detail) == (f"there is no image {IMAGE}", where)


def test_an_image_of_docker_hub_is_asked_for_there(emit: Emit) -> None:
    logins = Logins()
    facts_of("shop", "always", FakeEngine(registry={"shop": THERE}), login=logins, emit=emit)
    assert logins.asked == ["docker.io/shop"]


def asked(**said: Any) -> BuildRequest:
    return BuildRequest(builder="b:1", names=(), **said)


def test_a_source_on_this_machine_is_taken_where_its_user_stands(tmp_path: Path) -> None:
    here, archive = tmp_path, tmp_path / "shop.tar"
    archive.touch()
    for source in (
        Source(kind="directory", location=".", path=here),
        Source(kind="archive", location="shop.tar", path=archive),
        Source(kind="git", location="https://git.example.com/shop"),
    ):
        refuse_foreign_paths(asked(source=source, scripts_url=f"file://{here}/s2i"), IMAGE, here)


def refused_hint(source: Source, cwd: Path) -> str:
    with pytest.raises(Refused) as refused:
        refuse_foreign_paths(asked(source=source), IMAGE, cwd)
    return refused.value.hint


def test_a_path_below_another_directory_is_never_found_by_going_there(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    typed = Source(kind="directory", location="shop", path=shop)
    assert refused_hint(typed, tmp_path) == f"s2ictl build {shop} b:1 TAG"


def test_any_other_place_that_an_image_names_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "here").mkdir()
    source = Source(kind="directory", location=str(elsewhere), path=elsewhere)
    with pytest.raises(Refused, match=r"says that its source is .*/elsewhere on this machine"):
        refuse_foreign_paths(asked(source=source), IMAGE, tmp_path / "here")
    with pytest.raises(Refused, match="says that its source is"):
        refuse_foreign_paths(asked(source=source), IMAGE, tmp_path)
    assert refused_hint(source, tmp_path) == f"cd {elsewhere}, or: s2ictl build {elsewhere} b:1 TAG"
    remote = Source(kind="git", location="https://git.example.com/shop")
    with pytest.raises(Refused, match="says that its scripts are in /etc on this machine"):
        refuse_foreign_paths(asked(source=remote, scripts_url="file:///etc"), IMAGE, tmp_path)
