"""GitHub: `X-Hub-Signature-256: sha256=…` over the body as it was sent, also when that is a form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s2ictl.hooks.payloads import ignored, json_of, parse_json, push_event
from s2ictl.hooks.signatures import is_signed
from s2ictl.models import Delivery, HookEvent, Secret

EVENT = "x-github-event"


def matches(headers: Mapping[str, str]) -> bool:
    return EVENT in headers


def verify(delivery: Delivery, secrets: Sequence[Secret]) -> bool:
    signature = delivery.headers.get("x-hub-signature-256", "")
    return is_signed(delivery.body, signature, secrets, prefix="sha256=")


def parse(delivery: Delivery) -> HookEvent:
    number = delivery.headers.get("x-github-delivery", "")
    payload = parse_json(json_of(delivery))
    match delivery.headers[EVENT]:
        case "push":
            return push_event(payload, delivery=number)
        case "ping":
            return HookEvent(kind="ping", delivery=number, reason="ping")
        case other:
            return ignored(f"the event {other[:40]!r} triggers nothing", delivery=number)
