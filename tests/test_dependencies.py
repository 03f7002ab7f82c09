"""What lock files ask for, installed alone: when, with what, and found how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import ANY

import pytest

from s2ictl.assemblies import METADATA
from s2ictl.build import prepare
from s2ictl.builders import LOCKS
from s2ictl.dependencies import REPOSITORY
from s2ictl.errors import AssembleFailed
from s2ictl.events import Emit, StepFinished
from s2ictl.labels import DEPENDENCIES, RECIPE, RECORD
from s2ictl.models import Assembly, BuildRequest, ImageFacts, Reference, Secret
from s2ictl.recipes import sha256
from tests.fakes.engine import Script, Uploaded
from tests.workbench import BUILDER, COMMIT, INJECTED, NARROW, NPM, REQUEST, TAG, Bench, tree

FILES = {
    "package.json": b"{}",
    "npm.lock": b"1",
    "app.js": b"x",
    "lib/package.json": b"{}",
    "wrapper.lock": b"#!/bin/sh",
}
LABELS = {**BUILDER.labels, LOCKS: "package.json *.lock"}
OWN = "/usr/libexec/s2i/dependencies"


def installing(files: dict[str, bytes] | None = None, script: Script | None = None) -> Bench:
    """A builder that can install dependencies alone."""
    bench = Bench(tree=tree(FILES if files is None else files, COMMIT))
    bench.engine.images["b:1"] = replace(BUILDER, labels=LABELS, layers=("sha256:base",), env=("PATH=/bin",))
    bench.engine.programs[BUILDER.id][OWN] = script or Script(text="")
    return bench


def name_in(bench: Bench) -> str:
    return next(name for name in bench.engine.images if name.startswith(REPOSITORY))


def steps(bench: Bench) -> list[tuple[str, bool]]:
    return [(each.name, each.cached) for each in bench.events if isinstance(each, StepFinished)][2:]


def test_the_application_is_assembled_in_an_image_of_its_dependencies() -> None:
    bench = installing()
    bench.build()
    first, second = bench.engine.assembled
    dependencies = bench.engine.images[name_in(bench)]
    assert (first.command, second.command) == ((OWN,), ("/usr/libexec/s2i/assemble",))
    assert (second.image, second.image_id, second.digest) == (name_in(bench), dependencies.id, "")
    assert bench.engine.images[str(TAG)].layers[:2] == dependencies.layers
    assert steps(bench) == [("dependencies", False), ("assemble", False)]


def test_the_script_sees_the_root_s_lock_files_alone() -> None:
    bench = installing()
    bench.build()
    assert bench.engine.uploads[0] == {
        "tmp/src": Uploaded(uid=1001, gid=0, mode=0o755, content=b""),
        "tmp/src/npm.lock": Uploaded(uid=1001, gid=0, mode=0o644, content=b"1"),
        "tmp/src/package.json": Uploaded(uid=1001, gid=0, mode=0o644, content=b"{}"),
        "tmp/src/wrapper.lock": Uploaded(uid=1001, gid=0, mode=0o755, content=b"#!/bin/sh"),
    }


def test_it_is_given_what_assemble_is_given_and_leaves_an_image_that_is_the_builder_s() -> None:
    bench = installing()
    request = replace(REQUEST, env=(("MODE", "user"),), build_env=(("TOKEN", Secret("t")),), secrets=(NPM,), keep=True)
    bench.build(request)
    image = Reference.parse(name_in(bench))
    assert bench.engine.assembled[0] == Assembly(
        image="b:1",
        image_id=BUILDER.id,
        digest=BUILDER.digest,
        owner="build",
        command=(OWN,),
        programs=(OWN,),
        user="1001",
        upload=ANY,
        workspace="/tmp/.s2ictl",
        leftovers=("/tmp/src", "/tmp/artifacts"),
        env=(),
        exports=(("SOURCE_DATE_EPOCH", "315532800"), ("MODE", "user")),
        build_env=(("TOKEN", Secret("t")),),
        secrets=(NPM,),
        ca_bundle=b"",
        timeout=3600.0,
        metadata=METADATA,
        config=ANY,
        names=(image,),
        keep=True,
        epoch=315532800,
    )
    left = bench.engine.images[str(image)]
    assert left == replace(
        bench.engine.images["b:1"],
        id=left.id,
        digest="",
        layers=left.layers,
        platform="linux/amd64",
        labels={**LABELS, DEPENDENCIES: f"{image.tag} {sha256(b'/src')[:32]}"},
    )


def test_another_app_s_are_not_believed_although_its_lock_files_are_the_same() -> None:
    bench = installing()
    for app in ("shop", "cart", "cart"):
        bench.build(replace(REQUEST, app=app, force=True))
    assert [assembly.command == (OWN,) for assembly in bench.engine.assembled] == [True, False, True, False, False]


def test_an_image_below_cannot_say_which_build_it_is_the_result_of() -> None:
    bench = installing()
    forged = {RECIPE: "sha256:forged", RECORD: "{}", DEPENDENCIES: "forged"}
    bench.engine.images["b:1"] = replace(bench.engine.images["b:1"], labels={**LABELS, **forged})
    bench.build()
    labels = bench.engine.images[name_in(bench)].labels
    assert (labels[RECIPE], labels[RECORD], labels[DEPENDENCIES].partition(" ")[0]) == ("", "", name_in(bench)[-32:])


@pytest.mark.parametrize(("count", "size"), [(1001, 0), (2, 33 << 20)])
def test_a_builder_that_wants_everything_gets_the_source_as_ever(count: int, size: int) -> None:
    bench = installing({f"{number}.lock": b"" for number in range(count)})
    bench.tree = replace(bench.tree, read=lambda path: bytes(size) if path.endswith(".lock") else b"")
    bench.build()
    assert [assembly.command for assembly in bench.engine.assembled] == [("/usr/libexec/s2i/assemble",)]


def test_the_next_build_with_the_same_lock_files_finds_them_and_says_so() -> None:
    bench = installing()
    bench.build()
    bench.events.clear()
    bench.tree = tree({**FILES, "app.js": b"y"}, replace(COMMIT, id="d" * 40, epoch=9))
    bench.build()
    assert [each.command[0] for each in bench.engine.assembled] == [
        OWN,
        "/usr/libexec/s2i/assemble",
        "/usr/libexec/s2i/assemble",
    ]
    assert steps(bench) == [("dependencies", True), ("assemble", False)]


@pytest.mark.parametrize("request_", [replace(REQUEST, cache=False)])
def test_without_a_cache_they_are_installed_anew(request_: BuildRequest) -> None:
    bench = installing()
    bench.build()
    bench.build(request_)
    assert [each.command[0] for each in bench.engine.assembled].count(OWN) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"env": (("A", "1"),)},
        {"build_env": (("A", Secret("1")),)},
        {"secrets": (NPM,)},
        {"assemble_user": "1002"},
        {"destination": "/opt/s2i"},
    ],
)
def test_what_could_install_something_else_is_of_another_image(changes: dict[str, object]) -> None:
    bench = installing()
    bench.engine.passwd += "other:x:1002:0::/:/bin/sh\n"
    bench.build()
    bench.build(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert [each.command[0] for each in bench.engine.assembled].count(OWN) == 2


def test_another_lock_file_or_another_builder_is_of_another_image() -> None:
    bench = installing()
    bench.build()
    bench.tree = tree({**FILES, "npm.lock": b"2"})
    bench.build()
    bench.engine.images["b:1"] = replace(bench.engine.images["b:1"], layers=("sha256:base", "sha256:more"))
    bench.build()
    assert [each.command[0] for each in bench.engine.assembled].count(OWN) == 3


def test_mirrors_and_labels_are_of_no_weight() -> None:
    bench = installing()
    bench.build()
    mirror = (("PIP_INDEX_URL", Secret("https://mirror.example.com")),)
    bench.build(replace(REQUEST, surroundings=mirror, labels=(("a", "b"),), description="d", names=()))
    assert [each.command[0] for each in bench.engine.assembled].count(OWN) == 1


def test_a_script_of_the_source_comes_before_the_builder_s_and_is_not_left_behind() -> None:
    bench = installing({**FILES, ".s2i/bin/dependencies": b"#!/bin/sh\n"})
    bench.build()
    first = bench.engine.assembled[0]
    assert (first.command, first.programs) == (("/tmp/scripts/dependencies",), ())
    assert first.leftovers == ("/tmp/src", "/tmp/artifacts", "/tmp/scripts/dependencies")
    assert bench.engine.uploads[0]["tmp/scripts/dependencies"].content == b"#!/bin/sh\n"


@pytest.mark.parametrize(
    ("files", "changes"),
    [
        ({"app.js": b"x"}, {}),
        ({"lib/package.json": b"{}"}, {}),
        (FILES, {"exclude": r"package\.json|\.lock$"}),
        (FILES, {"scripts_url": "image:///opt/others"}),
        (FILES, {"injections": (INJECTED,)}),
        (FILES, {"confinement": NARROW}),
    ],
)
def test_where_they_cannot_be_told_from_others_all_is_built_as_ever(
    files: dict[str, bytes], changes: dict[str, object]
) -> None:
    bench = installing(files)
    bench.engine.programs[BUILDER.id] |= {f"/opt/others/{name}": Script(text="") for name in ("assemble", "run")}
    bench.build(replace(REQUEST, **changes))  # type: ignore[arg-type]
    assert [each.image for each in bench.engine.assembled] == ["b:1"]


def test_a_builder_that_says_nothing_of_lock_files_builds_as_ever() -> None:
    bench = Bench(tree=tree(FILES))
    bench.build()
    assert [each.image for each in bench.engine.assembled] == ["b:1"]


def test_the_result_says_the_same_of_itself_whether_they_were_found_or_made() -> None:
    bench = installing()
    bench.build()
    made = bench.engine.images[str(TAG)]
    bench.build()
    assert bench.engine.images[str(TAG)] == made
    assert made.labels[DEPENDENCIES] == Reference.parse(name_in(bench)).tag
    assert made.env == ("PATH=/bin",)


def test_a_script_that_fails_is_named_and_nothing_is_assembled() -> None:
    bench = installing(script=Script(text="", says=("no such package",), status=3))
    with pytest.raises(AssembleFailed, match="dependencies"):
        bench.build()
    assert [each.command for each in bench.engine.assembled] == [(OWN,)]


def test_an_image_of_that_name_that_is_not_theirs_is_not_taken() -> None:
    bench = installing()
    bench.build()
    name = name_in(bench)
    bench.engine.images[name] = ImageFacts(id="sha256:somebody-s")
    bench.build()
    assert bench.engine.images[name].id != "sha256:somebody-s"


def test_two_builds_that_need_them_at_once_take_turns() -> None:
    turns: list[tuple[str, float, int]] = []
    bench = installing()

    @contextmanager
    def turn(name: str, seconds: float, emit: Emit) -> Iterator[None]:
        turns.append((name, seconds, len(bench.engine.assembled)))
        yield
        turns.append((name, seconds, len(bench.engine.assembled)))

    bench.turn = turn
    bench.build()
    assert turns == [(name_in(bench), 3600.0, 0), (name_in(bench), 3600.0, 1)]


def test_a_dockerfile_installs_as_ever() -> None:
    bench = installing()
    with prepare(REQUEST, bench.workshop(), emit=bench.events.append) as prepared:
        assert (prepared.assembly.image, bench.engine.assembled) == ("b:1", [])
