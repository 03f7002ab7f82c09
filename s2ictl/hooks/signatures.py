"""HMAC-SHA256 over exactly the bytes that were signed, in the exact form of the sender, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from s2ictl.expressions import expression
from s2ictl.models import Secret

_HEX = expression(r"[0-9a-f]{64}")
_NOTHING = "0" * 64


def is_signed(content: bytes, signature: str, secrets: Sequence[Secret], *, prefix: str = "") -> bool:
    """Whether `signature` is `prefix` and the HMAC of the content under one of the secrets, in small hexadecimal."""
    value = signature[len(prefix) :]
    formed = signature.startswith(prefix) and _HEX.fullmatch(value) is not None
    # Every secret is tried and a malformed header costs as much as a wrong one: the time says nothing.
    candidate = value if formed else _NOTHING
    equal = [hmac.compare_digest(sign(content, secret), candidate) for secret in secrets]
    return formed and any(equal)


def sign(content: bytes, secret: Secret) -> str:
    """The signature that a sender who knows the secret would send."""
    return hmac.new(secret.reveal().encode(), content, "sha256").hexdigest()
