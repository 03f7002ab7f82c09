"""The builder of static sites on real containers: what is served, how, and as whom."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest

from tests.engine.apps import Ours, Running, Works

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
    "nginx-default-cfg/old.conf": "location = /old { return 301 /about; }\nlocation = /api { return 200 $named; }\n",
    "nginx-cfg/names.conf": "map $uri $named { default 'from a map'; }\n",
}


@pytest.fixture(scope="module")
def works(ours: Ours) -> Works:
    return ours("static")


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
        ("/api", 200, "from a map"),
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


def test_what_is_here_still_is_not_sent_again_and_another_site_of_equal_size_and_date_is(works: Works) -> None:
    def asked(site: Running, etag: str, date: str) -> list[tuple[int, str]]:
        ways = {"If-None-Match": f'"x", {etag}'}, {"If-None-Match": f"W/{etag}"}, {"If-Modified-Since": date}
        answers = (said(site, "/", **way) for way in ways)
        return [(status, body.decode()) for status, _, body in answers]

    one, other = (works.image(f"etag-{text}", {"index.html": text}, epoch=1_700_000_000) for text in ("hello", "hullo"))
    with works.running(one) as site:
        known = said(site, "/")[1]
        assert asked(site, known["ETag"], known["Last-Modified"]) == [(304, ""), (304, ""), (200, "hello")]
    with works.running(other) as site:
        assert said(site, "/")[1]["Last-Modified"] == known["Last-Modified"]
        assert asked(site, known["ETag"], known["Last-Modified"]) == [(200, "hullo")] * 3


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


def test_the_same_source_gives_the_same_layer(works: Works) -> None:
    images = (works.make(name, SITE, epoch=1_700_000_000).image for name in ("one", "two"))
    once, twice = (works.layers(image) for image in images)
    assert (once, len(once)) == (twice, 1)
