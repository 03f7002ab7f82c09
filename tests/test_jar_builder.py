"""The scripts of builders/jar, run as they are on this machine: which jar is started, how, and what is refused."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scripted import Ended, provide, run

SCRIPTS = Path(__file__).parent.parent / "builders" / "jar" / "s2i" / "bin"
UNZIP = f"""#!{sys.executable} -IS
import sys, zipfile
with zipfile.ZipFile(sys.argv[2]) as archive:
    for name in archive.namelist():
        if name in sys.argv[3:]:
            sys.stdout.buffer.write(archive.read(name))
"""
JAVA = '#!/bin/sh\nprintf "%s\\n" "$@" >"$CALLS"\n'
TINI = '#!/bin/sh\nshift 2\nexec "$@"\n'
STARTS = "Manifest-Version: 1.0\r\nMain-Class: a.Shop\r\n\r\nName: x\r\nMain-Class: b.Other\r\n"
LIBRARY = "Manifest-Version: 1.0\r\n"
BOOT = "Main-Class: b.Launcher\nStart-Class: a.Shop\nSpring-Boot-Version: {}\n"

Files = Mapping[str, str | bytes]


def klass(level: int) -> bytes:
    return b"\xca\xfe\xba\xbe\0\0\0" + bytes([level + 44]) + b"rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container."""

    root: Path

    @property
    def deployments(self) -> Path:
        return self.root / "deployments"

    def assemble(self, files: Files, **environ: str) -> Ended:
        lay(self.root / "src", files)
        return self._run("assemble", environ)

    def start(self, files: Files, *arguments: str, **environ: str) -> Ended:
        """What Java is told, where these are the deployments."""
        lay(self.deployments, files)
        return self._run("run", environ, *arguments)

    def _run(self, name: str, environ: Mapping[str, str], *arguments: str) -> Ended:
        usual = {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "S2I_DESTINATION": str(self.root),
            "JAVA_APP_DIR": str(self.deployments),
            "JAVA_HOME": str(self.root / "java"),
        }
        return run(SCRIPTS / name, *arguments, root=self.root, cwd=self.root, environ={**usual, **environ})


def lay(directory: Path, files: Files) -> None:
    """Files, and jars of what stands behind the name of one and an exclamation mark."""
    for name, content in files.items():
        outer, _, inner = name.partition("!")
        path = directory / outer
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        if inner:
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(inner, data)
        else:
            path.write_bytes(data)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine with Java 21."""
    for directory in ("src", "deployments", "java"):
        (tmp_path / directory).mkdir()
    provide(tmp_path / "programs", {"unzip": UNZIP, "java": JAVA, "tini": TINI})
    (tmp_path / "java" / "release").write_text('IMPLEMENTOR="Debian"\nJAVA_VERSION="21.0.9"\n')
    return Host(root=tmp_path)


def started(ended: Ended) -> list[str]:
    """What Java is told, without what it is always told."""
    usual = ("-XX:+ExitOnOutOfMemoryError", "-XX:MaxRAMPercentage=60")
    assert ended.status == 0, ended.stderr
    return [word for word in ended.calls if word not in usual]


# ------------------------------------------------------------------------------------------------- what is started


def test_the_one_jar_with_a_main_class_is_started(host: Host) -> None:
    ended = host.start({"shop.jar!META-INF/MANIFEST.MF": STARTS, "words.jar!META-INF/MANIFEST.MF": LIBRARY})
    assert started(ended) == ["-jar", "/deployments/shop.jar"]
    assert ended.stdout == "---> Starting shop.jar, port 8080\n"


def test_a_jar_of_any_name_is_one(host: Host) -> None:
    ended = host.start({"my $HOME größter 'shop'.jar!META-INF/MANIFEST.MF": STARTS})
    assert started(ended) == ["-jar", "/deployments/my $HOME größter 'shop'.jar"]


@pytest.mark.parametrize("below", ["", "/shop"])
def test_what_lies_unpacked_is_started_by_its_launcher(host: Host, below: str) -> None:
    ended = host.start({f"{below}/META-INF/MANIFEST.MF".lstrip("/"): BOOT.format("3.5.6")})
    assert started(ended) == ["-cp", f"/deployments{below}", "b.Launcher"]


def test_a_folded_line_of_a_manifest_is_one_line(host: Host) -> None:
    ended = host.start({"shop/META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\nMain-Class: a.very.lo\r\n ng.Name\r\n"})
    assert started(ended) == ["-cp", "/deployments/shop", "a.very.long.Name"]


def test_a_class_may_be_named_with_every_jar_on_its_class_path(host: Host) -> None:
    ended = host.start({}, JAVA_MAIN_CLASS="a.Shop", JAVA_CLASSPATH="/more.jar")
    assert started(ended) == ["-cp", "/deployments:/deployments/*:/deployments/lib/*:/more.jar", "a.Shop"]


def test_one_of_several_may_be_named(host: Host) -> None:
    files = {"a.jar!META-INF/MANIFEST.MF": STARTS, "b.jar!META-INF/MANIFEST.MF": STARTS}
    assert started(host.start(files, JAVA_APP_JAR="b.jar")) == ["-jar", "/deployments/b.jar"]
    assert host.start({}).error == "error: several of these can be started: a.jar, b.jar"
    assert "there is no such file" in host.start({}, JAVA_APP_JAR="c.jar").error


def test_an_image_without_an_application_says_so(host: Host) -> None:
    assert (host.start({}).status, host.start({}).calls) == (1, ())


# --------------------------------------------------------------------------------------------------- what it is told


def test_words_are_parted_as_in_a_shell_and_nothing_in_them_is_looked_up_or_run(host: Host) -> None:
    ended = host.start(
        {"shop.jar!META-INF/MANIFEST.MF": STARTS},
        "and; this",
        JAVA_OPTIONS="-Da='b  c' -Db=\"`touch x`\"",
        JAVA_OPTS_APPEND="-Dc=$(touch x)",
        JAVA_ARGS="* \\\"quoted\\\" 'it'\\''s' $HOME ; & | größer\nsecond",
    )
    assert started(ended) == [
        "-Da=b  c",
        "-Db=`touch x`",
        "-Dc=$(touch",
        "x)",
        "-jar",
        "/deployments/shop.jar",
        *("*", '"quoted"', "it's", "$HOME", ";", "&", "|", "größer", "second"),
        "and; this",
    ]
    assert not (host.deployments / "x").exists()


@pytest.mark.parametrize("name", ["JAVA_OPTIONS", "JAVA_OPTS_APPEND", "JAVA_ARGS"])
def test_a_quote_that_nothing_closes_is_named(host: Host, name: str) -> None:
    ended = host.start({"shop.jar!META-INF/MANIFEST.MF": STARTS}, **{name: "it's"})
    assert (ended.status, ended.error) == (1, f"error: {name} has a quote that nothing closes: it's")


def test_what_is_no_number_is_not_run_either(host: Host) -> None:
    ended = host.start({"shop.jar!META-INF/MANIFEST.MF": STARTS}, JAVA_DEBUG="1", JAVA_DEBUG_PORT="$(touch x);touch x")
    assert "address=*:$(touch" in " ".join(started(ended))
    assert not (host.deployments / "x").exists()


def test_measures_of_the_container_may_be_changed(host: Host) -> None:
    measures = {"JAVA_MAX_MEM_RATIO": "0", "JAVA_INIT_MEM_RATIO": "20", "JAVA_MAX_CORE": "2"}
    ended = host.start({"shop.jar!META-INF/MANIFEST.MF": STARTS}, JAVA_DEBUG="y", JAVA_DEBUG_SUSPEND="y", **measures)
    assert started(ended) == [
        "-XX:InitialRAMPercentage=20",
        "-XX:ActiveProcessorCount=2",
        "-agentlib:jdwp=transport=dt_socket,server=y,suspend=y,address=*:5005",
        "-jar",
        "/deployments/shop.jar",
    ]


@pytest.mark.parametrize(
    ("manifest", "file", "level", "is_opened"),
    [
        (STARTS, "a/Shop.class", 8, True),
        (STARTS, "a/Shop.class", 16, True),
        (STARTS, "a/Shop.class", 17, False),
        (STARTS, "elsewhere/Shop.class", 8, False),
        (BOOT.format("2.7.18"), "BOOT-INF/classes/a/Shop.class", 17, False),
        (BOOT.format("2.7.18"), "BOOT-INF/classes/a/Shop.class", 11, True),
        (BOOT.format("2.5.4"), "BOOT-INF/classes/a/Shop.class", 17, True),
        (BOOT.format("2.5.4"), "WEB-INF/classes/a/Shop.class", 17, True),
    ],
)
def test_what_was_made_before_java_17_finds_java_open(
    host: Host, manifest: str, file: str, level: int, is_opened: bool
) -> None:
    ended = host.start({"shop.jar!META-INF/MANIFEST.MF": manifest, f"shop.jar!{file}": klass(level)})
    assert ("--add-opens=java.base/java.lang=ALL-UNNAMED" in ended.calls) is is_opened
    assert ("open to it as before Java 17" in ended.stdout) is is_opened


# -------------------------------------------------------------------------------------------------- what is taken


def test_all_of_the_source_is_taken_but_what_speaks_of_the_build(host: Host) -> None:
    files: Files = {
        "shop.jar!META-INF/MANIFEST.MF": STARTS,
        "lib/words.jar!META-INF/MANIFEST.MF": LIBRARY,
        ".s2i/environment": "",
        ".gitignore": "",
        ".hidden": "",
    }
    ended = host.assemble(files, SOURCE_DATE_EPOCH="1700000000")
    assert ended.stdout == "---> shop.jar starts with a.Shop, on Java 21\n"
    found = {str(path.relative_to(host.deployments)): path.lstat() for path in host.deployments.rglob("*")}
    assert {path: (oct(facts.st_mode & 0o777), facts.st_mtime) for path, facts in found.items()} == {
        "shop.jar": ("0o644", 1_700_000_000),
        ".hidden": ("0o644", 1_700_000_000),
        "lib": ("0o755", 1_700_000_000),
        "lib/words.jar": ("0o644", 1_700_000_000),
    }


@pytest.mark.parametrize(
    ("below", "environ"), [("deployments/", {}), ("target/", {"ARTIFACT_DIR": "target"}), ("", {})]
)
def test_it_lies_where_builders_of_elsewhere_find_it_too(host: Host, below: str, environ: Mapping[str, str]) -> None:
    assert host.assemble({f"{below}shop.jar!META-INF/MANIFEST.MF": STARTS}, **environ).status == 0
    assert (host.deployments / "shop.jar").is_file()


@pytest.mark.parametrize(
    ("files", "environ", "error"),
    [
        ({"pom.xml": ""}, {}, "this is source, and nothing is built here: there is a pom.xml"),
        ({"README": ""}, {}, "there is no jar in /deployments"),
        (
            {"words.jar!META-INF/MANIFEST.MF": LIBRARY},
            {},
            "nothing says what to start: there is no Main-Class in words.jar",
        ),
        ({"broken.jar": "<html>"}, {}, "nothing says what to start: there is no Main-Class in broken.jar"),
        (
            {"shop.jar!META-INF/MANIFEST.MF": STARTS, "shop.jar!a/Shop.class": klass(25)},
            {},
            "a.Shop in shop.jar is for Java 25, and this is Java 21",
        ),
        ({}, {"ARTIFACT_DIR": "target"}, "ARTIFACT_DIR names target, and there is no such directory in the source"),
    ],
)
def test_what_could_not_start_is_refused(host: Host, files: Files, environ: Mapping[str, str], error: str) -> None:
    ended = host.assemble(files, **environ)
    said = ended.stderr.replace(str(host.root), "")
    assert (ended.status, f"error: {error}" in said.splitlines()) == (1, True), said
