"""What need not be built: found in the engine, or in the registry, by its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from s2ictl.build import DONE
from s2ictl.errors import CommitContainerFailed, PullUnauthorized, PushUnauthorized, Unreachable
from s2ictl.events import StepFinished
from s2ictl.labels import RECIPE
from s2ictl.models import Image, ImageFacts, PullPolicy, Reference
from tests.fakes.engine import FakeEngine
from tests.workbench import COMMIT, REQUEST, TAG, Bench, tree

NAMED = replace(REQUEST, application_name="shop")  # else the first name is the title, and another makes another image
OTHER = Reference.parse("registry.example.com/team/app:2")
PUSHED = replace(NAMED, push=True)


def hashed(digest: str = "one") -> Bench:
    return Bench(tree=tree({"app.py": b"x"}, COMMIT, digest=lambda: digest))


def in_the_registry(bench: Bench) -> Bench:
    """The same world, on a machine whose engine has never seen the result."""
    fresh = hashed()
    fresh.engine.registry = bench.engine.registry
    fresh.registered = lambda name, _: bench.engine.registry.get(str(name))
    return fresh


def test_the_second_build_of_the_same_is_the_first_one_s_image_and_nothing_runs() -> None:
    bench = hashed()
    first = bench.build(NAMED)
    bench.events.clear()
    assert bench.build(NAMED) == replace(first, unchanged=True)
    assert len(bench.engine.assembled) == 1
    recipe = bench.engine.images[str(TAG)].labels[RECIPE]
    assert bench.notices()[-2:] == [f"unchanged: nothing to build (recipe {recipe[:19]})", DONE]
    assert [each.name for each in bench.events if isinstance(each, StepFinished)] == ["fetch", "choose builder"]


@pytest.mark.parametrize("again", [replace(NAMED, force=True), replace(NAMED, cache=False)])
def test_it_is_built_again_where_that_is_wanted_and_found_after_that(again: object) -> None:
    bench = hashed()
    bench.build(NAMED)
    assert not bench.build(again).unchanged  # type: ignore[arg-type]
    assert bench.build(NAMED).unchanged
    assert len(bench.engine.assembled) == 2


def test_a_source_that_is_another_is_built() -> None:
    bench = hashed()
    bench.build(NAMED)
    bench.tree = hashed("two").tree
    assert not bench.build(NAMED).unchanged


def test_a_new_name_is_given_to_the_image_that_is_there() -> None:
    bench = hashed()
    first = bench.build(NAMED)
    again = bench.build(replace(NAMED, names=(TAG, OTHER)))
    assert again == Image(names=(TAG, OTHER), id=first.id, builder="b:1", commit="c" * 40, unchanged=True)
    assert bench.engine.images[str(OTHER)].id == first.id


def test_a_name_that_has_moved_on_is_led_back_and_what_it_left_is_removed_where_that_is_wanted() -> None:
    bench = hashed()
    first = bench.build(replace(NAMED, names=(TAG, OTHER)))
    bench.tree = hashed("two").tree
    second = bench.build(NAMED)
    bench.tree = hashed("one").tree
    assert bench.build(replace(NAMED, remove_previous=True)).id == first.id
    assert bench.engine.images[str(TAG)].id == first.id
    assert bench.engine.removed == [second.id]


def test_an_image_without_a_name_is_found_by_its_recipe_alone() -> None:
    bench = hashed()
    nameless = replace(NAMED, names=())
    first = bench.build(nameless)
    assert bench.build(nameless) == replace(first, unchanged=True)


def test_a_name_that_an_image_of_another_platform_has_stops_nothing() -> None:
    bench = hashed()
    bench.engine.images[str(TAG)] = ImageFacts(id="sha256:elsewhere", platform="linux/arm64")
    assert not bench.build(replace(NAMED, remove_previous=True)).unchanged


def test_an_image_that_goes_while_it_gets_its_name_is_built() -> None:
    class Going(FakeEngine):
        def name(self, image: str, names: tuple[Reference, ...]) -> None:
            raise CommitContainerFailed(f"could not name {image}")

    bench = hashed()
    bench.build(NAMED)
    engine = Going(images=bench.engine.images, programs=bench.engine.programs)
    assert not bench.build(replace(NAMED, names=(OTHER,)), engine).unchanged


# ---------------------------------------------------------------------------------------------------- the registry


def test_what_the_registry_has_is_neither_built_nor_pulled_nor_pushed_on_any_machine() -> None:
    bench = hashed()
    first = bench.build(PUSHED)
    elsewhere = in_the_registry(bench)
    before = dict(elsewhere.engine.images)
    there = bench.engine.registry[str(TAG)]
    assert elsewhere.build(PUSHED) == replace(first, unchanged=True, facts=there)
    assert (elsewhere.engine.assembled, elsewhere.engine.images) == ([], before)
    assert elsewhere.notices()[-1] == DONE


def test_what_the_engine_alone_has_is_only_pushed() -> None:
    bench = hashed()
    first = bench.build(NAMED)
    again = bench.build(PUSHED)
    assert again == replace(first, unchanged=True, digest=bench.engine.registry[str(TAG)].digest)
    assert len(bench.engine.assembled) == 1


def test_all_names_must_lead_to_it_in_the_registry() -> None:
    bench = hashed()
    bench.build(PUSHED)
    elsewhere = in_the_registry(bench)
    assert not elsewhere.build(replace(PUSHED, names=(TAG, OTHER))).unchanged
    assert str(OTHER) in elsewhere.engine.registry


def test_names_that_lead_to_two_images_of_one_recipe_are_no_answer() -> None:
    bench = hashed()
    bench.build(replace(PUSHED, names=(TAG, OTHER)))
    bench.engine.registry[str(OTHER)] = replace(bench.engine.registry[str(TAG)], digest="sha256:" + "d" * 64)
    assert not in_the_registry(bench).build(replace(PUSHED, names=(TAG, OTHER))).unchanged


@pytest.mark.parametrize("failure", [Unreachable("no such host"), PullUnauthorized("could not pull")])
def test_a_registry_that_does_not_tell_is_one_that_does_not_have_it(failure: Exception) -> None:
    def ask(*_: object) -> ImageFacts | None:
        raise failure

    bench = hashed()
    bench.registered = ask
    assert not bench.build(PUSHED).unchanged
    assert not [text for text in bench.notices() if "could not" in text or "no such host" in text]


def test_a_closed_registry_is_told_by_the_push() -> None:
    bench = hashed()
    bench.build(NAMED)
    bench.engine.closed = frozenset({"registry.example.com"})
    with pytest.raises(PushUnauthorized):
        bench.build(PUSHED)


# -------------------------------------------------------------------------------------------------- what is not said


def test_a_source_that_changes_while_it_is_built_leaves_no_recipe() -> None:
    said: Iterator[str] = iter(["one", "one", "one"])  # asked for the recipe, before the upload, and at its check
    bench = Bench(tree=tree({"app.py": b"x"}, digest=lambda: next(said, "")))
    bench.build(NAMED)
    assert RECIPE not in bench.engine.images[str(TAG)].labels
    assert not bench.build(NAMED).unchanged


def test_a_recipe_of_an_image_below_is_not_the_result_s() -> None:
    bench = Bench()
    below = bench.engine.images["b:1"]
    bench.engine.images["b:1"] = replace(below, labels={**below.labels, RECIPE: "sha256:of-the-builder"})
    bench.build(NAMED)
    assert bench.engine.images[str(TAG)].labels[RECIPE] == ""


def test_what_is_pulled_always_is_looked_at_anew_and_found_when_it_is_the_same() -> None:
    bench = hashed()
    bench.engine.registry["b:1"] = bench.engine.images["b:1"]
    policy: PullPolicy = "always"
    bench.build(replace(NAMED, pull_policy=policy))
    assert bench.build(replace(NAMED, pull_policy=policy)).unchanged
    bench.engine.registry["b:1"] = replace(bench.engine.images["b:1"], layers=("sha256:made-anew",))
    assert not bench.build(replace(NAMED, pull_policy=policy)).unchanged
