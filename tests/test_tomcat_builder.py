"""The scripts of builders/tomcat, run as they are on this machine; Tomcat itself, and Java, only write down how."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl.builders import load, settings
from tests.scripted import Ended, provide, run, write

BUILDER = Path(__file__).parent.parent / "builders" / "tomcat"
SCRIPTS = BUILDER / "s2i" / "bin"

# Each war holds what Inspect says of it.
JAVA = """#!/bin/sh
while IFS= read -r war; do
    [ -d "$war" ] && facts=$(cat "$war/WEB-INF/facts") || facts=$(cat "$war")
    printf '%s\\t%s\\n' "$facts" "$war"
done
"""
CATALINA = """#!/bin/sh
echo "catalina.sh $*" >>"$CALLS"
echo "$CATALINA_OPTS" >"$ROOT/options"
"""
BECOMES = """#!/bin/sh
shift 2
exec "$@"
"""
WAR = "war\t17\tjakarta\t-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container, with a Tomcat 10.1 on Java 21 in it."""

    root: Path

    @property
    def base(self) -> Path:
        return self.root / "tmp/tomcat"

    @property
    def deployed(self) -> list[str]:
        return sorted(path.name for path in (self.root / "deployments").iterdir())

    def assemble(self, files: Mapping[str, str], **environ: str) -> Ended:
        write(self.root / "src", files)
        return self.run("assemble", **environ)

    def start(self, **environ: str) -> Ended:
        return self.run("run", **environ)

    def run(self, name: str, **environ: str) -> Ended:
        return run(SCRIPTS / name, root=self.root, cwd=self.root, environ={**self._environ(), **environ})

    def _environ(self) -> Mapping[str, str]:
        return {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "S2I_DESTINATION": str(self.root),
            "CATALINA_HOME": str(self.root / "tomcat"),
            "CATALINA_TMPDIR": str(self.root / "tmp"),
            "JAVA_APP_DIR": str(self.root / "deployments"),
            "JAVA_HOME": str(self.root / "java"),
            "ROOT": str(self.root),
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for name in ("src", "tmp", "deployments"):
        (tmp_path / name).mkdir()
    provide(tmp_path / "programs", {"java": JAVA, "tini": BECOMES})
    provide(tmp_path / "tomcat" / "bin", {"catalina.sh": CATALINA})
    write(tmp_path, {"tomcat/release": "10.1.59\n", "java/release": 'JAVA_VERSION="21.0.9"\n'})
    write(tmp_path, {"tomcat/conf/web.xml": "", "tomcat/conf/catalina.properties": ""})
    return Host(root=tmp_path)


# ---------------------------------------------------------------------------------------------------------- assemble


@pytest.mark.parametrize(
    ("files", "environ", "deployed"),
    [
        pytest.param({"shop.war": WAR}, {}, ["shop.war"], id="in the root"),
        pytest.param({"a#b.war": WAR, "ROOT.war": WAR}, {}, ["ROOT.war", "a#b.war"], id="several"),
        pytest.param({"deployments/shop.war": WAR}, {}, ["shop.war"], id="where other builders look"),
        pytest.param(
            {"target/shop.war": WAR, "target/shop/WEB-INF/facts": WAR}, {}, ["shop.war"], id="as Maven leaves them"
        ),
        pytest.param({"build/libs/shop.war": WAR}, {}, ["shop.war"], id="as Gradle leaves them"),
        pytest.param({"shop.war": WAR, "target/old.war": WAR}, {}, ["shop.war"], id="the nearest"),
        pytest.param(
            {"shop.war": WAR, "out/new.war": WAR}, {"ARTIFACT_DIR": "out"}, ["new.war"], id="the one that is named"
        ),
        pytest.param({"shop/WEB-INF/facts": WAR, "docs/a": ""}, {}, ["shop"], id="a directory"),
        pytest.param({"WEB-INF/facts": WAR, "index.jsp": "", ".git/HEAD": ""}, {}, ["ROOT"], id="the source itself"),
    ],
)
def test_wars_are_taken_under_their_names(
    files: Mapping[str, str], environ: Mapping[str, str], deployed: list[str], host: Host
) -> None:
    ended = host.assemble(files, **environ)
    assert (ended.status, ended.stderr, host.deployed) == (0, "", deployed)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("shop.war", "/shop/"),
        ("ROOT.war", "/"),
        ("ROOT##2.war", "/"),
        ("##2.war", "/"),
        ("a#b#c.war", "/a/b/c/"),
        ("shop##1.2.war", "/shop/"),
        ("a shop.war", "/a shop/"),
    ],
)
def test_it_is_said_where_each_is_served(name: str, path: str, host: Host) -> None:
    assert f"---> {name} is served at {path}\n" in host.assemble({name: WAR}).stdout


@pytest.mark.parametrize(
    ("files", "environ", "error"),
    [
        ({}, {}, "the source is empty"),
        ({"README": ""}, {}, "there is no war here, nor in deployments, target or build/libs"),
        ({"build.gradle": ""}, {}, "this project has to be built first, and there is neither Maven nor Gradle here"),
        ({"a": ""}, {"ARTIFACT_DIR": "out"}, "ARTIFACT_DIR names out, and there is no such directory in the source"),
        ({"out/a": ""}, {"ARTIFACT_DIR": "out"}, "there is no war in out, which ARTIFACT_DIR names"),
        ({"a.war": "broken\t0\t-\t-"}, {}, "a.war is no archive that could be read"),
        ({"a.war": "other\t0\t-\t-"}, {}, "a.war is no war: there is no WEB-INF in it"),
        ({"a.war": "war\t8\tjavax\t-"}, {}, "a.war is for javax servlets, and Tomcat 10.1.59 runs jakarta ones alone"),
        ({"a.war": "war\t25\tjakarta\t-"}, {}, "a.war has classes for Java 25, and this is Java 21"),
    ],
)
def test_what_cannot_be_served_is_refused(
    files: Mapping[str, str], environ: Mapping[str, str], error: str, host: Host
) -> None:
    ended = host.assemble(files, **environ)
    assert (ended.status, ended.error) == (1, f"error: {error}")


@pytest.mark.parametrize(
    ("release", "servlets", "status"),
    [
        ("9.0.117", "javax", 0),
        ("9.0.117", "jakarta", 1),
        ("9.0.117", "jakarta,javax", 0),
        ("9.0.117", "-", 0),
        ("11.0.24", "jakarta", 0),
        ("11.0.24", "jakarta,javax", 0),
        ("11.0.24", "javax", 1),
    ],
)
def test_each_tomcat_takes_what_names_its_servlets_or_none(
    release: str, servlets: str, status: int, host: Host
) -> None:
    write(host.root, {"tomcat/release": f"{release}\n"})
    assert host.assemble({"a.war": f"war\t17\t{servlets}\t-"}).status == status


def test_what_only_libraries_say_is_told_and_stops_nothing(host: Host) -> None:
    ended = host.assemble({"a.war": "war\t17\t-\tjavax", "b.war": "war\t17\tjakarta\tjavax"})
    said = "---> The libraries of a.war are for javax servlets: if it answers 404, its builder is tomcat:9\n"
    assert (ended.status, said in ended.stdout, "of b.war" in ended.stdout) == (0, True, False)


def test_what_another_builder_has_left_is_judged_all_the_same(host: Host) -> None:
    write(host.root, {"deployments/shop.war": WAR})
    assert "shop.war is served at /shop/" in host.run("assemble-runtime").stdout
    write(host.root, {"deployments/shop.war": "war\t8\tjavax\t-"})
    assert host.run("assemble-runtime").error.startswith("error: shop.war is for javax servlets")


def test_what_is_left_has_the_modes_that_it_always_has_and_the_time_of_the_source(host: Host) -> None:
    host.assemble({"shop.war": WAR}, SOURCE_DATE_EPOCH="1700000000")
    left = (host.root / "deployments/shop.war").stat()
    assert (left.st_mode & 0o777, left.st_mtime) == (0o644, 1700000000)


# --------------------------------------------------------------------------------------------------------------- run


def served(host: Host, **environ: str) -> ET.Element:
    """The server.xml with which Tomcat was started."""
    write(host.root, {"deployments/shop.war": WAR})
    ended = host.start(**environ)
    assert (ended.status, ended.stderr, ended.calls) == (0, "", ("catalina.sh run",))
    return ET.parse(host.base / "conf/server.xml").getroot()  # noqa: S314  (our own)


def test_it_listens_where_it_is_told_and_on_nothing_else(host: Host) -> None:
    server = served(host, PORT="9090")
    connectors = [(each.get("port"), each.get("protocol")) for each in server.iter("Connector")]
    assert (server.get("port"), connectors) == ("-1", [("9090", "HTTP/1.1")])


def test_requests_are_lines_only_where_that_is_wanted(host: Host) -> None:
    def valves(**environ: str) -> list[str]:
        return [each.get("className", "").rpartition(".")[2] for each in served(host, **environ).iter("Valve")]

    assert valves() == ["RemoteIpValve", "ErrorReportValve"]
    assert valves(ACCESS_LOG="true") == ["RemoteIpValve", "ErrorReportValve", "AccessLogValve"]


def test_the_user_s_own_options_come_last_and_in_one_line(host: Host) -> None:
    served(host, JAVA_OPTIONS="-Da=1", CATALINA_OPTS="-Db=2\n-Xmx1g", JAVA_MAX_MEM_RATIO="50", JAVA_MAX_CORE="2")
    assert (host.root / "options").read_text().split() == [
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:MaxRAMPercentage=50",
        "-XX:ActiveProcessorCount=2",
        "-XX:-UsePerfData",
        "-Dorg.apache.catalina.startup.EXIT_ON_INIT_FAILURE=true",
        "-Da=1",
        "-Db=2",
        "-Xmx1g",
    ]
    assert len((host.root / "options").read_text().splitlines()) == 1


def test_what_an_earlier_start_left_is_gone(host: Host) -> None:
    write(host.base, {"webapps/old/index.jsp": "", "work/x": ""})
    write(host.root, {"deployments/api/WEB-INF/web.xml": ""})
    served(host)
    assert sorted(path.name for path in host.base.iterdir()) == ["conf", "temp", "webapps"]
    assert sorted(path.name for path in (host.base / "webapps").iterdir()) == ["api", "shop.war"]


@pytest.mark.parametrize(
    ("environ", "error"),
    [
        ({"PORT": "http"}, "PORT is http, which is no number"),
        ({}, "there is no application in /deployments"),
    ],
)
def test_a_start_that_could_serve_nothing_is_refused(environ: Mapping[str, str], error: str, host: Host) -> None:
    ended = host.start(**environ)
    assert (ended.status, ended.calls) == (1, ())
    assert error in ended.error.replace(str(host.root), "")


# ------------------------------------------------------------------------------------------------------------- usage


def test_the_usage_names_every_variable_that_the_scripts_read_and_every_version() -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    scripts = "".join((SCRIPTS / name).read_text() for name in ("assemble", "assemble-runtime", "finish", "run"))
    asked = set(re.findall(r"\$\{([A-Z_]+):?[-}%+]", scripts)) - {"S2I_DESTINATION", "SOURCE_DATE_EPOCH"}
    assert {name for name in asked if name not in usage} == set()
    folder = load(BUILDER)
    assert {version for version in folder.versions if version.partition("-")[0] not in usage} == set()
    assert "CATALINA_OPTS" in settings(folder)


def test_every_version_has_a_release_that_is_pinned() -> None:
    install = (BUILDER / "install").read_text()
    wanted = {version.partition("-")[0] for version in load(BUILDER).versions}
    assert set(re.findall(r"^    ([0-9.]+) \| \1-\*\)$", install, re.MULTILINE)) == wanted
    assert len(re.findall(r"^        digest=[0-9a-f]{128}$", install, re.MULTILINE)) == len(wanted)
