"""What `make bench` makes of what it measured, and how it measures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench import languages, push, trees
from tests.bench.__main__ import main, surroundings
from tests.bench.goals import Goal, Measured, report
from tests.bench.languages import change, sent
from tests.bench.timing import Times, Weight, alternate, weighed
from tests.bench.trees import FORESTS, Forest
from tests.test_builders import folder

RATIO = Goal(what="build", unit="ratio", limit=0.75, stretch=0.55)
FOREST = FORESTS[1]


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (RATIO, 0.76, "missed"),
        (RATIO, 0.75, "met"),
        (RATIO, 0.55, "met, stretch too"),
        (RATIO, None, "not measured"),
        (Goal(what="memory", unit="MB", limit=60), 60.0, "met"),
        (Goal(what="bytes", unit="bytes"), 7.0, ""),
    ],
)
def test_a_goal_is_met_up_to_its_limit(goal: Goal, value: float | None, verdict: str) -> None:
    assert Measured(goal=goal, value=value).verdict == verdict


def test_the_table_has_a_line_for_each_goal_and_a_reason_for_each_that_is_missed() -> None:
    found = [
        Measured(goal=RATIO, value=0.8, why="the disk"),
        Measured(goal=RATIO, value=0.5, why="not told"),
        Measured(goal=Goal(what="beside", unit="ms", limit=300), value=None, why="nobody there"),
        Measured(goal=Goal(what="sent", unit="bytes"), value=1234.0),
    ]
    assert report(found).splitlines() == [
        "WHAT    GOAL                         MEASURED",
        "build   at most 0.75 (stretch 0.55)  0.80         missed",
        "build   at most 0.75 (stretch 0.55)  0.50         met, stretch too",
        "beside  at most 300 ms               -            not measured",
        "sent    none                         1,234 bytes",
        "missed: build: the disk",
        "not measured: beside: nobody there",
    ]


def times(*seconds: float) -> Times:
    return Times(name="", seconds=seconds)


def test_a_missed_ratio_says_by_how_many_milliseconds_and_what_is_known_by_hand() -> None:
    forest = Forest(name="a tree", files=1, size=1, turns=1, limit=0.5, because="its disk is slow")
    measured = trees.beside_the_peer(forest, [times(0.5, 0.6, 9.0), times(1.0)])
    assert (measured.value, measured.verdict) == (0.6, "missed")
    assert measured.why == (
        "600 ms beside 1,000 ms, which is -400 ms; +100 ms to the limit; known of it: its disk is slow"
    )


def test_without_the_other_tool_a_ratio_is_not_measured_and_the_rest_is() -> None:
    alone = [times(0.2)]
    assert trees.beside_the_peer(FOREST, alone) == Measured(
        goal=Goal(what="build of 2,000 files, 40 MB, beside s2i", unit="ratio", limit=0.75, stretch=0.55),
        value=None,
        why="no `s2i` on PATH, so there is nothing to compare with",
    )
    assert trees.unchanged(FOREST, alone).verdict == "met"


def test_what_is_unchanged_is_held_against_the_clock_and_shown_beside_the_other_tool_s_rebuild() -> None:
    measured = trees.unchanged(FOREST, [times(0.4), times(2.0)])
    assert (measured.value, measured.verdict) == (400.0, "missed")
    assert measured.why == "100 ms more than the limit; s2i takes 2,000 ms"


def test_the_largest_process_and_all_together_have_a_limit_each() -> None:
    found = list(trees.weights(FOREST, Weight(largest=61, together=119)))
    assert [measured.verdict for measured in found] == ["missed", "met"]


def test_each_turn_of_a_push_has_other_content_of_the_same_size(tmp_path: Path) -> None:
    source = FORESTS[0].grow(tmp_path)
    before = {path: path.read_bytes() for path in source.rglob("*.bin")}
    push.change(source)
    after = {path: path.read_bytes() for path in before}
    assert [path.name for path in before if before[path] != after[path]] == ["0.bin"]
    assert set(map(len, after.values())) == {FORESTS[0].size}


def test_both_roads_into_a_registry_have_a_limit_for_each_forest_but_the_smallest_of_the_daemon_s() -> None:
    assert [[limit is None for limit in push.LIMITS[road]] for road in push.LIMITS] == [
        [False] * len(FORESTS),
        [True] + [False] * (len(FORESTS) - 1),
    ]


def test_only_the_layers_that_the_registry_lacks_are_sent() -> None:
    layers, size = sent(folder("python"), {"a": 100, "b": 10}, {"a": 100, "c": 5, "d": 6})
    assert (layers.value, layers.verdict, layers.why) == (2, "missed", "2 of its 3 layers are others now")
    assert (size.goal.what, size.value) == ("bytes of them, of 111", 11)


@pytest.mark.parametrize("name", ["go", "java", "nodejs", "python", "static"])
def test_a_line_can_be_added_to_every_sample(name: str, tmp_path: Path) -> None:
    program = next(
        path
        for path in sorted((Path(__file__).parent.parent / "builders" / name / "sample").rglob("*"))
        if path.suffix in languages.COMMENTS
    )
    copy = tmp_path / program.name
    copy.write_bytes(program.read_bytes())
    change(tmp_path)
    assert copy.read_text().removeprefix(program.read_text()) == f"{languages.COMMENTS[program.suffix]}\n"


def test_a_tree_has_the_files_that_its_name_says(tmp_path: Path) -> None:
    place = FORESTS[0].grow(tmp_path / "source")
    assert [path.stat().st_size for path in place.rglob("*.bin")] == [1000] * 10


def test_commands_take_turns_and_what_is_done_between_them_is_done_after_each(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    commands = {name: (sys.executable, "-c", f"open({str(noted)!r}, 'a').write({name!r})") for name in "ab"}

    def rest() -> None:
        noted.write_text(f"{noted.read_text()}.")

    found = alternate(commands, 2, after=rest)
    assert noted.read_text() == "a.b.a.b."
    assert [(each.name, len(each.seconds)) for each in found] == [("a", 2), ("b", 2)]


def test_a_command_that_fails_ends_the_bench_with_what_it_said() -> None:
    with pytest.raises(SystemExit, match=r"ended with 3\nno such luck"):
        alternate({"bad": (sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)")}, 1)


def test_memory_is_that_of_the_command_and_of_what_it_starts() -> None:
    held = "held = b'x' * 50_000_000"
    child = f"import subprocess, sys; {held}; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    weight = weighed((sys.executable, "-c", child, f"import time; {held}; time.sleep(0.3)"), {})
    assert 50 < weight.largest < 90 < weight.together < 180


def test_a_busy_machine_is_said_so_beside_what_was_measured_on_it() -> None:
    assert surroundings(1.2, 2) == "load 1.2 on 2 processors"
    assert surroundings(9.0, 2) == (
        "load 9.0 on 2 processors; others were at work, so the times above are theirs as well"
    )


def test_a_word_that_measures_nothing_is_said_before_anything_is_measured() -> None:
    with pytest.raises(SystemExit, match="there is no 'trees,' to measure: start-up, trees, push, languages"):
        main(["trees,"])
