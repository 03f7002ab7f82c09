"""The same source built twice: what is said when the two are alike, and when they are not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from s2ictl.build import DONE
from s2ictl.builders import CACHES, LOCKS
from s2ictl.engines import Difference
from s2ictl.errors import InvalidUsage, NotReproducible
from s2ictl.events import Emit
from s2ictl.models import Assembly, Built, Image, ImageFacts
from s2ictl.reproducible import build_twice
from tests.fakes.engine import FakeEngine, Script
from tests.workbench import BUILDER, COMMIT, REQUEST, TAG, Bench, tree

OWN = "/usr/libexec/s2i/dependencies"
TIME = Difference(path="/opt/app/a.pyc", ways=("time", "content"))


@dataclass(slots=True)
class Drifting(FakeEngine):
    """An engine whose containers of one script leave something else each time."""

    script: str = ""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        built = FakeEngine.assemble(self, assembly, emit)
        if assembly.command[0].endswith(f"/{self.script}"):
            number = next(self.numbers)
            for name, facts in list(self.images.items()):
                if facts.id == built.id:
                    layers = (*facts.layers[:-1], f"sha256:{number}")
                    del self.images[name]
                    drifted = replace(facts, layers=layers, id=f"{facts.id}-{number}")
                    self.images[drifted.id if name == facts.id else name] = drifted
                    self.programs[drifted.id] = self.programs[built.id]
            built = Built(id=f"{built.id}-{number}")
        return built


@dataclass(slots=True)
class Compared:
    """What is said to differ, and of which images it was asked."""

    told: tuple[Difference, ...] = (TIME,)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def differences(self, first: str, second: str) -> tuple[Difference, ...]:
        self.asked.append((first, second))
        return self.told


def bench_of(drifting: str = "") -> Bench:
    bench = Bench(engine=Drifting(script=drifting) if drifting else FakeEngine())
    bench.tree = tree({"app.py": b"x", "a.lock": b"1"}, COMMIT, digest=lambda: "one")
    labels = {**BUILDER.labels, LOCKS: "*.lock", CACHES: "/opt/app/.cache"}
    bench.engine.images["b:1"] = replace(BUILDER, layers=("sha256:base",), labels=labels)
    bench.engine.programs[BUILDER.id][OWN] = Script(text="")
    return bench


def twice(bench: Bench, compared: Compared | None = None, **changes: object) -> Image:
    request = replace(REQUEST, **changes)  # type: ignore[arg-type]
    return build_twice(request, bench.workshop(), compare=compared or Compared(), emit=bench.events.append)


def named(bench: Bench) -> dict[str, ImageFacts]:
    return {name: facts for name, facts in bench.engine.images.items() if not name.startswith("sha256:")}


def test_what_is_alike_is_delivered_and_nothing_of_the_second_is_left() -> None:
    bench = bench_of()
    image = twice(bench, push=True)
    facts = bench.engine.images[str(TAG)]
    assert image == Image(names=(TAG,), id=facts.id, digest=facts.id, builder="b:1", commit="c" * 40)
    assert bench.notices()[-2:] == [f"the same again: 3 layers, the last is {facts.layers[-1]}", DONE]
    assert bench.notices().count(DONE) == 1
    assert named(bench) == bench.engine.images


def test_the_second_build_has_nothing_of_the_first() -> None:
    bench = bench_of()
    bench.build(REQUEST)
    twice(bench)
    found, again, second = bench.engine.assembled[2:]  # the first of the two may stand on dependencies that are here
    assert (found.command, again.command, second.command) == (second.command, (OWN,), found.command)
    assert (len(found.caches), again.caches, second.caches, second.names) == (1, (), (), ())


def test_what_differs_is_told_with_what_usually_stands_behind_it_and_is_not_delivered() -> None:
    bench = bench_of("assemble")
    with pytest.raises(NotReproducible) as failed:
        twice(bench, push=True)
    assert failed.value.message == "two builds of the same are not alike: 1 path differs"
    assert failed.value.detail.splitlines()[0] == "/opt/app/a.pyc: time, content"
    assert [line.partition(":")[0] for line in failed.value.detail.splitlines()[1:]] == ["time", "content"]
    assert failed.value.exit_code == 7
    assert (bench.engine.registry, str(TAG) in bench.engine.images) == ({}, True)
    assert named(bench) == bench.engine.images


def test_the_first_twenty_are_told_and_how_many_more_there_are() -> None:
    told = tuple(Difference(path=f"/opt/app/{number}", ways=("owner",)) for number in range(31))
    with pytest.raises(NotReproducible) as failed:
        twice(bench_of("assemble"), Compared(told=told))
    lines = failed.value.detail.splitlines()
    assert failed.value.message == "two builds of the same are not alike: 31 paths differ"
    assert (len(lines), lines[19], lines[20]) == (22, "/opt/app/19: owner", "and 11 more")


def test_dependencies_that_differ_are_a_difference_and_the_first_ones_stay() -> None:
    bench, compared = bench_of("dependencies"), Compared(told=(TIME, TIME))
    bench.build(REQUEST)
    before = {name: facts for name, facts in bench.engine.images.items() if name.startswith("s2ictl/dependencies:")}
    with pytest.raises(NotReproducible, match="1 path differs"):
        twice(bench, compared)
    assert len(compared.asked) == 1
    assert before.items() <= bench.engine.images.items() == named(bench).items()


def test_a_directory_without_a_commit_has_one_time_too() -> None:
    bench = bench_of()
    bench.tree = replace(bench.tree, commit=None, epoch=1234)
    twice(bench)
    assert {(each.exports, each.epoch) for each in bench.engine.assembled if each.command[0] != OWN} == {
        ((("SOURCE_DATE_EPOCH", "1234"),), 1234)
    }


def test_what_an_earlier_image_saves_is_no_part_of_it() -> None:
    bench = bench_of()
    with pytest.raises(InvalidUsage, match="exclude each other"):
        twice(bench, incremental=True)
    assert bench.events == []


def test_names_that_assemble_has_chosen_forge_no_line_however_many_they_are() -> None:
    strange = ("/a\n/etc/shadow: content", "/b\x1b[2J", "/c\udcff", "/" + "d" * 4000)
    many = tuple(Difference(path=f"/many/{number}", ways=("time",)) for number in range(200_000))
    told = tuple(Difference(path=path, ways=("mode",)) for path in strange) + many
    with pytest.raises(NotReproducible) as unlike:
        twice(bench_of("assemble"), Compared(told=told))
    assert unlike.value.message == "two builds of the same are not alike: 200004 paths differ"
    lines = unlike.value.detail.split("\n")
    assert lines[:4] == [
        r"/a\n/etc/shadow: content: mode",
        r"/b\x1b[2J: mode",
        r"/c\udcff: mode",
        f"/{'d' * 299}…: mode",
    ]
    assert (lines[20], len(lines)) == ("and 199984 more", 23)
