"""An image runs before the eyes of whoever asked for it, until it ends or Ctrl-C."""

from __future__ import annotations

from collections.abc import Mapping

from s2ictl import ui
from s2ictl.cli.session import Session
from s2ictl.engines import Whole
from s2ictl.events import Notice
from s2ictl.models import Image, ImageFacts, Logins
from s2ictl.values import dataclass
from s2ictl.workshop import place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    image: str
    id: str
    addresses: tuple[str, ...]


def run_built(image: Image, engine: Whole, session: Session, *, find_login: Logins) -> None:
    """Run what was just made, with each of its ports on loopback, and say what it prints."""
    name, facts = image.id, engine.facts(image.id, pull="never", login=None, emit=session.emit)
    if facts is None and image.digest:  # it was found unchanged in its registry, and nothing was pulled for that
        first = image.names[0]
        name, login = str(first.at(image.digest)), find_login(place_of(first))
        facts = engine.facts(name, pull="if-not-present", login=login, emit=session.emit)
    with engine.run(name, ports=_ports(facts), env={}, owner="run") as running:
        for inner, outer in running.ports.items():
            session.emit(Notice(text=f"its port {inner} is at {_address(outer)}"))
        running.follow(session.emit)


def run_named(image: str, facts: ImageFacts, engine: Whole, session: Session, env: Mapping[str, str]) -> None:
    """The same with an image by its name; its addresses are the answer, as soon as it runs."""
    with engine.run(facts.id, ports=_ports(facts), env=env, owner="run") as running:
        addresses = tuple(map(_address, running.ports.values()))
        started = _Started(image=image, id=facts.id, addresses=addresses)
        session.answer(ui.Answer(text="\n".join(addresses or (image,)), names=addresses or (image,), data=started))
        running.follow(session.emit)


def _ports(facts: ImageFacts | None) -> tuple[int, ...]:
    exposed = facts.exposed if facts else ()
    return tuple(int(port.removesuffix("/tcp")) for port in exposed if port.endswith("/tcp"))


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"
