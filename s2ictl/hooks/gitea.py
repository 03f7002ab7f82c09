"""Gitea: `X-Gitea-Signature`, bare hexadecimal, over the JSON.

It sends the headers of Gogs and GitHub beside its own. In a form it signs the JSON inside and not the body, so the form
is opened before the signature is proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s2ictl.hooks.payloads import ignored, json_of, parse_json, push_event, signed_json
from s2ictl.hooks.signatures import is_signed
from s2ictl.models import Delivery, HookEvent, Secret

EVENT = "x-gitea-event"


def matches(headers: Mapping[str, str]) -> bool:
    return EVENT in headers


def verify(delivery: Delivery, secrets: Sequence[Secret]) -> bool:
    return is_signed(signed_json(delivery), delivery.headers.get("x-gitea-signature", ""), secrets)


def parse(delivery: Delivery) -> HookEvent:
    number = delivery.headers.get("x-gitea-delivery", "")
    payload = parse_json(json_of(delivery))
    if delivery.headers[EVENT] == "push":
        return push_event(payload, delivery=number)
    return ignored(f"the event {delivery.headers[EVENT][:40]!r} triggers nothing", delivery=number)
