"""Images of this engine on their way to real registries and back: open, behind a password, and by an authority of its
own; what one machine has pushed another one pulls."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.engines.embedded.engine import Embedded
from s2ictl.engines.embedded.machine import Machine, explored
from s2ictl.engines.embedded.opening import Elsewhere, open_embedded
from s2ictl.errors import ImageNotFound, PullUnauthorized, PushUnauthorized, S2IError, Unreachable, WrongPlatform
from s2ictl.events import Event, Line
from s2ictl.leases import this_host
from s2ictl.models import ImageFacts, Login, PullPolicy, Reference, Secret
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from tests import testbed
from tests.engine import tiny
from tests.engine.proxy import Proxy, running
from tests.fakes import carried
from tests.fakes.images import layered, several
from tests.parts import available
from tests.testbed import certificates
from tests.testbed.registry import Rules, standing

HERE = "linux/amd64"
GREETING = carried.packed({"etc/greeting": b"from afar\n"})
WRONG = Secret("wrong-canary")


@dataclass(frozen=True, slots=True, kw_only=True)
class Harbour:
    """A registry, who may go there, and by whose word it is trusted."""

    host: str
    login: Login | None = None
    ca_bundle: Path | None = None

    def name(self, text: str) -> Reference:
        return Reference.parse(f"{self.host}/{text}")


@pytest.fixture
def closed(registry_facts: testbed.Registry) -> Harbour:
    facts = registry_facts
    login = Login(host=facts.closed, username=facts.username, password=Secret(facts.password), origin="the testbed")
    return Harbour(host=facts.closed, login=login)


@pytest.fixture(params=["open", "closed", "TLS"])
def harbour(request: pytest.FixtureRequest, registry_facts: testbed.Registry, tmp_path: Path) -> Iterator[Harbour]:
    if request.param == "TLS":
        with trusted(tmp_path) as harbour:
            yield harbour
    else:
        known: Harbour = request.getfixturevalue("closed")
        yield known if request.param == "closed" else Harbour(host=registry_facts.open)


@contextmanager
def trusted(directory: Path) -> Iterator[Harbour]:
    """A registry whose certificate an authority of its own has signed."""
    authority = certificates.authority(directory / "ca")
    pair = authority.issue("registry", subject="/CN=registry", alternatives=["IP:127.0.0.1"])
    with available():
        host = standing(directory / "storage", Rules(tls=pair))
    with host as address:
        yield Harbour(host=address, ca_bundle=authority.own.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A machine with a store of its own, before a registry."""

    engine: Embedded
    login: Login | None

    def image(self, *names: Reference, architecture: str = "amd64") -> ImageFacts:
        """An image that greets whoever looks into it."""
        settings = {"Env": ["PATH=/bin"], "WorkingDir": "/"}
        archive = carried.saved([tiny.rootfs({}), GREETING], settings=settings, names=list(map(str, names)))
        if architecture != "amd64":
            archive = tiny.foreign(str(names[0]), architecture=architecture)
        facts = self.engine.held(self.engine.load(iter((archive,))))
        assert facts is not None
        return facts

    def push(self, name: Reference) -> str:
        return self.engine.push(name, login=self.login, confirm=lambda *_: "", emit=lambda _: None)

    def pull(self, name: Reference, policy: PullPolicy = "if-not-present") -> ImageFacts | None:
        return self.engine.facts(str(name), pull=policy, login=self.login, emit=lambda _: None)

    def greeting(self, image: ImageFacts) -> list[str]:
        said: list[Event] = []
        self.engine.output(image.id, command=("/bin/cat", "/etc/greeting"), emit=said.append)
        return [event.text for event in said if isinstance(event, Line)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    directory: Path
    machine: Machine
    stack: ExitStack

    def __call__(self, harbour: Harbour, name: str = "one") -> Site:
        way = self.stack.enter_context(Transport({}, emit=lambda _: None, ca_bundle=harbour.ca_bundle))

        def repository(image: Reference, login: Login | None) -> Repository:
            return Repository(image, transport=way, logins=lambda _: login)

        elsewhere = Elsewhere(repository=repository)
        opening = open_embedded(
            self.directory / name, self.machine, platform=HERE, host=this_host(), elsewhere=elsewhere
        )
        return Site(engine=self.stack.enter_context(opening), login=harbour.login)


@pytest.fixture
def site(daemonless: None, tmp_path: Path) -> Iterator[Sites]:
    machine = explored({}, store=tmp_path / "one")
    with ExitStack() as stack:
        yield Sites(directory=tmp_path, machine=machine, stack=stack)


def told(error: S2IError) -> str:
    return f"{error.message} {error.detail} {error.hint}"


# ----------------------------------------------------------------------------------------------------- there and back


def test_what_one_machine_pushed_another_pulls_and_runs(harbour: Harbour, site: Sites) -> None:
    name, here, there = harbour.name("embedded/whole:1"), site(harbour), site(harbour, "two")
    made = here.image(name)
    digest = here.push(name)
    pulled = there.pull(name)
    assert pulled is not None
    assert (pulled.id, pulled.digest, there.greeting(pulled)) == (made.id, digest, ["from afar"])
    assert there.engine.names() == (str(name),)


def test_by_its_digest_it_is_pulled_without_any_name(harbour: Harbour, site: Sites) -> None:
    name, here, there = harbour.name("embedded/digest:1"), site(harbour), site(harbour, "two")
    made = here.image(name)
    meant = harbour.name("embedded/digest").at(here.push(name))
    pulled, again = there.pull(meant), there.pull(meant, "never")
    assert pulled is not None
    assert (pulled, pulled.id, there.engine.names()) == (again, made.id, ())


def test_an_image_for_several_platforms_bears_the_digest_of_all_of_them(closed: Harbour, site: Sites) -> None:
    """So does one that a daemon pulled; and by that digest a result says what it was built with."""
    name, there = closed.name("embedded/several:1"), site(closed)
    with Transport({}, emit=lambda _: None) as way:
        every = several(amd64=layered(GREETING), arm64=layered(GREETING, architecture="arm64"))
        repository = Repository(name, transport=way, logins=lambda _: closed.login)
        digest = oci.deliver(every, repository, ("1",), emit=lambda _: None)
    pulled = there.pull(name)
    assert pulled is not None
    assert (pulled.digest, pulled.platform) == (digest, HERE)


def test_what_a_tag_means_now_is_pulled_where_that_is_wanted(closed: Harbour, site: Sites) -> None:
    name, here, there = closed.name("embedded/moves:1"), site(closed), site(closed, "two")
    first = here.image(name)
    here.push(name)
    there.pull(name)
    archive = carried.saved([carried.packed({"etc/other": b""})], names=[str(name)])
    second = here.engine.load(iter((archive,)))
    here.push(name)
    usual, anew = there.pull(name), there.pull(name, "always")
    assert usual is not None
    assert anew is not None
    assert (usual.id, anew.id) == (first.id, second)


def test_layers_that_the_registry_has_are_mounted_from_where_they_were_pushed(
    registry_facts: testbed.Registry, site: Sites
) -> None:
    with running(Proxy(upstream=registry_facts.open)) as proxy:
        harbour = Harbour(host=proxy.address)
        here, first = site(harbour), harbour.name("embedded/first:1")
        second = harbour.name(f"embedded/second-{secrets.token_hex(4)}:1")  # where nothing has been yet
        made = here.image(first)
        digest = here.push(first)
        here.engine.name(made.id, (second,))
        proxy.begin()
        assert here.push(second) == digest
    sent = [step.path for step in proxy.seen if step.method in ("PUT", "PATCH") and "uploads" in step.path]
    assert len(sent) == 1  # what the image says of itself


# ---------------------------------------------------------------------------------------------------- what is refused


def test_an_image_for_another_machine_is_refused_and_takes_no_place(closed: Harbour, site: Sites) -> None:
    name, here, there = closed.name("embedded/arm:1"), site(closed), site(closed, "two")
    here.image(name, architecture="arm64")
    here.push(name)
    with pytest.raises(WrongPlatform, match=rf"{name}@sha256:\w+ is not for {HERE}") as caught:
        there.pull(name)
    assert caught.value.detail == "it is for linux/arm64"
    assert there.engine.held(str(name)) is None


def test_an_image_that_is_nowhere_is_none(harbour: Harbour, site: Sites) -> None:
    here = site(harbour)
    assert here.pull(harbour.name("embedded/nowhere:1")) is None
    assert here.pull(harbour.name("embedded/nowhere").at(f"sha256:{'0' * 64}")) is None


def test_what_nobody_may_see_is_not_there_for_him_who_has_no_login(closed: Harbour, site: Sites) -> None:
    stranger = site(Harbour(host=closed.host))
    assert stranger.pull(closed.name("embedded/whole:1")) is None


def test_a_login_that_is_refused_is_said_and_its_password_is_not(closed: Harbour, site: Sites) -> None:
    wrong = Login(host=closed.host, username="somebody", password=WRONG, origin="a test")
    here, name = site(Harbour(host=closed.host, login=wrong)), closed.name("embedded/refused:1")
    with pytest.raises(PullUnauthorized) as pulling:
        here.pull(name)
    made = here.image(name)
    with pytest.raises(PushUnauthorized) as pushing:
        here.push(name)
    for error in (pulling.value, pushing.value):
        assert ("somebody" in told(error), str(closed.host) in told(error)) == (True, True)
        assert WRONG.reveal() not in told(error)
    kept = here.engine.held(str(name))
    assert kept is not None
    assert (kept.id, kept.digest) == (made.id, "")


def test_an_authority_that_is_not_ours_is_not_believed(site: Sites, tmp_path: Path) -> None:
    with trusted(tmp_path) as harbour:
        here, name = site(Harbour(host=harbour.host)), harbour.name("embedded/foreign:1")
        with pytest.raises(Unreachable, match="its certificate is not trusted"):
            here.pull(name)
        here.image(name)
        with pytest.raises(Unreachable, match="its certificate is not trusted"):
            here.push(name)


def test_what_is_not_here_cannot_be_pushed(closed: Harbour, site: Sites) -> None:
    with pytest.raises(ImageNotFound, match="there is no image"):
        site(closed).push(closed.name("embedded/never-built:1"))
