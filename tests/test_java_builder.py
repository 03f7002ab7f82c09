"""The scripts of builders/java, run as they are on this machine; what they call is written down instead of done."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl.builders import load
from s2ictl.cli.workshop import package_sources
from s2ictl.models import Secret
from tests.scripted import Ended, plain, run, write

BUILDER = Path(__file__).parent.parent / "builders" / "java"
SCRIPTS = BUILDER / "s2i" / "bin"

# Writes down how it was called, and leaves the jars that the test speaks of.
BUILDS = """#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
echo "$MAVEN_OPTS$GRADLE_OPTS" >"$ROOT/jvm-options"
echo "${JAVA_HOME##*/}" >"$ROOT/jdk"
for file in "$ROOT"/tmp/*/settings.xml "$ROOT"/tmp/*/gradle/gradle.properties; do
    [ ! -f "$file" ] || cp "$file" "$ROOT/${file##*/}"
done
[ ! -f gradle/wrapper/gradle-wrapper.properties ] || cp gradle/wrapper/gradle-wrapper.properties "$ROOT/wrapper"
cut -f 1 "$ROOT/jars" | while read -r jar; do mkdir -p "$(dirname "$jar")" && echo "$jar" >"$jar"; done
for word; do
    case $word in -Dmaven.repo.local=*) mkdir -p "${word#*=}" && echo downloaded >"${word#*=}/downloaded" ;; esac
done
"""
JAVA = """#!/bin/sh
tab=$(printf '\\t')
case $* in
    *Inspect) while read -r path; do
            case $path in /*) name=${path##*/} ;; *) name=${path#./} ;; esac
            while IFS= read -r line; do
                [ "${line%%"$tab"*}" != "$name" ] || echo "${line#*"$tab"}$tab$path"
            done <"$ROOT/jars"
        done ;;
    *) echo "${JAVA_HOME##*/} $*" >>"$CALLS" ;;
esac
"""
OPENSSL = """#!/bin/sh
while [ "$1" != -out ]; do shift; done
echo store >"$2"
"""
MOUNTS = """#!/bin/sh
[ "$2" = "$ROOT/$MOUNTED" ]
"""
BECOMES = """#!/bin/sh
shift 2
exec "$@"
"""
RUNNABLE = "runnable\t21\t-\t-\t-"
LIBRARY = "library\t21\t-\t-\t-"
MAVEN = {"pom.xml": "<project></project>"}
GRADLE = {
    "build.gradle": "",
    "gradlew": "",
    "gradle/wrapper/gradle-wrapper.jar": "",
    "gradle/wrapper/gradle-wrapper.properties": (
        "distributionUrl=https\\://gradle.example.com/distributions/gradle-8.14-bin.zip\n"
    ),
}
JAVA_8 = "<project><properties><java.version>1.8</java.version></properties></project>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container: its programs, its upload and its application."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "src"

    @property
    def deployments(self) -> Path:
        return self.root / "deployments"

    @property
    def plan(self) -> list[str]:
        """The JDK, whether it is opened, and the jar."""
        jdk, opened, jar = (self.root / "app/plan").read_text().splitlines()
        return [jdk, "opened" if opened else "", jar]

    def build(self, files: Mapping[str, str], jars: Mapping[str, str] | None = None, /, **environ: str) -> Ended:
        """assemble, with a Maven or Gradle that leaves these jars."""
        jars = {"target/shop.jar": RUNNABLE} if jars is None else jars
        write(self.source, files)
        write(self.root, {"jars": "".join(f"{name}\t{facts}\n" for name, facts in jars.items())})
        return self.run("assemble", **environ)

    def start(self, **environ: str) -> subprocess.Popen[str]:
        """assemble, looked at while it works."""
        return subprocess.Popen(
            [str(SCRIPTS / "assemble")], env={**self._environ(), **environ}, stdout=subprocess.PIPE, text=True
        )

    def run(self, name: str, *arguments: str, **environ: str) -> Ended:
        return run(
            SCRIPTS / name, *arguments, root=self.root, cwd=self.deployments, environ={**self._environ(), **environ}
        )

    def kept(self, name: str) -> str:
        """What a program saw of the scratch directory."""
        return plain((self.root / name).read_text(), self.root)

    def _environ(self) -> Mapping[str, str]:
        return {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "TMPDIR": str(self.root / "tmp"),
            "S2I_DESTINATION": str(self.root),
            "APP_ROOT": str(self.root / "app"),
            "HOME": str(self.root / "app"),
            "JAVA_APP_DIR": str(self.deployments),
            "JAVA_HOME": str(self.root / "jvm/java-21"),
            "CALLS": str(self.root / "calls"),
            "MOUNTED": "nothing",
            "ROOT": str(self.root),
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine with JDK 21 and 25 and Maven."""
    directories = ("programs", "tmp", "src", "app/.m2/repository", "app/.gradle", "deployments")
    for directory in (*directories, "jvm/java-21/bin", "jvm/java-25/bin"):
        (tmp_path / directory).mkdir(parents=True)
    programs = {"mvn": BUILDS, "gradle-fake": BUILDS, "openssl": OPENSSL, "tini": BECOMES, "mountpoint": MOUNTS}
    places = {f"programs/{name}": text for name, text in programs.items()}
    for path, text in {**places, "jvm/java-21/bin/java": JAVA, "jvm/java-25/bin/java": JAVA}.items():
        write(tmp_path, {path: text})
        (tmp_path / path).chmod(0o755)
    return Host(root=tmp_path)


def left(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def words(calls: Iterable[str]) -> list[str]:
    return " ".join(calls).split()


def pom(*properties: str, rest: str = "") -> dict[str, str]:
    return {"pom.xml": f"<project>\n<properties>\n{''.join(properties)}\n</properties>{rest}</project>\n"}


def gradle(script: str, version: str = "8.14") -> dict[str, str]:
    archive = f"distributionUrl=https\\://gradle.example.com/distributions/gradle-{version}-bin.zip\n"
    return {
        **GRADLE,
        "build.gradle": script,
        "gradlew": BUILDS,
        "gradle/wrapper/gradle-wrapper.properties": archive,
    }


# ------------------------------------------------------------------------------------------------------ level and JDK


@pytest.mark.parametrize(
    ("files", "environ", "jdk"),
    [
        pytest.param(pom(), {}, "java-21", id="nothing said"),
        pytest.param(pom("<maven.compiler.release>17</maven.compiler.release>"), {}, "java-21", id="17"),
        pytest.param(pom("<java.version>22</java.version>"), {}, "java-25", id="22"),
        pytest.param(pom("<jdk>25</jdk>", rest="<release>${jdk}</release>"), {}, "java-25", id="by a property"),
        pytest.param(pom("<!-- <java.version>25</java.version> -->"), {}, "java-21", id="in a comment"),
        pytest.param(
            {**pom(), "web/pom.xml": "<release>25</release>"}, {}, "java-25", id="the highest of several modules"
        ),
        pytest.param(pom("<java.version>17</java.version>"), {"JAVA_MAJOR_VERSION": "25"}, "java-25", id="the user's"),
        pytest.param(
            gradle("java { toolchain { languageVersion = JavaLanguageVersion.of(25) } }", "9.1.0"),
            {},
            "java-25",
            id="of",
        ),
        pytest.param(gradle("sourceCompatibility = JavaVersion.VERSION_1_8"), {}, "java-21", id="VERSION_1_8"),
        pytest.param(gradle("sourceCompatibility = '24'", "9.1.0"), {}, "java-25", id="sourceCompatibility"),
        pytest.param(gradle("options.release.set(23)", "9.2"), {}, "java-25", id="release"),
        pytest.param(gradle("languageVersion = JavaLanguageVersion.of(25)"), {}, "java-21", id="too new for Gradle"),
    ],
)
def test_the_least_jdk_that_serves_the_level_of_the_project_builds_it(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], jdk: str
) -> None:
    ended = host.build(files, {"target/shop.jar": RUNNABLE, "build/libs/shop.jar": RUNNABLE}, **environ)
    assert (ended.status, ended.stderr, host.kept("jdk")) == (0, "", f"{jdk}\n")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            pom("<java.version>1.7</java.version>"),
            "this is for Java 7, and the JDKs here (21 25) build for Java 8 and later",
        ),
        (pom("<java.version>27</java.version>"), "this is for Java 27, and the JDKs here are 21 25"),
        (gradle("", "7.6.1"), "Gradle 7.6.1 runs on none of the JDKs here: 21 25"),
    ],
)
def test_what_no_jdk_here_serves_ends_with_6_and_names_the_nearest(
    host: Host, files: Mapping[str, str], message: str
) -> None:
    ended = host.build(files)
    assert (ended.status, ended.error, "the nearest" in ended.stderr) == (6, f"error: {message}", True)


def test_the_user_may_take_a_project_for_the_nearest_level(host: Host) -> None:
    ended = host.build(pom("<java.version>1.7</java.version>"), JAVA_MAJOR_VERSION="8")
    assert "-Dmaven.compiler.release=8" in words(ended.calls)


@pytest.mark.parametrize(
    ("files", "release"),
    [
        pytest.param({"pom.xml": JAVA_8}, "-Dmaven.compiler.release=8", id="source and target"),
        pytest.param({"pom.xml": JAVA_8, "A.java": "import sun.misc.Unsafe;"}, "", id="internals"),
        pytest.param({"pom.xml": JAVA_8, "A.java": "import javax.xml.bind.JAXB;"}, "", id="what Java has lost"),
        pytest.param(pom("<maven.compiler.release>8</maven.compiler.release>"), "", id="release of its own"),
        pytest.param(pom("<java.version>21</java.version>"), "", id="the JDK's own level"),
    ],
)
def test_an_old_level_is_compiled_with_release_unless_that_would_hide_what_it_uses(
    host: Host, files: Mapping[str, str], release: str
) -> None:
    ended = host.build(files)
    given = [word for word in words(ended.calls) if word.startswith("-Dmaven.compiler.release")]
    assert (given, "Compiling with --release" in ended.stdout) == ([release] if release else [], bool(release))


def test_what_left_java_with_11_is_named(host: Host) -> None:
    ended = host.build(
        {"pom.xml": JAVA_8, "A.java": "import javax.xml.bind.JAXB;\nimport javax.annotation.Resource;\n"}
    )
    assert "must be among the dependencies: javax.annotation.Resource, javax.xml.bind" in ended.stdout


@pytest.mark.parametrize(
    ("rest", "taken"),
    [
        pytest.param("<lombok.version>1.18.12</lombok.version>", "-Dlombok.version=1.18.42", id="a property"),
        pytest.param("<lombok.version>1.18.30</lombok.version>", "", id="one that works"),
        pytest.param(
            "<parent><artifactId>spring-boot-starter-parent</artifactId><version>2.3.12.RELEASE</version></parent>",
            "-Dlombok.version=1.18.42",
            id="of an old Spring Boot",
        ),
        pytest.param(
            "<parent><artifactId>spring-boot-starter-parent</artifactId><version>3.5.0</version></parent>",
            "",
            id="of a newer Spring Boot",
        ),
        pytest.param("", "", id="nothing said"),
    ],
)
def test_a_lombok_that_does_not_work_inside_the_compiler_is_replaced(host: Host, rest: str, taken: str) -> None:
    lombok = "<dependency><groupId>x</groupId> <artifactId>lombok</artifactId></dependency>"
    ended = host.build(pom(rest=rest + lombok))
    given = [word for word in words(ended.calls) if word.startswith("-Dlombok")]
    assert (given, "does not work on JDK 21" in ended.stdout) == ([taken] if taken else [], bool(taken))


@pytest.mark.parametrize(
    ("facts", "plan"),
    [
        ("runnable\t17\t-\t-\t-", ["21", "", "shop.jar"]),
        ("runnable\t8\t-\t-\t-", ["21", "opened", "shop.jar"]),
        ("runnable\t23\t-\t-\t-", ["25", "", "shop.jar"]),
        ("runnable\t17\t2.4.13\t-\t-", ["21", "opened", "shop.jar"]),
        ("runnable\t17\t3.5.6\t-\t-", ["21", "", "shop.jar"]),
        ("runnable\t0\t-\t-\t-", ["21", "", "shop.jar"]),
    ],
)
def test_the_jar_decides_the_jdk_that_runs_it_and_whether_it_is_opened_as_before_17(
    host: Host, facts: str, plan: list[str]
) -> None:
    assert (host.build(MAVEN, {"target/shop.jar": facts}).status, host.plan) == (0, plan)


# ---------------------------------------------------------------------------------------------------------- Maven

USUAL = (
    "-DskipTests -Dmaven.javadoc.skip=true -Dmaven.source.skip=true -Dcheckstyle.skip=true -Dpmd.skip=true "
    "-Dspotbugs.skip=true -Djacoco.skip=true"
)
CALL = (
    "mvn --batch-mode --no-transfer-progress --update-snapshots --global-settings /scratch/settings.xml "
    "-Dmaven.repo.local=/scratch/repository{settings} "
    "-Dmaven.wagon.rto=20000 -Dmaven.wagon.http.retryHandler.class=default "
    "-Dmaven.wagon.http.retryHandler.nonRetryableClasses=java.net.UnknownHostException{time} {goals}"
)


@pytest.mark.parametrize(
    ("files", "environ", "settings", "time", "goals"),
    [
        ({}, {}, "", "", f"package {USUAL}"),
        ({}, {"MAVEN_S2I_GOALS": "install"}, "", "", f"install {USUAL}"),
        ({}, {"MAVEN_ARGS": "verify -Dx=*"}, "", "", "verify -Dx=*"),
        ({}, {"MAVEN_ARGS_APPEND": "-Pprod -o"}, "", "", f"package {USUAL} -Pprod -o"),
        ({"settings.xml": ""}, {}, " --settings settings.xml", "", f"package {USUAL}"),
        (
            {"configuration/settings.xml": "", "settings.xml": ""},
            {},
            " --settings configuration/settings.xml",
            "",
            f"package {USUAL}",
        ),
        (
            {},
            {"SOURCE_DATE_EPOCH": "1700000000"},
            "",
            " -Dproject.build.outputTimestamp=2023-11-14T22:13:20Z",
            f"package {USUAL}",
        ),
        (
            pom("<project.build.outputTimestamp>1</project.build.outputTimestamp>"),
            {"SOURCE_DATE_EPOCH": "1700000000"},
            "",
            "",
            f"package {USUAL}",
        ),
    ],
)
def test_maven_is_told_what_the_project_and_the_user_say(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], settings: str, time: str, goals: str
) -> None:
    ended = host.build({**MAVEN, **files}, **environ)
    assert ended.calls == (CALL.format(settings=settings, time=time, goals=goals),)


@pytest.mark.parametrize(
    ("files", "environ", "given"),
    [
        pytest.param({}, {"MAVEN_LOCAL_REPO": "repo"}, ["-Dmaven.repo.local=repo"], id="MAVEN_LOCAL_REPO"),
        pytest.param({}, {"DISABLE_ARTIFACTS": "true"}, [], id="DISABLE_ARTIFACTS"),
        pytest.param(
            {"ci/s.xml": "", "settings.xml": ""},
            {"MAVEN_SETTINGS_XML": "ci/s.xml"},
            ["-Dmaven.repo.local=/scratch/repository", "--settings", "ci/s.xml"],
            id="MAVEN_SETTINGS_XML",
        ),
    ],
)
def test_older_names_say_where_maven_has_its_repository_and_settings(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], given: list[str]
) -> None:
    told = words(host.build({**MAVEN, **files}, **environ).calls)
    before, after = told.index("/scratch/settings.xml"), told.index("-Dmaven.wagon.rto=20000")
    assert told[before + 1 : after] == given


def test_settings_that_are_named_and_not_there_fail(host: Host) -> None:
    ended = host.build(MAVEN, MAVEN_SETTINGS_XML="ci/s.xml")
    assert (ended.status, ended.error, ended.calls) == (
        1,
        "error: MAVEN_SETTINGS_XML names ci/s.xml, and there is no such file in the source",
        (),
    )


STALLS = """#!/bin/sh
echo once >>"$CALLS"
[ "$(wc -l <"$CALLS")" = 1 ] || exec "$ROOT/programs/gradle-fake" "$@"
echo "[ERROR] $SAYS"
exit 1
"""


@pytest.mark.parametrize(
    ("says", "times"),
    [
        ("Could not transfer artifact a:b:jar:1 from/to central (https://mirror): Read timed out", 3),
        ("Could not transfer artifact a:b:jar:1 from/to m (m): GET request of: a/b.jar from m failed -> [Help 1]", 3),
        (
            "Could not transfer artifact a:b:jar:1 from/to m (m): transfer failed for https://m/b.jar -> [Help 1]",
            3,
        ),
        (
            "Could not transfer artifact a:b:jar:1 from/to m (m): transfer failed for https://m/b, status: 503 x",
            3,
        ),
        (
            "Could not transfer artifact a:b:jar:1 from/to m (m): transfer failed for https://m/b, status: 401 x",
            1,
        ),
        ("Could not transfer artifact a:b:jar:1 from/to m (m): transfer failed for https://m/b: PKIX path", 1),
        ("Could not find artifact a:b:jar:1 in central (https://mirror)", 1),
        ("COMPILATION ERROR", 1),
    ],
)
def test_maven_is_asked_a_second_time_where_the_network_failed_and_only_there(
    host: Host, says: str, times: int
) -> None:
    write(host.root, {"programs/mvn": STALLS})
    ended = host.build(MAVEN, SAYS=says)
    again = "---> The network failed: trying once more, with what has arrived\n" in ended.stdout
    assert (ended.status, len(ended.calls), again) == (0 if times > 1 else 1, times, times > 1)


def test_a_failing_build_fails_with_its_own_status_and_leaves_no_scratch_directory(host: Host) -> None:
    write(host.root, {"programs/mvn": "#!/bin/sh\nexit 3\n"})
    assert (host.build(MAVEN).status, left(host.root / "tmp")) == (3, [])


def test_a_mirror_and_proxies_become_settings_that_do_not_stay(host: Host) -> None:
    host.build(
        MAVEN,
        MAVEN_MIRROR_URL="https://some%40one:c%26nary@mirror.invalid/maven?a=1&b=2",
        https_proxy="http://me:canary@proxy.invalid:3128/",
        HTTP_PROXY="proxy.invalid",
        NO_PROXY=".intern.invalid, 10.0.0.0/8,host:8081",
    )
    mirror = "https://mirror.invalid/maven?a=1&amp;b=2"
    mirror_login = "<username>some@one</username><password>c&amp;nary</password>"
    proxy_login = "<username>me</username><password>canary</password>"
    without = "intern.invalid|*.intern.invalid|host|*.host|localhost|*.localhost|127.*"
    assert host.kept("settings.xml").splitlines() == [
        "<settings>",
        f"<servers><server><id>s2i-mirror</id>{mirror_login}</server></servers>",
        "<mirrors>",
        "<mirror><id>s2i-mirror</id><mirrorOf>external:*</mirrorOf>",
        f"<url>{mirror}</url></mirror>",
        "<mirror><id>maven-default-http-blocker</id><mirrorOf>external:http:*</mirrorOf>",
        "<url>http://0.0.0.0/</url><blocked>true</blocked></mirror></mirrors><proxies>",
        "<proxy><id>s2i-http</id><protocol>http</protocol><host>proxy.invalid</host><port>80</port>",
        f"<nonProxyHosts>{without}</nonProxyHosts></proxy>",
        f"<proxy><id>s2i-https</id><protocol>https</protocol><host>proxy.invalid</host><port>3128</port>{proxy_login}",
        f"<nonProxyHosts>{without}</nonProxyHosts></proxy>",
        "</proxies></settings>",
    ]
    assert left(host.root / "tmp") == []


def test_no_login_is_in_the_list_of_processes(host: Host) -> None:
    environ = {"MAVEN_MIRROR_URL": "https://u:canary@mirror", "https_proxy": "http://u:canary@proxy"}
    ended = host.build(MAVEN, **environ)
    assert [said for said in (*ended.calls, host.kept("jvm-options"), ended.stdout) if "canary" in said] == []


def test_without_mirror_and_proxy_only_the_guard_against_plain_http_is_set(host: Host) -> None:
    host.build(MAVEN)
    assert re.findall("<id>(.*?)</id>", host.kept("settings.xml")) == ["maven-default-http-blocker"]


def test_a_proxy_in_parts_is_one_as_well(host: Host) -> None:
    parts = {"HOST": "proxy", "PORT": "3128", "USERNAME": "a@b", "PASSWORD": "c:d/%", "NONPROXYHOSTS": "*.intern|x"}
    host.build(MAVEN, **{f"HTTP_PROXY_{name}": value for name, value in parts.items()})
    login = "<username>a@b</username><password>c:d/%</password>"
    without = "<nonProxyHosts>intern|*.intern|x|*.x|localhost|*.localhost|127.*</nonProxyHosts>"
    settings = host.kept("settings.xml")
    assert (settings.count(f"<host>proxy</host><port>3128</port>{login}"), settings.count(without)) == (2, 2)


def test_a_socks_proxy_is_none_for_http(host: Host) -> None:
    host.build(MAVEN, ALL_PROXY="socks5://proxy:1080")
    assert "<proxy>" not in host.kept("settings.xml")


def test_the_bundle_of_certificates_becomes_a_trust_store_for_the_build_alone(host: Host) -> None:
    host.build(MAVEN, SSL_CERT_FILE="/ca.pem")
    store = "-Djavax.net.ssl.trustStore=/scratch/trust.p12 -Djavax.net.ssl.trustStoreType=PKCS12"
    assert store in " ".join(host.kept("jvm-options").split())


def test_old_plugins_may_reach_into_the_jdk_as_well(host: Host) -> None:
    host.build({"pom.xml": JAVA_8}, MAVEN_OPTS="-Xmx1g")
    options = host.kept("jvm-options").split()
    assert ("--add-opens=java.base/java.lang=ALL-UNNAMED" in options, options[-1]) == (True, "-Xmx1g")


# --------------------------------------------------------------------------------------------------------- Gradle

GRADLE_JAR = {"build/libs/shop.jar": RUNNABLE, "build/libs/shop-plain.jar": LIBRARY}


@pytest.mark.parametrize(
    ("environ", "goals"),
    [
        ({}, "build -x test"),
        ({"GRADLE_ARGS": "bootJar"}, "bootJar"),
        ({"GRADLE_ARGS_APPEND": "-Pprod"}, "build -x test -Pprod"),
    ],
)
def test_the_wrapper_of_the_project_is_told_what_the_user_says(
    host: Host, environ: Mapping[str, str], goals: str
) -> None:
    ended = host.build(gradle(""), GRADLE_JAR, **environ)
    assert (ended.calls, host.plan) == ((f"gradlew --no-daemon --console=plain {goals}",), ["21", "", "shop.jar"])


def test_a_wrapper_with_line_ends_of_windows_works(host: Host) -> None:
    project = {name: text.replace("\n", "\r\n") for name, text in gradle("").items()}
    assert host.build(project, GRADLE_JAR).status == 0


@pytest.mark.parametrize("missing", ["gradlew", "gradle/wrapper/gradle-wrapper.jar"])
def test_a_gradle_project_without_its_wrapper_is_told_how_to_make_it(host: Host, missing: str) -> None:
    ended = host.build({name: text for name, text in gradle("").items() if name != missing})
    assert ended.error == f"error: {missing} is missing: Gradle comes by the project's own wrapper, in its own version"


def test_the_distribution_comes_from_a_mirror_that_does_not_stay_and_keeps_its_checksum(host: Host) -> None:
    project, wrapper = gradle(""), "gradle/wrapper/gradle-wrapper.properties"
    project[wrapper] = f"distributionSha256Sum=0671\n{project[wrapper]}"
    host.build(project, GRADLE_JAR, GRADLE_DISTRIBUTION_MIRROR="https://u:canary@mirror.invalid/gradle/")
    address = "distributionUrl=https://mirror.invalid/gradle/gradle-8.14-bin.zip\n"
    login = "systemProp.gradle.wrapperUser=u\nsystemProp.gradle.wrapperPassword=canary\n"
    assert (host.kept("wrapper"), host.kept("gradle.properties")) == (f"distributionSha256Sum=0671\n{address}", login)
    kept = [
        path for place in ("src", "app", "deployments") for path in (host.root / place).rglob("*") if path.is_file()
    ]
    assert [path for path in kept if "mirror.invalid" in path.read_text()] == []


def test_a_toolchain_that_is_not_here_is_served_by_a_later_jdk(host: Host) -> None:
    script = "java { toolchain { languageVersion = JavaLanguageVersion.of(17) } }\nkotlin { jvmToolchain(17) }\n"
    ended = host.build(gradle(script), GRADLE_JAR)
    assert (host.source / "build.gradle").read_text() == script.replace("17", "21")
    assert "The toolchain for Java 17 is JDK 21" in ended.stdout


def test_proxies_and_certificates_become_properties_of_gradle(host: Host) -> None:
    host.build(gradle(""), GRADLE_JAR, HTTPS_PROXY=r"http://me:a\b@proxy:3128", SSL_CERT_FILE="/ca.pem")
    assert host.kept("gradle.properties").splitlines() == [
        "systemProp.javax.net.ssl.trustStore=/scratch/trust.p12",
        "systemProp.javax.net.ssl.trustStoreType=PKCS12",
        "systemProp.https.proxyHost=proxy",
        "systemProp.https.proxyPort=3128",
        "systemProp.http.nonProxyHosts=localhost|*.localhost|127.*",
        "systemProp.https.proxyUser=me",
        r"systemProp.https.proxyPassword=a\\b",
        "systemProp.jdk.http.auth.tunneling.disabledSchemes=",
    ]


# ------------------------------------------------------------------------------------------------- what is taken


@pytest.mark.parametrize(
    ("jars", "environ", "taken"),
    [
        pytest.param({"target/a.jar": RUNNABLE, "target/a-sources.jar": LIBRARY}, {}, ["a.jar"], id="one"),
        pytest.param({"core/target/c.jar": LIBRARY, "web/target/w.jar": RUNNABLE}, {}, ["w.jar"], id="modules"),
        pytest.param({"target/a.jar": RUNNABLE, "target/original-a.jar": RUNNABLE}, {}, ["a.jar"], id="shaded"),
        pytest.param(
            {"target/a.jar": RUNNABLE, "target/a-jar-with-dependencies.jar": RUNNABLE},
            {},
            ["a-jar-with-dependencies.jar"],
            id="assembled",
        ),
        pytest.param({"target/a.war": RUNNABLE}, {}, ["a.war"], id="a war that runs by itself"),
        pytest.param(
            {"a/target/a.jar": RUNNABLE, "b/target/b.jar": RUNNABLE},
            {"JAVA_APP_JAR": "b.jar"},
            ["b.jar"],
            id="JAVA_APP_JAR",
        ),
        pytest.param(
            {"a/target/a.jar": RUNNABLE, "b/out/b.jar": RUNNABLE},
            {"ARTIFACT_DIR": "b/out"},
            ["b.jar"],
            id="ARTIFACT_DIR",
        ),
        pytest.param(
            {
                "target/a.jar": "runnable\t21\t-\t-\tlib/gson.jar ../x.jar other.jar",
                "target/lib/gson.jar": LIBRARY,
                "target/lib/unused.jar": LIBRARY,
            },
            {},
            ["a.jar", "lib/gson.jar"],
            id="the class path of its manifest",
        ),
        pytest.param(
            {"target/a.jar": LIBRARY, "target/b.jar": LIBRARY, "target/dependency/c.jar": LIBRARY},
            {"JAVA_MAIN_CLASS": "shop.Main"},
            ["a.jar", "b.jar", "lib/c.jar"],
            id="JAVA_MAIN_CLASS",
        ),
        pytest.param(
            {
                "target/a.jar": LIBRARY,
                "target/quarkus-app/quarkus-run.jar": "runnable\t0\t-\t-\tlib/boot/b.jar",
                "target/quarkus-app/lib/boot/b.jar": LIBRARY,
                "target/quarkus-app/app/a.jar": LIBRARY,
            },
            {},
            ["app/a.jar", "lib/boot/b.jar", "quarkus-run.jar"],
            id="Quarkus",
        ),
    ],
)
def test_what_can_be_run_is_taken_with_what_it_needs(
    host: Host, jars: Mapping[str, str], environ: Mapping[str, str], taken: list[str]
) -> None:
    ended = host.build(MAVEN, jars, **environ)
    assert (ended.status, ended.stderr, left(host.deployments)) == (0, "", taken)


def test_a_war_that_needs_a_server_is_left_for_the_image_that_the_result_is_put_onto(host: Host) -> None:
    jars = {"web/target/shop.war": "war\t8\t-\t-\t-", "core/target/core.jar": LIBRARY}
    ended = host.build(MAVEN, jars, RUNTIME_IMAGE="s2ictl/tomcat:9")
    assert (ended.status, ended.stderr, left(host.deployments)) == (0, "", ["core.jar", "shop.war"])


@pytest.mark.parametrize(
    ("jars", "environ", "message"),
    [
        ({}, {}, "the build has left no jar"),
        ({"target/a.jar": LIBRARY}, {}, "nothing says what to run: there is no Main-Class in target/a.jar"),
        ({"target/a.war": "war\t8\t-\t-\t-"}, {}, "a.war needs a servlet container, and there is none in this builder"),
        (
            {"a/target/a.jar": RUNNABLE, "b/target/b.jar": RUNNABLE},
            {},
            "several jars can be run: a/target/a.jar, b/target/b.jar",
        ),
        ({"target/a.jar": "broken\t0\t-\t-\t-"}, {}, "no jar is readable: target/a.jar"),
        (
            {"target/a.jar": RUNNABLE},
            {"JAVA_APP_JAR": "b.jar"},
            "JAVA_APP_JAR names b.jar, which is not one of: target/a.jar",
        ),
        (
            {"target/a.jar": RUNNABLE},
            {"ARTIFACT_DIR": "out"},
            "ARTIFACT_DIR names out, and the build has left no such directory",
        ),
        (
            {"target/a.jar": RUNNABLE},
            {"ARTIFACT_COPY_ARGS": "b.jar"},
            "ARTIFACT_COPY_ARGS is what cp is told in target, and it failed: b.jar",
        ),
        (
            {"target/a.jar": RUNNABLE, "target/b.txt": LIBRARY},
            {"ARTIFACT_COPY_ARGS": "b.txt"},
            "ARTIFACT_COPY_ARGS has taken no jar: b.txt",
        ),
        (
            {"target/a.jar": RUNNABLE},
            {"JAVA_MAJOR_VERSION": "lts"},
            "JAVA_MAJOR_VERSION=lts is no version of Java",
        ),
    ],
)
def test_what_cannot_be_run_fails_when_it_is_built_and_says_why(
    host: Host, jars: Mapping[str, str], environ: Mapping[str, str], message: str
) -> None:
    ended = host.build(MAVEN, jars, **environ)
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert (ended.status, errors) == (1, [f"error: {message}"])


def test_what_is_taken_may_be_told_as_cp_is(host: Host) -> None:
    jars = {"out/a.jar": RUNNABLE, "out/b.jar": RUNNABLE, "out/lib/c.jar": LIBRARY}
    told = {"ARTIFACT_DIR": "out", "ARTIFACT_COPY_ARGS": "-r a*.jar lib"}
    ended = host.build(MAVEN, {**jars, "a.jar": RUNNABLE}, **told)
    assert (ended.status, ended.stderr, left(host.deployments)) == (0, "", ["a.jar", "lib/c.jar"])
    assert host.plan == ["21", "", "a.jar"]


def test_a_jar_that_bears_the_time_of_its_build_is_named(host: Host) -> None:
    ended = host.build(MAVEN, {"target/shop.jar": "runnable\t21\t-\tnew\t-"})
    assert "shop.jar holds the time of this build, so the next one of the same source will differ" in ended.stdout


@pytest.mark.parametrize("name", ["JAVA_APP_DIR", "DEPLOYMENTS_DIR"])
def test_the_application_lies_where_the_user_says(host: Host, name: str) -> None:
    place = {name: str(host.root / "elsewhere")}
    assert (host.build(MAVEN, **place).status, left(host.root / "elsewhere")) == (0, ["shop.jar"])
    assert host.run("run", **place).calls == (f"java-21 {HEAP} -jar /elsewhere/shop.jar",)


def test_a_source_with_a_run_script_of_its_own_is_not_judged(host: Host) -> None:
    write(host.root, {"scripts/run": "#!/bin/sh\n"})
    ended = host.build(MAVEN, {"target/a.jar": LIBRARY})
    assert (ended.status, left(host.deployments)) == (0, ["a.jar"])


@pytest.mark.parametrize(
    ("files", "environ", "deployed"),
    [
        ({"deployments/shop.jar": "", "README": ""}, {}, ["shop.jar"]),
        ({"shop.jar": "", "conf/x": "", ".git/x": ""}, {}, ["conf/x", "shop.jar"]),
        ({"out/shop.jar": "", "x": ""}, {"ARTIFACT_DIR": "out"}, ["shop.jar"]),
        ({"deployments/bin/run.sh": ""}, {}, ["bin/run.sh"]),
    ],
)
def test_finished_jars_are_taken_as_they_are(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], deployed: list[str]
) -> None:
    ended = host.build(files, {"shop.jar": RUNNABLE}, **environ)
    assert (ended.status, ended.stderr, ended.calls, left(host.deployments)) == (0, "", (), deployed)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "the source is empty"),
        ({"README": ""}, "nothing here is a Java application: no pom.xml, no build.gradle, no jar"),
    ],
)
def test_a_source_that_is_no_java_is_refused(host: Host, files: Mapping[str, str], message: str) -> None:
    ended = host.build(files)
    assert (ended.status, ended.error) == (1, f"error: {message}")


# -------------------------------------------------------------------------------------------------- what is left


def test_downloads_do_not_stay_in_the_image(host: Host) -> None:
    host.build(MAVEN)
    assert (left(host.root / "app"), left(host.root / "tmp")) == (["plan"], [])


@pytest.mark.parametrize("mount", ["app/.m2/repository", "app/.m2"])
def test_a_cache_keeps_what_was_downloaded(host: Host, mount: str) -> None:
    host.build(MAVEN, MOUNTED=mount)
    assert left(host.root / "app") == [".m2/repository/downloaded", "plan"]


def test_builds_take_turns_in_a_cache(host: Host) -> None:
    write(host.source, MAVEN)
    write(host.root, {"jars": f"target/shop.jar\t{RUNNABLE}\n", "calls": ""})
    cache = os.open(host.root / "app/.m2/repository", os.O_RDONLY)
    fcntl.flock(cache, fcntl.LOCK_EX)
    with host.start(MOUNTED="app/.m2/repository") as building:
        assert building.stdout is not None
        waiting = "---> Waiting for another build with the same downloads (none waits with --no-cache)\n"
        assert waiting in iter(building.stdout.readline, "")
        assert (host.root / "calls").read_text() == ""
        os.close(cache)
        building.stdout.read()
    assert (building.returncode, left(host.deployments)) == (0, ["shop.jar"])


def test_what_a_build_installed_of_itself_is_no_download_for_the_next(host: Host) -> None:
    repository = host.root / "app/.m2/repository"
    write(
        repository,
        {
            "shop/core/1/_remote.repositories": "core-1.jar>=\n",
            "shop/core/1/core-1.jar": "",
            "shop/core/maven-metadata-local.xml": "",
            "gson/1/_remote.repositories": "gson-1.jar>central=\n",
            "gson/1/gson-1.jar": "",
        },
    )
    host.build(MAVEN, MOUNTED="app/.m2/repository")
    assert left(repository) == ["downloaded", "gson/1/_remote.repositories", "gson/1/gson-1.jar"]


def test_downloads_are_kept_for_the_next_build_where_that_is_asked_for(host: Host) -> None:
    host.build(MAVEN, MAVEN_CLEAR_REPO="false")
    saved = subprocess.run(
        [str(SCRIPTS / "save-artifacts")],
        env={"PATH": os.environ["PATH"], "HOME": str(host.root / "app")},
        capture_output=True,
        check=True,
    )
    (host.root / "artifacts").mkdir()
    subprocess.run(["tar", "-C", str(host.root / "artifacts"), "-xf", "-"], input=saved.stdout, check=True)
    assert left(host.root / "artifacts") == [".m2/repository/downloaded"]
    write(host.root, {"programs/mvn": '#!/bin/sh\nls "$ROOT"/tmp/*/repository >>"$CALLS"\nexit 1\n'})
    (host.root / "app/.m2/repository/downloaded").unlink()
    assert host.build(MAVEN).calls == ("downloaded",)


def test_save_artifacts_prints_nothing_where_nothing_was_kept(host: Host) -> None:
    assert host.run("save-artifacts") == Ended(status=0, stdout="", stderr="", calls=())


def test_any_user_of_group_0_may_do_what_the_owner_may(host: Host) -> None:
    write(host.source, {"deployments/shop.jar": "", "deployments/bin/tool": ""})
    (host.source / "deployments/bin/tool").chmod(0o755)
    (host.source / "deployments/bin").chmod(0o700)
    host.build({}, {"shop.jar": RUNNABLE})
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in host.deployments.rglob("*")}
    assert modes == {"shop.jar": "0o664", "bin": "0o770", "tool": "0o775"}


def test_all_that_is_left_has_the_time_of_the_source(host: Host) -> None:
    host.build(MAVEN, SOURCE_DATE_EPOCH="4000000000")
    places = [host.deployments, *host.deployments.rglob("*"), host.root / "app", *(host.root / "app").rglob("*")]
    assert {int(path.stat().st_mtime) for path in places} == {4000000000}


# ------------------------------------------------------------------------------------------------------ how it runs

ENDS = "-XX:+ExitOnOutOfMemoryError"
HEAP = f"{ENDS} -XX:MaxRAMPercentage=60"
DEBUG = "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=*:8000"


@pytest.mark.parametrize(
    ("environ", "call"),
    [
        ({}, f"java-21 {HEAP} -jar /deployments/my shop.jar"),
        (
            {"JAVA_OPTIONS": "-Xmx64m -Dx=*", "JAVA_ARGS": "--a b"},
            f"java-21 {HEAP} -Xmx64m -Dx=* -jar /deployments/my shop.jar --a b",
        ),
        ({"JAVA_APP_JAR": "other.jar"}, f"java-21 {HEAP} -jar /deployments/other.jar"),
        (
            {"JAVA_MAIN_CLASS": "shop.Main", "JAVA_CLASSPATH": "/x"},
            f"java-21 {HEAP} -cp /deployments/my shop.jar:/deployments/*:/deployments/lib/*:/x shop.Main",
        ),
        (
            {"JAVA_MAX_MEM_RATIO": "0", "JAVA_INIT_MEM_RATIO": "20", "JAVA_MAX_CORE": "2"},
            f"java-21 {ENDS} -XX:InitialRAMPercentage=20 -XX:ActiveProcessorCount=2 -jar /deployments/my shop.jar",
        ),
        (
            {"JAVA_DEBUG": "true", "JAVA_DEBUG_PORT": "8000", "JAVA_DIAGNOSTICS": "1"},
            f"java-21 {HEAP} -Xlog:gc -XX:NativeMemoryTracking=summary {DEBUG} -jar /deployments/my shop.jar",
        ),
    ],
)
def test_the_application_is_started_with_a_heap_that_fits_and_the_users_word_last(
    host: Host, environ: Mapping[str, str], call: str
) -> None:
    write(host.root, {"app/plan": "21\n\nmy shop.jar\n", "deployments/my shop.jar": "", "deployments/other.jar": ""})
    ended = host.run("run", **environ)
    assert (ended.status, ended.stderr, ended.calls) == (0, "", (call,))


def test_the_plan_decides_the_jdk_and_what_it_is_told(host: Host) -> None:
    write(host.root, {"app/plan": "25\n--add-opens=a=b --add-opens=c=d\nshop.jar\n", "deployments/shop.jar": ""})
    assert host.run("run").calls == (f"java-25 {HEAP} --add-opens=a=b --add-opens=c=d -jar /deployments/shop.jar",)


def test_a_script_of_the_deployment_knows_what_it_starts(host: Host) -> None:
    write(host.deployments, {"bin/run.sh": 'echo "started on $PORT" >>"$CALLS"\n'})
    assert host.run("run").calls == ("started on 8080",)


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({}, ("8080 - - -",)),
        ({"PORT": "9000"}, ("9000 9000 9000 9000",)),
        ({"PORT": "9000", "SERVER_PORT": "9001"}, ("9000 9001 9000 9000",)),
    ],
)
def test_frameworks_hear_of_a_port_that_the_platform_names(
    host: Host, environ: Mapping[str, str], seen: tuple[str, ...]
) -> None:
    told = 'echo "$PORT ${SERVER_PORT:--} ${QUARKUS_HTTP_PORT:--} ${MICRONAUT_SERVER_PORT:--}" >>"$CALLS"\n'
    write(host.deployments, {"bin/run.sh": told})
    assert host.run("run", **environ).calls == seen


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "assemble has left nothing that could be run"),
        ({"app/plan": "21\n\nshop.jar\n"}, "there is no {deployments}/shop.jar to run"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line_that_makes_sense_alone(
    host: Host, files: Mapping[str, str], message: str
) -> None:
    write(host.root, files)
    ended = host.run("run")
    assert (ended.status, ended.error) == (1, "error: " + message.format(deployments=host.deployments))


def test_what_leads_to_mirrors_reaches_assemble() -> None:
    settings = {"GRADLE_DISTRIBUTION_MIRROR": "g", "MAVEN_MIRROR_URL": "m"}
    assert dict(package_sources({**settings, "MAVEN_OPTS": "-Xmx1g"})) == {
        name: Secret(value) for name, value in settings.items()
    }


# ------------------------------------------------------------------------------------------- what the builder says


def test_the_directories_of_downloads_are_made_before_anything_is_mounted_there() -> None:
    made = re.findall(r"mkdir -p (.*)", (BUILDER / "install").read_text())
    assert set(load(BUILDER).blueprint.caches) <= set(" ".join(made).split())


def test_what_older_platforms_call_tomcat_is_not_this_builder() -> None:
    assert [each for each in load(BUILDER).blueprint.aliases if "tomcat" in str(each)] == []


def test_the_usage_names_every_variable_that_the_scripts_read() -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    scripts = "".join(path.read_text() for path in SCRIPTS.iterdir() if path.name not in ("usage", "Inspect.java"))
    asked = set(re.findall(r"\$\{((?:JAVA|MAVEN|GRADLE|ARTIFACT)_[A-Z_0-9]+):?[-}%+]", scripts))
    assert {name for name in asked if name not in usage} == {"JAVA_HOME"}
