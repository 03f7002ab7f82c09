"""What a job asks of the build and of the rollout: described, with nobody there to do it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s2ictl import jobs
from s2ictl.errors import InvalidConfiguration, Unauthorized
from s2ictl.models import (
    App,
    AppConfig,
    BuildConfig,
    BuildRequest,
    DeployConfig,
    Entry,
    ForgeConfig,
    Image,
    ImageFacts,
    Login,
    Outcome,
    Port,
    Probe,
    ReadinessConfig,
    Reference,
    Rollout,
    Secret,
    Source,
    WebhookConfig,
)
from tests.fakes.deliveries import A

ENTRY = Entry(
    id="e1",
    delivery="d1",
    hook="shop",
    app="shop",
    kind="build",
    ref="refs/heads/main",
    commit=A,
    state="running",
    attempts=1,
    arrived=1.0,
)
NAME = Reference(registry="r.example", repository="team/shop")
DEPLOY = DeployConfig(namespace="prod", port=8080, expose="nodeport", readiness=ReadinessConfig(path="/up", delay=30))
APP = AppConfig(
    name="shop",
    image=NAME,
    source="https://git.example.com/team/shop.git",
    build=BuildConfig(builder="python", env={"A": "b"}),
    deploy=DEPLOY,
    webhook=WebhookConfig(provider="gitea", branches=("main", "release/*")),
    forge=ForgeConfig(url="https://git.example.com:443/", username="bot", token_env="TOKEN"),
)
DIGEST = "sha256:" + "d" * 64
NAMED = replace(NAME, tag=A[:12])
PUSHED = NAMED.at(DIGEST)
IMAGE = Image(names=(NAMED,), id="sha256:i", digest=DIGEST)
ROLLOUT = Rollout(
    image=f"{NAME}@{DIGEST}", address="http://10.0.0.1:30080/", name="shop", namespace="prod", ready=1, wanted=1
)
RELEASE = replace(ENTRY, ref="refs/heads/release/1")


def test_the_build_is_of_the_events_commit_and_pushed() -> None:
    source = Source(kind="git", location=APP.source, ref=A)
    assert jobs.build_request(ENTRY, APP, source=source, names=IMAGE.names) == BuildRequest(
        source=source,
        builder="python",
        names=IMAGE.names,
        env=(("A", "b"),),
        application_name="shop",
        app="shop",
        push=True,
        owner="e1",
    )


@pytest.mark.parametrize(
    ("entry", "written", "names"),
    [
        (ENTRY, "r.example/team/shop", ("r.example/team/shop:aaaaaaaaaaaa", "r.example/team/shop:latest")),
        (ENTRY, "r.example/team/shop:1.4", ("r.example/team/shop:1.4",)),
        (RELEASE, "r.example/team/shop", ("r.example/team/shop:aaaaaaaaaaaa",)),
        (RELEASE, "r.example/team/shop:1.4", ("r.example/team/shop:aaaaaaaaaaaa",)),
    ],
)
def test_only_the_apps_own_branch_moves_a_tag(entry: Entry, written: str, names: tuple[str, ...]) -> None:
    assert tuple(map(str, jobs.names_of(entry, replace(APP, image=Reference.parse(written))))) == names


def test_an_app_without_an_image_cannot_be_built() -> None:
    with pytest.raises(InvalidConfiguration, match="names no image"):
        jobs.names_of(ENTRY, replace(APP, image=None))


@pytest.mark.parametrize(
    ("app", "ref", "own"),
    [
        (APP, "refs/heads/main", True),
        (APP, "refs/heads/release/1", False),
        (replace(APP, ref="release/1"), "refs/heads/release/1", True),
        (replace(APP, webhook=None), "refs/heads/anything", True),
    ],
)
def test_the_own_branch_is_the_ref_or_the_first_that_is_listed(app: AppConfig, ref: str, own: bool) -> None:
    assert jobs.is_own_ref(app, ref) is own


def test_the_workload_is_the_pushed_image_by_its_digest() -> None:
    facts = ImageFacts(id="sha256:i", user="1001", exposed=("9000/tcp",))
    assert jobs.workload(ENTRY, APP, DEPLOY, image=PUSHED, facts=facts) == App(
        name="shop",
        namespace="prod",
        image=PUSHED,
        ports=(Port(container=8080, service=8080),),
        expose="nodeport",
        readiness=Probe(kind="http", path="/up", delay=30),
        user="1001",
        build="e1",
        commit=A,
    )


@pytest.mark.parametrize(
    ("app", "entry", "address", "steps"),
    [
        (APP, ENTRY, ROLLOUT.address, ["build", f"built {DIGEST}", f"deploy {PUSHED}"]),
        (APP, RELEASE, "", ["build", f"built {DIGEST}"]),
        (replace(APP, deploy=None), ENTRY, "", ["build", f"built {DIGEST}"]),
        (APP, replace(ENTRY, digest=DIGEST), ROLLOUT.address, [f"built {DIGEST}", f"deploy {PUSHED}"]),
    ],
)
def test_what_is_built_is_rolled_out_where_the_app_says_so_and_never_built_again(
    app: AppConfig, entry: Entry, address: str, steps: list[str]
) -> None:
    done: list[str] = []

    def build() -> Image:
        done.append("build")
        return IMAGE

    def deploy(_: DeployConfig, image: Reference) -> Rollout:
        done.append(f"deploy {image}")
        return ROLLOUT

    outcome = jobs.perform(
        entry, app, name=NAMED, build=build, built=lambda digest: done.append(f"built {digest}"), deploy=deploy
    )
    assert (outcome, done) == (Outcome(digest=DIGEST, address=address), steps)


def test_the_token_is_for_the_forges_host_alone() -> None:
    login = jobs.forge_login(APP, {"TOKEN": "t0ken"})
    assert login == Login(
        host="git.example.com", username="bot", password=Secret("t0ken"), origin="forge.token-env of shop"
    )
    assert jobs.forge_login(replace(APP, forge=None), {}) is None


def test_a_token_that_is_unset_is_said() -> None:
    with pytest.raises(Unauthorized, match="token TOKEN of shop is unset"):
        jobs.forge_login(APP, {})
