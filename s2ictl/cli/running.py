"""`build --run`: what was just made runs before the eyes of whoever made it, until it ends or Ctrl-C."""

from __future__ import annotations

from s2ictl.cli.session import Session
from s2ictl.engines import Whole
from s2ictl.events import Notice
from s2ictl.models import Image, Logins
from s2ictl.workshop import place_of


def run(image: Image, engine: Whole, session: Session, *, find_login: Logins) -> None:
    """Run the image with each of its ports on loopback, and say what it prints."""
    name, facts = image.id, engine.facts(image.id, pull="never", login=None, emit=session.emit)
    if facts is None and image.digest:  # it was found unchanged in its registry, and nothing was pulled for that
        first = image.names[0]
        name, login = str(first.at(image.digest)), find_login(place_of(first))
        facts = engine.facts(name, pull="if-not-present", login=login, emit=session.emit)
    exposed = facts.exposed if facts else ()
    ports = tuple(int(port.removesuffix("/tcp")) for port in exposed if port.endswith("/tcp"))
    with engine.run(name, ports=ports, env={}, owner="run") as running:
        for inner, outer in running.ports.items():
            session.emit(Notice(text=f"its port {inner} is at http://127.0.0.1:{outer}"))
        running.follow(session.emit)
