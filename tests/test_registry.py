"""The registry client on a double that breaks where it is told to; the contract runs on real registries as well."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from s2ictl import oci
from s2ictl.access import Access, greet
from s2ictl.errors import (
    ConnectionLost,
    ImageNotFound,
    PullBuilderImageFailed,
    PullUnauthorized,
    PushImageToRegistryFailed,
    PushUnauthorized,
    Refused,
    RegistryFailed,
    S2IError,
    Unreachable,
)
from s2ictl.events import Emit
from s2ictl.models import Login, Reference, Secret
from s2ictl.registry import Repository
from s2ictl.registry.blobs import PIECE
from s2ictl.transport import Patience, Transport
from tests.fakes.images import LAYER, blob, small_image
from tests.fakes.registry import Action, FakeRegistry, Fault, running
from tests.fakes.registry_contract import *  # noqa: F403  (the tests themselves)
from tests.fakes.registry_contract import Place
from tests.fakes.tls import speaking

_runs = itertools.count()
QUICK = Patience(stall=0.4, sending=0.4)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def transport(emit: Emit, slept: list[float]) -> Iterator[Transport]:
    with Transport({}, emit=emit, patience=QUICK, sleep=slept.append) as transport:
        yield transport


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as registry:
        yield registry


def login(registry: FakeRegistry, password: str = "") -> Callable[[str], Login]:
    secret = Secret(password or registry.password)
    return lambda host: Login(host=host, username=registry.username, password=secret, origin="the test")


@pytest.fixture(params=["none", "basic", "bearer"])
def place(request: pytest.FixtureRequest, registry: FakeRegistry, transport: Transport) -> Place:
    registry.auth = request.param
    return Place(host=registry.host, logins=login(registry), run=f"run{next(_runs)}", transport=transport)


@pytest.fixture
def repository(registry: FakeRegistry, transport: Transport) -> Repository:
    return at(registry, transport)


def at(registry: FakeRegistry, transport: Transport, name: str = "app", password: str = "") -> Repository:
    reference = Reference(registry=registry.host, repository=name, tag="1")
    return Repository(reference, transport=transport, logins=login(registry, password))


def push(repository: Repository) -> str:
    image = small_image()
    repository.write(blob(image.layer))
    repository.write(blob(image.config, oci.CONFIG))
    return repository.tag(image.manifest, ("1",))


# ------------------------------------------------------------------------------------------ faults while writing

STEPS = {
    "ask for a blob": ("HEAD", "/blobs/sha256"),
    "begin": ("POST", "/blobs/uploads/"),
    "send": ("PUT", "/blobs/uploads/"),
    "tag": ("PUT", "/manifests/"),
    "confirm": ("HEAD", "/manifests/"),
}
KINDS: tuple[tuple[Action, int], ...] = (
    ("status", 500),
    ("reset", 0),
    ("lose-answer", 0),
)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("action", "status"), KINDS)
def test_a_push_survives_four_faults_in_a_row_at_any_step(
    step: str, action: Action, status: int, registry: FakeRegistry, repository: Repository
) -> None:
    method, path = STEPS[step]
    registry.faults.append(Fault(method=method, path=path, action=action, status=status, times=4))
    digest = push(repository)
    assert registry.manifests["app", "1"] == registry.manifests["app", digest]
    assert digest == small_image().digest
    if (step, action) != ("begin", "lose-answer"):  # an upload that nobody told us of is nothing that we could end
        assert registry.uploads == {}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("action", "status"), [kind for kind in KINDS if kind[0] != "lose-answer"])
def test_a_registry_that_keeps_failing_ends_a_push_with_8(
    step: str, action: Action, status: int, registry: FakeRegistry, repository: Repository
) -> None:
    method, path = STEPS[step]
    registry.faults.append(Fault(method=method, path=path, action=action, status=status, times=99))
    with pytest.raises(PushImageToRegistryFailed) as caught:
        push(repository)
    assert (caught.value.exit_code, caught.value.message) == (8, f"could not push {registry.host}/app:1")
    assert registry.uploads == {}


@pytest.mark.parametrize("step", ["send", "tag"])
def test_an_answer_that_is_always_lost_is_settled_by_asking_for_the_digest(
    step: str, registry: FakeRegistry, repository: Repository
) -> None:
    method, path = STEPS[step]
    registry.faults.append(Fault(method=method, path=path, action="lose-answer", times=99))
    assert push(repository) == small_image().digest


def test_a_stall_is_given_up_and_tried_again(registry: FakeRegistry, repository: Repository) -> None:
    registry.faults.append(Fault(method="HEAD", path="/blobs/", action="stall"))
    assert push(repository) == small_image().digest


def test_the_wait_that_a_registry_asks_for_is_kept(
    registry: FakeRegistry, repository: Repository, slept: list[float]
) -> None:
    registry.faults.append(Fault(method="POST", path="/uploads/", status=429, headers={"Retry-After": "7"}, times=1))
    push(repository)
    assert slept == [7.0]


@pytest.mark.parametrize(
    ("status", "error", "tries"),
    [
        (401, PushUnauthorized, 1),
        (403, PushUnauthorized, 1),
        (405, PushImageToRegistryFailed, 1),
        (413, PushImageToRegistryFailed, 1),
    ],
)
def test_what_asking_again_would_not_change_is_asked_once(
    status: int, error: type[S2IError], tries: int, registry: FakeRegistry, repository: Repository
) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "quota\\u001b[2J exceeded\\n"}]}'
    registry.faults.append(Fault(method="POST", path="/uploads/", status=status, body=body, times=99))
    with pytest.raises(error) as caught:
        push(repository)
    assert caught.value.detail.startswith(f"the registry answered {status}: DENIED quota")
    assert registry.tried("POST") == tries


def test_a_push_that_is_interrupted_leaves_no_upload_behind(registry: FakeRegistry, repository: Repository) -> None:
    def interrupted() -> Iterator[bytes]:
        yield LAYER[:10]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repository.write(replace(blob(LAYER), chunks=interrupted))
    assert (registry.uploads, registry.tried("DELETE")) == ({}, 1)


# ------------------------------------------------------------------------------------------------- how it is sent

LARGE = b"0123456789abcdef" * (5 << 16)


def streamed(content: bytes) -> oci.Blob:
    return oci.Blob(media_type=oci.LAYER, digest="", size=-1, chunks=lambda: iter((content[:7], b"", content[7:])))


def uploads(registry: FakeRegistry) -> list[tuple[str, str, str]]:
    """The requests of uploads: method, Content-Length, Content-Range."""
    return [
        (one.method, one.headers.get("Content-Length", ""), one.headers.get("Content-Range", ""))
        for one in registry.asked
        if "/uploads/" in one.path and one.method != "GET"
    ]


def test_what_is_known_is_sent_in_one_request_when_it_has_been_agreed(
    registry: FakeRegistry, repository: Repository
) -> None:
    repository.write(blob(LARGE))
    assert uploads(registry) == [("POST", "0", ""), ("PUT", str(len(LARGE)), "")]


def test_what_is_hashed_on_the_way_is_sent_first_and_named_then(registry: FakeRegistry, repository: Repository) -> None:
    assert repository.write(streamed(LARGE)).digest == oci.digest_of(LARGE)
    assert uploads(registry) == [("POST", "0", ""), ("PATCH", "", ""), ("PUT", "0", "")]


def test_an_image_that_is_there_but_for_its_layer_costs_few_requests(
    registry: FakeRegistry, transport: Transport
) -> None:
    image = small_image()
    registry.put("below", LARGE)
    repository = at(registry, transport)
    repository.write(blob(LARGE, home=f"{registry.host}/below"))
    repository.write(blob(image.layer))
    repository.write(blob(image.config, oci.CONFIG))
    repository.tag(image.manifest, ("1",))
    methods = [one.method for one in registry.asked]
    assert methods == ["OPTIONS", "POST", "HEAD", "POST", "PUT", "HEAD", "POST", "PUT", "PUT", "HEAD"]


def test_a_broken_upload_goes_on_where_it_stopped(registry: FakeRegistry, repository: Repository) -> None:
    registry.faults.append(Fault(method="PUT", path="/uploads/", action="take-half"))
    repository.write(blob(LARGE))
    half = len(LARGE) // 2
    assert registry.blobs["app", oci.digest_of(LARGE)] == LARGE
    assert uploads(registry) == [
        ("POST", "0", ""),
        ("PUT", str(len(LARGE)), ""),
        ("PATCH", str(half), f"{half}-{len(LARGE) - 1}"),
        ("PUT", "0", ""),
    ]


def test_an_upload_that_gets_further_each_time_may_break_off_as_often_as_it_likes(
    registry: FakeRegistry, repository: Repository, slept: list[float]
) -> None:
    huge = LARGE * 4
    registry.faults.append(Fault(method="PUT", path="/uploads/", action="take-half"))
    registry.faults.append(Fault(method="PATCH", path="/uploads/", action="take-half", times=6))
    repository.write(blob(huge))
    assert registry.blobs["app", oci.digest_of(huge)] == huge
    assert slept == [0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 2.0]


def test_an_upload_that_the_registry_has_forgotten_begins_anew(registry: FakeRegistry, repository: Repository) -> None:
    registry.forgets = True
    registry.faults.append(Fault(method="PUT", path="/uploads/", action="take-half"))
    repository.write(blob(LARGE))
    assert registry.blobs["app", oci.digest_of(LARGE)] == LARGE
    assert [method for method, *_ in uploads(registry)] == ["POST", "PUT", "POST", "PUT"]


def test_a_stream_that_broke_off_goes_on_in_pieces_and_is_hashed_whole(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.faults.append(Fault(method="PUT", path="/uploads/", action="reset"))
    assert repository.write(streamed(LARGE)).digest == oci.digest_of(LARGE)
    assert registry.blobs["app", oci.digest_of(LARGE)] == LARGE


@pytest.mark.parametrize("known", [True, False])
def test_what_is_too_large_at_once_is_sent_in_pieces(
    known: bool, registry: FakeRegistry, repository: Repository
) -> None:
    registry.largest = PIECE
    huge = LARGE * 4
    if not known:
        registry.faults.append(Fault(method="PATCH", path="/uploads/", status=413))
    repository.write(blob(huge) if known else streamed(huge))
    assert registry.blobs["app", oci.digest_of(huge)] == huge
    assert uploads(registry)[-4:] == [
        ("PATCH", str(PIECE), f"0-{PIECE - 1}"),
        ("PATCH", str(PIECE), f"{PIECE}-{2 * PIECE - 1}"),
        ("PATCH", str(len(huge) - 2 * PIECE), f"{2 * PIECE}-{len(huge) - 1}"),
        ("PUT", "0", ""),
    ]
    assert registry.uploads == {}


def test_what_is_too_large_in_pieces_too_is_said(registry: FakeRegistry, repository: Repository) -> None:
    registry.largest = 1000
    with pytest.raises(PushImageToRegistryFailed) as caught:
        repository.write(blob(LARGE))
    assert (caught.value.detail, caught.value.hint) == (
        "the registry answered 413",
        "the registry, or a proxy before it, limits the size of a layer",
    )
    assert registry.uploads == {}


@pytest.mark.parametrize("status", [400, 405])
def test_a_registry_that_takes_no_bytes_at_the_end_gets_them_before(
    status: int, registry: FakeRegistry, repository: Repository
) -> None:
    registry.faults.append(Fault(method="PUT", path="/uploads/", status=status))
    repository.write(blob(LARGE))
    assert [method for method, *_ in uploads(registry)] == ["POST", "PUT", "DELETE", "POST", "PATCH", "PUT"]


def test_a_registry_that_stores_other_bytes_is_caught(registry: FakeRegistry, repository: Repository) -> None:
    other = {"Docker-Content-Digest": oci.digest_of(b"other bytes")}
    registry.faults.append(Fault(method="PUT", path="/uploads/", status=201, headers=other))
    with pytest.raises(PushImageToRegistryFailed) as caught:
        repository.write(blob(LAYER))
    assert caught.value.detail == f"the registry was sent {oci.digest_of(LAYER)} and has stored {other.popitem()[1]}"


def test_a_blob_that_is_there_in_another_length_is_not_taken_for_ours(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.blobs["app", oci.digest_of(LAYER)] = LAYER[:-1]
    with pytest.raises(PushImageToRegistryFailed) as caught:
        repository.write(blob(LAYER))
    assert "the registry has other bytes as" in caught.value.detail


def test_a_token_that_expires_in_the_middle_of_an_upload_is_renewed(
    registry: FakeRegistry, transport: Transport
) -> None:
    registry.auth = "bearer"
    times = iter((True,))

    def chunks() -> Iterator[bytes]:
        yield LARGE[:9]
        if next(times, False):
            registry.tokens.clear()
        yield LARGE[9:]

    at(registry, transport).write(replace(streamed(LARGE), chunks=chunks))
    assert registry.blobs == {("app", oci.digest_of(LARGE)): LARGE}


def test_a_registry_that_takes_all_and_says_nothing_is_left_and_asked_again(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.faults.append(Fault(method="PUT", path="/uploads/", action="stall"))
    repository.write(blob(LARGE))
    assert registry.tried("PUT", "/uploads/") == 2


def test_an_answer_that_is_lost_the_last_time_too_is_settled(registry: FakeRegistry, repository: Repository) -> None:
    registry.faults.append(Fault(method="PUT", path="/manifests/", action="reset", times=4))
    registry.faults.append(Fault(method="PUT", path="/manifests/", action="lose-answer"))
    assert push(repository) == small_image().digest
    assert registry.tried("PUT", "/manifests/") == 5


# ------------------------------------------------------------------------------------------------- what is said of it


@pytest.mark.parametrize("lists", [True, False])
def test_what_is_said_of_an_image_is_found_by_its_digest_and_kind(
    lists: bool, registry: FakeRegistry, repository: Repository
) -> None:
    registry.lists_referrers = lists
    digest = push(repository)
    said = [
        repository.attach(digest, kind=kind, content=kind.encode(), title="a file")
        for kind in ("application/spdx+json", "application/x-signature", "application/spdx+json")
    ]
    assert said[0] == said[2]
    assert [one.digest for one in repository.referrers(digest)] == said[:2]
    assert [one.digest for one in repository.referrers(digest, kind="application/x-signature")] == [said[1]]
    assert (("app", digest.replace(":", "-")) in registry.manifests) == (not lists)


def test_a_list_that_somebody_else_wrote_in_between_is_written_again(
    registry: FakeRegistry, repository: Repository
) -> None:
    digest = push(repository)
    first = repository.attach(digest, kind="application/x-a", content=b"a", title="a")
    tag = digest.replace(":", "-")
    before = registry.manifests["app", tag]
    # Our PUT is answered as done, and another's list stands there.
    registry.faults.append(Fault(method="PUT", path=f"/manifests/{tag}", status=201))
    second = repository.attach(digest, kind="application/x-b", content=b"b", title="b")
    assert registry.manifests["app", tag] != before
    assert {one.digest for one in repository.referrers(digest)} == {first, second}


def test_nothing_is_said_of_an_image_that_is_not_there(repository: Repository) -> None:
    with pytest.raises(ImageNotFound, match="there is no"):
        repository.attach(oci.digest_of(b"none"), kind="application/x-a", content=b"a", title="a")


# ------------------------------------------------------------------------------------------ faults while reading


@pytest.fixture
def stocked(registry: FakeRegistry) -> FakeRegistry:
    image = small_image(docker=True)
    registry.put("app", image.layer)
    registry.put("app", image.config)
    registry.tag("app", "1", "application/vnd.docker.distribution.manifest.v2+json", image.manifest)
    return registry


@pytest.mark.parametrize(
    ("action", "status"), [("status", 500), ("status", 429), ("reset", 0), ("truncate", 0), ("stall", 0)]
)
@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_reading_survives_faults(
    action: Action, status: int, path: str, stocked: FakeRegistry, repository: Repository
) -> None:
    times = 1 if action == "stall" else 4
    stocked.faults.append(Fault(method="GET", path=path, action=action, status=status, times=times))
    base = repository.bases(("linux/amd64",))[0]
    assert [b"".join(layer.chunks()) for layer in base.layers] == [LAYER]


def test_a_layer_goes_on_where_it_broke_off(registry: FakeRegistry, repository: Repository) -> None:
    large = b"0123456789abcdef" * (3 << 16)
    digest = registry.put("app", large)
    registry.faults.append(Fault(method="GET", path="/blobs/", action="truncate"))
    wanted = oci.Descriptor(media_type=oci.LAYER, digest=digest, size=len(large))
    assert b"".join(repository.read(wanted)) == large
    ranges = [one.headers.get("Range") for one in registry.asked if "/blobs/" in one.path]
    assert ranges == [None, f"bytes={len(large) // 2}-"]


@pytest.mark.parametrize("begin", [0, 3])
def test_a_registry_that_sends_more_than_the_rest_is_understood(
    begin: int, registry: FakeRegistry, repository: Repository
) -> None:
    content = b"0123456789"
    digest = registry.put("app", content)
    span = {"Content-Range": f"bytes {begin}-9/10"}
    registry.faults.append(Fault(method="GET", path="/blobs/", action="truncate"))
    registry.faults.append(Fault(method="GET", path="/blobs/", status=206, body=content[begin:], headers=span))
    wanted = oci.Descriptor(media_type=oci.LAYER, digest=digest, size=10)
    assert b"".join(repository.read(wanted)) == content


def test_a_registry_that_is_there_and_keeps_breaking_off_is_its_own_failure(
    stocked: FakeRegistry, repository: Repository
) -> None:
    stocked.faults.append(Fault(method="GET", path="/blobs/", action="reset", times=99))
    with pytest.raises(RegistryFailed) as caught:
        repository.bases(("linux/amd64",))[0]
    assert caught.value.exit_code == 8


def test_a_base_whose_bytes_are_not_what_was_promised_is_refused(stocked: FakeRegistry, repository: Repository) -> None:
    base = repository.bases(("linux/amd64",))[0]
    stocked.blobs["app", base.layers[0].digest] = bytes(len(LAYER))
    with pytest.raises(PullBuilderImageFailed, match="is broken in its registry") as caught:
        b"".join(base.layers[0].chunks())
    assert caught.value.exit_code == 6


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(stocked: FakeRegistry, transport: Transport) -> None:
    digest = small_image(docker=True).digest
    stocked.manifests["app", digest] = ("", small_image(architecture="arm64").manifest)
    stocked.hide_digests = True
    reference = Reference(registry=stocked.host, repository="app", digest=digest)
    with pytest.raises(PullBuilderImageFailed, match="is broken in its registry"):
        Repository(reference, transport=transport, logins=login(stocked)).bases(("linux/amd64",))[0]


def test_a_registry_that_tells_no_digests_is_asked_for_the_manifest(
    stocked: FakeRegistry, repository: Repository
) -> None:
    stocked.hide_digests = True
    assert repository.resolve() == small_image(docker=True).digest


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b"<html>",
        b'{"schemaVersion": 1, "fsLayers": []}',
        b'{"schemaVersion": 2, "manifests": [], "layers": []}',
        b'{"schemaVersion": 2, "manifests": []}',
        b'{"schemaVersion": 2, "config": {"mediaType": "x", "digest": "sha256:../..", "size": 1}, "layers": []}',
        b"[" * 100_000,
    ],
)
def test_a_manifest_of_any_other_form_is_refused(
    manifest: bytes, stocked: FakeRegistry, repository: Repository
) -> None:
    stocked.tag("app", "1", "anything", manifest)
    with pytest.raises(PullBuilderImageFailed):
        repository.bases(("linux/amd64",))[0]


def test_docker_s_words_for_layers_become_those_of_the_oci(stocked: FakeRegistry, repository: Repository) -> None:
    assert [layer.media_type for layer in repository.bases(("linux/amd64",))[0].layers] == [oci.LAYER]


# ------------------------------------------------------------------------------------------------------------ logins


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_wrong_password_is_tried_once_and_said_with_where_it_came_from(
    auth: str, stocked: FakeRegistry, transport: Transport
) -> None:
    stocked.auth = "basic" if auth == "basic" else "bearer"
    with pytest.raises(PullUnauthorized) as caught:
        at(stocked, transport, password="wrong-canary").bases(("linux/amd64",))[0]
    assert "the login came from the test" in caught.value.detail
    assert "wrong-canary" not in repr(caught.value) + caught.value.detail + caught.value.hint
    sent = [one for one in stocked.asked if one.headers.get("Authorization", "").startswith("Basic")]
    assert len(sent) == 1


def test_a_registry_that_wants_a_login_where_there_is_none_is_said_so(
    stocked: FakeRegistry, transport: Transport
) -> None:
    stocked.auth = "basic"
    reference = Reference(registry=stocked.host, repository="app", tag="1")
    with pytest.raises(PullUnauthorized, match="could not pull") as caught:
        Repository(reference, transport=transport, logins=lambda _: None).resolve()
    assert caught.value.detail == f"the registry answered 401; no login for {stocked.host} was found"


def test_the_login_is_looked_for_only_when_the_registry_asks(stocked: FakeRegistry, transport: Transport) -> None:
    def refuse(host: str) -> Login:
        raise AssertionError(f"nobody asked for the login of {host}")

    reference = Reference(registry=stocked.host, repository="app", tag="1")
    assert Repository(reference, transport=transport, logins=refuse).resolve()


def test_a_token_that_expired_is_renewed_once(registry: FakeRegistry, transport: Transport) -> None:
    registry.auth = "bearer"
    repository = at(registry, transport)
    image = small_image()
    repository.write(blob(image.layer))
    registry.tokens.clear()
    repository.write(blob(image.config, oci.CONFIG))
    assert registry.tried("GET", "/token") == 2


def test_what_a_registry_wants_is_found_out_once_for_all_names_in_it(
    registry: FakeRegistry, transport: Transport
) -> None:
    registry.auth = "bearer"
    for text in ("app:1", "app:2", "base:1"):
        name = Reference.parse(f"{registry.host}/{text}")
        assert Repository(name, transport=transport, logins=login(registry)).resolve() == ""
    strangers = [one for one in registry.asked if one.path.startswith("/v2/") and "Authorization" not in one.headers]
    assert [one.method for one in strangers] == ["OPTIONS", "HEAD"]
    assert registry.tried("GET", "/token") == 2  # of a repository each


def test_a_token_that_never_pleases_ends_with_4(registry: FakeRegistry, transport: Transport) -> None:
    registry.auth = "bearer"
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/token",service="x"'}
    registry.faults.append(Fault(method="POST", path="/uploads/", status=401, headers=challenge, times=99))
    with pytest.raises(PushUnauthorized):
        push(at(registry, transport))
    assert registry.tried("POST") == 2


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.com/token",
        "http://169.254.169.254/latest",
        "ftp://127.0.0.1/token",
        "https://user:secret@127.0.0.1/token",
        "",
        "//x",
    ],
)
def test_a_login_is_not_sent_where_a_stranger_says(realm: str, registry: FakeRegistry, transport: Transport) -> None:
    registry.faults.append(
        Fault(method="HEAD", path="/blobs/", status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})
    )
    with pytest.raises(Refused, match=r"sends logins to .*which is not followed"):
        push(at(registry, transport))


def test_an_upload_goes_on_at_another_host_without_the_login(registry: FakeRegistry, transport: Transport) -> None:
    registry.auth = "basic"
    with running(FakeRegistry()) as other:
        registry.uploads_at = f"http://{other.host}"
        other.uploads["upload-1"] = b""
        at(registry, transport).write(blob(LAYER))
    assert other.blobs == {("app", oci.digest_of(LAYER)): LAYER}
    assert [one.headers.get("Authorization") for one in other.asked] == [None]


def test_a_layer_is_fetched_from_another_host_without_the_login(stocked: FakeRegistry, transport: Transport) -> None:
    stocked.auth = "basic"
    with running(FakeRegistry()) as store:
        digest = store.put("app", LAYER)
        base = at(stocked, transport).bases(("linux/amd64",))[0]
        there = {"Location": f"http://{store.host}/v2/app/blobs/{digest}"}
        stocked.faults.append(Fault(method="GET", path="/blobs/", status=307, headers=there))
        assert b"".join(base.layers[0].chunks()) == LAYER
    assert [one.headers.get("Authorization") for one in store.asked] == [None]


# ---------------------------------------------------------------------------------------------------- where it is


@pytest.mark.parametrize(
    ("auth", "who"), [("none", "without a login"), ("basic", "as somebody"), ("bearer", "as somebody")]
)
def test_a_registry_that_lets_us_in_says_as_whom(
    auth: Literal["none", "basic", "bearer"], who: str, registry: FakeRegistry, transport: Transport
) -> None:
    registry.auth = auth
    said = greet(registry.host, transport=transport, logins=login(registry))
    assert str(said) == f"http://{registry.host} answers, {who}"


def test_a_registry_that_does_not_let_us_in_is_said_so(registry: FakeRegistry, transport: Transport) -> None:
    registry.auth = "basic"
    with pytest.raises(PullUnauthorized, match="does not let us in, as somebody"):
        greet(registry.host, transport=transport, logins=login(registry, "wrong"))


@pytest.mark.parametrize("auth", ["none", "basic", "bearer"])
def test_the_right_to_push_is_asked_for_and_nothing_is_left(
    auth: Literal["none", "basic", "bearer"], registry: FakeRegistry, repository: Repository
) -> None:
    registry.auth = auth
    assert repository.try_push()
    assert (registry.uploads, registry.blobs, registry.tried("POST", "/app/blobs/uploads/") > 0) == ({}, {}, True)
    assert (repository.login is None) == (auth == "none")


@pytest.mark.parametrize("status", [401, 403])
def test_who_may_not_push_is_told_before_anything_is_sent(
    status: int, registry: FakeRegistry, repository: Repository
) -> None:
    registry.faults.append(Fault(method="POST", path="/blobs/uploads/", status=status, times=9))
    with pytest.raises(PushUnauthorized, match="could not push"):
        repository.try_push()
    assert registry.tried("DELETE") == 0


def test_a_registry_that_does_not_let_go_of_an_upload_is_known(registry: FakeRegistry, repository: Repository) -> None:
    registry.faults.append(Fault(method="DELETE", path="/blobs/uploads/", status=405, times=9))
    assert not repository.try_push()


def test_a_registry_s_own_token_is_shown_to_it_as_it_is(registry: FakeRegistry, transport: Transport) -> None:
    registry.auth = "bearer"
    registry.tokens.add("given")
    bearer = Login(host=registry.host, username="<token>", password=Secret("given"), origin="a test", kind="bearer")
    name = Reference(registry=registry.host, repository="app", tag="1")
    assert Repository(name, transport=transport, logins=lambda _: bearer).try_push()
    assert registry.tried("GET", "/token") == 0
    expired, another = replace(bearer, password=Secret("expired")), replace(name, repository="another")
    with pytest.raises(PushUnauthorized):
        Repository(another, transport=transport, logins=lambda _: expired).try_push()


def test_a_login_is_looked_for_by_the_name_of_the_repository(registry: FakeRegistry, transport: Transport) -> None:
    registry.auth = "basic"
    asked: list[str] = []

    def find(place: str) -> Login:
        asked.append(place)
        return login(registry)(place)

    name = Reference(registry=registry.host, repository="team/app", tag="1")
    assert Repository(name, transport=transport, logins=find).try_push()
    assert asked == [f"{registry.host}/team/app"]


def test_what_is_no_registry_is_said_so(registry: FakeRegistry, transport: Transport) -> None:
    registry.faults.append(Fault(method="GET", path="/v2/", status=404))
    with pytest.raises(RegistryFailed, match="is no registry"):
        greet(registry.host, transport=transport, logins=lambda _: None)


def test_a_registry_that_is_not_there_is_not_reachable(transport: Transport) -> None:
    reference = Reference(registry="127.0.0.1:1", repository="app", tag="1")
    with pytest.raises(Unreachable, match=r"could not reach 127.0.0.1:1: connection refused") as caught:
        Repository(reference, transport=transport, logins=lambda _: None).resolve()
    assert not isinstance(caught.value, ConnectionLost)


@pytest.mark.parametrize("status", [400, 308])
def test_a_registry_on_this_machine_that_wants_tls_gets_it(
    status: int, registry: FakeRegistry, repository: Repository
) -> None:
    registry.faults.append(Fault(method="OPTIONS", path="/v2/", status=status, headers={"Location": "https://x/"}))
    with pytest.raises(Unreachable, match="it does not speak TLS as expected"):
        repository.resolve()
    assert [one.method for one in registry.asked] == ["OPTIONS"]


def test_a_registry_on_this_machine_that_hangs_up_on_who_comes_without_tls_is_asked_with_it_at_once(
    tmp_path: Path, emit: Emit
) -> None:
    slept: list[float] = []
    with (
        speaking(tmp_path, lambda _: None) as (host, _),
        Transport({}, emit=emit, patience=Patience(stall=1.0), sleep=slept.append) as transport,
        pytest.raises(Unreachable, match="its certificate is not trusted"),
    ):
        greet(host, transport=transport, logins=lambda _: None)
    assert slept == []


def test_a_registry_on_this_machine_that_hangs_up_once_is_not_taken_for_one_with_tls(
    registry: FakeRegistry, transport: Transport
) -> None:
    registry.faults.append(Fault(method="OPTIONS", path="/v2/", action="reset", times=4))
    assert greet(registry.host, transport=transport, logins=lambda _: None).address == f"http://{registry.host}"


@pytest.mark.parametrize("named", ["registry.invalid", "Registry.INVALID"])
def test_a_host_that_may_be_without_tls_is_known_in_any_spelling(
    named: str, registry: FakeRegistry, emit: Emit
) -> None:
    with Transport({"http_proxy": f"http://{registry.host}"}, emit=emit) as transport:
        way = Access("Registry.invalid", transport=transport, logins=lambda _: None, insecure=frozenset({named}))
        assert way.root == "http://Registry.invalid"


def test_a_registry_beyond_this_machine_is_spoken_to_with_tls_alone(
    registry: FakeRegistry, transport: Transport
) -> None:
    # The name stands for loopback in every resolver that knows it, and is no literal address.
    host = registry.host.replace("127.0.0.1", "ip6-localhost")
    reference = Reference(registry=host, repository="app", tag="1")
    with pytest.raises(Unreachable):
        Repository(reference, transport=transport, logins=lambda _: None).resolve()
    assert registry.asked == []


def test_a_configuration_has_little_time_and_a_layer_has_all_of_it(registry: FakeRegistry, emit: Emit) -> None:
    image = small_image()
    registry.put("app", image.config)
    registry.put("app", image.layer)
    config, layer = (oci.descriptor_of(blob(content)) for content in (image.config, image.layer))
    with Transport({}, emit=emit, patience=replace(QUICK, answer=0, pauses=())) as transport:
        repository = at(registry, transport)
        assert b"".join(repository.read(layer)) == image.layer
        with pytest.raises(RegistryFailed, match="could not pull") as caught:
            repository.document(config)
    assert "takes longer than 0 s" in caught.value.detail
