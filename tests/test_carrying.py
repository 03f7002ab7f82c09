"""Whole images out of an engine that says what a test wants, and into it; for real: tests/engine/test_targets.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s2ictl import oci
from s2ictl.engines import carrying
from s2ictl.engines.connection import connected
from s2ictl.errors import CommitContainerFailed, ImageNotFound, LimitReached, Unreachable
from s2ictl.layouts import writable
from tests.fakes.loopback import served

IMAGE = f"sha256:{'1' * 64}"


@dataclass(slots=True)
class Says:
    """What the engine says when it is asked for an image, or given one; and what it was given."""

    content: bytes = b"an image"
    status: int = 200
    lacking: int = 0
    given: list[bytes] = field(default_factory=list)


@contextmanager
def running(says: Says) -> Iterator[dict[str, str]]:
    """Serve it on a port of its own until the context ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"says": says}))
    server.daemon_threads = True
    with served(server):
        yield {"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"}


class _Handler(BaseHTTPRequestHandler):
    says: Says
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        path = self.path.removeprefix("/v1.41")
        if path == "/version":
            self._answer(b'{"ApiVersion": "1.41"}')
        elif path.endswith("/json"):
            self._answer(json.dumps({"Id": IMAGE}).encode())
        else:
            self._answer(self.says.content, status=self.says.status, lacking=self.says.lacking)

    def do_POST(self) -> None:
        self.says.given.append(b"".join(self._chunks()))
        self._answer(self.says.content, status=self.says.status, lacking=self.says.lacking)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, content: bytes, *, status: int = 200, lacking: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) + lacking))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
        self.close_connection = bool(lacking)

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


def saved(says: Says) -> bytes:
    with running(says) as environ, connected(environ) as api, carrying.save(api, "shop:1") as image:
        return b"".join(image)


def loaded(*lines: object, lacking: int = 0) -> str:
    says = Says(content=b"".join(json.dumps(line).encode() + b"\r\n" for line in lines), lacking=lacking)
    with running(says) as environ, connected(environ) as api:
        answer = carrying.load(api, iter((b"an", b" image")))
    assert says.given == [b"an image"]
    return answer


def test_an_image_comes_as_the_engine_sends_it() -> None:
    assert saved(Says(content=b"an image" * 1000)) == b"an image" * 1000


def test_one_that_is_cut_off_is_an_error_and_never_all_of_it() -> None:
    with pytest.raises(Unreachable) as failure:
        saved(Says(lacking=1))
    assert "save shop:1" in failure.value.detail


def test_a_connection_that_is_lost_is_not_taken_for_trouble_with_the_file(tmp_path: Path) -> None:
    says = Says(lacking=1)
    with (
        pytest.raises(Unreachable),
        running(says) as environ,
        connected(environ) as api,
        writable(tmp_path / "out") as layout,
        carrying.save(api, "shop:1") as image,
    ):
        layout.write(oci.Blob(media_type=oci.LAYER, digest="", size=-1, chunks=lambda: image))
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_not_there_is_missing() -> None:
    with pytest.raises(ImageNotFound, match="there is no image shop:1 in the engine"):
        saved(Says(content=b'{"message": "No such image: shop:1"}', status=404))


def test_what_the_engine_cannot_read_itself_is_its_fault() -> None:
    with pytest.raises(CommitContainerFailed) as failure:
        saved(Says(content=b'{"message": "layer does not exist"}', status=500))
    assert (failure.value.message, failure.value.detail) == ("could not save shop:1", "layer does not exist")


@pytest.mark.parametrize(
    "told",
    [
        ({"stream": "Loaded image: shop:1\n"},),
        ({"stream": f"Loaded image ID: {IMAGE}\n"},),
        ({"status": "Loading layer"}, {"stream": "Loaded image: localhost/shop:1\n"}, {"stream": "\n"}),
    ],
)
def test_what_was_taken_in_is_known_by_its_id(told: tuple[object, ...]) -> None:
    assert loaded(*told) == IMAGE


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (({"stream": "Loaded image: shop:1\n"}, {"errorDetail": {}, "error": "unexpected EOF"}), "unexpected EOF"),
        ((), "it did not say which one"),
        (({"stream": "what else there is to say"},), "it did not say which one"),
        ((["no", "object"],), "the engine's answer is not readable"),
    ],
)
def test_an_engine_that_does_not_say_that_it_has_it_has_it_not(told: tuple[object, ...], why: str) -> None:
    with pytest.raises(CommitContainerFailed, match="could not load the image") as failure:
        loaded(*told)
    assert why in failure.value.detail


def test_an_answer_that_is_lost_is_no_success() -> None:
    with pytest.raises(Unreachable):
        loaded({"stream": "Loaded image: shop:1\n"}, lacking=1)


def test_a_disk_that_is_full_is_said_so() -> None:
    with pytest.raises(LimitReached, match="disk is full"):
        loaded({"error": "write /var/lib/docker/tmp/x: no space left on device"})
