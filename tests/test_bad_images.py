"""Bad names of images, bad logins and bad artifacts, by the same table as the other bad inputs.

Names and artifacts are refused before anybody is asked for anything; of a login nothing is repeated that stands in it.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.cli import shell
from tests.test_bad_inputs import DIGEST, FORM, Bad, artifact, bad, check

NO_CHOICE = "names a digest, which cannot be chosen: it follows from the content (InvalidUsage)"
CLASS = b"\xca\xfe\xba\xbe\x00\x00\x00\x37" + bytes(100)


def named(row: str, *names: str, says: str) -> list[Bad]:
    """Each of these as the name of a result, wherever one is chosen."""
    return [
        bad(row, *words, f"--tag={name}", status=2, says=f"{name!r} {says}")
        for name in names
        for words in (("build", ".", "b"), ("b2i", "app", "--push"))
    ]


NAMES = [
    *named("B47", "a:-x", "a b", "../a", "a/../b", "a::1", "-a", ":1", "a/", "a:1:2", "É", says=FORM),
    *named("B47", f"a@sha256:{DIGEST}:1", f"a@sha512:{DIGEST}", says=FORM),
    *named("B48", "https://r.io/x", "r.io/x:tag/extra", "r.io:/x", says=FORM),
    *named("B48", "localhost:70000/x", says="names port 70000 (InvalidUsage)"),
    *named("B48", "r.io:0/x", says="names port 0 (InvalidUsage)"),
    bad("B47", "b2i", "app", "-t", f"a:1@sha256:{DIGEST}", status=2, says=f"a:1@sha256:{DIGEST} {NO_CHOICE}"),
    bad("B47", "push", "Upper", status=2, says=f"'Upper' {FORM}"),
    bad("B50", "push", "a", status=12, says="a:latest names no registry to push to (Refused)"),
    bad("B50", "b2i", "app", "-t", "a", "--push", status=12, says="a:latest names no registry to push to (Refused)"),
]


def packed(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


JAR = packed(("META-INF/MANIFEST.MF", b"Main-Class: A\n"), ("A.class", CLASS))


def locked(content: bytes) -> bytes:
    """The same archive, with every member said to be encrypted."""
    spoiled = bytearray(content)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = spoiled.find(mark)
        while at >= 0:
            spoiled[at + flags] |= 1
            at = spoiled.find(mark, at + 4)
    return bytes(spoiled)


def looked_at(row: str, content: bytes, says: str, status: int) -> Bad:
    return Bad(row=row, words=("detect", "app.jar"), status=status, says=says, files={"app.jar": content})


ARTIFACTS = [
    artifact(
        "B64",
        b"<html><body>504 Gateway Timeout</body></html>",
        "HERE/app is no jar, war or program: it is an HTML or XML page, as a failed download leaves it "
        "(InvalidArtifact)",
    ),
    artifact(
        "B64",
        JAR[:-30],
        "HERE/app is cut short: it begins as a zip, and has no directory at its end (InvalidArtifact)",
    ),
    artifact("B64", locked(JAR), "META-INF/MANIFEST.MF in HERE/app is encrypted (InvalidArtifact)"),
    looked_at("B64", b"\x7fELF" + JAR, "HERE/app.jar has a broken ELF header (InvalidArtifact)", 5),
    looked_at(
        "B64",
        b"GIF89a" + JAR,
        "HERE/app.jar is no jar, war or program: its content is of no kind that is known here (InvalidArtifact)",
        5,
    ),
    Bad(
        row="B64",
        words=("b2i", "./x.war\n", "--to", "oci:out"),
        status=2,
        says="'./x.war'… has a control character at position 8 (InvalidUsage)",
        files={"x.war\n": JAR},
    ),
    looked_at(
        "T18",
        packed(("A.class", bytes(50 << 20))),
        "HERE/app.jar grows to more than 200 times its size (LimitReached)",
        11,
    ),
    looked_at(
        "T17", packed(("../../A.class", CLASS)), "../../A.class in HERE/app.jar leads out of the archive (Refused)", 12
    ),
    bad(
        "B67",
        *("b2i", "http://h/x.jar", "--to", "oci:out"),
        status=12,
        says="http://h/x.jar is plain http: anybody between could change the source (Refused)",
    ),
    bad(
        "B67",
        *("b2i", "https://h/x.jar#sha256=abc", "--to", "oci:out"),
        status=2,
        says="#sha256= is not followed by 64 hexadecimal digits (InvalidUsage)",
    ),
]


@pytest.mark.parametrize(
    "given", [*NAMES, *ARTIFACTS], ids=lambda given: f"{given.row} {ascii(' '.join(given.words))[1:60]}"
)
def test_a_bad_name_or_artifact_has_its_code_and_one_clear_line_and_leaves_nothing(given: Bad, tmp_path: Path) -> None:
    check(given, tmp_path)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ("{canary", "config.json"),
        ('["canary"]', "config.json"),
        ('{"auths": {"r.io": {"auth": "%canary%"}}}', 'auths → "r.io"'),
        ('{"auths": {"r.io": {"auth": "Y2FuYXJ5"}}}', 'auths → "r.io"'),
        ('{"credsStore": "../canary-program"}', "credsStore"),
        ('{"credHelpers": {"r.io": "not-there"}}', 'credHelpers → "not-there"'),
    ],
    ids=["no JSON", "no object", "no base64", "no colon", "a path as helper", "no such helper"],
)
def test_a_broken_login_ends_with_4_and_names_its_place_alone(config: str, place: str, tmp_path: Path) -> None:
    here = shell(tmp_path)
    file = here.home / ".docker/config.json"
    file.parent.mkdir()
    file.write_text(config)
    ran = here.run("auth", "explain", "r.io")
    said = f"{ran.stdout}{ran.stderr}".replace("../canary-program", "")
    assert (ran.status, ran.stderr.count("error: ")) == (4, 1), said
    assert place in ran.stderr
    assert ("canary" in said, "Y2FuYXJ5" in said) == (False, False)
