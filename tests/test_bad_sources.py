"""Bad sources, by the same table as the other bad inputs: their code, one clear line, and nothing read, made or left.

No engine is asked: `detect` fetches as `build` does and then only looks.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.test_bad_inputs import FIFO, NO_REF, Bad, bad, check

HELPER = "runs a program of this machine, and is never a source (Refused)"
SCHEME = "is not a scheme for sources (InvalidUsage)"
ADDRESS = "is not an address of a source (InvalidUsage)"
HOST = "does not name a host (InvalidUsage)"
ODD = "has a space, a backslash or a line end in it (InvalidUsage)"
QUERY = "has a query: a secret in query would be kept in image and logs (Refused)"
WINDOWS = "is a path of Windows (InvalidUsage)"
CLIMBS = "leads out of the source (InvalidUsage)"
NO_CONTEXT = "is no directory of HERE (InvalidContextDirectory)"
NO_USER = "the user in the address is not a name that ssh takes (InvalidUsage)"
PLAIN = "is plain http: anybody between could change the source (Refused)"
NO_SUM = "#sha256= is not followed by 64 hexadecimal digits (InvalidUsage)"
PATTERN = "is not a pattern (InvalidConfiguration)"


def typed(row: str, status: int, cases: dict[str, str]) -> list[Bad]:
    """Each of these typed as the source."""
    return [bad(row, "detect", text, status=status, says=says) for text, says in cases.items()]


ADDRESSES = [
    *typed("B8", 12, {f"{helper}::x": f"{helper}:: {HELPER}" for helper in ("fd", "EXT", "transport", "a-b+c.d")}),
    *typed("B11", 2, {f"{name}://h/x": f"{name}:// {SCHEME}" for name in ("svn", "gopher", "rsync", "git+ssh", "ws")}),
    *typed("B11", 2, {text: f"{text!r} {ADDRESS}" for text in ("data:text/plain,x", "HTTPS:h/x", ":x", "mailto:x")}),
    *typed(
        "B15", 2, {f"https://h:{port}/x": f"https://h:{port}/x names port {port} (InvalidUsage)" for port in (0, 70000)}
    ),
    *typed(
        "B15",
        2,
        {
            f"https://{host}/x": f"https://{host}/x {HOST}"
            for host in ("", "h:x", "h:-1", "[]", "[g::1]", "[fe80::1%25eth0]", ".h", "h-", "-h", "a\uff0fb")
        },
    ),
    *typed("B15", 2, {f"https://h/{path}": f"https://h/{path} {ODD}" for path in ("%0ax", "%00", "%1B[2J", "a\\b")}),
    *typed("B15", 2, {"https://h\\@e/x": f"https://e/x {ODD}", "https://u:canary%0a@h/x": f"https://h/x {ODD}"}),
    *typed("B13", 12, {f"https://{user}h/x?a=canary": f"https://h/x {QUERY}" for user in ("", "u:canary@")}),
    *typed("B13", 12, {"https://h/x?": f"https://h/x {QUERY}", "ssh://h/x?x": f"ssh://h/x {QUERY}"}),
    *typed("B17", 2, dict.fromkeys(("ssh://-x@h/x", "@h:x", "u%x@h:x"), NO_USER)),
    *typed("B17", 2, {f"ssh://h{path}": f"ssh://h{path} names no repository (InvalidUsage)" for path in ("", "/")}),
    *typed("B17", 2, {"ssh://u:canary@h/x": "ssh://h/x has a password in it, which ssh does not take (InvalidUsage)"}),
    *typed("B17", 2, {f"u@{text}": f"{text!r} {ADDRESS}" for text in ("h:", "h:-x", "h: x")}),
    *typed("B18", 2, {"u@h:22:x": "'u@h:22:x' has two colons (InvalidUsage)", "[::1:x": f"[::1:x {HOST}"}),
    *typed("B18", 2, {text: f"{text!r} {WINDOWS}" for text in ("D:x", "d:/x", "C:", "c:\\x")}),
    *typed(
        "B10",
        12,
        {f"http://{host}/x": f"http://{host}/x {PLAIN}" for host in ("h", "10.0.0.1", "[::2]", "localhost.a")},
    ),
    *typed("B10", 12, {"HTTP://127.0.0.1.a/x.tar": f"http://127.0.0.1.a/x.tar {PLAIN}"}),
    *typed("B9", 2, {"file://": "file:// names no path (InvalidUsage)"}),
    *typed(
        "B9", 2, {f"file://{host}/x": f"file://{host}/x names another machine (InvalidUsage)" for host in ("h", "..")}
    ),
    *typed(
        "B31",
        5,
        {path: f"the source {path} could not be read (FetchSourceFailed)" for path in ("/dev/null", "/dev/zero")},
    ),
    *typed("B67", 2, {f"a.tar#sha256={digest}": NO_SUM for digest in ("", "abc", "g" * 64, "a" * 63, "a" * 65)}),
    *typed(
        "B67",
        2,
        {
            f"{at}#sha256={'A' * 64}": f"{at} is no archive, so it has no checksum (InvalidUsage)"
            for at in (".", "g@h:x")
        },
    ),
    *typed("B6", 2, {"x" * 5000: "the artifact is longer than 4096 characters (InvalidUsage)"}),
    *typed("B4", 2, {"a\x85b": "the artifact has a control character at position 2 (InvalidUsage)"}),
]

REFS = [
    bad("B22", "detect", "--ref", ref, status=2, says=f"{ref!r} {NO_REF}")
    for ref in (
        *("-b", "HEAD^{/x}", "refs/../x", "x.lock", "x ", "x~1", "a:b", "a?", "a*", "a[", "a\\b", "/a", "a/", "a."),
        *(".a", "a//b", "@", "a@{u}", "a^", "a/.b", "a.lock/b"),
    )
]

CONTEXTS = [
    *(
        bad("B26", "detect", "--context-dir", place, status=2, says=f"--context-dir {place} {CLIMBS}")
        for place in ("..", "a/..", "a/../..", "./../x", "/../etc")
    ),
    *(
        bad(
            "B26",
            *("detect", "--context-dir", place),
            status=5,
            says=f"the context directory {place} belongs to git and is never part of the source"
            " (InvalidContextDirectory)",
        )
        for place in ("/.git", "a/.GIT/b")
    ),
    *(
        Bad(
            row="B26",
            words=("detect", "--context-dir", place),
            status=5,
            says=f"the context directory {place} {NO_CONTEXT}",
            files={"file": "x", "link": Path("/etc")},
        )
        for place in ("file", "file/x", "link", "link/ssl", "missing/x")
    ),
]


def ignoring(content: str | Path | None, says: str) -> Bad:
    return Bad(row="B41", words=("detect",), status=3, says=says, files={"app.py": "", ".s2iignore": content})


IGNORED = [
    *(
        ignoring(f"ok\n{line}\n", f".s2iignore:2: {line} leads out of the source (InvalidConfiguration)")
        for line in ("../x", "!../x", "a/../b", "/..", "../")
    ),
    *(
        ignoring(f"ok\n{line}\n", f".s2iignore:2: {line} {PATTERN}")
        for line in ("!", "!/", "[a", "a\\", "a//b", "a***b", "x**/y")
    ),
    ignoring("[[:x:]]", ".s2iignore:1: [[:x:]] has [ or / in a class of characters (InvalidConfiguration)"),
    ignoring("x\0", ".s2iignore:1: not a text (InvalidConfiguration)"),
    ignoring("x" * 5000, f".s2iignore:1: {'x' * 80} is longer than 4096 characters (InvalidConfiguration)"),
    ignoring("a\n" * 1001, ".s2iignore:1001: more than 1000 patterns (InvalidConfiguration)"),
    ignoring("\n" * 10_001, ".s2iignore:10001: more than 10000 lines (InvalidConfiguration)"),
    ignoring("x" * (2 << 20), ".s2iignore is larger than 1048576 bytes (InvalidConfiguration)"),
    ignoring(FIFO, ".s2iignore is not a file (InvalidConfiguration)"),
    ignoring(Path("/etc/passwd"), ".s2iignore is not a file (InvalidConfiguration)"),
    Bad(row="B31", words=("detect",), status=12, says="pipe is a fifo (Refused)", files={"pipe": FIFO}),
    Bad(
        row="B31",
        words=("detect", "pipe"),
        status=5,
        says="the source HERE/pipe could not be read (FetchSourceFailed)",
        files={"pipe": FIFO},
    ),
]


def tar(*members: tuple[str, bytes, bytes | str]) -> bytes:
    """A tar of names, kinds, and contents or where they lead."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if isinstance(content, str):
                entry.linkname = content
            else:
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def packed(content: bytes, status: int, says: str) -> Bad:
    return Bad(row="B65", words=("detect", "a.zip"), status=status, says=says, files={"a.zip": content})


FILE, DIRECTORY, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
ONE = tar(("a", FILE, b"1"))
OUT = "in a.zip leads out of the archive (Refused)"
NONE = "in a.zip leads to no file before it (Refused)"
UNREADABLE = "a.zip is no archive that can be read:"

ARCHIVES = [
    *(packed(tar((name, FILE, b"x")), 12, f"{name} {OUT}") for name in ("../x", "/etc/x", "a/../../x", "./../x")),
    *(packed(tar(("h", HARD, to)), 12, f"{to} {OUT}") for to in ("../../etc/passwd", "/etc/passwd")),
    *(packed(tar(("h", HARD, to)), 12, f"the hard link h {NONE}") for to in ("gone", "h", "etc/passwd")),
    *(
        packed(tar(("d", kind, b"")), 12, f"d in a.zip is a {what} (Refused)")
        for kind, what in (
            (tarfile.CHRTYPE, "character device"),
            (tarfile.BLKTYPE, "block device"),
            (tarfile.FIFOTYPE, "fifo"),
        )
    ),
    *(
        packed(tar(("l", LINK, to), ("l/x", FILE, b"x")), 12, "l/x in a.zip would be written through a link (Refused)")
        for to in ("/tmp", ".", "..", "d")
    ),
    packed(tar(("a", FILE, b"1"), ("a", FILE, b"2")), 12, "a stands twice in a.zip (Refused)"),
    packed(tar(("a", FILE, b"1"), ("a/b", FILE, b"2")), 12, "a/b in a.zip lies below a file (Refused)"),
    packed(
        tar(("a", FILE, b""), ("a", DIRECTORY, b"")), 12, "a in a.zip is both a directory and something else (Refused)"
    ),
    packed(ONE + b"tail" * 200, 12, "a.zip goes on behind its end (Refused)"),
    packed(ONE[:700], 5, "a.zip is not a whole tar archive (FetchSourceFailed)"),
    packed(bytes(10240), 5, "a.zip holds nothing (FetchSourceFailed)"),
    packed(tar(("n" * 40_000, FILE, b"1")), 11, "a.zip has a name of more than 32768 bytes (LimitReached)"),
    packed(tar(("d/" * 300 + "f", FILE, b"")), 11, "a path in a.zip has more than 256 directories (LimitReached)"),
    packed(
        tar(("META-INF/MANIFEST.MF", FILE, b"")), 5, "a.zip is no source but a finished artifact (FetchSourceFailed)"
    ),
    *(
        packed(zipped(name, b"x"), 12, f"{name} in HERE/a.zip leads out of the archive (Refused)")
        for name in ("../x", "/etc/x", "a/../../x")
    ),
    packed(zipped("a\\..\\x", b"x"), 12, "a\\..\\x in HERE/a.zip has a backslash in its name (Refused)"),
    packed(
        zipped("a", b"x" * 5000)[:60],
        5,
        "HERE/a.zip is cut short: it begins as a zip, and has no directory at its end (InvalidArtifact)",
    ),
    packed(zipped("a", b"x") + b"x", 12, "HERE/a.zip goes on behind its end (Refused)"),
    packed(b"PK\3\4" + zipped("a", b"x"), 12, "HERE/a.zip has something before its first file (Refused)"),
    packed(gzip.compress(gzip.compress(ONE)), 5, f"{UNREADABLE} it is packed twice (FetchSourceFailed)"),
    packed(gzip.compress(b"hello"), 5, f"{UNREADABLE} what is packed in it is no tar (FetchSourceFailed)"),
    packed(gzip.compress(ONE)[:-20], 5, "a.zip is damaged (FetchSourceFailed)"),
    packed(
        gzip.compress(ONE + bytes(20 << 20), 1),
        11,
        "a.zip goes on for more than 16777216 bytes behind its end (LimitReached)",
    ),
    *(
        packed(content, 5, f"{UNREADABLE} it is {what} (FetchSourceFailed)")
        for content, what in (
            (b"<!doctype html>x", "an HTML or XML page"),
            (b"\x28\xb5\x2f\xfd" + bytes(99), "packed by zstd"),
            (gzip.compress(gzip.compress(ONE)), "packed twice"),
            (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
            (b"Rar!\x1a", "a rar archive"),
            (b"\x04\x22\x4d\x18", "packed by lz4"),
            (b"", "empty"),
        )
    ),
    packed(b"\x7fELF" + bytes(600), 5, "HERE/a.zip has a broken ELF header (InvalidArtifact)"),
    packed(b"hello", 5, f"{UNREADABLE} its content is of no kind that is known here (FetchSourceFailed)"),
]

NO_PLACE = "is not the path of a directory in an image (InvalidUsage)"
LOGIN = "has a login or a query: it would be kept in the image's labels (Refused)"
NO_TEXT = "is no text in UTF-8 (InvalidUsage)"
NO_FILE = "is not readable: No such file or directory (InvalidUsage)"
NO_PAIR = "is not NAME=VALUE (InvalidUsage)"


def scripts(place: str, status: int, says: str) -> Bad:
    return bad("B69", "build", ".", "b", "-s", place, status=status, says=says)


def file_of(words: tuple[str, ...], says: str) -> Bad:
    """A flag that names a file: a pipe nobody writes to, a directory, bytes that are no text, one without an end."""
    files = {"pipe": FIFO, "bytes": b"\xffcanary", "app.py": ""}
    return Bad(row="B43", words=("build", ".", "b", *words), status=2, says=says, files=files)


FLAGS = [
    *(scripts(f"image://{place}", 2, f"{place!r} {NO_PLACE}") for place in ("", "x", "/x/../y", "/", "/x;id", "/a b")),
    *(
        scripts(f"https://{there}", 12, f"https://h/x {LOGIN}")
        for there in ("u:canary@h/x", "h/x?token=canary", "h/x#y")
    ),
    *(
        scripts(f"https://{there}", 2, f"https://{there} names no host (InvalidUsage)")
        for there in ("h:99999/", "h/a b")
    ),
    *(scripts(text, 2, f"{text!r} is no place of scripts (InvalidUsage)") for text in ("ftp://h", "x", "file://")),
    scripts("https://[::1", 2, "the place of the scripts names no host (InvalidUsage)"),
    *(
        file_of((*first, flag, name), f"{flag} {name} {says}")
        for flag, first in (("--environment-file", ()), ("--git-password-file", ("--git-username", "u")))
        for name, says in (
            ("bytes", NO_TEXT),
            (".", "is not readable: Is a directory (InvalidUsage)"),
            ("gone", NO_FILE),
            ("app.py/x", "is not readable: Not a directory (InvalidUsage)"),
        )
    ),
    file_of(("-E", "/dev/zero"), "--environment-file /dev/zero has more than 10000000 bytes (InvalidUsage)"),
    *(
        bad("B44", "build", ".", "b", "-e", f"{name}=x", status=2, says=f"--env {name!r} {NO_PAIR}")
        for name in ("A B", "A-B", "", "A.B", "\u00e9")
    ),
    *(
        bad("B44", "build", ".", "b", "--build-env", f"{name}=x", status=2, says=f"--build-env {name!r} {NO_PAIR}")
        for name in ("A B", "", "1")
    ),
]


@pytest.mark.parametrize(
    "given",
    [*ADDRESSES, *REFS, *CONTEXTS, *IGNORED, *ARCHIVES, *FLAGS],
    ids=lambda given: f"{given.row} {ascii(given.says)[1:60]}",
)
def test_a_bad_source_has_its_code_and_one_clear_line_and_leaves_nothing(given: Bad, tmp_path: Path) -> None:
    check(given, tmp_path)
