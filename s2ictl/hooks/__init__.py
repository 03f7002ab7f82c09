"""The senders of deliveries: one module each, the same three verbs, one table.

From here on everything is pure: bytes become a verified event, or an error. The modules of this folder do not know each
other; signatures.py and payloads.py are what they share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from s2ictl.errors import Unauthorized
from s2ictl.hooks import gitea, github, gogs
from s2ictl.models import Delivery, HookEvent, Secret


class Sender(Protocol):
    def matches(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers are those of this sender."""

    def verify(self, delivery: Delivery, secrets: Sequence[Secret]) -> bool:
        """Whether one of the secrets signed exactly these bytes; nothing is parsed for it."""

    def parse(self, delivery: Delivery) -> HookEvent:
        """What a verified delivery says; InvalidUsage when its body is malformed."""


SENDERS: Mapping[str, Sender] = {"github": github, "gitea": gitea, "gogs": gogs}


def receive(delivery: Delivery, provider: str, secrets: Sequence[Secret]) -> HookEvent:
    """Verify a delivery, then understand it."""
    sender = SENDERS[provider]
    if not sender.verify(delivery, secrets):
        raise Unauthorized("the signature is missing or wrong")
    if not sender.matches(delivery.headers):
        return HookEvent(kind="ignored", delivery="", reason=f"not a delivery of {provider}: no event is named")
    return sender.parse(delivery)
