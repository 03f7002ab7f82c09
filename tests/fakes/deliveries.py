"""Deliveries as the senders make them: their headers, their bodies, their signatures."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from s2ictl.models import Delivery

SECRET = "0123456789abcdef"
A, B, C = "a" * 40, "b" * 40, "c" * 40
NOTHING = "0" * 40


def sign(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, "sha256").hexdigest()


def push(commit: str = A, *, before: str = NOTHING, ref: str = "refs/heads/main", **more: Any) -> dict[str, Any]:
    """What a forge says of a push to the repository of the app that the tests have."""
    return {
        "ref": ref,
        "before": before,
        "after": commit,
        "commits": [{"id": commit, "message": "a change"}],
        "repository": {
            "clone_url": "https://git.example.com/team/shop.git",
            "ssh_url": "git@git.example.com:team/shop.git",
            "default_branch": "main",
        },
    } | more


def gitea(payload: Any, *, number: str = "1", event: str = "push", form: bool = False) -> Delivery:
    """With every header that a Gitea sends beside its own."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signature = sign(content)
    headers = {
        "content-type": "application/x-www-form-urlencoded" if form else "application/json",
        "x-gitea-delivery": number,
        "x-gitea-event": event,
        "x-gitea-event-type": event,
        "x-gitea-signature": signature,
        "x-gogs-delivery": number,
        "x-gogs-event": event,
        "x-gogs-event-type": event,
        "x-gogs-signature": signature,
        "x-github-delivery": number,
        "x-github-event": event,
        "x-github-event-type": event,
        "x-hub-signature-256": f"sha256={signature}",
    }
    return Delivery(headers=headers, body=urlencode({"payload": content.decode()}).encode() if form else content)


def gogs(payload: Any, *, number: str = "1", event: str = "push", form: bool = False) -> Delivery:
    whole = gitea(payload, number=number, event=event, form=form)
    own = ("content-type", "x-gogs-delivery", "x-gogs-event", "x-gogs-signature")
    return Delivery(headers={name: whole.headers[name] for name in own}, body=whole.body)


def github(payload: Any, *, number: str = "1", event: str = "push", form: bool = False) -> Delivery:
    """GitHub signs the body as it is sent, a form too."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = urlencode({"payload": content.decode()}).encode() if form else content
    headers = {
        "content-type": "application/x-www-form-urlencoded" if form else "application/json",
        "x-github-delivery": number,
        "x-github-event": event,
        "x-hub-signature": "sha1=" + "0" * 40,
        "x-hub-signature-256": f"sha256={sign(body)}",
    }
    return Delivery(headers=headers, body=body)


MAKERS = {"github": github, "gitea": gitea, "gogs": gogs}


def recorded(name: str) -> Delivery:
    """A delivery as a real forge posted it, byte for byte, signed with the secret of these tests."""
    head, _, body = (Path(__file__).parent / "recorded" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n"))
    return Delivery(headers={field.lower(): value for field, _, value in lines}, body=body)
