"""The Go builder on real containers: programs through the real module proxy, on the small image that runs them."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from s2ictl.errors import AssembleFailed
from s2ictl.models import BuildSecret, Confinement, Reference, Secret
from tests import testbed
from tests.engine import apps
from tests.engine.apps import Ours, Works
from tests.engine.world import believed
from tests.fakes.loopback import served

CANARY = "canary-77ab3f"
OFFLINE = Confinement(network="none")

# Says who it is and what it finds: beside itself, in the image, and what it may write.
WHO = """
package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		text, _ := os.ReadFile("templates/greeting.txt")
		_, zone := time.LoadLocation("Asia/Tokyo")
		_, bundle := os.Stat("/etc/ssl/certs/ca-certificates.crt")
		_, shell := os.Stat("/bin/sh")
		written := os.WriteFile("/tmp/written", nil, 0o600)
		fmt.Fprint(w, os.Getuid(), ":", os.Getgid(), " ", string(text), zone, bundle, shell == nil, written)
	})
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
"""
FINDS = "{user} hello from a file<nil> <nil> false <nil>"
SHOP = {
    "go.mod": "module example.com/shop\n\ngo 1.24\n",
    "cmd/shop/main.go": WHO,
    "templates/greeting.txt": "hello from a file",
    "internal/notes.md": "not for the image",
}
USES = """
package main

import (
	"io"
	"net/http"
	"os"

	"mirror.invalid/greet"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, greet.Hello) })
	http.ListenAndServe(":"+os.Getenv("PORT"), nil)
}
"""
GREET = {
    "go.mod": "module mirror.invalid/greet\n",
    "greet.go": 'package greet\n\nconst Hello = "hello from a module"\n',
}
REQUIRES = "module example.com/user\n\ngo 1.24\n\nrequire mirror.invalid/greet v1.0.0\n"
USER_OF_IT = {"go.mod": REQUIRES, "main.go": USES}
VENDORED = {
    **USER_OF_IT,
    "vendor/modules.txt": "# mirror.invalid/greet v1.0.0\n## explicit\nmirror.invalid/greet\n",
    "vendor/mirror.invalid/greet/greet.go": GREET["greet.go"],
}
RUN = "#!/bin/sh\nexec /usr/libexec/s2i/run\n"


# ------------------------------------------------------------------------------------------------- made once for all


@pytest.fixture(scope="module")
def works(ours: Ours) -> Works:
    return ours("go")


@pytest.fixture(scope="module")
def shop(works: Works) -> str:
    return works.image("shop", SHOP)


class _Proxy(BaseHTTPRequestHandler):
    """A company's module proxy, which knows one module and asks for a login."""

    def do_GET(self) -> None:
        content = _MODULE.get(self.path.removeprefix("/go/mirror.invalid/greet/@v/"))
        allowed = self.headers.get("Authorization") == _LOGIN
        self.send_response(401 if not allowed else 200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in GREET.items():
            archive.writestr(f"mirror.invalid/greet@v1.0.0/{name}", text)
    return buffer.getvalue()


_LOGIN = "Basic " + base64.b64encode(f"ci:{CANARY}".encode()).decode()
_MODULE = {"v1.0.0.info": b'{"Version":"v1.0.0"}', "v1.0.0.mod": GREET["go.mod"].encode(), "v1.0.0.zip": _zipped()}


@pytest.fixture(scope="module")
def company(works: Works, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Any]]:
    """What leads to a module proxy that a private authority has signed, as changes of a request."""
    server = ThreadingHTTPServer((works.gateway, 0), _Proxy)
    place = f"{works.gateway}:{server.server_port}"
    bundle = apps.over_tls(server, works.gateway, tmp_path_factory.mktemp("company"))
    # No go.sum in these sources: it is made while they are built, of a module that no checksum database knows.
    variables = {"GOPROXY": f"https://{place}/go", "GONOSUMDB": "mirror.invalid", "GOFLAGS": "-mod=mod"}
    login = f"machine {place} login ci password {CANARY}\n"
    with served(server):
        yield {
            "build_env": tuple((name, Secret(value)) for name, value in variables.items()),
            "secrets": (BuildSecret(id="netrc", content=Secret(login)),),
            "ca_bundle": bundle,
        }


def laid_down(works: Works, image: str) -> tuple[str, ...]:
    """The digests of what a build has laid upon the runtime image."""
    below, layers = (
        tuple(works.client.images.get(each).attrs["RootFS"]["Layers"])
        for each in (str(works.folder.runtime_image), image)
    )
    assert layers[: len(below)] == below
    return layers[len(below) :]


# --------------------------------------------------------------------------------------------------------- programs


def test_the_sample_answers_what_the_builder_promises(works: Works) -> None:
    assert works.sample().answer == "Hello from Go, built by s2ictl without a Dockerfile."


def test_a_program_runs_as_user_1001_of_group_0_with_its_files_and_without_a_shell(works: Works, shop: str) -> None:
    with works.running(shop) as application:
        assert application.text() == FINDS.format(user="1001:0")


def test_a_program_runs_as_any_user_of_group_0_on_a_read_only_root(works: Works, shop: str) -> None:
    with works.running(shop, user="123456:0", read_only=True, tmpfs={"/tmp": ""}) as application:
        assert application.text() == FINDS.format(user="123456:0")


def test_a_stopped_container_ends_by_itself(works: Works, shop: str) -> None:
    with works.running(shop) as application:
        application.get()
        _, status = application.stop()
    assert status == 2  # as Go itself ends a first process that is asked to end


def test_the_image_is_the_program_its_files_and_one_megabyte(works: Works, shop: str) -> None:
    image, runtime = (works.client.images.get(each) for each in (shop, str(works.folder.runtime_image)))
    assert runtime.attrs["Size"] < 1 << 20
    assert image.attrs["Size"] - runtime.attrs["Size"] == works.size(shop)


def test_a_module_comes_from_a_company_s_mirror_of_which_nothing_is_in_the_image(
    works: Works, company: Mapping[str, Any]
) -> None:
    image = works.image("mirror", USER_OF_IT, **company)
    with works.running(image) as application:
        assert application.text() == "hello from a module"
    whole = b"".join(works.client.api.get_image(image))
    (_, mirror), *_ = company["build_env"]
    certificate = company["ca_bundle"].read_text().splitlines()[2]
    assert [text for text in (CANARY, mirror.reveal(), certificate) if text.encode() in whole] == []
    variables = {entry.partition("=")[0] for entry in works.client.images.get(image).attrs["Config"]["Env"]}
    assert variables == {"PATH", "PORT"}


def test_vendored_modules_need_no_network(works: Works) -> None:
    image = works.image("vendored", VENDORED, confinement=OFFLINE)
    with works.running(image) as application:
        assert application.text() == "hello from a module"


@pytest.mark.parametrize(
    ("toolchain", "said"),
    [
        ("auto", "error: the Go that go.mod asks for is not to be had; this builder has go1.24"),
        ("local", "go: go.mod requires go >= 1.999 (running go 1.24"),
    ],
)
def test_a_go_that_is_not_to_be_had_is_said(works: Works, toolchain: str, said: str) -> None:
    files = {**SHOP, "go.mod": "module example.com/shop\n\ngo 1.999\n"}
    offline = (("GOPROXY", Secret("off")), ("GOTOOLCHAIN", Secret(toolchain)))
    with pytest.raises(AssembleFailed) as caught:
        works.make("future", files, build_env=offline)
    assert said in caught.value.detail


# ------------------------------------------------------------------------------------------------ same in, same out


def test_the_same_source_gives_the_same_layer_with_caches_and_without(works: Works) -> None:
    kept = works.image("same-kept", SHOP, epoch=1_700_000_000)
    anew = works.image("same-anew", SHOP, epoch=1_700_000_000, cache=False)
    once, twice = laid_down(works, kept), laid_down(works, anew)
    assert (once, len(once)) == (twice, 1)


# -------------------------------------------------------------------------------------------------- the second time


def test_the_next_build_finds_modules_and_compiled_packages_again(works: Works, company: Mapping[str, Any]) -> None:
    works.make("again", USER_OF_IT, app="again", **company)
    changed = {**USER_OF_IT, "main.go": USES.replace("greet.Hello", '"again " + greet.Hello')}
    made = works.make("again", changed, app="again", remove_previous=True, **{**company, "confinement": OFFLINE})
    with works.running(made.image) as application:
        assert application.text() == "again hello from a module"


def test_a_changed_line_sends_the_layer_of_the_application_alone(
    works: Works, registry_facts: testbed.Registry
) -> None:
    name = Reference.parse(f"{registry_facts.open}/go-under-test/shop:1")
    engine, layers = works.workshop.engine, []
    changed = {**SHOP, "cmd/shop/main.go": WHO.replace('" "', '"  "')}
    for image in (works.image("shop", SHOP), works.image("changed", changed)):
        engine.name(works.client.images.get(image).id, (name,))
        engine.push(name, login=None, confirm=believed, emit=apps.ignore)
        layers.append(layers_of(name))
    works.client.images.remove(str(name))
    first, second = layers
    assert (first[:-1], len(first)) == (second[:-1], len(second))
    assert first[-1] != second[-1]


def layers_of(name: Reference) -> list[tuple[str, int]]:
    """What a registry has of an image: the digest and size of each layer."""
    url = f"http://{name.registry}/v2/{name.repository}/manifests/{name.tag}"
    accepted = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    with closing(urllib.request.urlopen(urllib.request.Request(url, headers=accepted), timeout=30)) as answer:
        return [(layer["digest"], layer["size"]) for layer in json.load(answer)["layers"]]


# ------------------------------------------------------------------------------------------- on the builder's own image


def test_a_program_with_a_run_script_of_its_own_stays_on_the_builder_without_its_caches(works: Works) -> None:
    image = works.image("own-run", {**SHOP, ".s2i/bin/run": RUN})
    with works.running(image, user="123456:0") as application:
        assert application.text() == FINDS.format(user="123456:0").replace("false", "true")
        assert application.container.exec_run(["find", "/opt/app-root/cache", "-mindepth", "2"]).output == b""
        assert application.stop()[1] == 143


def test_without_caches_an_incremental_build_needs_nothing_that_the_last_one_fetched(
    works: Works, company: Mapping[str, Any]
) -> None:
    files = {**USER_OF_IT, ".s2i/environment": "GO_KEEP_CACHE=1\n"}
    works.make("incremental", files, incremental=True, cache=False, **company)
    changed = {**files, "main.go": USES.replace("greet.Hello", '"again " + greet.Hello')}
    made = works.make(
        "incremental",
        changed,
        incremental=True,
        cache=False,
        remove_previous=True,
        **{**company, "confinement": OFFLINE},
    )
    with works.running(made.image) as application:
        assert application.text() == "again hello from a module"
