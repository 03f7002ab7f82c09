"""META-INF/MANIFEST.MF, and the other small texts by which a jar or a war says what it is.

They are somebody else's text: only what has the form that is expected comes out of here, and never a line end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from s2ictl.expressions import expression
from s2ictl.models import Servlet

_LINE_END = expression(rb"\r\n|\r|\n")
_CLASS = expression(r"[\w$]+(?:\.[\w$]+)*", re.UNICODE)
_VERSION = expression(r"[0-9][0-9A-Za-z.+_-]{0,63}")
_LAYER = expression(r"^- \"([A-Za-z0-9][A-Za-z0-9 ._-]{0,63})\":[ \t]*\r?$", re.MULTILINE)
_LAYERED = expression(r"^ +- \"([^\"\r\n]{1,4096})\"[ \t]*\r?$", re.MULTILINE)
_MOST_LAYERS, _MOST_BESIDE, _LONGEST_CLASS = 32, 512, 512
_SINCE: tuple[tuple[bytes, Servlet], ...] = (
    (rb"https?://jakarta\.ee/xml/ns/jakartaee", "jakarta"),
    (rb"https?://(?:xmlns\.jcp\.org/xml/ns/javaee|java\.sun\.com/(?:xml/ns/j(?:2|ava)ee|dtd/web-app))", "javax"),
)
_DESCRIPTOR = expression(rb"<web-app\b([^>]{0,4096})")
_DESCRIPTOR_VERSION = expression(rb"\bversion\s{0,9}=\s{0,9}[\"']([0-9]\.[0-9])[\"']")


def parse_manifest(content: bytes) -> Mapping[str, str]:
    """The main section, names in lower case: a line that begins with a blank goes on with the one before it."""
    lines: list[list[bytes]] = []  # each of the pieces that it is folded into, which may be hundreds of thousands
    for line in _LINE_END.split(content):
        if not line:
            if lines:
                break
        elif line.startswith(b" ") and lines:
            lines[-1].append(line[1:])
        else:
            lines.append([line])
    pairs = (b"".join(pieces).decode(errors="replace").partition(":") for pieces in lines)
    return {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}


def class_in(manifest: Mapping[str, str], *names: str) -> str:
    """The first of these that names a class."""
    found = (manifest.get(name, "") for name in names)
    return next((name for name in found if len(name) <= _LONGEST_CLASS and _CLASS.fullmatch(name)), "")


def version_in(manifest: Mapping[str, str], name: str) -> str:
    version = manifest.get(name, "")
    return version if _VERSION.fullmatch(version) else ""


def beside_in(manifest: Mapping[str, str]) -> tuple[str, ...]:
    """The files that the class path names beside the jar; addresses and absolute paths are nothing of ours."""
    words = manifest.get("class-path", "").split()[:_MOST_BESIDE]
    return tuple(word for word in words if ":" not in word and not word.startswith("/") and word.isprintable())


def layers_in(index: bytes) -> tuple[str, ...]:
    """The names in Spring Boot's index of layers, in its order."""
    return tuple(name for name, _ in layered_by(index))


def layered_by(index: bytes) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The same with what belongs to each: files by their paths, and directories, which end with a slash."""
    _, *pieces = _LAYER.split(index.decode(errors="replace"), _MOST_LAYERS)
    return tuple((name, tuple(_LAYERED.findall(body))) for name, body in zip(pieces[::2], pieces[1::2], strict=True))


def servlet_in(descriptor: bytes) -> tuple[Servlet | None, str]:
    """For which servlets a web.xml is written, and its version; it is never parsed, only looked at."""
    found = next((servlet for pattern, servlet in _SINCE if re.search(pattern, descriptor)), None)
    versions = map(_DESCRIPTOR_VERSION.search, _DESCRIPTOR.findall(descriptor))
    version = next(filter(None, versions), None)
    return found, version[1].decode() if version else ""
