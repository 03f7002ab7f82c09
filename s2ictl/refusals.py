"""Why the Kubernetes API refused something, read from the Status document that it answers with.

The status code alone tells little: 403 is a missing right, a quota, a policy or a namespace on its way out, and each
has another remedy. So the words of the API are read here, and nothing is contacted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from s2ictl.errors import (
    ClusterForbidden,
    Conflict,
    InvalidUsage,
    RolloutFailed,
    S2IError,
    Unauthorized,
    Unreachable,
)
from s2ictl.expressions import expression
from s2ictl.values import dataclass

_LONGEST = 1000
_BUSY = frozenset({429, 502, 503, 504})
_RIGHT = expression(r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"')
_OWNER = expression(r'conflict with "([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One question to the API, in the words in which its failure is told."""

    verb: str
    kind: str
    name: str = ""
    namespace: str = ""

    @property
    def subject(self) -> str:
        return f"{self.kind.lower()}/{self.name}" if self.name else f"{self.kind.lower()}s"

    @property
    def where(self) -> str:
        return f" in namespace {self.namespace}" if self.namespace else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a Status document says. `owned` are the fields that other managers own, each with its owner."""

    code: int
    message: str
    reasons: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    owned: tuple[tuple[str, str], ...] = ()

    @property
    def passing(self) -> bool:
        """Whether asking again is likely to help: the server is busy, or another writer was a moment earlier."""
        words = {409: "the latest version", 500: "etcdserver"}
        return self.code in _BUSY or words.get(self.code, "\0") in self.message


def parse(code: int, body: str | None) -> Refusal:
    """Read an answer that may not even come from the API itself, but from a proxy before it."""
    try:
        status = msgspec.json.decode(body or "", type=_Status)
    except msgspec.DecodeError:
        return Refusal(code=code, message=" ".join((body or "").split())[:_LONGEST] or f"the answer was {code}")
    causes = status.details.causes if status.details else ()
    return Refusal(
        code=code,
        message=status.message[:_LONGEST],
        reasons=frozenset({status.reason, *(cause.reason for cause in causes)}),
        fields=tuple(cause.field for cause in causes),
        owned=tuple((cause.field, match[1]) for cause in causes if (match := _OWNER.match(cause.message))),
    )


class _Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(msgspec.Struct):
    causes: tuple[_Cause, ...] = ()


class _Status(msgspec.Struct):
    message: str
    reason: str = ""
    details: _Details | None = None


def error_of(refusal: Refusal, attempt: Attempt) -> S2IError:
    """The failure that a user can do something about."""
    explain = _BY_CODE.get(refusal.code)
    if explain is None:
        return Unreachable(
            f"the cluster could not {attempt.verb} {attempt.subject}{attempt.where}",
            detail=f"{refusal.code}: {refusal.message}",
            hint="try again; kubectl get --raw /readyz shows whether the API server is well",
        )
    return explain(refusal, attempt)


def _not_logged_in(refusal: Refusal, attempt: Attempt) -> S2IError:
    return Unauthorized(
        f"the cluster refuses the login, asked to {attempt.verb} {attempt.subject}",
        detail=refusal.message,
        hint="renew the login in the kubeconfig; kubectl auth whoami shows what the cluster makes of it",
    )


def _forbidden(refusal: Refusal, attempt: Attempt) -> S2IError:
    if "NamespaceTerminating" in refusal.reasons:
        return RolloutFailed(
            f"namespace {attempt.namespace} is being deleted",
            detail=refusal.message,
            hint="wait until it is gone, then add --create-namespace; or choose another with --namespace",
        )
    if right := _RIGHT.search(refusal.message):
        return ClusterForbidden(
            f"not allowed to {right['verb']} {right['resource']}{attempt.where}",
            detail=refusal.message,
            hint=f"ask for a Role with the verb {right['verb']!r} on {right['resource']!r}",
        )
    return _not_admitted(refusal, attempt)


def _not_admitted(refusal: Refusal, attempt: Attempt) -> S2IError:
    quota = "exceeded quota" in refusal.message
    hint = (
        "kubectl describe quota shows what is left"
        if quota
        else "a policy of the cluster decides; its words stand above"
    )
    return RolloutFailed(
        f"the cluster does not admit {attempt.subject}{attempt.where}", detail=refusal.message, hint=hint
    )


def _not_found(refusal: Refusal, attempt: Attempt) -> S2IError:
    return RolloutFailed(
        f"there is no namespace {attempt.namespace}",
        detail=refusal.message,
        hint="add --create-namespace, or choose another with --namespace",
    )


def _conflict(refusal: Refusal, attempt: Attempt) -> S2IError:
    owned = ", ".join(f"{field} is owned by {owner}" for field, owner in refusal.owned)
    return Conflict(
        f"{attempt.subject}{attempt.where} is partly somebody else's",
        detail=owned or refusal.message,
        hint="leave those fields to their owner, or take them with --force-conflicts",
    )


def _invalid(refusal: Refusal, attempt: Attempt) -> S2IError:
    if "immutable" in refusal.message or "may not change once set" in refusal.message:
        return Conflict(
            f"{attempt.subject}{attempt.where} has another {', '.join(refusal.fields) or 'field'}, which cannot change",
            detail=refusal.message,
            hint=f"remove it first (kubectl -n {attempt.namespace} delete {attempt.subject}), or choose another --name",
        )
    return InvalidUsage(
        f"the cluster finds {attempt.subject} invalid{': ' if refusal.fields else ''}{', '.join(refusal.fields)}",
        detail=refusal.message,
        hint="--dry-run shows the objects",
    )


_BY_CODE: Mapping[int, Callable[[Refusal, Attempt], S2IError]] = {
    400: _not_admitted,
    401: _not_logged_in,
    403: _forbidden,
    404: _not_found,
    409: _conflict,
    422: _invalid,
}
