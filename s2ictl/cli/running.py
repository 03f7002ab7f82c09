"""`build --run`: what was just made runs before the eyes of whoever made it, until it ends or Ctrl-C."""

from __future__ import annotations

from s2ictl.cli.session import Session
from s2ictl.engines.docker import Docker
from s2ictl.events import Notice
from s2ictl.models import Image


def run(image: Image, engine: Docker, session: Session) -> None:
    """Run the image with each of its ports on loopback, and say what it prints."""
    facts = engine.facts(image.id, pull="never", login=None, emit=session.emit)
    exposed = facts.exposed if facts else ()
    ports = tuple(int(port.removesuffix("/tcp")) for port in exposed if port.endswith("/tcp"))
    with engine.run(image.id, ports=ports, env={}, owner="run") as running:
        for inner, outer in running.ports.items():
            session.emit(Notice(text=f"its port {inner} is at http://127.0.0.1:{outer}"))
        running.follow(session.emit)
