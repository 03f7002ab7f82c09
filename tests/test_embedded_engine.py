"""The engine without a daemon, with a warden that only notes what is asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from s2ictl import images, oci
from s2ictl.engines.embedded.commands import Site
from s2ictl.engines.embedded.engine import Embedded
from s2ictl.engines.embedded.machine import Machine
from s2ictl.engines.embedded.opening import Elsewhere
from s2ictl.engines.outcomes import Ended
from s2ictl.errors import (
    AssembleFailed,
    CommitContainerFailed,
    ImageNotFound,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
    PullUnauthorized,
    Refused,
    RolloutFailed,
    S2IError,
    Unreachable,
    WrongPlatform,
)
from s2ictl.events import Event, Line, Notice
from s2ictl.leases import this_host
from s2ictl.models import (
    BuildSecret,
    Cache,
    Confinement,
    ImageFacts,
    Injection,
    Login,
    Reference,
    Runtime,
    RuntimeArtifact,
    Salvage,
    Secret,
    Volume,
)
from tests.fakes import carried
from tests.fakes.engine import FakeEngine
from tests.fakes.engine_contract import NAME, SCRIPTS, archive, assembly
from tests.fakes.images import small_image
from tests.fakes.warden import FakeChamber, FakeWarden, Held, Says, directory, link, script

MACHINE = Machine(
    rootless=False,
    architecture="x86_64",
    overlays=("overlay",),
    runtime="/usr/sbin/runc",
    cgroups="/s2ictl",
    limits=frozenset({"memory", "cpu", "pids"}),
)
IMAGE = {
    "/": directory(),
    "/bin": directory(),
    "/bin/sh": script(),
    "/etc": directory(),
    "/etc/passwd": Held(mode=0o100644, content=b"root:x:0:0::/root:\nuser:x:1001:0::/opt/app:\n"),
    "/etc/group": Held(mode=0o100644, content=b"root:x:0:\nwheel:x:10:user\n"),
    "/tmp": directory(),
    "/usr": directory(),
    "/usr/libexec": directory(),
    SCRIPTS: directory(),
    f"{SCRIPTS}/assemble": script(),
    f"{SCRIPTS}/run": script(),
}
CACHE = Cache(app="shop", builder="contract/builder:1", target="/opt/dl", name="s2ictl-cache-shop")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    engine: Embedded
    warden: FakeWarden
    builder: ImageFacts
    said: list[Event]
    directory: Path

    @property
    def chamber(self) -> FakeChamber:
        return self.warden.chambers[-1]

    @property
    def process(self) -> dict[str, Any]:
        """How the last command was started."""
        started: dict[str, Any] = self.chamber.ran[-1]["process"]
        return started

    def assemble(self, *says: Says, **changes: Any) -> ImageFacts:
        self.warden.says[:] = says
        image = self.engine.assemble(assembly(self.builder, **changes), self.said.append).id
        facts = self.engine.held(image)
        assert facts is not None
        return facts

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.said if isinstance(event, Notice)]


@contextmanager
def opened(here: Path, *, machine: Machine = MACHINE, elsewhere: Elsewhere | None = None) -> Iterator[World]:
    warden = FakeWarden(store=here / "images", image=IMAGE)
    with images.opened(here / "images", unpacker=lambda: warden) as store:
        site = Site(warden=warden, store=store, machine=machine, host=this_host())
        engine = Embedded(
            site, directory=here / "images", platform="linux/amd64", elsewhere=elsewhere or Elsewhere(repository=closed)
        )
        settings = {"Env": ["PATH=/bin", "A=image"], "User": "user", "WorkingDir": "/opt/app", "Cmd": ["serve"]}
        identity = engine.load(iter((carried.saved([carried.packed({"bin/sh": b"x"})], settings=settings),)))
        builder = engine.held(identity)
        assert builder is not None
        yield World(engine=engine, warden=warden, builder=builder, said=[], directory=here)


def closed(name: Reference, login: Login | None) -> Any:
    raise Unreachable(f"nobody is at {name.registry}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with opened(tmp_path) as world:
        yield world


# --------------------------------------------------------------------------------------------------- what is handed in


def test_the_command_has_the_image_s_variables_then_those_of_the_build_and_the_user_s_last(world: World) -> None:
    world.assemble(
        env=(("KEPT", "yes"), ("A", "build")),
        exports=(("SOURCE_DATE_EPOCH", "7"),),
        ca_bundle=b"PEM",
        build_env=(("TOKEN", Secret("canary")), ("PIP_CERT", Secret("/mine"))),
    )
    ca = "/tmp/.s2ictl/ca.pem"
    assert world.process["env"] == [
        "PATH=/bin",
        "HOME=/opt/app",
        "A=build",
        "KEPT=yes",
        "SOURCE_DATE_EPOCH=7",
        f"SSL_CERT_FILE={ca}",
        "PIP_CERT=/mine",
        *(f"{name}={ca}" for name in ("REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")),
        "TOKEN=canary",
    ]


def test_the_command_runs_as_its_user_with_his_groups_where_the_image_works(world: World) -> None:
    world.assemble(user="user")
    user = world.process["user"]
    assert (world.process["args"], world.process["cwd"]) == ([f"{SCRIPTS}/assemble"], "/opt/app")
    assert (user["uid"], user["gid"], user["additionalGids"]) == (1001, 0, [10])


def test_secrets_and_certificates_lie_in_memory_and_nothing_of_them_is_left(world: World) -> None:
    world.assemble(secrets=(BuildSecret(id="token", content=Secret("canary")),), ca_bundle=b"PEM")
    mounts = {mount["destination"]: mount for mount in world.chamber.ran[0]["mounts"]}
    assert mounts["/run/secrets"]["source"] == f"{world.chamber.handed}/secrets"
    assert "ro" in mounts["/tmp/.s2ictl/ca.pem"]["options"]
    assert world.chamber.memory["secrets/token"] == Held(mode=0o100400, uid=1001, content=b"canary")
    left = {path for path in world.chamber.files if path not in IMAGE}
    assert left == {"/tmp/src", "/tmp/src/hello.txt"}
    assert world.chamber.skipped == ("/tmp/src", "/tmp/artifacts", "/tmp/.s2ictl")


def test_directories_that_lead_to_the_source_are_the_command_s_user_s_where_they_are_made(world: World) -> None:
    world.assemble(workspace="/srv/deep/.s2ictl")
    assert [world.chamber.files[path].uid for path in ("/srv", "/srv/deep")] == [1001, 1001]


def test_hosts_and_resolvers_are_its_own(world: World) -> None:
    world.assemble(confinement=Confinement(network="none", hosts=("forge:192.0.2.7",)))
    assert world.chamber.memory["hosts"].content.splitlines()[-1] == b"192.0.2.7\tforge"
    assert world.chamber.memory["resolv.conf"].content == b""
    networks = [each for each in world.chamber.ran[0]["linux"]["namespaces"] if each["type"] == "network"]
    assert networks == [{"type": "network", "path": "/run/chamber/network"}]


def test_a_usual_limit_that_cannot_be_set_is_said(tmp_path: Path) -> None:
    with opened(tmp_path, machine=replace(MACHINE, limits=frozenset())) as world:
        world.assemble(confinement=Confinement(network="none"))
        assert world.notices == ["how many processes a container may have is not limited here (see s2ictl doctor)"]


def test_a_network_that_is_shared_for_want_of_a_helper_is_said_once(world: World) -> None:
    world.assemble()
    world.assemble()
    assert len([text for text in world.notices if "shares this machine's network" in text]) == 1


# -------------------------------------------------------------------------------------------------- what cannot be had


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        (Confinement(volumes=(Volume(source="data", target="/x"),)), InvalidUsage, "volume of a container engine"),
        (Confinement(volumes=(Volume(source="/nowhere/at/all", target="/x"),)), InvalidUsage, "cannot have what"),
        (Confinement(network="contract-nowhere"), InvalidUsage, "there is no network contract-nowhere"),
        (Confinement(memory=4096), Refused, "cannot set the limits"),
        (Confinement(cpus=4096), Refused, "cannot set the limits"),
    ],
)
def test_what_cannot_be_given_is_said_before_anything_runs(
    world: World, given: Confinement, error: type[S2IError], why: str
) -> None:
    with pytest.raises(error, match=why):
        world.assemble(confinement=given)
    assert world.warden.chambers == []


@pytest.mark.parametrize(
    ("given", "flag"), [(Confinement(memory=64 << 20), "--memory"), (Confinement(cpus=0.5), "--cpus")]
)
def test_a_limit_that_this_machine_cannot_set_is_refused(tmp_path: Path, given: Confinement, flag: str) -> None:
    with opened(tmp_path, machine=replace(MACHINE, limits=frozenset())) as world, pytest.raises(Refused, match=flag):
        world.assemble(confinement=given)


def test_a_program_that_is_not_there_is_missed_before_the_source_is_sent(world: World) -> None:
    with pytest.raises(PullBuilderImageFailed, match="has no /nowhere"):
        world.assemble(programs=("/nowhere",))
    assert "/tmp/src" not in world.chamber.files


def test_an_image_that_is_gone_is_a_missing_builder(world: World) -> None:
    gone = assembly(replace(world.builder, id=f"sha256:{'0' * 64}"))
    with pytest.raises(PullBuilderImageFailed, match="there is no image sha256:0000"):
        world.engine.assemble(gone, world.said.append)


# ------------------------------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (Ended(status=3), "assemble ended with 3"),
        (Ended(status=127), "assemble ended with 127: it, or a program in it, was not found"),
        (Ended(status=137, out_of_memory=True), "assemble ran out of memory: the limit was 64 MiB"),
    ],
)
def test_an_end_that_is_bad_says_what_it_means_and_what_was_said_last(world: World, ended: Ended, message: str) -> None:
    with pytest.raises(AssembleFailed) as failure:
        world.assemble(Says(stdout=b"one\ntwo", ended=ended), confinement=Confinement(memory=64 << 20))
    assert (failure.value.message, failure.value.detail) == (message, "one\ntwo")
    assert world.engine.held(str(NAME)) is None


def test_output_is_told_as_it_comes_each_stream_by_its_name(world: World) -> None:
    world.assemble(Says(stdout=b"one\nthree", stderr=b"two\n"))
    told = {event for event in world.said if isinstance(event, Line)}
    assert told == {Line(text="one"), Line(text="three"), Line(text="two", stream="stderr")}


def test_what_does_not_end_is_stopped(world: World) -> None:
    with pytest.raises(LimitReached, match="assemble did not end within"):
        world.assemble(Says(ends=False), timeout=0.05)


def test_what_has_closed_its_output_and_runs_on_is_stopped_too(world: World) -> None:
    with pytest.raises(LimitReached, match="assemble did not end within"):
        world.assemble(Says(ends=False, is_silent=True), timeout=0.05)


# -------------------------------------------------------------------------------------------- injected, saved, carried


def test_what_is_injected_is_gone_again_and_what_was_put_beside_it_stays(world: World, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "token").write_text("canary")
    inject = (Injection(source=tmp_path / "keys", target="/etc/pki/shop"),)
    world.assemble(Says(makes={"/etc/pki/shop/own": b"own"}), injections=inject)
    assert {path for path in world.chamber.files if path.startswith("/etc/pki")} == {
        "/etc/pki",
        "/etc/pki/shop",
        "/etc/pki/shop/own",
    }


def test_no_image_is_made_when_something_has_come_in_the_place_of_what_was_injected(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("canary")
    inject = (Injection(source=tmp_path / "token", target="/etc/token"),)
    with pytest.raises(CommitContainerFailed, match="nothing was committed") as failure:
        world.assemble(Says(makes={"/etc/token/below": b""}), injections=inject)
    assert failure.value.detail == "still there: /etc/token"


def salvage(world: World, **changes: Any) -> Salvage:
    described: dict[str, Any] = {
        "image": "contract/earlier:1",
        "image_id": world.builder.id,
        "command": ("/bin/sh",),
        "user": "user",
        "upload": lambda uid, gid: iter((archive({}, uid=uid, gid=gid),)),
        "target": "/tmp/artifacts",
        "timeout": 5.0,
    }
    return Salvage(**{**described, **changes})


def test_what_an_earlier_image_saves_is_put_into_the_next_container(world: World) -> None:
    saved = archive({"lib/b": b"two"}, uid=0, gid=0)
    world.assemble(Says(stdout=b"noise\n" + saved, stderr=b"saving\n"), salvage=salvage(world))
    into, source = world.warden.chambers
    assert into.files["/tmp/artifacts/lib/b"] == Held(mode=0o100644, uid=1001, content=b"two")
    assert source.ran[0]["process"]["env"] == ["PATH=/bin", "HOME=/opt/app", "A=image"]
    assert Line(text="saving", stream="stderr") in world.said
    assert (into.skipped, world.notices) == (("/tmp/src", "/tmp/artifacts", "/tmp/.s2ictl"), [world.notices[0]])


@pytest.mark.parametrize(
    ("says", "because"),
    [
        (Says(stdout=archive({"lib/a": b"x"}, uid=0, gid=0), ended=Ended(status=3)), "sh ended with 3"),
        (Says(stdout=b"no archive at all"), "is not a whole tar archive"),
        (Says(stdout=archive({"../evil": b"x"}, uid=0, gid=0)), "leads out of the archive"),
    ],
)
def test_whatever_goes_wrong_with_that_a_clean_container_takes_the_place(
    world: World, says: Says, because: str
) -> None:
    world.assemble(says, salvage=salvage(world))
    assert because in world.notices[-1]
    assert [bool(chamber.ran) for chamber in world.warden.chambers] == [False, True, True]
    assert not any("artifacts" in path for path in world.chamber.files)


def test_a_runtime_image_has_the_artifacts_and_runs_its_own_command_on_them(world: World) -> None:
    last = assembly(world.builder, command=(), programs=(), leftovers=(), user="0:0")
    artifacts = (RuntimeArtifact(source="/srv/*.jar", target="lib"),)
    runtime = Runtime(assembly=last, artifacts=artifacts, root="/opt/app")
    makes = {"/srv/shop.jar": b"jar", "/srv/shop.txt": b"no"}
    world.warden.image = {**IMAGE, "/srv": directory()}
    world.assemble(Says(makes=makes), runtime=runtime, names=(Reference.parse("contract/first:1"),))
    first, second = world.warden.chambers
    assert second.files["/opt/app/lib/shop.jar"].content == b"jar"
    assert "/opt/app/lib/shop.txt" not in second.files
    assert (len(first.ran), second.ran) == (1, [])
    assert world.engine.names() == (str(NAME),)


def test_artifacts_that_are_not_there_are_a_failure(world: World) -> None:
    artifacts = (RuntimeArtifact(source="/nowhere/*.jar", target=""),)
    runtime = Runtime(assembly=assembly(world.builder, command=()), artifacts=artifacts, root="/opt/app")
    with pytest.raises(AssembleFailed, match="assemble left nothing at"):
        world.assemble(runtime=runtime)


# ------------------------------------------------------------------------------------------------------------- caches


def test_a_cache_is_mounted_and_begins_with_what_the_image_has_there(world: World) -> None:
    world.warden.image = {**IMAGE, "/opt": directory(), "/opt/dl": directory(), "/opt/dl/a": script("a")}
    world.assemble(caches=(CACHE,))
    mounts = {mount["destination"]: mount["source"] for mount in world.chamber.ran[0]["mounts"]}
    assert mounts["/opt/dl"] == "/store/caches/s2ictl-cache-shop"
    assert {name: held.uid for name, held in world.warden.caches[CACHE.name].items()} == {"a": 1001}
    assert [(kept.app, kept.what, kept.size) for kept in world.engine.kept()] == [("shop", "/opt/dl", 12)]


@pytest.mark.parametrize(
    ("links", "place"),
    [
        ({"/opt": directory(), "/opt/dl": link("/tmp/src")}, "/tmp/src"),
        ({"/opt": directory(), "/opt/dl": link("../tmp/./more"), "/tmp/more": link("src/below")}, "/tmp/src"),
        ({"/opt": link("tmp"), "/tmp/dl": link(".s2ictl")}, "/tmp/.s2ictl"),
    ],
)
def test_a_cache_that_a_link_of_the_image_leads_over_the_source_is_refused(
    world: World, links: dict[str, Held], place: str
) -> None:
    world.warden.image = {**IMAGE, **links}
    with pytest.raises(CommitContainerFailed, match="could not be removed again") as refused:
        world.assemble(caches=(CACHE,))
    assert (refused.value.detail, world.chamber.ran) == (f"still there: {place}", [])


def test_a_link_that_leads_in_a_circle_leads_nowhere(world: World) -> None:
    world.warden.image = {**IMAGE, "/opt": directory(), "/opt/dl": link("dl")}
    world.assemble(caches=(CACHE,))
    assert len(world.chamber.ran) == 1


def test_what_another_user_has_left_is_let_go(world: World) -> None:
    for user in ("user", "user", "0:0"):
        (world.directory / "images/caches" / CACHE.name).mkdir(parents=True, exist_ok=True)
        world.assemble(caches=(CACHE,), user=user)
    assert world.warden.discarded == [f"caches/{CACHE.name}"] * 2  # before it is known for whole, and for the other


def test_a_cache_in_use_is_waited_for_and_not_forgotten(world: World) -> None:
    world.assemble(caches=(CACHE,))
    (kept,) = world.engine.kept()
    downloads, chamber = world.engine._downloads, world.chamber
    held = assembly(world.builder, caches=(CACHE,), timeout=0.2)
    from s2ictl.engines.accounts import Account

    account, ignored = Account(uid=1001, gid=0), lambda _: None
    with downloads.claimed(held, account, chamber, ignored, wait=ignored):
        assert world.engine.forget(kept) is False
        with pytest.raises(LimitReached, match="another build has been using the downloads of shop"):
            world.assemble(caches=(CACHE,), timeout=0.2)
    assert world.notices[-1] == "another build uses the downloads of shop; it is waited for"
    assert (world.engine.forget(kept), world.engine.kept()) == (True, ())


# --------------------------------------------------------------------------------------------------------------- keep


def test_a_container_that_failed_is_kept_as_an_image_without_what_was_injected(world: World, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("canary")
    inject = (Injection(source=tmp_path / "token", target="/etc/keys/"),)
    says = Says(makes={"/opt/work": b"work"}, ended=Ended(status=3))
    with pytest.raises(AssembleFailed) as failure:
        world.assemble(says, keep=True, injections=inject)
    (name,) = world.engine.names()
    assert name.startswith("s2ictl/kept:")
    assert name in world.notices[-1]
    assert failure.value.hint == ""
    with world.engine.save(name) as saved:
        layers = carried.loaded(b"".join(saved)).layers.values()
    assert any(b"opt/work" in layer for layer in layers)
    assert not any(b"canary" in layer for layer in layers)


# ------------------------------------------------------------------------------------------------- where images are had


@dataclass(slots=True, kw_only=True)
class Shop:
    """A registry's repository that has one image, or fails as it is told."""

    digest: str = ""
    error: S2IError | None = None
    asked: int = 0

    def __call__(self, name: Reference, login: Login | None) -> Any:
        return self

    def resolve(self) -> str:
        self.asked += 1
        if self.error:
            raise self.error
        return self.digest

    def bases(self, platforms: tuple[str, ...] = ()) -> tuple[oci.Base, ...]:
        image = small_image(layer=carried.packed({"from": b"the registry"}))
        config = oci.read_config(image.config, "it")
        layer = oci.Blob(
            media_type=oci.LAYER,
            digest=oci.digest_of(image.layer),
            size=len(image.layer),
            chunks=lambda: iter((image.layer,)),
        )
        base = oci.Base(
            name="it",
            digest=image.digest,
            config=config,
            layers=(layer,),
            manifest=image.manifest,
            document=image.config,
        )
        return (base,)


def neighbour(*names: str, platform: str = "linux/amd64") -> FakeEngine:
    engine = FakeEngine()
    layer = carried.packed({"from": b"the neighbour"})
    for name in names:
        identity = engine.load(iter((carried.saved([layer], names=(name,)),)))
        engine.images[name] = replace(engine.images[name], id=identity, platform=platform)
    return engine


THERE = f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("name", "shop", "beside", "origin"),
    [
        ("reg.example.com/b:1", Shop(digest=THERE), ("reg.example.com/b:1",), "the registry"),
        ("reg.example.com/b:1", Shop(), ("reg.example.com/b:1",), "the engine beside it"),
        ("reg.example.com/b:1", Shop(error=Unreachable("down")), ("reg.example.com/b:1",), "the engine beside it"),
        ("reg.example.com/b:1", Shop(), (), "nowhere"),
        ("team/b:1", Shop(digest=THERE), ("team/b:1",), "the engine beside it"),
        ("team/b:1", Shop(digest=THERE), (), "the registry"),
        ("team/b:1", Shop(error=PullUnauthorized("who are you")), (), "nowhere"),
    ],
)
def test_an_image_comes_from_where_its_name_says(
    tmp_path: Path, name: str, shop: Shop, beside: tuple[str, ...], origin: str
) -> None:
    elsewhere = Elsewhere(repository=shop, neighbour=lambda: neighbour(*beside))
    with opened(tmp_path, elsewhere=elsewhere) as world:
        facts = world.engine.facts(name, pull="if-not-present", login=None, emit=world.said.append)
        found = {"is": "saved"} if origin == "the engine beside it" else {"of": "the base"}
        assert (dict(facts.labels) if facts else "nowhere") == (found if origin != "nowhere" else "nowhere")
        assert (name in world.engine.names()) is (facts is not None)


def test_what_is_here_is_not_asked_for_again_unless_that_is_wished(tmp_path: Path) -> None:
    shop = Shop(digest=THERE)
    with opened(tmp_path, elsewhere=Elsewhere(repository=shop)) as world:
        ask: Callable[[Any], object] = lambda pull: world.engine.facts(  # noqa: E731
            "reg.example.com/b:1", pull=pull, login=None, emit=world.said.append
        )
        assert ask("never") is None
        found = [ask(pull) for pull in ("if-not-present", "if-not-present", "never", "always")]
    assert (shop.asked, len({id(each) for each in found if each is None})) == (2, 0)


def test_what_cannot_be_reached_and_is_nowhere_else_is_said(tmp_path: Path) -> None:
    with opened(tmp_path) as world, pytest.raises(Unreachable, match=r"nobody is at reg\.example\.com"):
        world.engine.facts("reg.example.com/b:1", pull="if-not-present", login=None, emit=world.said.append)


def test_an_image_of_another_machine_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as world:
        config = json.loads(carried.config_of([b"x" * 1024]))
        config["architecture"] = "arm64"
        saved = carried.saved([carried.packed({"a": b"x"})], names=("contract/foreign:1",))
        foreign = saved.replace(b'"architecture": "amd64"', b'"architecture": "arm64"')
        world.engine.load(iter((foreign,)))
        with pytest.raises(WrongPlatform, match="contract/foreign:1 is for linux/arm64, this machine runs linux/amd64"):
            world.engine.facts("contract/foreign:1", pull="never", login=None, emit=world.said.append)


# ------------------------------------------------------------------------------------------------------------- runner


def test_an_image_runs_as_it_says_with_its_ports_led_to_and_its_log_told(world: World) -> None:
    world.warden.says[:] = [Says(stdout=b"ready\n", ends=False)]
    with world.engine.run(world.builder.id, ports=(8080,), env={"MODE": "x"}, owner="run") as running:
        assert dict(running.ports) == {8080: 48080}
        while not world.said:
            running.follow(world.said.append, wait=False)
    assert world.said == [Line(text="ready")]
    assert (world.process["args"], world.process["env"][-1]) == (["serve"], "MODE=x")
    assert world.chamber.processes[0].signals == ["TERM"]


def test_what_ends_at_once_is_said(world: World) -> None:
    running = world.engine.run(world.builder.id, ports=(8080,), env={}, owner="run")
    with pytest.raises(RolloutFailed, match="ended at once"), running:
        pytest.fail("it does not run")


def test_what_has_no_port_may_end_when_it_likes_and_is_heard_to_its_end(world: World) -> None:
    world.warden.says[:] = [Says(stdout=b"one\ntwo")]
    with world.engine.run(world.builder.id, ports=(), env={}, owner="run") as running:
        running.follow(world.said.append)
    assert world.said == [Line(text="one"), Line(text="two")]


def test_a_command_s_output_is_told_and_its_failure_is_one(world: World) -> None:
    world.warden.says[:] = [Says(stdout=b"usage"), Says(ended=Ended(status=2))]
    world.engine.output(world.builder.id, command=("/usage",), emit=world.said.append)
    assert world.said == [Line(text="usage")]
    with pytest.raises(RolloutFailed, match=r"/usage in .* ended with 2"):
        world.engine.output(world.builder.id, command=("/usage",), emit=world.said.append)


# ------------------------------------------------------------------------------------------------------ images, names


def test_the_image_stands_on_its_base_and_is_found_by_its_names(world: World) -> None:
    made = world.assemble(names=(NAME, Reference.parse("contract/also:2")), epoch=7)
    assert made.layers[:-1] == world.builder.layers
    assert (made.created, world.engine.names()) == ("1970-01-01T00:00:07Z", ("contract/also:2", str(NAME)))


def test_the_same_makes_the_same_image(world: World) -> None:
    assert world.assemble(epoch=7).id == world.assemble(epoch=7).id


def test_a_layer_can_be_read_as_often_as_it_takes_with_no_image_made(world: World) -> None:
    with world.engine.layered(assembly(world.builder, epoch=7), world.said.append) as left:
        assert b"".join(left.chunks()) == b"".join(left.chunks())
        assert left.epoch == 7
    assert world.engine.names() == ()


def test_what_is_not_there_cannot_be_pushed(world: World) -> None:
    with pytest.raises(ImageNotFound, match="there is no image"):
        world.engine.push(NAME, login=None, confirm=lambda name, _: name.digest, emit=world.said.append)


def test_what_two_images_differ_in_is_told(world: World) -> None:
    first = world.assemble(Says(makes={"/opt/a": b"one"}), names=())
    second = world.assemble(Says(makes={"/opt/a": b"two"}), names=())
    found = world.engine.differences(first.id, second.id)
    assert [(each.path, each.ways) for each in found] == [("/opt/a", ("content",))]
