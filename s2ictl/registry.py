"""One repository of an OCI registry (distribution 1.1): read a base, put blobs there, tag a manifest.

A push is many exchanges, and each of them can be lost on the way out or on the way back. So every write is an attempt
that first asks whether the last one has arrived, and can be made again from its beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlencode

from s2ictl import oci
from s2ictl.access import Access, Scope, complaint
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
from s2ictl.models import ImageFacts, Login, Logins, Reference
from s2ictl.transport import TRANSIENT, Response, Transport

_STALL = 60.0  # while it puts an upload away, a registry may be silent for this long

Verb = Literal["pull", "push"]


class Repository:
    """One repository, by the name of the image that is wanted from it or that it shall hold."""

    def __init__(
        self, name: Reference, *, transport: Transport, logins: Logins, insecure: frozenset[str] = frozenset()
    ) -> None:
        host = name.registry or DOCKER_HUB
        # Docker Hub keeps names without a user below library/. That is its spelling in requests, and no part of a name.
        hidden = "library/" if host in DOCKER_HUB_NAMES and "/" not in name.repository else ""
        self._name = Reference(registry=host, repository=name.repository, tag=name.tag, digest=name.digest)
        self._path = f"{hidden}{name.repository}"
        self._which = name.digest or name.tag or "latest"
        self._transport = transport
        self._access = Access(host, repository=name.repository, transport=transport, logins=logins, insecure=insecure)

    # ---------------------------------------------------------------------------------------------------- reading

    def resolve(self) -> str:
        """The digest that the name stands for now; "" when nothing is there."""
        with self._door("pull"):
            return self._digest_of(self._which, "pull")

    def base(self, platform: str) -> oci.Base:
        """Read the image for a platform, to build on: its configuration now, its layers when they are needed."""
        with self._door("pull"):
            found = oci.find(self, self._named(), platform)
        tagged = replace(self._name, tag=self._name.tag or ("" if self._name.digest else "latest"))
        return oci.base_of(self, found, name=str(tagged), home=f"{self._access.host}/{self._path}")

    def facts(self, platform: str) -> ImageFacts | None:
        """What the image says of itself; None when nothing is there."""
        if not self.resolve():
            return None
        with self._door("pull"):
            return oci.facts_of(oci.find(self, self._named(), platform))

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        return self._fetch_manifest(descriptor.digest)

    def document(self, descriptor: oci.Descriptor) -> bytes:
        return oci.document(self.read(descriptor), descriptor, error=self._broken)

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """Stream a blob, taken up again where it broke off, and checked against its digest."""
        with self._door("pull"):
            pieces = self._transport.resume(lambda done: self._piece(descriptor, done))
            yield from oci.verified(pieces, descriptor, error=self._broken)

    def __str__(self) -> str:
        return str(self._name)

    def _named(self) -> oci.Descriptor:
        """What the name leads to at this moment."""
        digest = self._name.digest or self._digest_of(self._which, "pull")
        if not digest:
            raise PullBuilderImageFailed(
                f"{self._name} is not in its registry", hint="check the name and the tag of the base image"
            )
        return oci.Descriptor(media_type="", digest=digest, size=0)

    def _fetch_manifest(self, which: str) -> bytes:
        answer = self._ask("GET", f"manifests/{which}", "pull")
        if answer.status == 404:
            raise PullBuilderImageFailed(
                f"{self._name} is not in its registry",
                detail=f"the registry answered 404{complaint(answer)}",
                hint="check the name and the tag of the base image",
            )
        self._expect(answer, 200, verb="pull")
        if oci.is_digest(which) and oci.digest_of(answer.body) != which:
            raise self._broken(f"the manifest {which} came as other bytes")
        return answer.body

    def _piece(self, blob: oci.Descriptor, done: int) -> Iterator[bytes]:
        """The bytes of a blob from `done` on, whether or not the registry can begin there."""
        url, scope = self._url(f"blobs/{blob.digest}"), self._scope("pull")
        for first in (True, False):
            headers = {**self._access.headers(url, scope), **({"Range": f"bytes={done}-"} if done else {})}
            with self._transport.open("GET", url, headers=headers) as answer:
                refusal = Response(status=answer.status, headers=answer.headers)
                if answer.status == 401 and first:
                    self._access.renew(refusal, scope)
                    continue
                if answer.status in TRANSIENT:
                    raise ConnectionLost(f"{self._access.host} answered {answer.status}")
                self._expect(refusal, 200, 206, verb="pull")
                yield from _without(answer.chunks, done if answer.status == 200 else 0)
                return

    # ---------------------------------------------------------------------------------------------------- writing

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have a blob here: it is already, or it is mounted from where it lies, or it is sent and hashed on the way."""
        upload = _Upload(blob=blob, digest=blob.digest)
        scope = self._scope("push", source=self._mountable(blob))
        with self._door("push"):
            self._expect(self._transport.persist(lambda: self._attempt(upload, scope)), 200, 201, verb="push")
        size = blob.size if blob.digest else upload.sent
        return oci.Descriptor(media_type=blob.media_type, digest=upload.digest, size=size)

    def tag(self, manifest: bytes, tags: tuple[str, ...], *, kind: str = oci.MANIFEST) -> str:
        """Make the blobs an image under these tags, and answer its digest once the registry has confirmed it."""
        digest = oci.digest_of(manifest)
        with self._door("push"):
            for tag in tags:
                self._put_manifest(manifest, tag, digest, kind)
            # By digest: another build may have moved the tag meanwhile, and that is its right.
            if self._digest_of(digest, "push") != digest:
                raise self._failed("push", "the registry took the image, and does not have it")
        return digest

    def try_push(self) -> bool:
        """Begin an upload and give it up: raises where we may not, answers whether the registry has let go of it."""
        url, scope = self._url("blobs/uploads/"), self._scope("push")
        with self._door("push"):
            begun = self._transport.persist(lambda: self._once("POST", url, scope))
            self._expect(begun, 202, verb="push")
            return self._cancel(self._location(begun, url), scope)

    @property
    def login(self) -> Login | None:
        """The login that the registry has asked for so far, if it has."""
        return self._access.login if self._access.asked else None

    def _put_manifest(self, manifest: bytes, tag: str, digest: str, kind: str) -> None:
        url, scope = self._url(f"manifests/{tag}"), self._scope("push")
        tries = 0

        def attempt() -> Response:
            nonlocal tries
            tries += 1
            if tries > 1 and self._digest_of(tag, "push") == digest:
                return Response(status=201, headers={})
            headers = {"Content-Type": kind}
            return self._once("PUT", url, scope, headers=headers, body=lambda: manifest, stall=_STALL)

        self._expect(self._transport.persist(attempt), 200, 201, verb="push")

    def _attempt(self, upload: _Upload, scope: Scope) -> Response:
        if upload.digest:
            known = self._once("HEAD", self._url(f"blobs/{upload.digest}"), scope)
            if known.status != 404:
                return known
        source = self._mountable(upload.blob)
        query = "?" + urlencode({"mount": upload.digest, "from": source}) if source else ""
        begun = self._once("POST", self._url("blobs/uploads/") + query, scope)
        if begun.status != 202:
            return begun
        return self._upload(upload, self._location(begun, self._url("blobs/uploads/")), scope)

    def _upload(self, upload: _Upload, location: str, scope: Scope) -> Response:
        answer = Response(status=0, headers={})
        try:
            answer = self._send(upload, location, scope)
            if answer.status in (201, 202, 204):
                answer = self._finish(upload, self._location(answer, location), scope)
            return answer
        finally:
            if answer.status != 201:
                self._cancel(location, scope)

    def _send(self, upload: _Upload, location: str, scope: Scope) -> Response:
        headers = {"Content-Type": "application/octet-stream"}
        if upload.blob.size >= 0:
            headers["Content-Length"] = str(upload.blob.size)
        return self._once("PATCH", location, scope, headers=headers, body=upload.chunks, stall=_STALL)

    def _finish(self, upload: _Upload, location: str, scope: Scope) -> Response:
        joint = "&" if split(location).query else "?"
        url = f"{location}{joint}{urlencode({'digest': upload.digest})}"
        return self._once("PUT", url, scope, stall=_STALL)

    def _cancel(self, location: str, scope: Scope) -> bool:
        """Leave no half upload behind; best effort, because what has gone wrong already is the news."""
        with suppress(S2IError):
            return self._once("DELETE", location, scope, stall=5.0).status in (200, 202, 204, 404)
        return False

    def _location(self, answer: Response, asked: str) -> str:
        """Where an upload goes on. A registry behind a proxy often believes that it is spoken to without TLS."""
        target = joined(asked, answer.headers.get("location", ""))
        if split(target).netloc == split(asked).netloc:
            return split(target)._replace(scheme=split(asked).scheme, fragment="").geturl()
        if not may_lead(asked, target):
            raise self._failed("push", f"it sends the upload to {shown(target)}, which is less safe than itself")
        return target

    def _mountable(self, blob: oci.Blob) -> str:
        """The other repository of this registry that has the blob; "" where there is none."""
        host, _, path = blob.home.partition("/")
        return path if blob.digest and host == self._access.host and path != self._path else ""

    # -------------------------------------------------------------------------------------------------- exchanges

    def _ask(self, method: str, path: str, verb: Verb) -> Response:
        url, scope = self._url(path), self._scope(verb)
        return self._transport.persist(lambda: self._once(method, url, scope, headers={"Accept": oci.ACCEPTED}))

    def _once(
        self,
        method: str,
        url: str,
        scope: Scope,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | Iterator[bytes]] = bytes,
        stall: float | None = None,
    ) -> Response:
        def exchange(login: Mapping[str, str]) -> Response:
            sent = {**(headers or {}), **login}
            return self._transport.once(method, url, headers=sent, body=body() or None, stall=stall)

        return self._access.authorized(exchange, url, scope)

    def _digest_of(self, which: str, verb: Verb) -> str:
        answer = self._ask("HEAD", f"manifests/{which}", verb)
        if answer.status == 404:
            return ""
        self._expect(answer, 200, verb=verb)
        announced = answer.headers.get("docker-content-digest", "")
        return announced if oci.is_digest(announced) else oci.digest_of(self._fetch_manifest(which))

    def _url(self, path: str) -> str:
        return f"{self._access.root}/v2/{self._path}/{path}"

    def _scope(self, verb: Verb, *, source: str = "") -> Scope:
        own = f"repository:{self._path}:{'pull,push' if verb == 'push' else 'pull'}"
        return (own, f"repository:{source}:pull") if source else (own,)

    # --------------------------------------------------------------------------------------------------- failures

    @contextmanager
    def _door(self, verb: Verb) -> Iterator[None]:
        """What broke off again and again at a registry that is there is the registry's failure, not the network's."""
        try:
            yield
        except ConnectionLost as lost:
            if not self._transport.answered(self._access.root):
                raise
            raise self._failed(verb, f"{lost.message}, again and again") from lost

    def _expect(self, answer: Response, *statuses: int, verb: Verb) -> None:
        if answer.status not in statuses:
            raise self._refusal(answer, verb)

    def _refusal(self, answer: Response, verb: Verb) -> S2IError:
        detail = f"the registry answered {answer.status}{complaint(answer)}"
        if answer.status not in (401, 403):
            return self._failed(verb, detail, hint=_HINTS.get(answer.status, ""))
        error = PullUnauthorized if verb == "pull" else PushUnauthorized
        login = self._access.login
        if login is None:
            return error(
                f"could not {verb} {self._name}",
                detail=f"{detail}; no login for {self._access.host} was found",
                hint=f"s2ictl login {self._access.host}, or name a secret with --registry-secret",
            )
        return error(
            f"could not {verb} {self._name}",
            detail=f"{detail}; the login came from {login.origin}",
            hint=f"check that {login.username!r} may {verb} there, and renew the login where it came from",
        )

    def _failed(self, verb: Verb, detail: str, *, hint: str = "") -> S2IError:
        error = RegistryFailed if verb == "pull" else PushImageToRegistryFailed
        return error(f"could not {verb} {self._name}", detail=detail, hint=hint)

    def _broken(self, detail: str) -> S2IError:
        return PullBuilderImageFailed(f"{self._name} is broken in its registry", detail=detail)


_HINTS = {
    405: "the registry seems to be read-only",
    413: "the registry, or a proxy before it, limits the size of a layer",
    429: "the registry limits how often it is asked: wait, or log in",
}


@dataclass(slots=True, kw_only=True)
class _Upload:
    """A blob on its way. Its digest, once known, lets the next attempt ask whether this one has arrived."""

    blob: oci.Blob
    digest: str
    sent: int = 0

    def chunks(self) -> Iterator[bytes]:
        if self.blob.digest:
            yield from self.blob.chunks()
            return
        seen, self.sent = hashlib.sha256(), 0
        for chunk in self.blob.chunks():
            seen.update(chunk)
            self.sent += len(chunk)
            yield chunk
        self.digest = f"sha256:{seen.hexdigest()}"


def _without(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Pass on what comes after the first `count` bytes."""
    for chunk in chunks:
        if len(chunk) > count:
            yield chunk[count:]
        count = max(0, count - len(chunk))
