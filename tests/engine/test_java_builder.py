"""The Java builder on real containers, with the real Maven: each way to a running application, and what stays of it."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import socket
import ssl
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from s2ictl import addresses, bases, demo
from s2ictl.build import build
from s2ictl.builders import Folder, load, shelf
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.errors import AssembleFailed
from s2ictl.events import Event, Line
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Reference, Secret, Source
from s2ictl.transport import HASTY, Transport
from s2ictl.workshop import Workshop
from tests import testbed
from tests.engine.apps import tree_of
from tests.testbed.certificates import Pair, authority

BUNDLE = addresses.ca_bundle(os.environ, flag=None, cwd=Path.cwd())
APP = "s2ictl-test/java"
EPOCH = 1_700_000_000
REQUEST = BuildRequest(
    source=Source(kind="directory", location="/nowhere", copy=True),
    builder="java",
    names=(),
    ca_bundle=BUNDLE,
    app=APP,
    epoch=EPOCH,
    force=True,
)
USER, CANARY = "somebody", "canary-9c2e71"
SILENT = ("gson-2.13.2.pom", "gson-2.13.2.jar")

# Spring Boot, Lombok and plugins of a time that knew nothing of the JDKs here.
OLD_POM = """
<project>
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>2.3.12.RELEASE</version>
  </parent>
  <groupId>shop</groupId>
  <artifactId>shop</artifactId>
  <version>1.0</version>
  <properties><java.version>1.8</java.version></properties>
  <dependencies>
    <dependency>
      <groupId>org.springframework.boot</groupId>
      <artifactId>spring-boot-starter-web</artifactId>
    </dependency>
    <dependency>
      <groupId>org.projectlombok</groupId>
      <artifactId>lombok</artifactId>
      <optional>true</optional>
    </dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin>
        <groupId>org.springframework.boot</groupId>
        <artifactId>spring-boot-maven-plugin</artifactId>
      </plugin>
    </plugins>
  </build>
</project>
"""
OLD_SHOP = """
package shop;

import lombok.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Shop {
    @Value
    public static class Answer {
        String greeting;
        String java;
    }

    @GetMapping("/")
    public Answer answer() {
        return new Answer("hello from Spring Boot", System.getProperty("java.specification.version"));
    }

    public static void main(String[] arguments) {
        SpringApplication.run(Shop.class, arguments);
    }
}
"""
# What a wrapper does once it has its distribution, on the JDK that it is given.
WRAPPER = """#!/bin/sh
set -e
grep -q trustStore "$GRADLE_USER_HOME/gradle.properties"
javac --release 17 -d build/classes Hello.java
mkdir -p build/libs
jar --create --file build/libs/hello.jar --main-class Hello -C build/classes .
"""
HELLO = """
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;

public class Hello {
    public static void main(String[] arguments) throws Exception {
        Files.writeString(Path.of("written"), "");
        var port = Integer.parseInt(System.getenv("PORT"));
        var server = HttpServer.create(new InetSocketAddress(port), 0);
        var heap = Runtime.getRuntime().maxMemory() >> 20;
        server.createContext("/", exchange -> {
            var answer = (heap + " MB on " + System.getProperty("java.specification.version")).getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
    }
}
"""


# ------------------------------------------------------------------------------------------------- a mirror of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Maven's central repository behind a login, and what was fetched by way of it."""

    url: str
    fetched: list[str]
    answers: dict[str, tuple[int, bytes]]


class _Mirror(ThreadingHTTPServer):
    """What is named in `silent` is not sent the first time that it is asked for; of a jar the head is."""

    origin: Callable[[], str]
    fetched: list[str]
    silent: set[str]
    answers: dict[str, tuple[int, bytes]]
    central: urllib3.PoolManager
    closing: threading.Event


class _Mirrored(BaseHTTPRequestHandler):
    server: _Mirror
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # heads and bodies are written one by one, and would wait for each other

    def do_GET(self) -> None:
        if self.headers.get("Authorization") != LOGIN:
            self._answer(401, b"")
            return
        if self.path not in self.server.answers:
            response = self.server.central.request("GET", self.server.origin() + self.path, timeout=5, retries=5)
            self.server.answers[self.path] = response.status, response.data
        self.server.fetched.append(self.path)
        name = self.path.rpartition("/")[2]
        if self.command == "GET" and name in self.server.silent:
            self.server.silent.remove(name)
            self._fall_silent(*self.server.answers[self.path])
        else:
            self._answer(*self.server.answers[self.path])

    do_HEAD = do_GET  # noqa: N815  (the name is http.server's)

    def _answer(self, status: int, body: bytes) -> None:
        self._begin(status, body)
        if self.command == "GET":
            self.wfile.write(body)

    def _begin(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="mirror"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def _fall_silent(self, status: int, body: bytes) -> None:
        if self.path.endswith(".jar"):
            self._begin(status, body)
        self.server.closing.wait()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """The tests ask what was fetched."""


LOGIN = "Basic " + base64.b64encode(f"{USER}:{CANARY}".encode()).decode()


@contextmanager
def mirroring(
    origin: Callable[[], str],
    host: str,
    tls: Pair | None = None,
    silent: Iterable[str] = (),
    answers: Mapping[str, tuple[int, bytes]] | None = None,
) -> Iterator[Mirror]:
    """A mirror that knows these answers already, and asks for others where the repository itself is."""
    server = _Mirror((host, 0), _Mirrored)
    server.origin = origin
    server.fetched, server.answers, server.silent = [], dict(answers or {}), set(silent)
    server.closing = threading.Event()
    server.central = urllib3.PoolManager(maxsize=8, ca_certs=str(BUNDLE) if BUNDLE else None)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        scheme = "https" if tls else "http"
        url = f"{scheme}://{USER}:{CANARY}@{host}:{server.server_port}"
        try:
            yield Mirror(url=url, fetched=server.fetched, answers=server.answers)
        finally:
            server.closing.set()


def central(client: Any, image: str) -> str:
    """Where Maven looks by itself, as the one in the builder says; or the mirror that this machine has."""
    if mirror := os.environ.get("MAVEN_MIRROR_URL"):
        return mirror.rstrip("/")
    model = "org/apache/maven/model/pom-4.0.0.xml"
    script = f"cd /tmp && jar --extract --file /usr/share/java/maven3-model-builder.jar {model} && cat {model}"
    (address, *_) = re.findall(
        r"<url>(.*)</url>", client.containers.run(image, ["sh", "-c", script], remove=True).decode()
    )
    return str(address)


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Proxy(ThreadingHTTPServer):
    led: list[str]


class _Proxied(BaseHTTPRequestHandler):
    """Leads where it is told to, once it has been told who asks."""

    server: _Proxy
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        if self.headers.get("Proxy-Authorization") != LOGIN:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.led.append(self.path)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as there:
            self.send_response(200)
            self.end_headers()
            self._pass_on(there)
        self.close_connection = True

    def _pass_on(self, there: socket.socket) -> None:
        other = {self.connection: there, there: self.connection}
        while True:
            for end in select.select(list(other), [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                other[end].sendall(data)

    def log_message(self, *_: object) -> None:
        """The tests ask where it has led."""


@contextmanager
def proxying(host: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that wants a password: its address, and where it has led."""
    server = _Proxy((host, 0), _Proxied)
    server.led = []
    with serving(server):
        yield f"http://{USER}:{CANARY}@{host}:{server.server_port}", server.led


# ---------------------------------------------------------------------------------------------- the builder at work


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """The builder at work: images of some files, and containers of them."""

    client: Any
    engine: Docker
    workshop: Workshop
    folder: Folder
    mirror: Mirror
    gateway: str
    origin: Callable[[], str]

    def request(self, **build_env: str) -> BuildRequest:
        return replace(REQUEST, build_env=tuple((name, Secret(value)) for name, value in build_env.items()))

    def using(self, files: Mapping[str, str | bytes]) -> Workshop:
        return replace(self.workshop, fetch=lambda *_: nullcontext(tree_of(files)))

    def image(self, name: str, files: Mapping[str, str | bytes], request: BuildRequest = REQUEST) -> Built:
        """Build these files once; answer the image's name, and what assemble said."""
        image, said = f"s2ictl-test/java-{name}:1", list[Event]()
        build(replace(request, names=(Reference.parse(image),)), self.using(files), emit=said.append)
        return Built(image=image, said="\n".join(event.text for event in said if isinstance(event, Line)))

    @contextmanager
    def running(self, image: str, **how: Any) -> Iterator[Running]:
        """A container as any platform starts it."""
        container = self.client.containers.run(image, detach=True, ports={"8080/tcp": ("127.0.0.1", None)}, **how)
        try:
            container.reload()
            yield Running(url=f"http://127.0.0.1:{container.ports['8080/tcp'][0]['HostPort']}/", container=container)
        finally:
            container.remove(force=True)

    def file(self, image: str, path: str) -> bytes:
        """A file of an image."""
        container = self.client.containers.create(image)
        try:
            chunks, _ = container.get_archive(path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
                content = archive.extractfile(Path(path).name)
                assert content is not None
                return content.read()
        finally:
            container.remove()

    def listing(self, image: str) -> bytes:
        """Every file that assemble has left, with its time and digest."""
        each = r"-printf '%p %T@ ' -exec sha256sum {} \;"
        found = f"cd / && find . -path ./proc -prune -o -path ./sys -prune -o -user 1001 -type f {each} | sort"
        return bytes(self.client.containers.run(image, ["sh", "-c", found], remove=True, user="0"))

    def layers(self, image: str) -> list[str]:
        return list(self.client.images.get(image).attrs["RootFS"]["Layers"])

    def files(self, image: str) -> list[str]:
        return [line.split()[0].decode() for line in self.listing(image).splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    image: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    url: str
    container: Any

    def answer(self) -> str:
        expected = demo.Expectation(path="/", status=200, contains="", within=40)
        with Transport({}, emit=ignore, patience=HASTY) as http:
            return demo.ask(self.url, expected, get=lambda url: http.once("GET", url)).body.decode()

    def stop(self) -> tuple[float, int]:
        """End it as `docker stop` does; the seconds that it took, and its status."""
        began = time.monotonic()
        self.container.stop(timeout=10)
        return time.monotonic() - began, self.container.wait()["StatusCode"]


def ignore(_event: Event) -> None:
    """Nobody looks on."""


def sample_of(folder: Folder) -> dict[str, str | bytes]:
    sample = folder.path / "sample"
    return {str(path.relative_to(sample)): path.read_bytes() for path in sample.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------------------------------- made once for all


@pytest.fixture(scope="module")
def works(engine_facts: testbed.Engine) -> Iterator[Works]:
    """The builder; it takes a minute to make, so one of the same folder that is here already serves and stays."""
    import docker

    folder = load(shelf(Path(__file__).parents[2] / "s2ictl") / "java")
    environ = {**os.environ, "DOCKER_HOST": engine_facts.docker_host}
    with ExitStack() as stack:
        client = stack.enter_context(closing(docker.DockerClient(base_url=engine_facts.docker_host)))
        ours = () if client.images.list(name="s2ictl/java") else ("s2ictl/java",)
        engine = stack.enter_context(open_docker(environ, host=this_host(), emit=ignore))
        _forget_caches(engine)  # which a run that was killed has left
        stack.callback(_forget_caches, engine)
        stack.callback(_remove_images, client, ("s2ictl-test/java-*", "s2ictl/sample-java", *ours))
        workshop = Workshop(
            engine=engine,
            fetch=lambda *_: nullcontext(tree_of({})),
            find_login=lambda _: None,
            folders=lambda _: (folder,),
            root_filesystem=lambda suite, emit: bases.root_filesystem(suite, environ, emit),
            download=lambda *_: None,
        )
        (network,) = client.api.inspect_network("bridge")["IPAM"]["Config"]
        origin = cache(partial(central, client, str(folder.image)))
        mirror = stack.enter_context(mirroring(origin, network["Gateway"]))
        yield Works(
            client=client,
            engine=engine,
            workshop=workshop,
            folder=folder,
            mirror=mirror,
            gateway=network["Gateway"],
            origin=origin,
        )


def _forget_caches(engine: Docker) -> None:
    for kept in engine.kept():
        if kept.app == APP:
            engine.forget(kept)


def _remove_images(client: Any, names: Iterable[str]) -> None:
    for name in names:
        for image in client.images.list(filters={"reference": name}):
            client.images.remove(image.id, force=True)


@pytest.fixture(scope="module")
def sample(works: Works) -> demo.Trial:
    """The sample, by Maven and the mirror, and what it answered."""
    with Transport({}, emit=ignore, patience=HASTY) as http:
        return demo.try_sample(
            works.folder,
            works.request(MAVEN_MIRROR_URL=works.mirror.url),
            build=lambda request, emit: build(request, works.using(sample_of(works.folder)), emit=emit),
            runner=works.engine,
            get=lambda url: http.once("GET", url),
            emit=ignore,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Roundabout:
    """The sample again, from nothing: a company's authority, its proxy, and a mirror that falls silent once."""

    built: Built
    led: list[str]
    secrets: tuple[str, ...]


@pytest.fixture(scope="module")
def roundabout(works: Works, sample: demo.Trial, tmp_path_factory: pytest.TempPathFactory) -> Roundabout:
    assert sample.answer  # so its mirror knows every answer, and none is late
    company = authority(tmp_path_factory.mktemp("company") / "ca")
    pair = company.issue("mirror", subject="/CN=mirror", alternatives=[f"IP:{works.gateway}"])
    with (
        mirroring(works.origin, works.gateway, pair, SILENT, works.mirror.answers) as mirror,
        proxying(works.gateway) as (proxy, led),
    ):
        environ = {
            "MAVEN_MIRROR_URL": mirror.url,
            "https_proxy": proxy,
            "MAVEN_ARGS_APPEND": "-Dmaven.wagon.rto=10000",
        }
        request = replace(works.request(**environ), cache=False, ca_bundle=company.own.certificate)
        built = works.image("roundabout", sample_of(works.folder), request)
        places = tuple(url.rpartition("@")[2] for url in (mirror.url, proxy))
    return Roundabout(built=built, led=led, secrets=(CANARY, *places, "/tmp/tmp.", "s2ictl-testbed"))


@pytest.fixture(scope="module")
def hello(works: Works) -> Built:
    """A Gradle project whose wrapper needs no distribution."""
    files: dict[str, str | bytes] = {
        "build.gradle": "java { toolchain { languageVersion = JavaLanguageVersion.of(17) } }\n",
        "gradlew": WRAPPER.replace("\n", "\r\n"),
        "gradle/wrapper/gradle-wrapper.jar": b"",
        "gradle/wrapper/gradle-wrapper.properties": "distributionUrl=https\\://x.invalid/gradle-8.14-bin.zip\n",
        "Hello.java": HELLO,
    }
    return works.image("hello", files)


# -------------------------------------------------------------------------------------------- ways to an application


def test_the_sample_answers_what_the_builder_promises(works: Works, sample: demo.Trial) -> None:
    assert "Hello from Java, built by s2ictl without a Dockerfile." in sample.answer
    assert any(path.endswith("/gson-2.13.2.jar") for path in works.mirror.fetched)


def test_an_old_spring_boot_with_an_old_lombok_is_built_and_runs_on_a_jdk_of_today(works: Works) -> None:
    built = works.image("boot", {"pom.xml": OLD_POM, "src/main/java/shop/Shop.java": OLD_SHOP})
    other = "MAVEN_ARGS_APPEND=-Dlombok.version=VERSION chooses another"
    aloud = re.findall(r"---> (.*)", built.said)
    assert aloud == [
        "Building with Maven on JDK 21, for Java 8",
        "Compiling with --release 8",
        f"The Lombok of Spring Boot 2.3.12.RELEASE does not work on JDK 21: taking 1.18.42 ({other})",
        "Tests and other checks are left out (MAVEN_ARGS=verify runs them)",
        "Taking target/shop-1.0.jar",
        "shop-1.0.jar runs on JDK 21, which is opened to it as before Java 17",
    ]
    with works.running(built.image, read_only=True, tmpfs={"/tmp": ""}, environment={"PORT": "8080"}) as shop:
        assert works.files(built.image) == ["./deployments/shop-1.0.jar", "./opt/app-root/plan"]
        assert shop.answer() == '{"greeting":"hello from Spring Boot","java":"21"}'


def test_finished_jars_run_as_they_are(works: Works, sample: demo.Trial) -> None:
    image = str(sample.image.names[0])
    jars = {
        f"deployments/{path}": works.file(image, f"/deployments/{path}")
        for path in ("greeter.jar", "lib/gson-2.13.2.jar")
    }
    with works.running(works.image("finished", jars).image) as application:
        assert "Hello from Java" in application.answer()


def test_a_gradle_wrapper_is_given_the_jdk_and_the_settings(works: Works, hello: Built) -> None:
    assert "---> The toolchain for Java 17 is JDK 21" in hello.said
    with works.running(hello.image) as application:
        assert application.answer().endswith(" MB on 21")


def test_a_war_without_a_container_of_its_own_is_refused_with_what_serves(works: Works) -> None:
    war = io.BytesIO()
    with zipfile.ZipFile(war, "w") as archive:
        archive.writestr("WEB-INF/web.xml", "<web-app/>")
    with pytest.raises(AssembleFailed) as caught:
        works.image("war", {"deployments/shop.war": war.getvalue()})
    assert "shop.war needs a servlet container, and there is none in this builder" in caught.value.detail
    assert "s2ictl build SOURCE tomcat" in caught.value.detail


def test_a_level_that_no_jdk_serves_is_refused_with_the_nearest(works: Works) -> None:
    with pytest.raises(AssembleFailed) as caught:
        works.image("future", {"pom.xml": "<project><release>99</release></project>"})
    assert "this is for Java 99, and the JDKs here are 21 25" in caught.value.detail
    assert "the nearest is 25" in caught.value.detail


# ------------------------------------------------------------------------------------------------ how the image runs


def test_the_application_runs_on_a_read_only_root_as_any_user_of_group_0(works: Works, sample: demo.Trial) -> None:
    with works.running(str(sample.image.names[0]), read_only=True, user="123456:0") as application:
        assert "Hello from Java" in application.answer()


def test_any_user_of_group_0_may_write_beside_the_application(works: Works, hello: Built) -> None:
    with works.running(hello.image, user="123456:0") as application:
        application.answer()
        assert application.container.exec_run(["stat", "-c", "%u:%g", "written"]).output == b"123456:0\n"


def test_the_heap_fits_the_container_and_the_users_word_comes_last(works: Works, hello: Built) -> None:
    with works.running(hello.image, mem_limit="512m") as application:  # 60 of 100, without what the collector keeps
        assert 290 <= int(application.answer().split()[0]) <= 310
    with works.running(hello.image, mem_limit="512m", environment={"JAVA_OPTIONS": "-Xmx64m"}) as application:
        assert 55 <= int(application.answer().split()[0]) <= 64


def test_a_stopped_container_ends_at_once_and_by_itself(works: Works, sample: demo.Trial) -> None:
    with works.running(str(sample.image.names[0])) as application:
        application.answer()
        seconds, ended = application.stop()
    assert (ended, seconds < 3) == (143, True)


# -------------------------------------------------------------------------------------------- what is not in the image


def test_neither_the_mirror_nor_its_login_nor_downloads_are_in_the_image(works: Works, sample: demo.Trial) -> None:
    image = str(sample.image.names[0])
    saved = b"".join(works.client.api.get_image(image))
    place = works.mirror.url.rpartition("@")[2]
    assert [word for word in (CANARY, place, "/tmp/tmp.") if word.encode() in saved] == []
    variables = {entry.partition("=")[0] for entry in works.client.images.get(image).attrs["Config"]["Env"]}
    assert variables == set(works.folder.blueprint.env)
    libraries = ("error_prone_annotations-2.41.0", "gson-2.13.2")
    assert works.files(image) == [
        "./deployments/greeter.jar",
        *(f"./deployments/lib/{library}.jar" for library in libraries),
        "./opt/app-root/plan",
    ]


def test_the_next_build_finds_what_was_downloaded_outside_the_image(works: Works, sample: demo.Trial) -> None:
    before = len(works.mirror.fetched)
    request = works.request(MAVEN_MIRROR_URL=works.mirror.url)
    again = works.image("again", sample_of(works.folder), request)
    assert works.mirror.fetched[before:] == []
    assert works.layers(again.image) == works.layers(str(sample.image.names[0]))


def test_an_authority_of_the_company_and_a_proxy_with_a_password_lead_to_the_mirror(
    works: Works, roundabout: Roundabout
) -> None:
    assert {place.partition(":")[0] for place in roundabout.led} == {works.gateway}
    saved = b"".join(works.client.api.get_image(roundabout.built.image))
    assert [word for word in roundabout.secrets if word.encode() in saved] == []


def test_a_mirror_that_falls_silent_is_asked_again_and_half_an_answer_starts_maven_again(
    roundabout: Roundabout,
) -> None:
    assert roundabout.built.said.count("---> The network failed: trying once more, with what has arrived") == 1


def test_the_same_source_gives_the_same_layer_whatever_the_way_to_it(
    works: Works, sample: demo.Trial, roundabout: Roundabout
) -> None:
    assert works.listing(roundabout.built.image) == works.listing(str(sample.image.names[0]))
    assert works.layers(roundabout.built.image) == works.layers(str(sample.image.names[0]))
