"""One repository of an OCI registry (distribution 1.1): read a base, put blobs there, tag a manifest.

dialogue    every exchange: by which address, with which right, lost answers, refusals
blobs       how bytes get there: mounted, or sent, and taken up again where that broke off
referrers   what is said of an image: the documents
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from s2ictl import oci
from s2ictl.addresses import joined, origin_of
from s2ictl.errors import ConnectionLost, ImageNotFound, PullBuilderImageFailed
from s2ictl.expressions import expression
from s2ictl.models import ImageFacts, Login, Logins, Reference
from s2ictl.registry import blobs, referrers
from s2ictl.registry.dialogue import ABSENT, Dialogue, Verb
from s2ictl.registry.referrers import Referrer
from s2ictl.transport import TRANSIENT, Response, Streamed, Transport

_CONTENT_RANGE = expression(r"bytes ([0-9]{1,18})-")
_MOST_PAGES = 20
_TURNS = 5


class Repository:
    """One repository, by the name of the image that is wanted from it or that it shall hold."""

    def __init__(
        self, name: Reference, *, transport: Transport, logins: Logins, insecure: frozenset[str] = frozenset()
    ) -> None:
        self._dialogue = Dialogue(name, transport=transport, logins=logins, insecure=insecure)
        self._name = self._dialogue.name
        self._which = name.digest or name.tag or "latest"

    def __str__(self) -> str:
        return str(self._name)

    @property
    def login(self) -> Login | None:
        """The login that the registry has asked for so far, if it has."""
        access = self._dialogue.access
        return access.login if access.asked else None

    # ---------------------------------------------------------------------------------------------------- reading

    def resolve(self, *, verb: Verb = "pull") -> str:
        """The digest that the name stands for now, "" when nothing is there; asked by the right that is needed next."""
        with self._dialogue.door(verb):
            return self._digest_of(self._which, verb)

    def bases(self, platforms: tuple[str, ...] = ()) -> tuple[oci.Base, ...]:
        """Read the image for these platforms, or for all of Linux that it is there for: its configuration now, its
        layers when they are needed."""
        with self._dialogue.door("pull"):
            images = oci.find_all(self, self._named(), platforms)
        tagged = replace(self._name, tag=self._name.tag or ("" if self._name.digest else "latest"))
        return tuple(oci.base_of(self, found, name=str(tagged), home=self._dialogue.home) for found in images)

    def facts(self, platform: str) -> ImageFacts | None:
        """What the image says of itself; None when nothing is there."""
        digest = self.resolve()
        if not digest:
            return None
        with self._dialogue.door("pull"):
            return oci.facts_of(oci.find(self, oci.Descriptor(media_type="", digest=digest, size=0), platform))

    def leads_to(self, image: str) -> str:
        """The digest that the name stands for now, if that is the image of this id or of this digest; "" otherwise."""
        digest = self.resolve()
        if digest in ("", image):
            return digest
        with self._dialogue.door("pull"):
            return digest if oci.id_of(self._fetch_manifest(digest), subject=str(self)) == image else ""

    def manifest(self, descriptor: oci.Descriptor) -> bytes:
        return self._fetch_manifest(descriptor.digest)

    def document(self, descriptor: oci.Descriptor) -> bytes:
        pieces = oci.verified(self._at_once(descriptor), descriptor, error=self._dialogue.broken)
        return oci.document(pieces, descriptor, error=self._dialogue.broken)

    def _at_once(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """A blob that is small, and so has little time: a layer may come as slowly as it likes."""
        url, scope = self._dialogue.url(f"blobs/{descriptor.digest}"), self._dialogue.scope("pull")
        with self._dialogue.door("pull"):
            answer = self._dialogue.transport.persist(lambda: self._dialogue.once("GET", url, scope))
            self._dialogue.expect(answer, 200, verb="pull")
        yield answer.body

    def read(self, descriptor: oci.Descriptor) -> Iterator[bytes]:
        """Stream a blob, taken up again where it broke off, and checked against its digest."""
        with self._dialogue.door("pull"):
            pieces = self._dialogue.transport.resume(lambda done: self._piece(descriptor, done))
            yield from oci.verified(pieces, descriptor, error=self._dialogue.broken)

    def _named(self) -> oci.Descriptor:
        """What the name leads to at this moment."""
        digest = self._name.digest or self._digest_of(self._which, "pull")
        if not digest:
            raise PullBuilderImageFailed(
                f"{self._name} is not in its registry", hint="check the name and the tag of the base image"
            )
        return oci.Descriptor(media_type="", digest=digest, size=0)

    def _digest_of(self, which: str, verb: Verb) -> str:
        answer = self._dialogue.ask("HEAD", f"manifests/{which}", verb)
        if answer.status == 404:
            return ""
        self._dialogue.expect(answer, 200, verb=verb)
        announced = answer.headers.get("docker-content-digest", "")
        return announced if oci.is_digest(announced) else oci.digest_of(self._fetch_manifest(which))

    def _fetch_manifest(self, which: str) -> bytes:
        answer = self._dialogue.ask("GET", f"manifests/{which}", "pull")
        if answer.status == 404:
            raise PullBuilderImageFailed(
                f"{self._name} is not in its registry",
                detail=f"the registry answered 404{self._dialogue.access.complaint(answer)}",
                hint="check the name and the tag of the base image",
            )
        self._dialogue.expect(answer, 200, verb="pull")
        if oci.is_digest(which) and oci.digest_of(answer.body) != which:
            raise self._dialogue.broken(f"the manifest {which} came as other bytes")
        return answer.body

    def _piece(self, blob: oci.Descriptor, done: int) -> Iterator[bytes]:
        """The bytes of a blob from `done` on, whether or not the registry can begin there."""
        if done == blob.size:  # it broke off when all of it had come
            return
        url, scope = self._dialogue.url(f"blobs/{blob.digest}"), self._dialogue.scope("pull")
        with self._dialogue.stream(url, scope, {"Range": f"bytes={done}-"} if done else {}) as answer:
            if answer.status in TRANSIENT:
                raise ConnectionLost(f"{self._dialogue.access.host} answered {answer.status}")
            self._dialogue.expect(Response(status=answer.status, headers=answer.headers), 200, 206, verb="pull")
            yield from _without(answer.chunks, done - _begin(answer))

    # ---------------------------------------------------------------------------------------------------- writing

    def write(self, blob: oci.Blob) -> oci.Descriptor:
        """Have a blob here: it is already, or it is mounted from where it lies, or it is sent and hashed on the way."""
        return blobs.write(blob, self._dialogue)

    def tag(
        self, manifest: bytes, tags: tuple[str, ...], *, kind: str = oci.MANIFEST, children: tuple[bytes, ...] = ()
    ) -> str:
        """Make the blobs an image under these tags, and answer its digest once the registry has confirmed it."""
        digest = oci.digest_of(manifest)
        with self._dialogue.door("push"):
            for child in children:
                said = oci.read_manifest(child, str(self)).media_type  # in Docker's words, where somebody else made it
                self._put_manifest(child, oci.digest_of(child), said or oci.MANIFEST)
            for tag in dict.fromkeys(tags or (digest,)):
                self._put_manifest(manifest, tag, kind)
            # By digest: another build may have moved the tag meanwhile, and that is its right.
            if self._digest_of(digest, "push") != digest:
                raise self._dialogue.failed("push", "the registry took the image, and does not have it")
        return digest

    def try_push(self) -> bool:
        """Begin an upload and give it up: raises where we may not, answers whether the registry has let go of it."""
        return blobs.may_begin(self._dialogue)

    def _put_manifest(self, manifest: bytes, which: str, kind: str) -> Response:
        url, digest = self._dialogue.url(f"manifests/{which}"), oci.digest_of(manifest)

        def attempt() -> Response:
            headers = {"Content-Type": kind}
            return self._dialogue.send("PUT", url, self._dialogue.scope("push"), headers=headers, body=lambda: manifest)

        def there() -> Response:
            known = self._dialogue.look("HEAD", f"manifests/{which}", "push")
            return ABSENT if known.status == 200 and known.headers.get("docker-content-digest") != digest else known

        answer = self._dialogue.settled(attempt, there)
        self._dialogue.expect(answer, 200, 201, verb="push")
        return answer

    # -------------------------------------------------------------------------------------------------- referrers

    def attach(self, subject: str, *, kind: str, content: bytes, title: str) -> str:
        """Say something of the image with this digest, and answer the digest of what was said."""
        described = self._described(subject)
        layer = self.write(oci.blob_of(content, kind))
        self.write(oci.blob_of(referrers.NOTHING, referrers.EMPTY))
        manifest = referrers.statement(kind, layer, subject=described, title=title)
        with self._dialogue.door("push"):
            answer = self._put_manifest(manifest, oci.digest_of(manifest), oci.MANIFEST)
            if "oci-subject" not in answer.headers and self._told(subject) is None:
                self._list(referrers.referrer(manifest, kind), referrers.tag_of(subject))
        return oci.digest_of(manifest)

    def referrers(self, subject: str, *, kind: str = "") -> tuple[Referrer, ...]:
        """What is said of the image with this digest; of one kind, where it is named."""
        with self._dialogue.door("pull"):
            told = self._told(subject)
            found = self._listed(referrers.tag_of(subject)) if told is None else told
        return tuple(one for one in found if kind in ("", one.artifact_type))

    def _described(self, subject: str) -> oci.Descriptor:
        with self._dialogue.door("pull"):
            answer = self._dialogue.ask("GET", f"manifests/{subject}", "pull")
            if answer.status == 404:
                raise ImageNotFound(f"there is no {self._name.name}@{subject}", detail="nothing can be said of it")
            self._dialogue.expect(answer, 200, verb="pull")
            if oci.digest_of(answer.body) != subject:
                raise self._dialogue.broken(f"the manifest {subject} came as other bytes")
        kind = answer.headers.get("content-type", oci.MANIFEST)
        return oci.Descriptor(media_type=kind, digest=subject, size=len(answer.body))

    def _told(self, subject: str) -> tuple[Referrer, ...] | None:
        """The registry's own list, page by page; None where it keeps none."""
        url = self._dialogue.url(f"referrers/{subject}")
        found: list[Referrer] = []
        for _ in range(_MOST_PAGES):
            answer = self._dialogue.transport.persist(
                lambda: self._dialogue.once("GET", url, self._dialogue.scope("pull"))  # noqa: B023
            )
            page = referrers.listed(answer.body) if answer.status == 200 else None
            if page is None:
                return None
            found += page
            url = _next_page(answer, url)
            if not url:
                break
        return tuple(found)

    def _listed(self, tag: str) -> tuple[Referrer, ...]:
        answer = self._dialogue.ask("GET", f"manifests/{tag}", "pull")
        if answer.status == 404:
            return ()
        self._dialogue.expect(answer, 200, verb="pull")
        return referrers.listed(answer.body) or ()

    def _list(self, entry: Referrer, tag: str) -> None:
        """Add to the list that a tag leads to. Somebody else may do the same in this moment: so it is read again."""
        for _ in range(_TURNS):
            before = self._listed(tag)
            if entry in before:
                return
            index = oci.encode(referrers.Referrers(manifests=(*before, entry)))
            self._put_manifest(index, tag, oci.INDEX)
        if entry not in self._listed(tag):
            raise self._dialogue.failed("push", f"others write the list {tag} all the time")


OpenRepository = Callable[[Reference], Repository]


def _next_page(answer: Response, url: str) -> str:
    """Where a list goes on: at the same registry, or not at all."""
    link, _, rest = answer.headers.get("link", "").partition(">")
    target = joined(url, link.removeprefix("<")) if link.startswith("<") and 'rel="next"' in rest else ""
    return target if target and origin_of(target) == origin_of(url) else ""


def _begin(answer: Streamed) -> int:
    """From which byte on a blob comes: who is asked for the rest may well send more of it."""
    found = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    return int(found[1]) if answer.status == 206 and found else 0


def _without(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Leave out the first bytes of a stream."""
    for chunk in chunks:
        rest = chunk[count:]
        count -= len(chunk) - len(rest)
        if rest:
            yield rest
