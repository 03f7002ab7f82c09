"""The builder of wars on real containers: each Tomcat with what it is for, where it is served, how, and as whom."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from s2ictl.errors import AssembleFailed
from s2ictl.models import Servlet
from tests.engine import javas
from tests.engine.apps import Ours, Running, Works
from tests.testbed.processes import eventually

NARROW = {"read_only": True, "tmpfs": {"/tmp": ""}, "user": "123456:0"}
PAGES = {
    "WEB-INF/web.xml": "<web-app/>",
    "index.jsp": "${pageContext.request.contextPath}/",
    "slow.jsp": '<%@ page contentType="text/plain" %><% Thread.sleep(1500); %>done',
    "client.jsp": "${pageContext.request.scheme} ${pageContext.request.remoteAddr}",
    "heap.jsp": "<%= Runtime.getRuntime().maxMemory() >> 20 %>",
    "fails.jsp": '<% if (true) throw new IllegalStateException("secret"); %>',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A version of the builder, and a war that is for it."""

    version: str
    servlet: Servlet
    java: int = 21

    def __str__(self) -> str:
        return self.version


# Each Tomcat and each Java once: what a Tomcat has to do with Java is the same in all of them.
KINDS = (
    Kind(version="10.1", servlet="jakarta"),
    Kind(version="9", servlet="javax"),
    Kind(version="11-java25", servlet="jakarta", java=25),
)


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    assert isinstance(request.param, Kind)
    return request.param


@pytest.fixture(scope="module")
def each(kind: Kind, ours: Ours) -> Works:
    return ours("tomcat", kind.version)


@pytest.fixture(scope="module")
def works(ours: Ours) -> Works:
    """The first of them, where all do the same."""
    return ours("tomcat")


@pytest.fixture(scope="module")
def pages(works: Works) -> Iterator[Running]:
    settings = {"mem_limit": "512m", "environment": {"ACCESS_LOG": "true"}}
    with works.running(works.image("pages", PAGES), **NARROW, **settings) as running:
        running.get()
        yield running


def war(servlet: Servlet, level: int = 17) -> bytes:
    return javas.war(servlet, level=level).read_bytes()


def test_a_war_is_served_by_the_tomcat_of_its_servlets_on_a_read_only_root_as_any_user_of_group_0(
    kind: Kind, each: Works
) -> None:
    made = each.make("shop", {"shop.war": war(kind.servlet, 25 if kind.java == 25 else 17)})
    assert made.says("---> shop.war is served at /shop/")
    with each.running(made.image, **NARROW) as running:
        servlet, page = running.text("/shop/hello"), running.text("/shop/")
    assert servlet == f"hello from {kind.servlet} at /shop/ on Java {kind.java}"
    assert page == "a page, and 42"


def test_the_sample_answers_what_each_version_promises(each: Works) -> None:
    assert "Hello from Apache Tomcat/" in each.sample().answer


def test_a_war_is_served_under_its_name(works: Works) -> None:
    names = {"ROOT.war": "/", "shop.war": "/shop/", "shop#api.war": "/shop/api/", "old##1.2.war": "/old/"}
    made = works.make("names", dict.fromkeys(names, war("jakarta")))
    with works.running(made.image) as running:
        served = {path: running.text(f"{path}hello") for path in names.values()}
    assert served == {path: f"hello from jakarta at {path} on Java 21" for path in names.values()}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"shop.war": "<html>404</html>"}, "shop.war is no archive that could be read"),
        ({"shop.war": war("javax")}, "shop.war is for javax servlets, and Tomcat 10.1"),
        ({"shop.war": javas.jar().read_bytes()}, "shop.war is no war: there is no WEB-INF in it"),
        ({"shop.war": war("jakarta", 25)}, "shop.war has classes for Java 25, and this is Java 21"),
        ({"shop.war": war("jakarta")[:-2000]}, "shop.war is no archive that could be read"),
        ({"README": ""}, "there is no war here"),
    ],
    ids=["a page", "other servlets", "a jar", "newer classes", "truncated", "nothing"],
)
def test_what_this_tomcat_cannot_run_is_refused_when_it_is_built(
    files: Mapping[str, str | bytes], message: str, works: Works
) -> None:
    with pytest.raises(AssembleFailed) as refused:
        works.make("refused", files)
    assert message in refused.value.detail


def test_strangers_learn_nothing_of_versions_and_stack_traces(pages: Running) -> None:
    answers = [pages.get("/nowhere", 404), pages.get("/fails.jsp", 500)]
    said = [f"{answer.headers} {answer.body.decode()}" for answer in answers]
    assert [word for text in said for word in ("Tomcat", "'Server'", "IllegalState", "secret") if word in text] == []


def test_who_asks_is_what_a_proxy_says(pages: Running) -> None:
    connection = http.client.HTTPConnection(pages.url.removeprefix("http://"), timeout=10)
    with closing(connection):
        proxied = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        connection.request("GET", "/client.jsp", headers=proxied)
        assert connection.getresponse().read() == b"https 203.0.113.9"


def test_the_heap_fits_the_container_and_the_users_word_comes_last(pages: Running, works: Works) -> None:
    assert 290 <= int(pages.text("/heap.jsp")) <= 310  # 60 of 100, without what the collector keeps
    said = {"JAVA_MAX_MEM_RATIO": "30", "CATALINA_OPTS": "-Xmx64m\n-Da=b"}
    with works.running(works.image("pages", PAGES), mem_limit="512m", environment=said) as running:
        assert 60 <= int(running.text("/heap.jsp")) <= 65


def test_a_stopped_container_answers_what_was_asked_and_ends_by_itself(works: Works) -> None:
    answers: list[str] = []
    with works.running(works.image("pages", PAGES)) as running:
        running.text("/")
        idle = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=10)
        with closing(idle):
            idle.request("GET", "/")
            idle.getresponse().read()
            asking = threading.Thread(target=lambda: answers.append(running.text("/slow.jsp")))
            asking.start()
            asking.join(0.7)
            seconds, status = running.stop()
        asking.join()
    assert (answers, status, seconds < 8) == (["done"], 143, True)


def test_a_container_that_is_started_again_begins_anew(works: Works) -> None:
    with works.running(works.image("pages", PAGES)) as running:
        running.text("/")
        running.container.restart(timeout=10)
        running.container.reload()
        port = running.container.ports["8080/tcp"][0]["HostPort"]
        assert replace(running, url=f"http://127.0.0.1:{port}").text("/") == "/"
        unpacked = running.container.exec_run(["ls", "/tmp/tomcat/webapps"]).output.decode().split()
    assert unpacked == ["ROOT"]


def test_each_request_is_a_line_where_that_is_wanted(pages: Running) -> None:
    pages.text("/index.jsp")
    line = b'"GET /index.jsp HTTP/1.1" 200'  # written when the answer has been given already
    assert eventually(lambda: line in pages.container.logs(stderr=False), patience=30)


def test_the_same_war_gives_the_same_layer(works: Works) -> None:
    files = {"shop.war": war("jakarta")}
    images = (works.make(name, files, epoch=1_700_000_000).image for name in ("one", "two"))
    once, twice = (works.layers(image) for image in images)
    assert (once, len(once)) == (twice, 1)


# --------------------------------------------------------------------------------------------------- built by Maven

POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>shop</groupId>
  <artifactId>shop</artifactId>
  <version>1.0</version>
  <packaging>war</packaging>
  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency>
      <groupId>{group}</groupId>
      <artifactId>{group}-api</artifactId>
      <version>{version}</version>
      <scope>provided</scope>
    </dependency>
  </dependencies>
  <build>
    <finalName>shop</finalName>
    <plugins>
      <plugin>
        <artifactId>maven-war-plugin</artifactId>
        <version>3.4.0</version>
        <configuration><failOnMissingWebXml>false</failOnMissingWebXml></configuration>
      </plugin>
    </plugins>
  </build>
</project>
"""
SERVLET = """
package shop;

import java.io.IOException;
import {group}.annotation.WebServlet;
import {group}.http.*;

@WebServlet("/hello")
public class Hello extends HttpServlet {{
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {{
        response.getWriter().print("hello on " + getServletContext().getServerInfo().split("\\\\.")[0]);
    }}
}}
"""


@pytest.mark.parametrize(
    ("group", "version", "builder", "answer"),
    [
        ("javax.servlet", "4.0.1", "tomcat", "hello on Apache Tomcat/9"),
        ("jakarta.servlet", "6.0.0", "", "hello on Apache Tomcat/10"),
    ],
    ids=["javax, named", "jakarta, detected"],
)
def test_a_maven_project_is_built_by_java_and_runs_on_the_tomcat_of_its_servlets(
    group: str, version: str, builder: str, answer: str, shop: Works
) -> None:
    files = {
        "pom.xml": POM.format(group=group, version=version),
        "src/main/java/shop/Hello.java": SERVLET.format(group=group),
    }
    made = shop.make("project", files, builder=builder)
    with shop.running(made.image, **NARROW) as running:
        assert running.text("/shop/hello") == answer
    assert shop.printed(made.image, "ls /usr/share/maven /usr/lib/jvm/java-21 2>/dev/null || true") == ""


@pytest.fixture(scope="module")
def shop(works: Works, ours: Ours) -> Works:
    """The builders that make what others only take finished, and those others."""
    java, _ = ours("java").folder, ours("tomcat", "9")
    return replace(works, workshop=replace(works.workshop, folders=lambda _: (java, works.folder)))
