"""Every exchange with one repository: by which address, with which right, and what a refusal means.

Each of them can be lost on the way out or on the way back. So a write is an attempt that is made again from where it
stands, and before that, and after the last time, the registry is asked whether it has arrived after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Literal

from s2ictl import oci
from s2ictl.access import Access, Scope
from s2ictl.addresses import DOCKER_HUB, DOCKER_HUB_NAMES, joined, may_lead, shown, split
from s2ictl.errors import (
    ConnectionLost,
    PullBuilderImageFailed,
    PullUnauthorized,
    PushImageToRegistryFailed,
    PushUnauthorized,
    RegistryFailed,
    S2IError,
)
from s2ictl.models import Logins, Reference
from s2ictl.transport import TRANSIENT, Response, Streamed, Transport

Verb = Literal["pull", "push"]
Ask = Callable[[], Response]  # 200 for what is there, 404 for what is not

THERE = Response(status=200, headers={})
ABSENT = Response(status=404, headers={})

_HINTS = {
    405: "the registry seems to be read-only",
    413: "the registry, or a proxy before it, limits the size of a layer",
    429: "the registry limits how often it is asked: wait, or log in",
}
_LATER = "do it again later, or ask whoever keeps the registry"


class Dialogue:
    """What is said to a registry about one of its repositories, and what it answers."""

    def __init__(self, name: Reference, *, transport: Transport, logins: Logins, insecure: frozenset[str]) -> None:
        host = name.registry or DOCKER_HUB
        # Docker Hub keeps names without a user below library/. That is its spelling in requests, and no part of a name.
        hidden = "library/" if host in DOCKER_HUB_NAMES and "/" not in name.repository else ""
        self.name = Reference(registry=host, repository=name.repository, tag=name.tag, digest=name.digest)
        self.path = f"{hidden}{name.repository}"
        self.transport = transport
        make = partial(Access, host, repository=name.repository, transport=transport, logins=logins, insecure=insecure)
        self.access = transport.known((Access, host, name.repository), make)  # of all its tags, and all its digests

    @property
    def home(self) -> str:
        return f"{self.access.host}/{self.path}"

    def url(self, path: str) -> str:
        return f"{self.access.root}/v2/{self.path}/{path}"

    def scope(self, verb: Verb, *, source: str = "") -> Scope:
        own = f"repository:{self.path}:{'pull,push' if verb == 'push' else 'pull'}"
        return (own, f"repository:{source}:pull") if source else (own,)

    # -------------------------------------------------------------------------------------------------- exchanges

    def ask(self, method: str, path: str, verb: Verb) -> Response:
        """Ask what may be asked again, until there is an answer that will stay."""
        return self.transport.persist(lambda: self.look(method, path, verb))

    def look(self, method: str, path: str, verb: Verb) -> Response:
        """Ask once."""
        return self.once(method, self.url(path), self.scope(verb), headers={"Accept": oci.ACCEPTED})

    def once(
        self,
        method: str,
        url: str,
        scope: Scope,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | Iterable[bytes]] = bytes,
        size: int | None = None,
        stall: float | None = None,
    ) -> Response:
        """Make one exchange, twice where a login was wanted: so `body` gives its bytes from the beginning each time."""

        def exchange(login: Mapping[str, str]) -> Response:
            sent = {**(headers or {}), **login}
            return self.transport.once(method, url, headers=sent, body=body(), size=size, stall=stall)

        return self.access.authorized(exchange, url, scope)

    def send(
        self,
        method: str,
        url: str,
        scope: Scope,
        *,
        headers: Mapping[str, str],
        body: Callable[[], bytes | Iterable[bytes]] = bytes,
        size: int | None = None,
    ) -> Response:
        """The same for what is to be kept: a registry may think about it for longer than about a question."""
        stall = self.transport.patience.sending
        return self.once(method, url, scope, headers=headers, body=body, size=size, stall=stall)

    @contextmanager
    def stream(self, url: str, scope: Scope, headers: Mapping[str, str]) -> Iterator[Streamed]:
        """An answer whose body comes piece by piece."""
        for first in (True, False):
            login = self.access.headers(url, scope)
            with self.transport.open("GET", url, headers={**headers, **login}) as answer:
                if answer.status != 401 or not first:
                    yield answer
                    return
                refusal = Response(status=401, headers=answer.headers)
            refused = self.access.renew(refusal, scope)
            if refused and refused.status in TRANSIENT:
                raise ConnectionLost(f"the token service of {self.access.host} answered {refused.status}")

    def settled(
        self, attempt: Ask, there: Ask, *, reached: Callable[[], int] = lambda: 0, look_first: bool = False
    ) -> Response:
        """Have a write done: an answer that was lost, were it the last, is made good by asking for what was written."""
        looks = look_first

        def again() -> Response:
            nonlocal looks
            known = there() if looks else ABSENT
            looks = True
            return attempt() if known.status == 404 else known

        try:
            answer = self.transport.persist(again, reached=reached)
        except ConnectionLost:
            if self._after_all(there):
                return THERE
            raise
        return THERE if answer.status in TRANSIENT and self._after_all(there) else answer

    def _after_all(self, there: Ask) -> bool:
        with suppress(ConnectionLost):
            return there().status == 200
        return False

    def location(self, answer: Response, asked: str) -> str:
        """Where an upload goes on. A registry behind a proxy often believes that it is spoken to without TLS."""
        target = joined(asked, answer.headers.get("location", ""))
        if split(target).netloc == split(asked).netloc:
            return split(target)._replace(scheme=split(asked).scheme, fragment="").geturl()
        if not may_lead(asked, target):
            raise self.failed("push", f"it sends the upload to {shown(target)}, which is less safe than itself")
        return target

    # --------------------------------------------------------------------------------------------------- failures

    @contextmanager
    def door(self, verb: Verb) -> Iterator[None]:
        """What broke off again and again at a registry that is there is the registry's failure, not the network's."""
        try:
            yield
        except ConnectionLost as lost:
            if not self.transport.answered(self.access.root):
                raise
            raise self.failed(verb, f"{lost.message}, again and again") from lost

    def expect(self, answer: Response, *statuses: int, verb: Verb) -> None:
        if answer.status not in statuses:
            raise self._refusal(answer, verb)

    def _refusal(self, answer: Response, verb: Verb) -> S2IError:
        detail = f"the registry answered {answer.status}{self.access.complaint(answer)}"
        if answer.status not in (401, 403):
            return self.failed(verb, detail, hint=_HINTS.get(answer.status, _LATER if answer.status >= 500 else ""))
        error = PullUnauthorized if verb == "pull" else PushUnauthorized
        login = self.access.login
        if login is None:
            return error(
                f"could not {verb} {self.name}",
                detail=f"{detail}; no login for {self.access.host} was found",
                hint=f"s2ictl login {self.access.host}, or name a secret with --registry-secret",
            )
        return error(
            f"could not {verb} {self.name}",
            detail=f"{detail}; the login came from {login.origin}",
            hint=f"check that {login.username!r} may {verb} there, and renew the login where it came from",
        )

    def failed(self, verb: Verb, detail: str, *, hint: str = "") -> S2IError:
        error = RegistryFailed if verb == "pull" else PushImageToRegistryFailed
        return error(f"could not {verb} {self.name}", detail=detail, hint=hint)

    def broken(self, detail: str) -> S2IError:
        return PullBuilderImageFailed(f"{self.name} is broken in its registry", detail=detail)
