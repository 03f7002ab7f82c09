"""Real wars and jars, as the compilers of this machine and Maven make them: what people hold in their hands.

Each is made once and kept beside the testbed's own compiled programs, by the digest of what it is made of; so a file
here is nobody's to change: a test that needs another name or another byte takes a copy.

    war("javax"), war("jakarta")      a servlet, a page and a listener that says where it is served
    jar(), fat_jar(), thin_jar()      one file; with a library inside; with a library beside it
    many_releases(), future()         classes for Java 25 where it is there; for Java 25 alone
    boot(), boot("war")               Spring Boot's own web server, as its plugin packs it; the war runs in Tomcat, too
    library()                         nothing that could be started
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from s2ictl.models import Servlet
from tests import testbed
from tests.parts import available, need

_FACTS = {
    "javax": ("javax.servlet:javax.servlet-api:4.0.1", "4.0"),
    "jakarta": ("jakarta.servlet:jakarta.servlet-api:6.0.0", "6.0"),
}
_COMPILER = "org.eclipse.jdt:ecj:3.44.0"  # compiles for a Java that this machine need not have
_NEWEST = 25

_SERVLET = """
package shop;

import NAMESPACE.servlet.annotation.WebServlet;
import NAMESPACE.servlet.http.HttpServlet;
import NAMESPACE.servlet.http.HttpServletRequest;
import NAMESPACE.servlet.http.HttpServletResponse;
import java.io.IOException;

@WebServlet("/hello")
public class Hello extends HttpServlet {
    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        response.setContentType("text/plain");
        String java = System.getProperty("java.specification.version");
        response.getWriter().print("hello from NAMESPACE at " + request.getContextPath() + "/ on Java " + java);
    }
}
"""
_LISTENER = """
package shop;

import NAMESPACE.servlet.ServletContextEvent;
import NAMESPACE.servlet.ServletContextListener;
import NAMESPACE.servlet.annotation.WebListener;

@WebListener
public class Started implements ServletContextListener {
    @Override
    public void contextInitialized(ServletContextEvent event) {
        System.out.println("served at " + event.getServletContext().getContextPath() + "/");
    }

    @Override
    public void contextDestroyed(ServletContextEvent event) {
        System.out.println("served no longer");
    }
}
"""
_PAGE = '<%@ page contentType="text/plain" %>a page, and ${6 * 7}'
_DESCRIPTOR = '<web-app version="{version}"><display-name>shop</display-name></web-app>'

_SHOP = """
package shop;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.Arrays;

public class Shop {
    private static String[] said;

    public static void main(String[] arguments) throws Exception {
        said = arguments;
        String port = System.getenv("PORT");
        HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(port == null ? "8080" : port)), 0);
        server.createContext("/", Shop::answer);
        server.createContext("/heap", Shop::heap);
        server.start();
    }

    private static void answer(HttpExchange exchange) throws java.io.IOException {
        String java = System.getProperty("java.specification.version");
        send(exchange, shop.words.Words.greeting() + " on Java " + java + ", told " + Arrays.toString(said));
    }

    private static void heap(HttpExchange exchange) throws java.io.IOException {
        send(exchange, "" + (Runtime.getRuntime().maxMemory() >> 20));
    }

    private static void send(HttpExchange exchange, String text) throws java.io.IOException {
        byte[] answer = text.getBytes();
        exchange.sendResponseHeaders(200, answer.length);
        exchange.getResponseBody().write(answer);
        exchange.close();
    }
}
"""
_WORDS = """
package shop.words;

public class Words {
    public static String greeting() {
        return "GREETING";
    }
}
"""

_BOOT_POM = """
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>3.5.6</version>
  </parent>
  <groupId>shop</groupId>
  <artifactId>shop</artifactId>
  <version>1.0</version>
  <packaging>PACKAGING</packaging>
  <properties><java.version>17</java.version></properties>
  <dependencies>
    <dependency>
      <groupId>org.springframework.boot</groupId>
      <artifactId>spring-boot-starter-web</artifactId>
    </dependency>
    <dependency>
      <groupId>org.springframework.boot</groupId>
      <artifactId>spring-boot-starter-tomcat</artifactId>
      <scope>SCOPE</scope>
    </dependency>
  </dependencies>
  <build>
    <finalName>shop</finalName>
    <plugins>
      <plugin>
        <groupId>org.springframework.boot</groupId>
        <artifactId>spring-boot-maven-plugin</artifactId>
      </plugin>
    </plugins>
  </build>
</project>
"""
_BOOT = """
package shop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.support.SpringBootServletInitializer;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

@SpringBootApplication
@RestController
public class Shop extends SpringBootServletInitializer {
    @GetMapping("/")
    public String answer() {
        return "hello from Spring Boot on Java " + Runtime.version().feature();
    }

    public static void main(String[] arguments) {
        SpringApplication.run(Shop.class, arguments);
    }
}
"""


# ----------------------------------------------------------------------------------------------------------- the wars


def war(servlet: Servlet, *, level: int = 17, descriptor: str = "") -> Path:
    """`/hello` answers by a servlet, `/` by a page; `descriptor` is the version in its web.xml."""
    library, usual = _FACTS[servlet]
    sources = {
        "shop/Hello.java": _SERVLET.replace("NAMESPACE", servlet),
        "shop/Started.java": _LISTENER.replace("NAMESPACE", servlet),
    }
    texts = {"index.jsp": _PAGE, "WEB-INF/web.xml": _DESCRIPTOR.format(version=descriptor or usual)}

    def make(directory: Path) -> None:
        _compile(sources, directory / "classes", level=level, on=(_maven_library(library),))
        _pack(directory / "shop.war", {"WEB-INF/classes/": directory / "classes"}, texts)

    return kept(f"war-{servlet}", "shop.war", make, level, sources, texts)


# ----------------------------------------------------------------------------------------------------------- the jars


def jar(*, greeting: str = "hello from a jar", level: int = 17) -> Path:
    """One file, which starts by itself and answers what it was told: `hello … on Java 21, told []`."""
    sources = _sources(greeting)

    def make(directory: Path) -> None:
        _compile(sources, directory / "classes", level=level)
        _pack(directory / "shop.jar", {"": directory / "classes"}, _manifest("Main-Class: shop.Shop"))

    return kept("jar", "shop.jar", make, level, sources)


def fat_jar() -> Path:
    """The same with a library's classes unpacked into it."""
    sources = _sources("hello from a fat jar")

    def make(directory: Path) -> None:
        with zipfile.ZipFile(_maven_library("com.google.code.gson:gson:2.13.2")) as gson:
            gson.extractall(directory / "classes", [name for name in gson.namelist() if name.startswith("com/")])
        _compile(sources, directory / "classes", level=17)
        _pack(directory / "shop-all.jar", {"": directory / "classes"}, _manifest("Main-Class: shop.Shop"))

    return kept("fat", "shop-all.jar", make, sources)


def thin_jar() -> Path:
    """A directory: a jar, and beside it in lib/ the one that its manifest names."""
    sources = _sources("hello from a library")

    def make(directory: Path) -> None:
        _compile(sources, directory / "classes", level=17)
        words = directory / "shop" / "lib" / "words.jar"
        words.parent.mkdir(parents=True)
        _pack(words, {"shop/words/": directory / "classes" / "shop" / "words"}, _manifest())
        shutil.rmtree(directory / "classes" / "shop" / "words")
        said = _manifest("Main-Class: shop.Shop", "Class-Path: lib/words.jar")
        _pack(directory / "shop" / "shop.jar", {"": directory / "classes"}, said)

    return kept("thin", "shop", make, sources)


def many_releases() -> Path:
    """A jar for Java 17 that says something else on 25."""
    sources = _sources("hello from any release")
    newer = {"shop/words/Words.java": _WORDS.replace("GREETING", "hello from release 25")}

    def make(directory: Path) -> None:
        _compile(sources, directory / "classes", level=17)
        _compile(newer, directory / "newer", level=_NEWEST)
        trees = {"": directory / "classes", "META-INF/versions/25/": directory / "newer"}
        _pack(directory / "shop.jar", trees, _manifest("Main-Class: shop.Shop", "Multi-Release: true"))

    return kept("releases", "shop.jar", make, sources, newer)


def future() -> Path:
    """A jar whose classes no Java before 25 loads."""
    return jar(greeting="hello from the future", level=_NEWEST)


def library() -> Path:
    """A jar with classes, and nothing that says which of them to start."""
    sources = _sources("nobody asks")

    def make(directory: Path) -> None:
        _compile(sources, directory / "classes", level=17)
        _pack(directory / "words.jar", {"": directory / "classes"}, _manifest())

    return kept("library", "words.jar", make, sources)


def boot(packaging: Literal["jar", "war"] = "jar") -> Path:
    """Spring Boot's web server with a page, in layers, made by Maven: half a minute and 40 MB the first time."""
    scope = "compile" if packaging == "jar" else "provided"
    pom = _BOOT_POM.replace("PACKAGING", packaging).replace("SCOPE", scope)
    files = {"pom.xml": pom, "src/main/java/shop/Shop.java": _BOOT}

    def make(directory: Path) -> None:
        _write(directory, files)
        _maven("package", "-DskipTests", directory=directory)
        shutil.move(directory / "target" / f"shop.{packaging}", directory)

    return kept("boot", f"shop.{packaging}", make, files)


def unpacked(archive: Path, into: Path) -> Path:
    """What a war or a jar is when somebody has unpacked it."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(into)
    return into


# -------------------------------------------------------------------------------------------------- how they are made


def kept(name: str, file: str, make: Callable[[Path], None], *made_of: object) -> Path:
    """What `make` leaves in its directory under the name `file`; made now unless it was before, whole or not at all."""
    recipe = json.dumps(made_of, sort_keys=True).encode()
    place = _cache() / "artifacts" / f"{name}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as scratch:
            make(Path(scratch))
            whole = Path(tempfile.mkdtemp(dir=place.parent))
            shutil.move(Path(scratch, file), whole)
            _take_place(whole, place)
    return place / file


def _take_place(whole: Path, place: Path) -> None:
    try:
        whole.rename(place)
    except OSError:  # another worker was first with the same
        shutil.rmtree(whole)


def _cache() -> Path:
    return testbed.Bed.of(os.environ).cache


def _sources(greeting: str) -> Mapping[str, str]:
    return {"shop/Shop.java": _SHOP, "shop/words/Words.java": _WORDS.replace("GREETING", greeting)}


def _compile(sources: Mapping[str, str], into: Path, *, level: int, on: Sequence[Path] = ()) -> None:
    """By javac where it knows the level, else by Eclipse's compiler, which knows those to come as well."""
    _have("javac", "default-jdk-headless")
    written = into.with_name(f"{into.name}-sources")
    _write(written, sources)
    files = [str(written / name) for name in sources]
    path = ["-cp", os.pathsep.join(map(str, on))] if on else []
    if level < _NEWEST:
        _run("javac", "-Xlint:-options", "--release", str(level), *path, "-d", str(into), *files)
    else:
        compiler = ("-jar", str(_maven_library(_COMPILER)), "-source", str(level), "-target", str(level))
        _run("java", *compiler, *path, "-d", str(into), *files)


def _pack(file: Path, trees: Mapping[str, Path], texts: Mapping[str, str]) -> None:
    """A zip as Java's tools write it: the manifest first, directories too, and all of it compressed."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        for below, tree in trees.items():
            for path in sorted(tree.rglob("*")):
                archive.write(path, f"{below}{path.relative_to(tree)}")


def _manifest(*lines: str) -> Mapping[str, str]:
    return {"META-INF/MANIFEST.MF": "".join(f"{line}\r\n" for line in ("Manifest-Version: 1.0", *lines, ""))}


def _maven_library(coordinates: str) -> Path:
    group, name, version = coordinates.split(":")
    path = _cache() / "maven" / group.replace(".", "/") / name / version / f"{name}-{version}.jar"
    if not path.is_file():
        _maven("dependency:get", f"-Dartifact={coordinates}", "-Dtransitive=false", directory=_cache())
    return path


def _maven(goal: str, *options: str, directory: Path) -> None:
    _have("mvn", "maven")
    with available():
        try:
            _run("mvn", "-B", "-q", "-ntp", f"-Dmaven.repo.local={_cache() / 'maven'}", *options, goal, cwd=directory)
        except subprocess.CalledProcessError as error:
            raise testbed.Unavailable("maven", error.output.strip()[-500:]) from error


def _have(program: str, package: str) -> None:
    if shutil.which(program) is None:
        need(package)


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(
        command, cwd=cwd, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )


def _write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
