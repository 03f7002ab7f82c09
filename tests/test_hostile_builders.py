"""What a builder's image, a strange source or a script of it may ask for, and does not get."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.assemblies import METADATA
from s2ictl.builders import CACHES, LOCKS, MADE_OF, promised
from s2ictl.caches import caches_of
from s2ictl.errors import InvalidUsage, LimitReached, PullBuilderImageFailed
from s2ictl.events import Event
from s2ictl.labels import DEPENDENCIES, RECIPE, RECORD, merged
from s2ictl.models import Builder, BuildRequest, Cache, Confinement, Injection, Source, Volume
from tests.logs import texts
from tests.workbench import BUILDER, REQUEST, Bench, tree

ELSEWHERE = "keep downloads elsewhere: --cache DIR, or build with --no-cache"
OF_THE_SYSTEM = "it is a whole branch of the system"


def builder(caches: str, *, locks: str = "", workdir: str = "/opt/app") -> Builder:
    labels = {**BUILDER.labels, CACHES: caches, LOCKS: locks}
    return promised("b:1", replace(BUILDER, labels=labels, workdir=workdir))


def caches(of: Builder, request: BuildRequest = REQUEST, events: list[Event] | None = None) -> list[str]:
    told = [] if events is None else events
    return [cache.target for cache in caches_of(request, tree({}), of, told.append)]


# ------------------------------------------------------------------------------------------- directories of downloads


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/etc", OF_THE_SYSTEM),
        ("/sbin", OF_THE_SYSTEM),
        ("/dev/shm", OF_THE_SYSTEM),
        ("/proc", OF_THE_SYSTEM),
        ("/sys/fs", OF_THE_SYSTEM),
        ("/run/secrets/npm", "what lies at /run/secrets is for one build alone"),
        ("/tmp/.s2i", "what lies at /tmp/.s2i is for one build alone"),
        ("/tmp", "/tmp/src comes and goes with each build"),
        ("/tmp/src/deep", "/tmp/src comes and goes with each build"),
        ("/tmp/.s2ictl", "/tmp/.s2ictl comes and goes with each build"),
        ("/usr/libexec", "the next build would not see what b:1 has at /usr/libexec/s2i"),
        ("/usr/libexec/s2i", "the next build would not see what b:1 has at /usr/libexec/s2i"),
        ("/opt/app", "the next build would not see what b:1 has at /opt/app"),
    ],
)
def test_a_cache_hides_nothing_that_a_build_needs(target: str, why: str) -> None:
    with pytest.raises(PullBuilderImageFailed) as broken:
        caches(builder(f"/var/cache/fine {target}"))
    assert (broken.value.message, broken.value.detail, broken.value.hint) == (
        f"{target} cannot be a cache: {why}",
        f"b:1 asks for it in its label {CACHES}",
        ELSEWHERE,
    )
    with pytest.raises(InvalidUsage) as refused:
        caches(builder(""), replace(REQUEST, caches=(target,)))
    assert (refused.value.message, refused.value.detail) == (f"{target} cannot be a cache: {why}", "")


def test_what_is_a_cache_in_no_image_is_refused_before_the_source_is_fetched() -> None:
    bench = Bench()
    with pytest.raises(InvalidUsage, match="/etc cannot be a cache"):
        bench.build(replace(REQUEST, caches=("/etc",)))
    assert bench.events == []


@pytest.mark.parametrize("target", ["/", "..", "relative", "/a/../b", "/a;b", "/*", "/\udcff", "/" + "a" * 2000])
def test_a_label_that_names_no_directory_is_the_builder_s_fault(target: str) -> None:
    with pytest.raises(PullBuilderImageFailed, match=f"the label {CACHES} of b:1 is not an absolute path"):
        builder(f"/var/cache/fine {target}")


@pytest.mark.parametrize("label", [CACHES, LOCKS])
def test_a_list_without_end_is_not_read(label: str) -> None:
    facts = replace(BUILDER, labels={**BUILDER.labels, label: "/a " * 400_000})
    with pytest.raises(PullBuilderImageFailed, match=f"the label {label} of b:1 has 1200000 characters"):
        promised("b:1", facts)


def test_thousands_of_caches_are_refused_and_the_same_one_twice_is_one() -> None:
    assert caches(builder("/a /a /a")) == ["/a"]
    with pytest.raises(LimitReached, match="65 caches are asked for; the limit is 64"):
        caches(builder(" ".join(f"/c{number}" for number in range(65))))


def test_patterns_that_are_slow_elsewhere_are_not_here() -> None:
    bench = Bench(tree=tree({f"{'a' * 200}{number}": b"" for number in range(200)}))
    labels = {**BUILDER.labels, LOCKS: " ".join("*a" * 30 + f"*b{number}" for number in range(40))}
    bench.engine.images["b:1"] = replace(BUILDER, labels=labels)
    bench.engine.programs[BUILDER.id]["/usr/libexec/s2i/dependencies"] = bench.engine.programs[BUILDER.id][
        "/usr/libexec/s2i/assemble"
    ]
    bench.build()
    assert len(bench.engine.assembled) == 1


@given(st.text(max_size=60))
def test_whatever_a_label_says_each_cache_is_a_plain_path_or_the_builder_is_refused(text: str) -> None:
    found: list[str] = []
    with suppress(PullBuilderImageFailed):
        found = caches(builder(text))
    assert all(target.startswith("/") and ".." not in target.split("/") for target in found)


def test_no_cache_lies_in_a_volume_of_the_user_s() -> None:
    volumes = (Volume(source="/home/me/dl", target="/var/cache"), Volume(source="x", target="/deep/in/a/cache"))
    request = replace(REQUEST, confinement=Confinement(volumes=volumes), caches=("/deep",))
    assert caches(builder("/var/cache/pip /var/cache /root/.m2"), request) == ["/root/.m2", "/deep"]


def test_what_is_injected_is_put_into_no_cache(events: list[Event]) -> None:
    injected = Injection(source=Path("/home/me/gradle.properties"), target="/root/.gradle")
    relative = Injection(source=Path("/home/me/token"), target="dl/conf")
    request = replace(REQUEST, injections=(injected, relative))
    assert caches(builder("/root/.gradle /root/.m2 /opt/app/dl"), request, events) == ["/root/.m2"]
    assert texts(events) == [
        "the downloads at /root/.gradle are not used: gradle.properties is injected there, and may not stay",
        "the downloads at /opt/app/dl are not used: token is injected there, and may not stay",
    ]


# ------------------------------------------------------------------------------------------------- whose they are


def volume_of(*, app: str = "shop", path: str = "/home/me/shop", location: str = ".", typed: str = ".") -> Cache:
    source = Source(kind="directory", location=typed, path=Path(path))
    request = replace(REQUEST, app=app, source=source)
    (cache,) = caches_of(request, replace(tree({}), location=location), builder("/dl"), lambda _: None)
    return cache


def test_the_name_of_an_app_does_not_open_the_downloads_of_another_of_that_name() -> None:
    own, strange = volume_of(), volume_of(path="/home/me/evil")
    assert (own.app, strange.app) == ("shop", "shop")
    assert own.name != strange.name


def test_a_clone_has_the_downloads_of_its_app_wherever_it_lies() -> None:
    remote = "https://git.example.com/shop.git"
    here, there = (volume_of(path=path, location=remote) for path in ("/home/me/shop", "/ci/1234"))
    assert here == there
    assert here != volume_of(location="https://git.example.com/evil.git")
    assert here != volume_of(location=remote, app="cart")


def test_names_that_read_alike_together_are_told_apart() -> None:
    assert volume_of(app="a", location="b:c") != volume_of(app="a:b", location="c")
    assert volume_of(app="", path="/a") != volume_of(app="a", path="/")


# -------------------------------------------------------------------------------------------------- forged labels

FORGED = {RECIPE: "sha256:forged", RECORD: "{}", DEPENDENCIES: "forged", MADE_OF: "sha256:forged"}


def test_what_a_builder_says_of_itself_its_result_does_not_say() -> None:
    assert {**FORGED, **merged(FORGED, {}, {})} == dict.fromkeys(FORGED, "")


def test_what_only_s2ictl_may_say_assemble_cannot() -> None:
    bench = Bench()
    bench.build()
    config = bench.engine.assembled[0].config
    asked = config(json.dumps({"labels": [FORGED, {CACHES: "/etc"}, {"mine": "1"}]}).encode())
    assert asked.labels == {**config(None).labels, "mine": "1"}, METADATA


@pytest.mark.parametrize("label", [*FORGED, CACHES, "io.s2ictl.anything"])
def test_nor_can_the_user(label: str) -> None:
    with pytest.raises(InvalidUsage, match=f"the label {label} is not for anybody to choose"):
        Bench().build(replace(REQUEST, labels=(("mine", "1"), (label, "x"))))


# ----------------------------------------------------------------------------------------------------- and the time


@pytest.mark.parametrize(("epoch", "told"), [(0, "0"), (9999999999, "9999999999")])
def test_any_time_that_the_user_says_is_handed_on_the_first_second_too(epoch: int, told: str) -> None:
    bench = Bench()
    bench.engine.images["b:1"] = replace(BUILDER, env=(*BUILDER.env, "SOURCE_DATE_EPOCH=garbage"))
    bench.build(replace(REQUEST, epoch=epoch))
    (assembly,) = bench.engine.assembled
    assert (assembly.exports, assembly.epoch) == ((("SOURCE_DATE_EPOCH", told),), epoch)
