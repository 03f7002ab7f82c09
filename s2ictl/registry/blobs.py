"""How a blob gets into a repository: it is there already, it is mounted from where it lies, or it is sent.

What is sent goes in one piece. Where that breaks off, the registry is asked how much of it has arrived, and the rest
follows from there; where the registry has forgotten, it begins anew. What is too much at once, for the registry or for
a proxy before it, is sent in pieces.

Docker's own registry (2.8) always has forgotten: what it hands out names the place from which the next bytes are to be
kept, it keeps those that came before the break, and throws away an upload that is not where it was said to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from urllib.parse import urlencode

from s2ictl import oci
from s2ictl.access import Scope
from s2ictl.addresses import split
from s2ictl.errors import S2IError
from s2ictl.expressions import expression
from s2ictl.registry.dialogue import ABSENT, Dialogue
from s2ictl.transport import Response

PIECE = 8 << 20
_EVERYTHING = 1 << 62
_GIVE_UP = 5.0
_BYTES = {"Content-Type": "application/octet-stream"}
_TAKEN = (201, 202, 204)
_NOT_AT_ONCE = (400, 404, 405, 411, 415, 501)  # what registries say that take bytes by PATCH alone
_RANGE = expression(r"(?:bytes=)?0-([0-9]{1,18})")


def write(blob: oci.Blob, dialogue: Dialogue) -> oci.Descriptor:
    """Have a blob there, by the shortest way; answers what it is, of bytes that are hashed on the way as well."""
    upload = _Upload(blob, dialogue)
    with dialogue.door("push"):
        answer = upload.done()
        dialogue.expect(answer, 200, 201, verb="push")
        confirmed = answer.headers.get("docker-content-digest", upload.digest)
        if oci.is_digest(confirmed) and confirmed != upload.digest:
            raise dialogue.failed("push", f"the registry was sent {upload.digest} and has stored {confirmed}")
    return oci.Descriptor(media_type=blob.media_type, digest=upload.digest, size=upload.size)


def may_begin(dialogue: Dialogue) -> bool:
    """Begin an upload and give it up: raises where we may not, answers whether the registry has let go of it."""
    url, scope = dialogue.url("blobs/uploads/"), dialogue.scope("push")
    with dialogue.door("push"):
        begun = dialogue.transport.persist(lambda: dialogue.once("POST", url, scope))
        dialogue.expect(begun, 202, verb="push")
        return _cancel(dialogue.location(begun, url), scope, dialogue)


def _cancel(location: str, scope: Scope, dialogue: Dialogue) -> bool:
    """Leave no half upload behind; best effort, because what has gone wrong already is the news."""
    with suppress(S2IError):
        return dialogue.once("DELETE", location, scope, stall=_GIVE_UP).status in (200, 202, 204, 404)
    return False


class _Upload:
    """A blob on its way: where it goes on, and how much of it has arrived."""

    def __init__(self, blob: oci.Blob, dialogue: Dialogue) -> None:
        self.digest = blob.digest
        self.size = blob.size if blob.digest else -1
        self._blob = blob
        self._dialogue = dialogue
        host, _, path = blob.home.partition("/")
        elsewhere = blob.digest and host == dialogue.access.host and path != dialogue.path
        self._source = path if elsewhere else ""
        self._scope = dialogue.scope("push", source=self._source)
        self._location = ""
        self._at = 0
        self._at_once = bool(blob.digest)
        self._in_pieces = False
        self._reading = _Reading(blob)

    def done(self) -> Response:
        look_first = bool(self.digest) and not self._source
        answer = ABSENT
        try:
            answer = self._dialogue.settled(self._attempt, self._there, reached=lambda: self._at, look_first=look_first)
            return answer
        finally:
            if answer.status not in (200, 201):
                self._forget(cancel=True)

    def _there(self) -> Response:
        if not self.digest:
            return ABSENT
        url = self._dialogue.url(f"blobs/{self.digest}")
        known = self._dialogue.once("HEAD", url, self._scope)
        length = known.headers.get("content-length", "")
        if known.status == 200 and self._blob.digest and length.isdigit() and length != str(self._blob.size):
            detail = f"the registry has other bytes as {self.digest}: {length} and not {self._blob.size}"
            raise self._dialogue.failed("push", detail)
        return known

    # ----------------------------------------------------------------------------------------------------- one attempt

    def _attempt(self) -> Response:
        goes_on = bool(self._location)
        answer = self._resumed() if goes_on else self._begun()
        if answer.status != 202:
            return answer
        answer = self._sent()
        if answer.status == 413 and not self._in_pieces:
            self._in_pieces, self._at_once = True, False
        elif self._at_once and answer.status in _NOT_AT_ONCE and b"DIGEST_INVALID" not in answer.body:
            self._at_once = False
        elif not goes_on or answer.status not in (400, 404, 416):
            return answer
        # Else it went on, and bytes of the request that broke off came in after the registry had said how far they
        # reach: that is the end of this upload, but nothing has failed anew.
        self._forget(cancel=True)
        return self._attempt()

    def _begun(self) -> Response:
        """202 and a place to send it to, or what made that needless, or impossible."""
        url = self._dialogue.url("blobs/uploads/")
        query = "?" + urlencode({"mount": self.digest, "from": self._source}) if self._source else ""
        begun = self._dialogue.once("POST", f"{url}{query}", self._scope)
        if begun.status != 202:
            return begun
        self._location = self._dialogue.location(begun, url)
        known = self._there() if self._source else ABSENT
        if known.status == 404:
            return begun
        self._forget(cancel=True)
        return known

    def _resumed(self) -> Response:
        """202 and the place from where it goes on, which is the beginning where the registry has forgotten."""
        answer = self._dialogue.once("GET", self._location, self._scope)
        arrived = _RANGE.fullmatch(answer.headers.get("range", ""))
        if answer.status in (200, 202, 204) and arrived:
            # One byte and none are told alike.
            self._at = int(arrived[1]) + 1 if int(arrived[1]) else 0
            if "location" in answer.headers:
                self._location = self._dialogue.location(answer, self._location)
            if self.size < 0 or self._at <= self.size:
                return Response(status=202, headers={})
        elif answer.status >= 500 or answer.status in (408, 429):
            return answer
        self._forget(cancel=answer.status < 400)
        return self._begun()

    def _sent(self) -> Response:
        """All that is missing, and the end of it."""
        if self._at_once and not self._at:
            return self._finished(body=self._rest, size=self.size)
        if self._in_pieces or (self._at and self.size < 0):
            return self._sent_in_pieces()
        if self._at != self.size:
            answer = self._patched(self._rest, size=self.size - self._at if self.size >= 0 else None)
            if answer.status not in _TAKEN:
                return answer
        return self._closed(self._reading)

    def _sent_in_pieces(self) -> Response:
        self._reading = reading = _Reading(self._blob)
        reading.skip(self._at)
        while piece := b"".join(reading.take(PIECE)):
            answer = self._patched(partial(bytes, piece), size=len(piece))
            if answer.status not in _TAKEN:
                return answer
            self._at += len(piece)
        return self._closed(reading)

    def _rest(self) -> Iterator[bytes]:
        self._reading = _Reading(self._blob)
        self._reading.skip(self._at)
        return self._reading.take()

    def _closed(self, reading: _Reading) -> Response:
        if not self._blob.digest:
            self.digest, self.size = reading.digest, reading.count
        return self._finished(body=bytes, size=None)

    # ------------------------------------------------------------------------------------------------------- exchanges

    def _patched(self, body: Callable[[], bytes | Iterable[bytes]], *, size: int | None) -> Response:
        """Have the next bytes taken; where they stand is told wherever their end is known."""
        span = {"Content-Range": f"{self._at}-{self._at + size - 1}"} if size and not self._is_all(size) else {}
        answer = self._dialogue.send(
            "PATCH", self._location, self._scope, headers={**_BYTES, **span}, body=body, size=size
        )
        if answer.status in _TAKEN:
            self._location = self._dialogue.location(answer, self._location)
        return answer

    def _is_all(self, size: int) -> bool:
        return not self._at and size == self.size

    def _finished(self, *, body: Callable[[], bytes | Iterable[bytes]], size: int | None) -> Response:
        joint = "&" if split(self._location).query else "?"
        url = f"{self._location}{joint}{urlencode({'digest': self.digest})}"
        return self._dialogue.send("PUT", url, self._scope, headers=_BYTES, body=body, size=size)

    def _forget(self, *, cancel: bool) -> None:
        if self._location and cancel:
            _cancel(self._location, self._scope, self._dialogue)
        self._location, self._at = "", 0


class _Reading:
    """The bytes of a blob, from the beginning: counted, and hashed where nobody has done that yet."""

    def __init__(self, blob: oci.Blob) -> None:
        self._seen = None if blob.digest else hashlib.sha256()
        self._chunks = self._pulled(blob)
        self._held = b""
        self.count = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._seen.hexdigest()}" if self._seen else ""

    def skip(self, size: int) -> None:
        """Pass over what has arrived already; to read it again costs little beside sending it."""
        for _ in self.take(size):
            pass

    def take(self, most: int = _EVERYTHING) -> Iterator[bytes]:
        while most and (chunk := self._held or next(self._chunks, None)) is not None:
            data, self._held = chunk[:most], chunk[most:]
            most -= len(data)
            yield data

    def _pulled(self, blob: oci.Blob) -> Iterator[bytes]:
        for chunk in blob.chunks():
            self.count += len(chunk)
            if self._seen:
                self._seen.update(chunk)
            yield chunk
