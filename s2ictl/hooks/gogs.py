"""Gogs: `X-Gogs-Signature`, bare hexadecimal, over the JSON, also when that comes inside a form.

A new branch is told twice, as `create` (without a commit) and as `push`: only the push counts. Tags and deletions come
as `create` and `delete` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s2ictl.hooks.payloads import ignored, json_of, parse_json, push_event, signed_json
from s2ictl.hooks.signatures import is_signed
from s2ictl.models import Delivery, HookEvent, Secret

EVENT = "x-gogs-event"


def matches(headers: Mapping[str, str]) -> bool:
    return EVENT in headers


def verify(delivery: Delivery, secrets: Sequence[Secret]) -> bool:
    return is_signed(signed_json(delivery), delivery.headers.get("x-gogs-signature", ""), secrets)


def parse(delivery: Delivery) -> HookEvent:
    number = delivery.headers.get("x-gogs-delivery", "")
    payload = parse_json(json_of(delivery))
    if delivery.headers[EVENT] == "push":
        return push_event(payload, delivery=number)
    return ignored(f"the event {delivery.headers[EVENT][:40]!r} triggers nothing", delivery=number)
