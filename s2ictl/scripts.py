"""Where each script of the contract comes from: the place that the user names, the source's own, the image's own.

Each is looked for alone, and the first place that has it wins, so that a source can bring a single one. What is in an
image cannot be seen from here: a place in it is taken to have them all, and the engine looks before it starts.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path

from s2ictl.addresses import is_loopback, origin_of, shown, split
from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized, InvalidUsage, LimitReached, Refused
from s2ictl.events import Emit, Notice, step
from s2ictl.models import Tree, parse_place
from s2ictl.values import dataclass

Download = Callable[[str, Emit], bytes | None]
"""The bytes behind an address; None when there is nothing."""

NAMES = ("dependencies", "assemble", "run", "save-artifacts", "assemble-runtime")
_PLACE, _OLD_PLACE = ".s2i/bin", ".sti/bin"
_LARGEST = 1 << 20
_MOST_HOPS = 40
_FORMS = "scripts lie at image:///DIR, file:///DIR or https://HOST/DIR"
_ABSENT = frozenset({403, 404, 410})  # some stores forbid what they do not have


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One that can be brought into a container; `moved` is its place in the source, where it then is no more."""

    name: str
    content: bytes
    moved: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripts:
    """What is brought, by the user or the source; `place` is the directory in the builder that the user named."""

    brought: tuple[Script, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a script is in the container, and whether it is the image's own."""

    path: str
    own: bool


def locate(name: str, scripts: Scripts, *, destination: str, own: str) -> Located | None:
    """The first place that has the script; `own` is the image's directory of scripts, "" for none."""
    if not scripts.place and any(script.name == name for script in scripts.brought):
        return Located(path=f"{destination}/scripts/{name}", own=False)
    place = scripts.place or own
    return Located(path=f"{place}/{name}", own=True) if place else None


def collect(url: str, tree: Tree, *, download: Download, emit: Emit) -> Scripts:
    """What the user's place (as `parse_url` gives it) and the source have, each script from the first that has it."""
    given = _given(url, download, emit)
    of_source = {name: script for name in NAMES if (script := _of_source(name, tree, emit)) is not None}
    chosen = {**of_source, **given}
    place = url.removeprefix("image://") if url.startswith("image://") else ""
    return Scripts(brought=tuple(chosen[name] for name in NAMES if name in chosen), place=place)


# ------------------------------------------------------------------------------------------- the place that is named


def parse_url(text: str, *, allow_http: bool, cwd: Path) -> str:
    """Read `--scripts-url`; a path that is not absolute begins at `cwd`. Nothing is contacted."""
    scheme, separator, rest = text.partition("://")
    match scheme.lower() if separator else "":
        case "image":
            return f"image://{parse_place(rest)}"
        case "file" if rest:
            return f"file://{cwd / rest}"
        case "https" | "http":
            return _web(text, allow_http=allow_http)
    raise InvalidUsage(f"{shown(text)[:200] if separator else text[:200]!r} is no place of scripts", hint=_FORMS)


def _web(text: str, *, allow_http: bool) -> str:
    parts = split(text)
    if not parts.hostname or origin_of(text)[2] < 1 or " " in text or not text.isprintable():
        # What cannot be taken apart cannot be shown without the login that may be in it.
        subject = shown(text)[:200] if parts.netloc else "the place of the scripts"
        raise InvalidUsage(f"{subject} names no host", hint=_FORMS)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise Refused(
            f"{shown(text)[:200]} has a login or a query: it would be kept in the image's labels",
            hint="fetch the scripts yourself, and name their directory: --scripts-url file:///DIR",
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise Refused(f"{shown(text)[:200]} is plain http: anybody between could change a script", hint="--allow-http")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _given(url: str, download: Download, emit: Emit) -> Mapping[str, Script]:
    scheme = url.partition("://")[0]
    if scheme not in ("file", "http", "https"):
        return {}
    if scheme == "file":
        contents = {name: _on_disk(Path(url.removeprefix("file://")) / name) for name in NAMES}
    else:
        with step("fetch scripts", url, emit):
            contents = {name: _fetched(f"{url}/{name}", download, emit) for name in NAMES}
    found = {name: content for name, content in contents.items() if content is not None}
    if not found:
        raise FetchSourceFailed(
            f"there is no script at {url}", detail=f"looked there for {', '.join(NAMES)}", hint="check --scripts-url"
        )
    emit(Notice(text=f"{', '.join(found)} from {url}"))
    return {name: Script(name=name, content=unix_lines(name, found[name], emit)) for name in found}


def _on_disk(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise FetchSourceFailed(f"the script {path} could not be read", detail=error.strerror or "") from error
    if len(content) > _LARGEST:
        raise LimitReached(f"the script {path} is larger than {_LARGEST} bytes")
    return content


def _fetched(url: str, download: Download, emit: Emit) -> bytes | None:
    content = download(url, emit)
    if content is not None and content[:200].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise FetchSourceFailed(f"{url} is a page of the web, not a script", hint="name the address of the bare files")
    return content


def download(url: str, emit: Emit, *, environ: Mapping[str, str], ca_bundle: Path | None) -> bytes | None:
    """A script by http, of at most a megabyte; None when the host has none there."""
    from s2ictl.transport import Transport

    with Transport(environ, emit=emit, ca_bundle=ca_bundle) as transport:
        answer = transport.request("GET", url, limit=_LARGEST)
    if answer.status in (200, 201):
        return answer.body
    if answer.status in _ABSENT:
        return None
    failure = FetchSourceUnauthorized if answer.status == 401 else FetchSourceFailed
    raise failure(f"the script {shown(url)} could not be had", detail=f"the answer was {answer.status}")


# ------------------------------------------------------------------------------------------------ the source's own


def _of_source(name: str, tree: Tree, emit: Emit) -> Script | None:
    for place in (_PLACE, _OLD_PLACE):
        path = f"{place}/{name}"
        file = file_at(path, tree)
        if file is None:
            continue
        if place == _OLD_PLACE:
            emit(Notice(text=f"{path} is taken, but its place has another name now: {_PLACE}", level="warning"))
        moved = path if path in tree.links or path == file else ""
        return Script(name=name, content=unix_lines(path, tree.read(file), emit), moved=moved)
    return None


def file_at(path: str, tree: Tree) -> str | None:
    """The file that a path of the source means, through links that stay in it; None when there is none."""
    done: list[str] = []
    ahead = path.split("/")[::-1]
    hops = 0
    while ahead:
        part = ahead.pop()
        if part == ".." and not done:
            raise Refused(f"{path} leads out of the source", detail="it is followed only to files of the source")
        done = done[:-1] if part == ".." else [*done, part] if part not in ("", ".") else done
        target = tree.links.get("/".join(done))
        if part in ("", ".", "..") or target is None:
            continue
        hops += 1
        if target.startswith("/") or hops > _MOST_HOPS:
            raise Refused(f"{path} leads to {target[:100]!r}, which is no file of the source")
        done.pop()
        ahead.extend(target.split("/")[::-1])
    return _file(path, "/".join(done), tree, through_link=hops > 0)


def _file(path: str, end: str, tree: Tree, *, through_link: bool) -> str | None:
    if end and _next(end, tree) == end:
        return end
    if through_link and path in tree.links:
        raise FetchSourceFailed(f"{path} is a link to {end or '.'}, which is no file of the source")
    if _next(f"{end}/", tree).startswith(f"{end}/"):
        raise FetchSourceFailed(f"{path} is a directory, where a file is looked for", hint="rename it, or leave it out")
    return None


def _next(path: str, tree: Tree) -> str:
    """The first file that does not stand before this path; they are in the order of their bytes, and may be many."""
    index = bisect_left(tree.paths, os.fsencode(path), key=os.fsencode)
    return tree.paths[index] if index < len(tree.paths) else ""


def unix_lines(name: str, script: bytes, emit: Emit) -> bytes:
    """The script as an interpreter reads it: a first line that ends in CR LF names a program nobody has."""
    if not script.partition(b"\n")[0].endswith(b"\r"):
        return script
    emit(Notice(text=f"{name} has Windows line ends; they are made Unix ones in the upload", level="warning"))
    return script.replace(b"\r\n", b"\n")
