"""What went wrong between us, the engine and a registry, told apart.

The engine passes a registry's answer on as one sentence of text and no code, so the sentences are all there is to read.
"""

from __future__ import annotations

from s2ictl.addresses import DOCKER_HUB
from s2ictl.errors import (
    ImageNotFound,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
    PullUnauthorized,
    PushImageToRegistryFailed,
    PushUnauthorized,
    Refused,
    S2IError,
    Unreachable,
)
from s2ictl.expressions import expression
from s2ictl.models import Login, Reference

_LONGEST = 2000
_QUERY = expression(r"(?<=\w)\?[^\s\"']+")
_REFUSED = (
    "unauthorized",
    "denied",
    "no basic auth credentials",
    "authentication required",
    "forbidden",
    " 401",
    " 403",
)
_PLAIN_HTTP = "server gave http response to https client"
_UNREACHABLE = (
    _PLAIN_HTTP,
    "connection refused",
    "no such host",
    "no route to host",
    "network is unreachable",
    "i/o timeout",
    "server misbehaving",
    "request canceled while waiting for connection",
    "x509:",
    "tls:",
)
_PASSING = (
    "toomanyrequests",
    "too many requests",
    "http 429",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway timeout",
    "i/o timeout",
    "timeout exceeded",
    "handshake timeout",
    "deadline exceeded",
    "connection reset",
    "unexpected eof",
    ": eof",
    "broken pipe",
    "transport connection broken",
)
_UNDER_WAY = ("read tcp", "write tcp")
_ABSENT_HERE = ("does not exist locally", "no such image", "image not known")
_PUSH_HINTS = (
    (
        ("toomanyrequests", "too many requests", "http 429"),
        "the registry limits how often it is asked: wait, or log in",
    ),
    (("http 413", "413 request entity", "too large"), "the registry, or a proxy before it, limits the size of a layer"),
    (("http 405", "unsupported: the operation", "read-only"), "the registry seems to be read-only"),
    (("unexpected http status: 5", "http 50"), "do it again later, or ask whoever keeps the registry"),
)
_LIMITS = ("memory limit", "cpus", "cgroup", "cpu.cfs", "memory.limit", "memory.max", "cpu.max")
_ABSENT = ("not found", "manifest unknown", "does not exist", "name unknown", "no such image")
_FULL = "no space left on device"


def bounded(text: str) -> str:
    """An answer of somebody else, short enough to be shown."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text) - _LONGEST} more characters)"


def unsigned(text: str, login: Login | None) -> str:
    """The same without what lets somebody in: the login, which some registries repeat, and the queries of the addresses
    in it, by some of which anybody could go on with an upload."""
    text = _QUERY.sub("", text)
    return login.redacted(text) if login else text


def is_full(text: str) -> bool:
    return _FULL in text.lower()


def full(doing: str, text: str) -> S2IError:
    return LimitReached(
        f"could not {doing}: the engine's disk is full",
        detail=bounded(text),
        hint="docker system df shows what fills it",
    )


def start_failure(image: str, found: PullBuilderImageFailed) -> S2IError:
    """Why a container cannot be made or started: a wish of the user's, a want of the machine, or the image."""
    text = found.detail.lower()
    if "bind source path does not exist" in text or _is_about_network(text):
        return InvalidUsage(f"a container of {image} cannot have what it is to have", detail=found.detail)
    if any(word in text for word in _LIMITS):
        return Refused(
            "this machine cannot set the limits that the container is to have",
            detail=found.detail,
            hint="leave out --memory or --cpus, or choose others",
        )
    return found


def _is_about_network(text: str) -> bool:
    return "network" in text and "not found" in text


def passes(text: str) -> bool:
    """Whether what kept an image from its way to or from a registry is likely to be over soon."""
    return not _is_refused(text) and any(word in text.lower() for word in _PASSING)


def push_failure(name: Reference, text: str, login: Login | None) -> S2IError:
    """Why the image did not reach its registry."""
    subject, said = f"could not push {name}", text.lower()
    if any(word in said for word in _ABSENT_HERE):
        return absent(name)
    if is_unreachable(text) and not any(word in said for word in _UNDER_WAY):
        return Unreachable(subject, detail=bounded(text), hint=_hint_for(name, text))
    if _is_refused(text):
        return PushUnauthorized(subject, detail=f"{bounded(text)}; {origin_of(login, name)}", hint=_login_hint(name))
    if is_full(text):
        return full(f"push {name}", text)
    hint = next((hint for words, hint in _PUSH_HINTS if any(word in said for word in words)), "")
    return PushImageToRegistryFailed(subject, detail=bounded(text), hint=hint)


def absent(name: Reference) -> ImageNotFound:
    return ImageNotFound(
        f"there is no image {name}", detail="looked in the engine", hint="build it first, or give it this name"
    )


def pull_failure(image: str, text: str, login: Login | None) -> S2IError | None:
    """Why the image could not be had; None when it is simply not there."""
    name = Reference.parse(image)
    subject = f"could not pull {image}"
    if is_unreachable(text):
        return Unreachable(subject, detail=bounded(text), hint=_hint_for(name, text))
    # A registry denies what does not exist as well, lest it tell names to strangers.
    if any(word in text.lower() for word in _ABSENT) and login is None:
        return None
    if _is_refused(text):
        return PullUnauthorized(subject, detail=f"{bounded(text)}; {origin_of(login, name)}", hint=_login_hint(name))
    if any(word in text.lower() for word in _ABSENT):
        return None
    return full(f"pull {image}", text) if is_full(text) else PullBuilderImageFailed(subject, detail=bounded(text))


def origin_of(login: Login | None, name: Reference) -> str:
    host = name.registry or "docker.io"
    return f"the login came from {login.origin}" if login else f"no login for {host} was found"


def is_unreachable(text: str) -> bool:
    return any(word in text.lower() for word in _UNREACHABLE)


def _is_refused(text: str) -> bool:
    return any(word in text.lower() for word in _REFUSED)


def _login_hint(name: Reference) -> str:
    return f"s2ictl login {name.registry or DOCKER_HUB}"


def _hint_for(name: Reference, text: str) -> str:
    if _PLAIN_HTTP in text.lower():
        return f"the engine itself decides who may go without TLS: add {name.registry} to its insecure-registries"
    return ""
