"""Which directories of downloads outlive a build, whose they are, and what they are called in the engine."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import replace

from s2ictl.builders import CACHES, is_below
from s2ictl.errors import InvalidUsage, LimitReached, PullBuilderImageFailed, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.expressions import expression
from s2ictl.labels import canonical
from s2ictl.models import BuildConfig, Builder, BuildRequest, Cache, Reference, Source, Tree

OWN_PLACES = ("src", "artifacts", "scripts", ".s2ictl")  # below the destination: they come and go with each build
_MOST = 64
_ELSEWHERE = "keep downloads elsewhere: --cache DIR, or build with --no-cache"
# A cache hides what the image has there, and what is written there is in no image.
_OF_THE_SYSTEM = expression("/(bin|boot|etc|lib|lib32|lib64|libx32|opt|run|sbin|tmp|usr|var)|/(dev|proc|sys)(/.*)?")
_ONLY_FOR_ONE_BUILD = ("/run/secrets", "/tmp/.s2i")  # noqa: S108  (secrets; what assemble says of the image)


def caches_of(request: BuildRequest, tree: Tree, builder: Builder, emit: Emit) -> tuple[Cache, ...]:
    """The directories of downloads that the next build of this app finds again; a volume of the user's counts more."""
    whose = whose_downloads(request, tree)
    if not request.cache or not whose:
        return ()
    targets = [each for each in dict.fromkeys((*builder.caches, *request.caches)) if _is_free(each, request)]
    if len(targets) > _MOST:
        raise LimitReached(f"{len(targets)} caches are asked for; the limit is {_MOST}", hint=_ELSEWHERE)
    for target in targets:
        _refuse_cache(target, builder)
    app = request.app or _address(request.source)
    kept = [target for target in targets if not _is_injected_into(target, request, builder, emit)]
    return tuple(cache_of(app, builder.image, target, whose=whose) for target in kept)


def _is_free(target: str, request: BuildRequest) -> bool:
    return not any(is_below(target, volume.target) for volume in request.confinement.volumes)


def _is_injected_into(target: str, request: BuildRequest, builder: Builder, emit: Emit) -> bool:
    """Whether a file that may hold a secret is put there: it could be kept, if its build is killed."""
    for injection in request.injections:
        place = posixpath.normpath(posixpath.join(builder.facts.workdir or "/", injection.target))
        if is_below(place, target):
            text = f"{injection.source.name} is injected there, and may not stay"
            emit(Notice(text=f"the downloads at {target} are not used: {text}", level="warning"))
            return True
    return False


def whose_downloads(request: BuildRequest, tree: Tree) -> str:
    """The one who uses what his builds download: an app, by its name and by where it comes from.

    The name alone would not do: the s2i.yaml of any source that was cloned may say that it is the shop. "" for a
    source of which nobody knows whether it comes again.
    """
    source = request.source
    if not request.app:
        return _address(source)
    is_clone = tree.location != source.location  # wherever it lies: its own server's address is the same
    return f"{request.app}\0{_address(replace(source, location=tree.location, path=None) if is_clone else source)}"


def _address(source: Source) -> str:
    """What an app goes by that has no name; "" for a source of which nobody knows whether it comes again."""
    if source.kind == "stdin":
        return ""
    address = posixpath.normpath(source.path) if source.path else source.location
    return f"{address}:{source.context_dir}" if source.context_dir else str(address)


def configured(request: BuildRequest, build: BuildConfig) -> BuildRequest:
    """The request with what s2i.yaml says of caches."""
    caches = build.cache if isinstance(build.cache, tuple) else ()
    return replace(request, cache=build.cache is not False, caches=caches)


def cache_of(app: str, builder: str, target: str, *, whose: str) -> Cache:
    """A cache belongs to one app and one version of a builder: what another version keeps there may be of no use to it.

    Of a builder that is named by its digest the name counts: its next digest shall find what this one has left.
    """
    maker = canonical(str(replace(Reference.parse(builder), digest="")))
    key = hashlib.sha256(f"{whose}\0{maker}\0{target}".encode(errors="surrogateescape")).hexdigest()
    return Cache(app=app, builder=maker, target=target, name=f"s2ictl-cache-{key[:32]}")


def check(request: BuildRequest) -> None:
    """Refuse what can be no cache in any image."""
    for target in request.caches:
        if why := _why_nowhere(target):
            raise InvalidUsage(f"{target[:80]} cannot be a cache: {why}", hint=_ELSEWHERE)


def _refuse_cache(target: str, builder: Builder) -> None:
    if not (why := _why_not(target, builder)):
        return
    is_promised = target in builder.caches
    error: type[S2IError] = PullBuilderImageFailed if is_promised else InvalidUsage
    detail = f"{builder.image} asks for it in its label {CACHES}" if is_promised else ""
    raise error(f"{target[:80]} cannot be a cache: {why}", detail=detail, hint=_ELSEWHERE)


def _why_not(target: str, builder: Builder) -> str:
    """What would come of it; "" for nothing bad."""
    for name in OWN_PLACES:
        if _is_at(target, place := f"{builder.destination}/{name}"):
            return f"{place} comes and goes with each build"
    for place in filter(None, (builder.scripts, builder.facts.workdir.rstrip("/"))):
        if is_below(place, target):
            return f"the next build would not see what {builder.image} has at {place}"
    return _why_nowhere(target)


def _why_nowhere(target: str) -> str:
    """The same, in whatever image."""
    if _OF_THE_SYSTEM.fullmatch(target):
        return "it is a whole branch of the system"
    place = next((place for place in _ONLY_FOR_ONE_BUILD if _is_at(target, place)), "")
    return f"what lies at {place} is for one build alone" if place else ""


def _is_at(target: str, place: str) -> bool:
    return is_below(place, target) or is_below(target, place)
