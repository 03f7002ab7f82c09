"""What GitHub, Gitea and Gogs post when somebody pushes: nearly one shape, read inside limits.

The signature only proves who sent the bytes, not that they are sane, and the words in them come from whoever could
push: so they are parsed strictly, and whatever is not as documented is refused as malformed, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from itertools import accumulate
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import msgspec

from s2ictl.errors import InvalidUsage
from s2ictl.expressions import expression
from s2ictl.models import Delivery, HookEvent
from s2ictl.values import dataclass

FORM = "application/x-www-form-urlencoded"
MAX_DEPTH = 64
_COMMIT = expression(r"[0-9a-f]{40}|[0-9a-f]{64}")
_STRING = expression(r'"(?:[^"\\]|\\.)*"')
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}
_LONGEST = 1024


def json_of(delivery: Delivery) -> bytes:
    """The JSON of a delivery, which a form carries in its one field."""
    if content_type(delivery.headers) != FORM:
        return delivery.body
    try:
        fields = parse_qsl(delivery.body.decode("ascii"), strict_parsing=True, max_num_fields=8, errors="strict")
    except ValueError as error:
        raise InvalidUsage("the form is malformed") from error
    payloads = [value for name, value in fields if name == "payload"]
    if len(payloads) != 1:
        raise InvalidUsage("the form must carry one payload")
    return payloads[0].encode()


def signed_json(delivery: Delivery) -> bytes:
    """What was signed where the JSON is signed and not the body; a broken form cannot have been."""
    try:
        return json_of(delivery)
    except InvalidUsage:
        return delivery.body


def content_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


# ------------------------------------------------------------------------------------------------------------- JSON


def parse_json(content: bytes) -> Mapping[str, Any]:
    """One JSON object: UTF-8, no key twice, not too deep, no number that others read otherwise."""
    try:
        text = content.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
        )
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate comes to light only here
    except RecursionError as error:
        raise InvalidUsage("the payload is nested too deep") from error
    except ValueError as error:
        raise InvalidUsage("the payload is not the JSON that it should be") from error
    if not isinstance(value, dict):
        raise InvalidUsage("the payload is not an object")
    if max(accumulate(_STEP.get(sign, 0) for sign in _STRING.sub("", text)), default=0) > MAX_DEPTH:
        raise InvalidUsage("the payload is nested too deep")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key stands twice")
    return mapping


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError("a number is too long")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# ------------------------------------------------------------------------------------------------------------- push


@dataclass(frozen=True, slots=True)
class _Commit:
    id: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Repository:
    clone_url: str = ""
    ssh_url: str = ""
    html_url: str = ""
    default_branch: str = ""


@dataclass(frozen=True, slots=True)
class _Push:
    ref: str
    after: str
    before: str = ""
    deleted: bool = False
    commits: list[_Commit] | None = None
    head_commit: _Commit | None = None
    repository: _Repository = field(default_factory=_Repository)


def push_event(payload: Mapping[str, Any], *, delivery: str) -> HookEvent:
    """A push as an event; what a sender posts only to try the hook out becomes a ping."""
    try:
        push = msgspec.convert(payload, _Push)
    except msgspec.ValidationError as error:
        raise InvalidUsage(f"the payload is not a push: {str(error)[:200]}") from error
    if not _COMMIT.fullmatch(push.after) or len(push.ref) > _LONGEST:
        raise InvalidUsage("the payload names no commit")
    return HookEvent(
        kind=_kind(push),
        delivery=delivery,
        reason=_reason(push),
        ref=push.ref,
        commit=push.after,
        before=push.before,
        repositories=tuple(url[:_LONGEST] for url in (push.repository.clone_url, push.repository.ssh_url) if url),
        default_branch=push.repository.default_branch,
        message=_message(push),
    )


def ignored(reason: str, *, delivery: str) -> HookEvent:
    return HookEvent(kind="ignored", delivery=delivery, reason=reason)


def _kind(push: _Push) -> Any:
    if push.before == push.after:
        return "ping"
    return "ignored" if _reason(push) else "push"


def _reason(push: _Push) -> str:
    if push.before == push.after:
        return "a test delivery: nothing was pushed"
    if push.deleted or not push.after.strip("0"):
        return f"{push.ref} was deleted"
    if push.ref.startswith("refs/tags/"):
        return "tags trigger nothing"
    return "" if push.ref.startswith("refs/heads/") else f"{push.ref} is not a branch"


def _message(push: _Push) -> str:
    """The message of the head commit; Gitea and Gogs name the head only by its id among the commits."""
    candidates = [push.head_commit, *(push.commits or ())]
    return next((commit.message for commit in candidates if commit and commit.id == push.after), "")
