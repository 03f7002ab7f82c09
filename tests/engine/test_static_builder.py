"""The builder of static sites on real containers: what is served, how, and as whom."""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from s2ictl.models import Confinement
from tests import testbed
from tests.engine import apps
from tests.engine.apps import Running, Works

TEXT = "body { margin: 4rem }\n" * 200
SITE = {
    "index.html": "the start",
    "about.html": "about us",
    "docs/index.html": "documents",
    "empty/note.txt": "",
    "404.html": "nothing here",
    "style.css": TEXT,
    "assets/index-DiwrgT4a.js": "",
    ".env": "SECRET=1",
    ".git/config": "",
    ".well-known/security.txt": "mailto:",
    "nginx-default-cfg/old.conf": "location = /old { return 301 /about; }\n",
}
# Built by what every Node.js has, as a bundler would build it.
BUILT = {
    "package.json": json.dumps({"name": "page", "version": "1.0.0", "scripts": {"build": "node build.js"}}),
    "build.js": "require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/index.html', 'made by a script');",
    "index.html": "what it is made of",
}


@pytest.fixture(scope="module")
def works(engine_facts: testbed.Engine) -> Iterator[Works]:
    with apps.works("static", engine_facts.docker_host) as made:
        yield made


@pytest.fixture(scope="module")
def site(works: Works) -> Iterator[Running]:
    with works.running(works.image("site", SITE), read_only=True, tmpfs={"/tmp": ""}, user="123456:0") as running:
        yield running


def test_the_sample_answers_what_the_builder_promises(works: Works) -> None:
    assert "Hello from a few files" in works.sample().answer


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/", 200, "the start"),
        ("/about", 200, "about us"),
        ("/docs/", 200, "documents"),
        ("/.well-known/security.txt", 200, "mailto:"),
        ("/nowhere", 404, "nothing here"),
        ("/nowhere.js", 404, "nothing here"),
        ("/empty/", 404, "nothing here"),
        ("/.env", 404, "nothing here"),
        ("/.git/config", 404, "nothing here"),
        ("/nginx-default-cfg/old.conf", 404, "nothing here"),
    ],
)
def test_pages_are_served_on_a_read_only_root_as_any_user_of_group_0_and_nothing_else_is(
    site: Running, path: str, status: int, text: str
) -> None:
    assert site.text(path, status) == text


def said(site: Running, path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    """One answer as it comes over the wire: nothing unpacked, no address followed."""
    site.get()
    connection = http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/", "Server", "nginx"),
        ("/", "Content-Type", "text/html; charset=utf-8"),
        ("/style.css", "Cache-Control", "no-cache"),
        ("/assets/index-DiwrgT4a.js", "Cache-Control", "public, max-age=31536000, immutable"),
        ("/docs", "Location", "/docs/"),
        ("/old", "Location", "/about"),
    ],
)
def test_answers_say_how_they_are_cached_and_nothing_of_the_version_or_address_of_the_server(
    site: Running, path: str, name: str, value: str
) -> None:
    assert said(site, path)[1][name] == value


def test_text_is_compressed(site: Running) -> None:
    _, headers, body = said(site, "/style.css", **{"Accept-Encoding": "gzip"})
    assert (headers["Content-Encoding"], gzip.decompress(body).decode()) == ("gzip", TEXT)


def test_links_are_followed_within_the_web_site_alone(works: Works) -> None:
    with works.running(works.image("site", SITE)) as running:
        for target, link in (("/etc/passwd", "out.txt"), ("about.html", "in.html"), ("/etc", "etc")):
            assert running.container.exec_run(["ln", "-s", target, link]).exit_code == 0
        answers = [said(running, path)[::2] for path in ("/in.html", "/out.txt", "/etc/passwd")]
    assert answers == [(200, b"about us"), (404, b"nothing here"), (404, b"nothing here")]


def test_an_application_of_one_page_answers_every_address_that_is_no_file(works: Works) -> None:
    with works.running(works.image("site", SITE), environment={"SPA_FALLBACK": "true", "PORT": "8080"}) as running:
        assert running.text("/some/where") == "the start"
        assert running.text("/some/where.js", 404) == "nothing here"


def test_a_stopped_container_ends_at_once_and_by_itself(works: Works) -> None:
    with works.running(works.image("site", SITE)) as running:
        running.get()
        seconds, status = running.stop()
    assert (status, seconds < 3) == (0, True)


def test_what_nodejs_builds_is_served_without_it(works: Works, engine_facts: testbed.Engine) -> None:
    with apps.works("nodejs", engine_facts.docker_host) as nodejs:
        image = nodejs.image(
            "page", BUILT, runtime_image=str(works.folder.image), confinement=Confinement(network="none")
        )
        with works.running(image, read_only=True, tmpfs={"/tmp": ""}, user="123456:0") as running:
            assert running.text() == "made by a script"
        assert works.printed(image, "command -v node || ls") == "site\n"


def test_the_same_source_gives_the_same_files(works: Works) -> None:
    listing = "cd /opt/app-root && tar --sort=name -cf - . | sha256sum"
    sites = (works.image(name, SITE, env=(("SOURCE_DATE_EPOCH", "1700000000"),)) for name in ("one", "two"))
    once, twice = (works.printed(each, listing) for each in sites)
    assert once == twice
