"""Every harm to every request between our client and a real registry: the run ends right, or says why it cannot.

The requests are those of a good run, as they were written down on the way, and whether a run has ended right is seen
in the registry's own files: a tag that is there leads to the whole image, and never to anything else.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.errors import S2IError
from s2ictl.models import Login, Reference, Secret
from s2ictl.registry import Repository
from s2ictl.transport import Patience, Transport
from tests.engine.proxy import Harm, Proxy, Step, running
from tests.fakes import tokens
from tests.fakes.images import blob, small_image
from tests.fakes.tokens import Tokens
from tests.parts import available
from tests.testbed.registry import Rules, standing

PATIENT = Patience(pauses=(0.0, 0.0, 0.0, 0.0))
IMPATIENT = Patience(connect=2.0, stall=0.3, sending=0.3, answer=5.0, pauses=(0.0, 0.0, 0.0, 0.0))
OURS, STREAMED = b"what was built" * 20_000, b"what is hashed on the way" * 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """A registry that gives tokens, and the proxy before it."""

    proxy: Proxy
    storage: Path
    login: Login

    def transport(self) -> Transport:
        """Without pauses; and impatient only where a silence is to be heard, lest a busy machine be taken for one."""
        silent = self.proxy.harm is not None and self.proxy.harm.kind in ("stall", "falter")
        patience = IMPATIENT if silent else PATIENT
        return Transport({}, emit=lambda _: None, patience=patience, sleep=lambda _: None)

    def repository(self, name: str, tag: str, transport: Transport) -> Repository:
        reference = Reference(registry=self.proxy.address, repository=name, tag=tag)
        return Repository(reference, transport=transport, logins=lambda _: self.login)

    def tags(self, name: str) -> dict[str, str]:
        """What each tag leads to, by the registry's own files."""
        links = (self.storage / "docker/registry/v2/repositories" / name / "_manifests/tags").glob("*/current/link")
        return {link.parent.parent.name: link.read_text() for link in links}

    def has(self, name: str, digest: str) -> bool:
        """Whether a blob is there, in this repository, and whole."""
        algorithm, _, text = digest.partition(":")
        root = self.storage / "docker/registry/v2"
        content = root / "blobs" / algorithm / text[:2] / text / "data"
        link = root / "repositories" / name / "_layers" / algorithm / text / "link"
        return link.exists() and hashlib.sha256(content.read_bytes()).hexdigest() == text


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run has ended: with a digest, or with a failure."""

    name: str
    digest: str = ""
    error: S2IError | None = None

    @property
    def status(self) -> int:
        return self.error.exit_code if self.error else 0


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    directory = tmp_path_factory.mktemp("road")
    with ExitStack() as stack:
        signer = stack.enter_context(tokens.running(Tokens(directory=directory)))
        proxy = stack.enter_context(running(Proxy(tokens=signer.address)))
        with available():
            rules = Rules(auth=signer.auth(f"http://{proxy.address}/token"))
            proxy.upstream = stack.enter_context(standing(directory / "storage", rules))
        password = Secret(signer.password)
        login = Login(host=proxy.address, username=signer.username, password=password, origin="the test")
        made = Road(proxy=proxy, storage=directory / "storage", login=login)
        lay_base(made)
        yield made


def lay_base(road: Road) -> None:
    image = small_image()
    with road.transport() as transport:
        below = road.repository("below", "1", transport)
        below.write(blob(image.layer))
        below.write(blob(image.config, oci.CONFIG))
        below.tag(image.manifest, ("1",))


def push(road: Road) -> Run:
    """Have an image of three layers in a new repository: one of the base, one known, one hashed on the way."""
    name = f"above/{os.urandom(6).hex()}"
    with road.transport() as transport:
        try:
            base = road.repository("below", "1", transport).bases(("linux/amd64",))[0]
            target = road.repository(name, "1", transport)
            streamed = oci.Blob(media_type=oci.LAYER, digest="", size=-1, chunks=lambda: iter((STREAMED,)))
            layers = tuple(target.write(one) for one in (*base.layers, blob(OURS), streamed))
            config = target.write(blob(small_image().config, oci.CONFIG))
            manifest = oci.Manifest(schema_version=2, media_type=oci.MANIFEST, config=config, layers=layers)
            return Run(name=name, digest=target.tag(oci.encode(manifest), ("1", "latest")))
        except S2IError as error:
            return Run(name=name, error=error)


def pull(road: Road) -> Run:
    """Read a base whole: what its name leads to, its configuration, and its layers."""
    with road.transport() as transport:
        try:
            base = road.repository("below", "1", transport).bases(("linux/amd64",))[0]
            assert [b"".join(layer.chunks()) for layer in base.layers] == [small_image().layer]
            return Run(name="below", digest=base.digest)
        except S2IError as error:
            return Run(name="below", error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """What is in the registry after a run that has ended right."""

    digest: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]


def pushed() -> Good:
    config = oci.descriptor_of(blob(small_image().config, oci.CONFIG))
    layers = tuple(oci.descriptor_of(blob(content)) for content in (small_image().layer, OURS, STREAMED))
    manifest = oci.Manifest(schema_version=2, media_type=oci.MANIFEST, config=config, layers=layers)
    digests = (config.digest, *(layer.digest for layer in layers))
    return Good(digest=oci.digest_of(oci.encode(manifest)), tags=("1", "latest"), layers=digests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """What is done on the road, and what it leads to."""

    go: Callable[[Road], Run]
    good: Good


JOURNEYS = {
    "push": Journey(go=push, good=pushed()),
    "pull": Journey(go=pull, good=Good(digest=small_image().digest, tags=("1",), layers=())),
}


def taken(road: Road, journey: Journey, harm: Harm | None = None) -> Run:
    """A run, and what the registry's own files say of it: no tag leads to anything but the whole image."""
    road.proxy.begin(harm)
    done, good = journey.go(road), journey.good
    tags = road.tags(done.name)
    assert set(tags.values()) <= {good.digest}, f"{harm}: {tags}"
    if done.error is None:
        whole = {layer for layer in good.layers if road.has(done.name, layer)}
        assert (done.digest, set(tags), whole) == (good.digest, set(good.tags), set(good.layers)), harm
    return done


# ------------------------------------------------------------------------------------------------- what must come out


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is done to each step in turn, and how often."""

    kind: str
    times: int = 1
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def to(self, step: Step) -> Harm:
        headers = dict(self.headers)
        return Harm(step=step, kind=self.kind, times=self.times, status=self.status, headers=headers, body=self.body)

    def __str__(self) -> str:
        said = f"{self.status}{''.join(f'-{value}' for _, value in self.headers)}"
        return f"{self.kind if self.kind != 'status' else said} x{self.times}"


def ends(harm: Harm) -> frozenset[int]:
    """How a run may end: 0 done, 6 the base is broken, 8 the registry fails, 10 nothing was ever answered."""
    if harm.kind == "spoil":
        return frozenset({0, 6, 8})
    if harm.times <= 4:
        return frozenset({0})
    if harm.step.path == "/v2/":
        # Any answer to the first question shows that somebody is there.
        return frozenset({0}) if harm.kind in ("status", "early") else frozenset({0, 10})
    # What was done although nobody heard of it is found again, however often the answer is lost.
    return frozenset({0, 8}) if harm.kind in ("lose", "falter", "truncate") else frozenset({8})


def well_said(error: S2IError) -> bool:
    said = f"{error.message} {error.detail} {error.hint}"
    return bool(error.detail) and len(error.message) < 250 and "canary" not in said and "\x1b" not in said


RATE = Trouble(kind="status", status=429, body=b"slow down\x1b[2J, canary")
ONCE = (
    Trouble(kind="status"),
    replace(RATE, headers=(("Retry-After", "7"),)),
    *(
        Trouble(kind=kind)
        for kind in ("early", "reset", "cut", "lose", "stall", "falter", "truncate", "babble", "spoil")
    ),
)
OFTEN = (*(Trouble(kind=kind, times=4) for kind in ("status", "reset", "lose")),)
ALWAYS = (
    *(Trouble(kind="status", times=99, status=status) for status in (500, 429)),
    *(Trouble(kind=kind, times=99) for kind in ("reset", "lose")),
)
# Where each run takes its time, or tells little that the others do not.
LONG = (
    *(Trouble(kind="status", status=status, times=2) for status in (500, 503)),
    *(replace(RATE, times=times) for times in (1, 4)),
    *(
        Trouble(kind=kind, times=times)
        for kind in ("early", "cut", "stall", "falter", "truncate", "babble", "spoil")
        for times in (2, 4, 99)
    ),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trouble" in metafunc.fixturenames:
        more = LONG if metafunc.config.getoption("--soak") else ()
        metafunc.parametrize("trouble", [*ONCE, *OFTEN, *ALWAYS, *more], ids=str)


@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=list(JOURNEYS))
def test_a_run_ends_right_or_says_why_it_cannot(road: Road, journey: Journey, trouble: Trouble) -> None:
    assert taken(road, journey).error is None
    misfits = []
    for step in tuple(road.proxy.seen):
        harm = trouble.to(step)
        done = taken(road, journey, harm)
        assert road.proxy.hurt, f"{step} did not come again"
        if done.status not in ends(harm) or (done.error and not well_said(done.error)):
            misfits.append(f"{step}: {done.status} {done.error and (done.error.message, done.error.detail)}")
    assert misfits == []
