"""An image sent to its registries: by the engine where it can, else from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from s2ictl.engines import Confirm
from s2ictl.errors import PushUnauthorized, S2IError, Unreachable
from s2ictl.events import Emit, Event
from s2ictl.models import ImageFacts, Login, Reference, Target
from s2ictl.workshop import Workshop, deliver
from tests.fakes.engine import FakeEngine
from tests.logs import texts
from tests.workbench import Bench

ONE, TWO, ELSEWHERE = map(Reference.parse, ("r.example.com/app:1", "r.example.com/app:latest", "s.example.com/app:1"))
IMAGE = ImageFacts(id=f"sha256:{'1' * 64}")
DIGEST, FROM_HERE = f"sha256:{'d' * 64}", f"sha256:{'e' * 64}"


@dataclass(slots=True, kw_only=True)
class Sender(FakeEngine):
    """An engine of which each push ends as a test wants."""

    ends: list[str | S2IError] = field(default_factory=list)

    def push(self, name: Reference, *, login: Login | None, confirm: Confirm, emit: Emit) -> str:
        end = self.ends.pop(0)
        if isinstance(end, S2IError):
            raise end
        return end


@dataclass(slots=True)
class Desk:
    """A workshop, what was said in it, and what was sent from here."""

    events: list[Event]
    sent: list[tuple[str, tuple[Target, ...], tuple[Reference, ...]]] = field(default_factory=list)

    def workshop(self, *ends: str | S2IError, confirm: Callable[[Reference, str], str] = lambda *_: "") -> Workshop:
        bench = Bench(engine=Sender(ends=list(ends), images={str(ONE): IMAGE}), events=self.events)
        return replace(bench.workshop(), confirm=confirm, carry=self._carry)

    def _carry(self, image: str, targets: tuple[Target, ...], names: tuple[Reference, ...], _: Emit) -> str:
        self.sent.append((image, targets, names))
        return FROM_HERE


@pytest.fixture
def desk(events: list[Event]) -> Desk:
    return Desk(events)


def test_several_names_are_pushed_by_the_engine_and_have_one_digest(desk: Desk, emit: Emit) -> None:
    assert deliver((ONE, TWO), desk.workshop(DIGEST, DIGEST), emit) == DIGEST
    assert desk.sent == []


def test_what_the_engine_does_not_reach_is_sent_from_here_under_all_names(desk: Desk, emit: Emit) -> None:
    refused = Unreachable(f"could not push {TWO}", detail="http: server gave HTTP response to HTTPS client")
    assert deliver((ONE, TWO), desk.workshop(DIGEST, refused), emit) == FROM_HERE
    assert desk.sent == [(str(ONE), (Target(kind="registry"),), (ONE, TWO))]
    assert texts(desk.events) == [
        f"could not push {TWO}: http: server gave HTTP response to HTTPS client; so the image is sent from here"
    ]


def test_what_is_sent_from_here_the_engine_is_not_asked_for_again(desk: Desk, emit: Emit) -> None:
    assert deliver((ONE, TWO), desk.workshop(Unreachable("could not push")), emit) == FROM_HERE


def test_what_is_out_of_reach_from_here_too_is_said_before_anything_is_packed(desk: Desk, emit: Emit) -> None:
    def confirm(name: Reference, _: str) -> str:
        raise Unreachable(f"could not reach {name.registry}: there is no such host name")

    with pytest.raises(Unreachable, match=r"could not reach r.example.com: there is no such host name"):
        deliver((ONE,), desk.workshop(Unreachable("could not push"), confirm=confirm), emit)
    assert desk.sent == []


def test_what_has_another_digest_in_the_second_registry_is_packed_once_for_both(desk: Desk, emit: Emit) -> None:
    assert deliver((ONE, ELSEWHERE), desk.workshop(DIGEST, f"sha256:{'f' * 64}"), emit) == FROM_HERE
    assert desk.sent == [(str(ONE), (Target(kind="registry"),), (ONE, ELSEWHERE))]


def test_what_is_refused_is_not_tried_by_another_way(desk: Desk, emit: Emit) -> None:
    with pytest.raises(PushUnauthorized):
        deliver((ONE,), desk.workshop(PushUnauthorized("could not push")), emit)
    assert desk.sent == []
