"""From one container into another: what an earlier image saves, and what a runtime image takes."""

from __future__ import annotations

from typing import Any

import pytest

from s2ictl.errors import AssembleFailed, S2IError
from s2ictl.events import Event, Line, Notice
from s2ictl.models import Built, ImageFacts, Reference, Runtime, RuntimeArtifact, Salvage
from tests.engine.world import Real, built, listing, named, text_of
from tests.fakes.engine import Script
from tests.fakes.engine_contract import CONFIG, SCRIPTS, archive, ask, assembly

EVIL = archive({"../../etc/cron.d/evil": b"* * * * * root true"}, uid=0, gid=0)
FOUND = "cd /tmp/artifacts 2>/dev/null || exit 0; find . -type f | while read f; do echo $f $(cat $f); done"


# ------------------------------------------------------------------------------------------------------------ salvage


def salvage(image: ImageFacts, script: str, **changes: Any) -> Salvage:
    """An earlier image that saves what this script prints."""
    described = {
        "image": "contract/earlier:1",
        "image_id": image.id,
        "user": "user",
        "upload": lambda uid, gid: iter((archive({"tmp/evil.tar": EVIL}, uid=uid, gid=gid),)),
        "target": "/tmp/artifacts",
        "timeout": 20.0,
    }
    return Salvage(**{**described, "command": ("/bin/sh", "-c", script), **changes})


def incremental(world: Real, script: str, **changes: Any) -> tuple[list[str], list[str]]:
    """Build with what an earlier image saves; answers what assemble found, and what the user was warned of."""
    said: list[Event] = []
    base = world.builder(Script(text=FOUND))
    world.engine.assemble(assembly(base, salvage=salvage(base, script, **changes)), said.append)
    warned = [event.text for event in said if isinstance(event, Notice) and event.level == "warning"]
    return sorted(event.text for event in said if isinstance(event, Line) and event.stream == "stdout"), warned


SAVES = "cd /tmp && mkdir -p saved/lib && echo one >saved/a && echo two >saved/lib/b && tar -cf - -C saved ."


def test_what_the_earlier_image_saves_is_there_for_the_next_build(world: Real) -> None:
    assert incremental(world, SAVES) == (["./a one", "./lib/b two"], [])


def test_what_it_says_around_the_archive_does_no_harm(world: Real) -> None:
    assert incremental(world, f"echo saving; {SAVES}; echo done; pwd") == (["./a one", "./lib/b two"], [])


def test_what_is_saved_belongs_to_the_user_of_assemble(world: Real) -> None:
    base = world.builder(Script(text="stat -c '%u:%g %n' /tmp/artifacts /tmp/artifacts/lib /tmp/artifacts/lib/b"))
    said: list[Event] = []
    world.engine.assemble(assembly(base, salvage=salvage(base, SAVES)), said.append)
    assert {event.text.split()[0] for event in said if isinstance(event, Line)} == {"1001:0"}


def test_to_save_nothing_is_no_failure(world: Real) -> None:
    assert incremental(world, "true") == ([], [])


@pytest.mark.parametrize(
    ("script", "because"),
    [
        (f"{SAVES}; exit 3", "ended with 3"),
        ("echo no archive at all", "is not a whole tar archive"),
        ("cat /tmp/evil.tar", "leads out of the archive"),
        (f"{SAVES} | head -c 1500", "is not a whole tar archive"),
        (f"{SAVES}; sleep 60", "did not end within"),
        ("no-such-program", "ended with 127"),
    ],
)
def test_whatever_goes_wrong_the_build_begins_anew(world: Real, script: str, because: str) -> None:
    found, (warning,) = incremental(world, script, timeout=2.0)
    assert found == []
    assert warning.startswith("nothing of contract/earlier:1 is used again, the build begins anew: ")
    assert because in warning


def test_an_image_that_cannot_save_is_no_reason_to_stop(world: Real) -> None:
    found, (warning,) = incremental(world, "true", command=("/nowhere",))
    assert found == []
    assert "begins anew" in warning


# ------------------------------------------------------------------------------------------------------------ runtime

MAKES = """mkdir -p /opt/app/target/lib && cd /opt/app/target && echo jar >shop.jar && echo no >shop.txt
echo dep >lib/dep.jar && ln -s lib/dep.jar dep && printf '#!/bin/sh\\n' >start
chmod 700 start && chmod 600 shop.jar"""


def runtime(world: Real, *artifacts: str, user: str = "0:0", script: str = "", **changes: Any) -> Built:
    """Build with this script, and put what it made into a second image."""
    base = world.builder(Script(text=MAKES))
    second = world.builder(Script(text=script))
    changes |= {"command": (f"{SCRIPTS}/assemble",) if script else (), "programs": (), "image_id": second.id}
    last = assembly(second, user=user, upload=nothing, leftovers=(), **changes)
    wanted = tuple(RuntimeArtifact.parse(artifact) for artifact in artifacts)
    stage = Runtime(assembly=last, artifacts=wanted, root="/opt/app")
    first = assembly(base, runtime=stage, names=(Reference.parse("contract/never-committed:1"),))
    return world.engine.assemble(first, lambda _: None)


def nothing(uid: int, gid: int) -> Any:
    return iter((archive({}, uid=uid, gid=gid),))


def test_the_runtime_image_has_the_artifacts_and_nothing_else_of_the_builder(world: Real) -> None:
    image = runtime(world, "/opt/app/target/*.jar:deployments", "/opt/app/target/start", user="user").id
    assert listing(world, image, "/opt/app") == {
        "app/deployments": "755 1001:0",
        "app/deployments/shop.jar": "644 1001:0",
        "app/start": "755 1001:0",
    }
    assert named(world, "contract/never-committed") == []


def test_a_directory_comes_with_all_that_is_in_it_and_its_links(world: Real) -> None:
    image = runtime(world, "/opt/app/target:.").id
    assert set(listing(world, image, "/opt/app")) == {
        "app/target",
        "app/target/dep",
        "app/target/lib",
        "app/target/lib/dep.jar",
        "app/target/shop.jar",
        "app/target/shop.txt",
        "app/target/start",
    }


def test_stars_reach_below_when_there_are_two(world: Real) -> None:
    image = runtime(world, "/opt/**/*.jar:jars").id
    assert set(listing(world, image, "/opt/app")) == {"app/jars", "app/jars/shop.jar", "app/jars/dep.jar"}


def test_a_pattern_may_begin_at_the_root_and_what_the_runtime_has_keeps_its_owner(world: Real) -> None:
    image = runtime(world, "/et*/passwd:.", user="0:0").id
    assert listing(world, image, "/opt") == {"opt/app": "755 1001:0", "opt/app/passwd": "644 0:0"}


@pytest.mark.parametrize("missing", ["/opt/app/target/*.war", "/opt/app/nowhere", "/nowhere/*.jar"])
def test_an_artifact_that_nothing_matches_is_a_failure_of_assemble(world: Real, missing: str) -> None:
    with pytest.raises(AssembleFailed, match="assemble left nothing at"):
        runtime(world, missing)


def test_the_runtime_s_own_command_sees_the_artifacts_and_ends_the_build_when_it_fails(world: Real) -> None:
    image = runtime(world, "/opt/app/target/shop.jar", script="cat /opt/app/shop.jar >/opt/app/copy", user="user").id
    assert text_of(world, image, "/opt/app/copy") == "jar\n"
    with pytest.raises(AssembleFailed, match="assemble ended with 4"):
        runtime(world, "/opt/app/target/shop.jar", script="exit 4")


def test_the_image_is_configured_and_named_as_the_runtime_says(world: Real) -> None:
    name = Reference.parse("contract/runtime:1")
    image = runtime(world, "/opt/app/target/shop.jar", names=(name,)).id
    facts = world.engine.facts(str(name), pull="never", login=None, emit=lambda _: None)
    assert facts is not None
    assert (facts.id, facts.command, facts.user) == (image, CONFIG.command, "user")


# ------------------------------------------------------------------------------------------------------------ several


def test_several_names_are_given_together_or_not_at_all(world: Real) -> None:
    built(world, "true", names=(Reference.parse("contract/kept:1"),))
    before = ask(world, Reference.parse("contract/kept:1"))
    refused = Reference(registry="", repository="contract/UPPER", tag="1")
    with pytest.raises(S2IError, match="contract/UPPER"):
        built(
            world,
            "echo x >/opt/app/new",
            names=(Reference.parse("contract/kept:1"), Reference.parse("contract/new:1"), refused),
        )
    assert ask(world, Reference.parse("contract/kept:1")) == before
    assert named(world, "contract/new") == named(world, "s2ictl/unfinished") == []
