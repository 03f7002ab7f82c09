"""META-INF/MANIFEST.MF, and the other small texts by which a jar or a war says what it is.

They are somebody else's text: only what has the form that is expected comes out of here, and never a line end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from s2ictl.models import Servlet

_LINE_END = re.compile(rb"\r\n|\r|\n")
_CLASS = re.compile(r"[\w$]+(?:\.[\w$]+)*", re.UNICODE)
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+_-]{0,63}")
_LAYER = re.compile(r"^- \"([A-Za-z0-9][A-Za-z0-9 ._-]{0,63})\":[ \t]*\r?$", re.MULTILINE)
_MOST_LAYERS, _MOST_BESIDE, _LONGEST_CLASS = 32, 512, 512
_SINCE: tuple[tuple[bytes, Servlet], ...] = (
    (rb"https?://jakarta\.ee/xml/ns/jakartaee", "jakarta"),
    (rb"https?://(?:xmlns\.jcp\.org/xml/ns/javaee|java\.sun\.com/(?:xml/ns/j(?:2|ava)ee|dtd/web-app))", "javax"),
)
_DESCRIPTOR_VERSION = re.compile(rb"<web-app\b[^>]*?\bversion\s*=\s*[\"']([0-9]\.[0-9])[\"']")


def parse_manifest(content: bytes) -> Mapping[str, str]:
    """The main section, names in lower case: a line that begins with a blank goes on with the one before it."""
    lines: list[bytes] = []
    for line in _LINE_END.split(content):
        if not line:
            if lines:
                break
        elif line.startswith(b" ") and lines:
            lines[-1] += line[1:]
        else:
            lines.append(line)
    pairs = (line.decode(errors="replace").partition(":") for line in lines)
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
    return tuple(_LAYER.findall(index.decode(errors="replace"))[:_MOST_LAYERS])


def servlet_in(descriptor: bytes) -> tuple[Servlet | None, str]:
    """For which servlets a web.xml is written, and its version; it is never parsed, only looked at."""
    found = next((servlet for pattern, servlet in _SINCE if re.search(pattern, descriptor)), None)
    version = _DESCRIPTOR_VERSION.search(descriptor)
    return found, version[1].decode() if version else ""
