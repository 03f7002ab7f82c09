"""Who waits for the end of a build is told once and whole, and never stops the build."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from s2ictl.callbacks import Callback, Result, check_url, tell
from s2ictl.errors import InvalidUsage, Refused
from s2ictl.events import Emit, Event, Notice
from s2ictl.models import Login, Secret
from tests.fakes.receiver import RESET, Receiver, receiving

DONE = Result(success=True, labels={"a": "b"}, image="shop:1", digest="sha256:d", id="sha256:i", seconds=1.5)
FAILED = Result(success=False, reason="AssembleFailed", exit=7, seconds=0.25)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def told(receiver: Receiver, result: Result, emit: Emit, *, user: str = "") -> None:
    callback = check_url(f"http://{user}{receiver.host}/hook?token=t", allow_http=False)
    tell(callback, result, environ={}, emit=emit, sleep=lambda _: None)


def test_a_build_that_succeeded_is_told_as_one_document(receiver: Receiver, emit: Emit, events: list[Event]) -> None:
    told(receiver, DONE, emit)
    (post,) = receiver.told
    assert (post.method, post.path, post.headers["content-type"]) == ("POST", "/hook?token=t", "application/json")
    assert json.loads(post.body) == {
        "success": True,
        "labels": {"a": "b"},
        "image": "shop:1",
        "digest": "sha256:d",
        "id": "sha256:i",
        "reason": "",
        "exit": 0,
        "seconds": 1.5,
    }
    assert events == []


def test_a_build_that_failed_is_told_with_its_reason_and_exit_code(receiver: Receiver, emit: Emit) -> None:
    told(receiver, FAILED, emit)
    said = json.loads(receiver.told[0].body)
    assert (said["success"], said["labels"], said["reason"], said["exit"]) == (False, {}, "AssembleFailed", 7)


@pytest.mark.parametrize("trouble", [(500,), (RESET,), (503, RESET), (RESET, 429)])
def test_each_try_carries_the_whole_body(trouble: tuple[int, ...], receiver: Receiver, emit: Emit) -> None:
    receiver.answers += trouble
    told(receiver, DONE, emit)
    assert len(receiver.told) == len(trouble) + 1
    assert len({post.body for post in receiver.told}) == 1


def test_after_three_tries_it_is_left_with_a_warning(receiver: Receiver, emit: Emit, events: list[Event]) -> None:
    receiver.answers += [500] * 9
    told(receiver, DONE, emit)
    assert len(receiver.told) == 3
    text = f"the callback was not taken: {receiver.host} answered 500"
    assert events[-1] == Notice(text=text, level="warning")


def test_a_connection_that_always_breaks_is_a_warning(receiver: Receiver, emit: Emit, events: list[Event]) -> None:
    receiver.answers += [RESET] * 9
    told(receiver, DONE, emit)
    assert len(receiver.told) == 3
    assert isinstance(events[-1], Notice)
    assert events[-1].level == "warning"
    assert events[-1].text.startswith(f"the callback was not told: could not reach {receiver.host}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int, receiver: Receiver, emit: Emit, events: list[Event]) -> None:
    receiver.answers += [status]
    told(receiver, DONE, emit)
    assert [post.path for post in receiver.told] == ["/hook?token=t"]
    text = f"the callback was not taken: {receiver.host} answered {status}, and a redirect is not followed"
    assert events == [Notice(text=text, level="warning")]


def test_a_server_that_is_not_there_is_a_warning(emit: Emit, events: list[Event]) -> None:
    with receiving() as receiver:
        pass
    told(receiver, DONE, emit)
    text = f"the callback was not told: could not reach {receiver.host}: connection refused"
    assert events == [Notice(text=text, level="warning")]


def test_the_user_in_the_address_goes_into_a_header(receiver: Receiver, emit: Emit) -> None:
    told(receiver, DONE, emit, user="a%40b:canary%2F1@")
    (post,) = receiver.told
    assert base64.b64decode(post.headers["authorization"].removeprefix("Basic ")) == b"a@b:canary/1"
    assert "canary" not in post.path + post.headers["host"]


# ---------------------------------------------------------------------------------------------------- the address


def test_an_address_shows_itself_to_nobody() -> None:
    callback = check_url("https://u:canary-1@ci.example.com:8443/canary-2?key=canary-3#there", allow_http=False)
    assert callback == Callback(
        url=Secret("https://ci.example.com:8443/canary-2?key=canary-3"),
        login=Login(
            host="ci.example.com:8443",
            username="u",
            password=Secret("canary-1"),
            origin="--callback-url",
            lasting=False,
        ),
    )
    assert "canary" not in repr(callback)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ci.example.com/hook",
        "ftp://ci.example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///hook",
        "https://u:p@/hook",
        "https://ci.example.com:port/",
        "https://ci.example.com:99999/",
        "https://[::1/",
        "https://ci.example.com/a b",
        "https://ci.example.com/a\nHost: b",
        f"https://ci.example.com/{'a' * 5000}",
    ],
)
def test_what_is_no_address_is_wrong_usage(text: str) -> None:
    with pytest.raises(InvalidUsage, match="is no address that could be told"):
        check_url(text, allow_http=True)


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "[::1]:8080"])
def test_this_machine_may_be_told_without_tls(host: str) -> None:
    assert check_url(f"http://{host}/", allow_http=False).url == Secret(f"http://{host}/")


def test_any_other_machine_is_told_without_tls_only_when_that_is_allowed() -> None:
    with pytest.raises(Refused, match="would go without TLS") as refused:
        check_url("http://ci.example.com/", allow_http=False)
    assert "--allow-http" in refused.value.hint
    assert check_url("http://ci.example.com/", allow_http=True).url == Secret("http://ci.example.com/")
