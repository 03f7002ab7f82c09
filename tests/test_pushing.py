"""An image pushed by an engine that says what a test wants; the real one: tests/engine/test_pushing.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from s2ictl.engines.connection import connected
from s2ictl.engines.pushing import push
from s2ictl.errors import (
    ConnectionLost,
    ImageNotFound,
    LimitReached,
    PushImageToRegistryFailed,
    PushUnauthorized,
    RegistryFailed,
    S2IError,
    Unreachable,
)
from s2ictl.events import Event, Notice, Progress
from s2ictl.models import Login, Reference, Secret
from tests.fakes import daemon
from tests.fakes.daemon import IMAGE, Daemon, Says

NAME = Reference.parse("r.example.com/app:1")
DIGEST = f"sha256:{'d' * 64}"
DONE = Says(lines=({"status": f"1: digest: {DIGEST} size: 1"}, {"aux": {"Tag": "1", "Digest": DIGEST, "Size": 1}}))


def fails(text: str) -> Says:
    return Says(lines=({"status": "Preparing"}, {"errorDetail": {"message": text}, "error": text}))


@dataclass(slots=True)
class Registry:
    """What a registry says when it is asked without the engine: to each question an answer, or an error."""

    answers: list[str | S2IError]
    asked: list[tuple[str, str]] = field(default_factory=list)

    def confirm(self, name: Reference, image: str) -> str:
        self.asked.append((str(name), image))
        answer = self.answers.pop(0)
        if isinstance(answer, S2IError):
            raise answer
        return answer


def pushed(
    engine: Daemon,
    confirm: Callable[[Reference, str], str],
    events: list[Event],
    pauses: list[float] | None = None,
    silence: float = 60.0,
    login: Login | None = None,
) -> str:
    sleep = (pauses if pauses is not None else []).append
    with connected(engine.environ) as api:
        return push(api, NAME, login=login, confirm=confirm, emit=events.append, sleep=sleep, silence=silence)


def test_the_digest_is_what_the_engine_says_and_the_registry_confirms(events: list[Event]) -> None:
    registry = Registry([DIGEST])
    with daemon.running(DONE) as engine:
        assert pushed(engine, registry.confirm, events) == DIGEST
    assert registry.asked == [(f"{NAME}@{DIGEST}", DIGEST)]
    assert engine.asked == ["/v1.41/images/r.example.com/app/push?tag=1"]


def test_an_engine_that_has_the_digest_in_a_sentence_alone_is_understood(events: list[Event]) -> None:
    with daemon.running(Says(lines=({"status": f"1: digest: {DIGEST} size: 1"},))) as engine:
        assert pushed(engine, lambda name, _: name.digest, events) == DIGEST


def test_what_has_been_sent_is_told(events: list[Event]) -> None:
    detail = {"status": "Pushing", "id": "a", "progressDetail": {"current": 5, "total": 10}}
    with daemon.running(Says(lines=(detail, *DONE.lines))) as engine:
        pushed(engine, lambda name, _: name.digest, events)
    assert events == [Progress(subject=str(NAME), done=5, total=10)]


@pytest.mark.parametrize(
    "fault",
    [
        fails("received unexpected HTTP status: 500 Internal Server Error"),
        fails('error parsing HTTP 429 response body: unexpected end of JSON input: ""'),
        fails("toomanyrequests: slow down"),
        fails("write tcp 10.0.0.1:9->10.0.0.2:443: write: connection reset by peer"),
        fails('Put "https://r.example.com/v2/app/manifests/1": EOF'),
        fails("write tcp 10.0.0.1:9->10.0.0.2:443: write: broken pipe"),
        Says(lines=({"status": "Preparing"},)),
        Says(lines=({"status": "Preparing"},), breaks_off=True),
    ],
)
def test_four_faults_in_a_row_that_pass_are_survived(fault: Says, events: list[Event]) -> None:
    pauses: list[float] = []
    registry = Registry(["", "", "", "", DIGEST])
    with daemon.running(*[fault] * 4, DONE) as engine:
        assert pushed(engine, registry.confirm, events, pauses) == DIGEST
    assert [round(pause / wanted) for pause, wanted in zip(pauses, (1, 2, 4, 8), strict=True)] == [1, 1, 1, 1]
    assert len([event for event in events if isinstance(event, Notice) and event.level == "warning"]) == 4


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [
        (
            fails("received unexpected HTTP status: 500 Internal Server Error"),
            PushImageToRegistryFailed,
            "do it again later, or ask whoever keeps the registry",
        ),
        (
            fails("toomanyrequests: slow down"),
            PushImageToRegistryFailed,
            "the registry limits how often it is asked: wait, or log in",
        ),
        (Says(lines=({"status": "Preparing"},)), PushImageToRegistryFailed, ""),
        (Says(breaks_off=True), ConnectionLost, ""),
        (fails("read tcp 10.0.0.1:9->10.0.0.2:443: i/o timeout"), PushImageToRegistryFailed, ""),
        (fails("dial tcp 10.0.0.2:443: i/o timeout"), Unreachable, ""),
    ],
)
def test_a_fault_that_stays_is_a_failure_with_its_reason(
    fault: Says, kind: type[S2IError], hint: str, events: list[Event]
) -> None:
    registry = Registry([""] * 5)
    with daemon.running(fault) as engine, pytest.raises(S2IError) as failure:
        pushed(engine, registry.confirm, events)
    assert (type(failure.value), failure.value.hint, len(engine.asked)) == (kind, hint, 5)
    assert failure.value.message == f"could not push {NAME}"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (fails("unauthorized: authentication required"), PushUnauthorized),
        (fails("denied: quota exceeded"), PushUnauthorized),
        (fails("unsupported: The operation is unsupported."), PushImageToRegistryFailed),
        (fails("error parsing HTTP 413 response body: invalid character '<'"), PushImageToRegistryFailed),
        (fails('Get "https://r.example.com/v2/": dial tcp: connect: connection refused'), Unreachable),
        (fails('Get "https://r.example.com/v2/": x509: certificate has expired'), Unreachable),
        (fails("write /var/lib/docker/tmp/x: no space left on device"), LimitReached),
        (fails("An image does not exist locally with the tag: r.example.com/app"), ImageNotFound),
        (Says(status=404, lines=({"message": "No such image: r.example.com/app:1"},)), ImageNotFound),
        (Says(lines=(b"no JSON at all",)), PushImageToRegistryFailed),
    ],
)
def test_what_asking_again_would_not_change_is_tried_once(
    fault: Says, kind: type[S2IError], events: list[Event]
) -> None:
    with daemon.running(fault) as engine, pytest.raises(S2IError) as failure:
        pushed(engine, Registry([]).confirm, events)
    assert (type(failure.value), len(engine.asked), events) == (kind, 1, [])


def test_an_engine_that_waits_without_an_end_is_asked_once_more_and_not_again(events: list[Event]) -> None:
    registry = Registry(["", ""])
    with daemon.running(Says(hangs=True)) as engine, pytest.raises(ConnectionLost) as failure:
        pushed(engine, registry.confirm, events, silence=0.05)
    assert (len(engine.asked), failure.value.detail) == (2, "the engine has said nothing for 60 s")


def test_what_could_be_gone_on_with_by_anybody_is_not_repeated(events: list[Event]) -> None:
    signed = 'Put "https://store.example.com/up?X-Amz-Signature=canary": x509: certificate has expired'
    with daemon.running(fails(signed)) as engine, pytest.raises(Unreachable) as failure:
        pushed(engine, Registry([]).confirm, events)
    assert failure.value.detail == 'Put "https://store.example.com/up": x509: certificate has expired'


def test_nor_is_the_login_that_a_registry_repeats(events: list[Event]) -> None:
    login = Login(host="registry.example.com", username="u", password=Secret("canary"), origin="a test")
    failed = fails(f"denied: {login.basic()} is canary")
    with daemon.running(failed) as engine, pytest.raises(PushUnauthorized) as failure:
        pushed(engine, Registry([]).confirm, events, login=login)
    assert failure.value.detail == "denied: Basic <redacted> is <redacted>; the login came from a test"


def test_a_layer_that_the_engine_has_sent_five_times_is_not_sent_once_more(events: list[Event]) -> None:
    counts = [{"id": "a", "status": f"Retrying in {left} seconds"} for left in (3, 2)]
    last = {"id": "a", "status": "Retrying in 1 second"}
    failed = fails("received unexpected HTTP status: 500 Internal Server Error")
    with (
        daemon.running(replace(failed, lines=(*counts, last) * 4 + failed.lines)) as engine,
        pytest.raises(PushImageToRegistryFailed),
    ):
        pushed(engine, Registry([]).confirm, events)
    assert len(engine.asked) == 1
    said = "the engine could not send a layer of r.example.com/app:1, and is sending it again"
    assert [event for event in events if isinstance(event, Notice)] == [Notice(text=said, level="warning")] * 4


def test_a_registry_that_is_being_restarted_is_waited_for(events: list[Event]) -> None:
    refused = fails('Get "https://r.example.com/v2/": dial tcp: connect: connection refused')
    with daemon.running(fails("unexpected EOF"), refused, DONE) as engine:
        assert pushed(engine, Registry(["", DIGEST]).confirm, events) == DIGEST


@pytest.mark.parametrize(
    "fault",
    [
        fails('Put "https://r.example.com/v2/app/manifests/1": EOF'),
        Says(lines=({"status": "Preparing"},)),
        Says(lines=({"status": "Preparing"},), breaks_off=True),
    ],
)
def test_a_lost_answer_is_settled_by_asking_for_the_image(fault: Says, events: list[Event]) -> None:
    registry = Registry([DIGEST])
    with daemon.running(fault) as engine:
        assert pushed(engine, registry.confirm, events) == DIGEST
    assert (registry.asked, len(engine.asked), events) == ([(str(NAME), IMAGE)], 1, [])


def test_a_registry_that_cannot_say_whether_it_arrived_settles_nothing(events: list[Event]) -> None:
    registry = Registry([RegistryFailed("it keeps failing"), DIGEST])
    with daemon.running(fails("unexpected EOF"), DONE) as engine:
        assert pushed(engine, registry.confirm, events) == DIGEST
    assert len(engine.asked) == 2


def test_what_the_registry_does_not_have_was_not_pushed_whatever_the_engine_says(events: list[Event]) -> None:
    with daemon.running(DONE) as engine, pytest.raises(PushImageToRegistryFailed) as failure:
        pushed(engine, Registry([""] * 5).confirm, events)
    assert failure.value.detail == "the registry took the image, and does not have it"


def test_a_registry_that_only_the_engine_reaches_has_the_engine_s_word_and_a_warning(events: list[Event]) -> None:
    registry = Registry([Unreachable("could not reach r.example.com: there is no such host name")])
    with daemon.running(DONE) as engine:
        assert pushed(engine, registry.confirm, events) == DIGEST
    assert events == [
        Notice(
            text=f"could not ask the registry itself for {NAME}: could not reach r.example.com: there is no such host "
            "name; the digest is what the engine says",
            level="warning",
        )
    ]


def test_a_registry_that_fails_when_it_is_asked_confirms_nothing(events: list[Event]) -> None:
    with daemon.running(DONE) as engine, pytest.raises(RegistryFailed):
        pushed(engine, Registry([RegistryFailed("it keeps failing")]).confirm, events)


def test_an_image_that_is_not_there_is_said_to_be_so(events: list[Event]) -> None:
    other = Reference.parse("r.example.com/other:2")
    with daemon.running(DONE) as engine, connected(engine.environ) as api, pytest.raises(ImageNotFound) as failure:
        push(api, other, login=None, confirm=Registry([]).confirm, emit=events.append, sleep=lambda _: None)
    assert failure.value.message == "there is no image r.example.com/other:2"
