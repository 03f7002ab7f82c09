"""Which builder a build stands on: one of ours, by all of its names, here or in the registry that is to have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl import scaffold
from s2ictl.builders import MADE_OF, Folder, fingerprint, load
from s2ictl.choosing import Chosen, choose, runtime_of
from s2ictl.errors import Refused
from s2ictl.events import Findings
from s2ictl.foundry import build_builder, check_push
from s2ictl.models import Builder, BuildRequest, ImageFacts, PullPolicy, Reference
from s2ictl.scripts import Scripts
from tests.fakes.engine import FakeEngine
from tests.workbench import BUILDER, REQUEST, Bench, Offline

PLACE = "registry.example.com/team"
IMAGE, RUNTIME = f"{PLACE}/pages:1.0", f"{PLACE}/go-runtime:1.24"
ANEW = f"{IMAGE} was made of another version of its folder: it is built now, once"


@pytest.fixture
def pages(tmp_path: Path) -> Folder:
    scaffold.create("pages", tmp_path / "pages")
    folder = load(tmp_path / "pages", prefix=PLACE)
    aliases = (Reference.parse("kubespheredev/pages-0-centos7"),)
    return replace(folder, blueprint=replace(folder.blueprint, aliases=aliases))


def made_of(folder: Folder, identity: str) -> ImageFacts:
    return replace(BUILDER, id=identity, labels={**BUILDER.labels, MADE_OF: fingerprint(folder)})


OTHER = replace(BUILDER, id="sha256:other", labels={**BUILDER.labels, MADE_OF: "sha256:another folder"})


def bench_of(folder: Folder, *, here: ImageFacts | None = None, there: ImageFacts | None = None) -> Bench:
    """A workshop whose builder may be in the engine, and in the registry."""
    engine = FakeEngine()
    engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    engine.images.update({IMAGE: here} if here else {})
    engine.registry.update({IMAGE: there} if there else {})
    return Bench(engine=engine, folders=(folder,))


def chosen(bench: Bench, builder: str = "pages", policy: PullPolicy = "if-not-present") -> tuple[Builder, Findings]:
    found = Findings()
    request = replace(REQUEST, builder=builder, pull_policy=policy)
    return choose(request, bench.tree, bench.workshop(), bench.events.append, found).builder, found


@pytest.mark.parametrize("builder", ["pages", IMAGE, "s2ictl/pages:1.0", "docker.io/s2ictl/pages:1.0"])
def test_a_builder_of_ours_is_the_one_in_the_registry_by_every_name_of_it(builder: str, pages: Folder) -> None:
    bench = bench_of(pages, there=made_of(pages, "sha256:pulled"))
    taken, found = chosen(bench, builder)
    assert (taken.image, taken.facts.id, found.cached, bench.notices()) == (IMAGE, "sha256:pulled", False, [])


def test_what_is_here_and_of_this_folder_is_taken_without_asking_the_registry(pages: Folder) -> None:
    bench = bench_of(pages, here=made_of(pages, "sha256:here"), there=made_of(pages, "sha256:pulled"))
    taken, found = chosen(bench)
    assert (taken.facts.id, found.cached) == ("sha256:here", True)


def test_what_is_here_and_of_another_folder_is_replaced_by_the_registry_s(pages: Folder) -> None:
    bench = bench_of(pages, here=OTHER, there=made_of(pages, "sha256:pulled"))
    assert chosen(bench)[0].facts.id == "sha256:pulled"


@pytest.mark.parametrize(
    ("policy", "taken"), [("always", "sha256:pulled"), ("if-not-present", "sha256:here"), ("never", "sha256:here")]
)
def test_the_pull_policy_holds_for_our_own_builders_too(policy: PullPolicy, taken: str, pages: Folder) -> None:
    bench = bench_of(pages, here=made_of(pages, "sha256:here"), there=made_of(pages, "sha256:pulled"))
    assert chosen(bench, policy=policy)[0].facts.id == taken


def test_one_of_another_folder_in_the_registry_is_no_builder_of_ours(pages: Folder) -> None:
    bench = bench_of(pages, there=OTHER)
    taken, _ = chosen(bench)
    assert taken.facts.labels[MADE_OF] == fingerprint(pages)
    assert (bench.notices()[0], bench.engine.assembled[0].image) == (ANEW, "debian:trixie-slim")


def test_a_registry_that_does_not_answer_is_no_obstacle_to_a_builder(pages: Folder) -> None:
    bench = Bench(engine=Offline(), folders=(pages,))
    bench.engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    assert chosen(bench)[0].facts.labels[MADE_OF] == fingerprint(pages)
    assert bench.notices()[:2] == [
        "could not pull: no such host",
        f"{IMAGE} is not here yet: it is built now, once",
    ]
    assert chosen(bench, policy="always")[0].image == IMAGE
    assert len(bench.engine.assembled) == 1


def test_where_no_registry_is_named_nothing_of_ours_is_ever_pulled(pages: Folder) -> None:
    bare = replace(pages, prefix="s2ictl")
    bench = bench_of(bare)
    bench.engine.registry["s2ictl/pages:1.0"] = made_of(bare, "sha256:somebody's")
    taken, _ = chosen(bench, policy="always")
    assert (taken.image, taken.facts.id != "sha256:somebody's") == ("s2ictl/pages:1.0", True)


def test_another_platform_s_name_is_the_builder_that_stands_in_and_it_is_said(pages: Folder) -> None:
    bench = bench_of(pages, here=made_of(pages, "sha256:here"))
    assert chosen(bench, "kubesphere/pages-0-centos7:v3.2.0")[0].image == IMAGE
    (said,) = bench.notices()
    assert said.startswith(
        "kubesphere/pages-0-centos7:v3.2.0 is another platform's; the builder pages stands in here: "
    )
    bench.engine.images["docker.io/kubespheredev/pages-0-centos7"] = BUILDER
    assert chosen(bench, "docker.io/kubespheredev/pages-0-centos7")[0].facts.id == BUILDER.id


# ------------------------------------------------------------------------------------------------ the runtime image


@pytest.fixture
def go() -> Folder:
    return load(Path(__file__).parent.parent / "builders" / "go", prefix=PLACE)


def test_what_the_results_run_on_comes_from_the_same_place(go: Folder) -> None:
    bench = bench_of(go)
    bench.engine.registry[RUNTIME] = made_of(go, "sha256:pulled")
    builder = Builder(image=str(go.image), destination="/tmp", scripts="", assemble_user="", facts=BUILDER)
    workshop, request = bench.workshop(), replace(REQUEST, builder="go")
    runtime = runtime_of(request, Chosen(builder=builder), Scripts(), workshop, bench.events.append)
    assert runtime is not None
    assert (runtime.image, runtime.facts.id, bench.engine.assembled) == (RUNTIME, "sha256:pulled", [])


# ------------------------------------------------------------------------------------------------------- publishing


def published(folder: Folder, engine: FakeEngine) -> str:
    engine.images["debian:trixie-slim"] = ImageFacts(id="sha256:debian")
    bench = Bench(engine=engine, folders=(folder,))
    request: BuildRequest = replace(REQUEST, push=True)
    return build_builder(folder, request, bench.workshop(), emit=bench.events.append).digest


def test_a_builder_is_pushed_under_its_version_and_as_the_latest_with_what_its_results_run_on(go: Folder) -> None:
    engine = FakeEngine()
    digest = published(go, engine)
    assert digest == engine.registry[f"{PLACE}/go:1.24"].digest
    assert list(engine.registry) == [
        RUNTIME,
        f"{PLACE}/go-runtime:latest",
        f"{PLACE}/go:1.24",
        f"{PLACE}/go:latest",
    ]


def test_what_is_published_here_is_taken_elsewhere(pages: Folder) -> None:
    here = FakeEngine()
    published(pages, here)
    elsewhere = Bench(engine=FakeEngine(registry=here.registry), folders=(pages,))
    taken, _ = chosen(elsewhere)
    assert (taken.facts.digest, elsewhere.engine.assembled) == (here.registry[IMAGE].digest, [])


def test_a_builder_without_a_registry_is_refused_before_the_work(pages: Folder) -> None:
    with pytest.raises(Refused) as refused:
        check_push(replace(pages, prefix="s2ictl"))
    assert refused.value.message == "s2ictl/pages:1.0 names no registry to push to"
    check_push(pages)
