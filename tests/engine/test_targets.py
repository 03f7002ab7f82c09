"""`build --to` on a real engine and a real registry: what other tools find there is the image that was built."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from s2ictl import layouts, oci, shelf, tarballs
from s2ictl.engines.docker import Docker
from s2ictl.errors import CommitContainerFailed
from s2ictl.layouts import Layout
from s2ictl.models import Reference
from s2ictl.targets import ENGINE, Ways, put
from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine import tiny
from tests.fakes.carried import packed
from tests.fakes.images import layered, several
from tests.parts import need

BUILDER = "targets/builder:1"
APP = "targets/app:1"
INSTRUCTIONS = ("LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i", "USER 1001", "ENV PATH=/bin")
ASSEMBLE = tiny.script("mv /tmp/src/* /opt/app/")
RUN = tiny.script("cat /opt/app/hello.txt")
ROOT = tiny.rootfs({"assemble": ASSEMBLE, "run": RUN})


@pytest.fixture(scope="module")
def api(engine_facts: testbed.Engine) -> Iterator[Any]:
    import docker

    client = docker.APIClient(base_url=engine_facts.docker_host, version="auto")
    with ExitStack() as stack:
        stack.callback(client.close)
        stack.callback(tiny.remove_named, client, "targets/")
        stack.enter_context(tiny.imported(client, BUILDER, ROOT, *INSTRUCTIONS))
        yield client


@pytest.fixture
def typed(engine_facts: testbed.Engine, api: Any, tmp_path: Path) -> Shell:
    made = shell(tmp_path, DOCKER_HOST=engine_facts.docker_host)
    (made.cwd / "app").mkdir()
    (made.cwd / "app/hello.txt").write_text("hello\n")
    return made


def built(typed: Shell, *words: str) -> dict[str, Any]:
    done: Ran = typed.run("build", "app", BUILDER, *words, "-o", "json")
    assert done.status == 0, done.stderr
    return dict(json.loads(done.stdout))


def skopeo(*words: str) -> str:
    need("skopeo")
    done = subprocess.run(["skopeo", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def config_of(place: str) -> Any:
    return json.loads(skopeo("inspect", "--config", "--raw", place))


def test_one_digest_is_answered_for_a_layout_a_tar_and_the_registry(
    typed: Shell, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/targets/everywhere"
    said = built(typed, f"{name}:1", "-t", f"{name}:latest", "--push", "--to", "oci:out", "--to", "tar:out.tar")
    assert said["image"] == f"{name}:1@{said['digest']}"
    out, tar = f"oci:{typed.cwd}/out", f"oci-archive:{typed.cwd}/out.tar"
    places = [f"{out}:1", f"{out}:latest", f"{tar}:1", *(f"docker://{name}:{tag}" for tag in ("1", "latest"))]
    plain = {"docker": ["--tls-verify=false"], "oci": [], "oci-archive": []}
    digests = [json.loads(skopeo("inspect", *plain[place.partition(":")[0]], place))["Digest"] for place in places]
    assert set(digests) == {said["digest"]}


@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_the_answer_names_the_places_that_were_asked_for_and_the_engine_where_it_is_one(
    typed: Shell, engine: str
) -> None:
    words = ("build", "app", BUILDER, APP, "--engine", engine, "-o", "name")
    for more, named in (((), []), (("--to", "docker"), [APP])):
        done = typed.run(*words, "--to", "oci:out", *more)
        digest = layouts.picture(Layout(typed.cwd / "out"), "1").digest
        assert done.stdout.splitlines() == [*named, f"oci:{typed.cwd}/out:1@{digest}"]
    assert typed.run(*words).stdout.splitlines() == [APP]


def test_another_engine_would_have_the_very_image_of_this_one(typed: Shell, api: Any) -> None:
    said = built(typed, APP, "--to", "tar:out.tar")
    skopeo("copy", f"docker-archive:{typed.cwd}/out.tar", f"oci:{typed.cwd}/copy:1")
    copied, own = config_of(f"oci:{typed.cwd}/copy:1"), config_of(f"oci-archive:{typed.cwd}/out.tar")
    assert (copied["rootfs"], copied["config"]["Labels"]) == (own["rootfs"], own["config"]["Labels"])
    api.remove_image(APP, force=True)
    with (typed.cwd / "out.tar").open("rb") as file:
        api.load_image(file)
    assert api.inspect_image(APP)["Id"] == said["id"]
    assert tiny.output_of(api, APP) == "hello\n"


def test_the_same_source_twice_is_the_same_file(typed: Shell) -> None:
    built(typed, APP, "--to", "tar:one.tar")
    assert built(typed, APP, "--to", "tar:two.tar")["unchanged"] is True
    assert (typed.cwd / "one.tar").read_bytes() == (typed.cwd / "two.tar").read_bytes()


def test_what_would_be_taken_along_by_the_next_build_is_said(typed: Shell) -> None:
    done = typed.run("build", "app", BUILDER, APP, "--to", "tar:app/out.tar")
    assert f"tar:{typed.cwd}/app/out.tar lies in the source: the next build takes it along" in done.stderr


def test_an_image_that_only_its_registry_has_is_built_for_a_file(
    typed: Shell, registry_facts: testbed.Registry
) -> None:
    name = f"{registry_facts.open}/targets/pushed-{secrets.token_hex(4)}:1"
    built(typed, name, "--push")
    said = built(typed, name, "--push", "--to", "oci:out")
    assert layouts.picture(Layout(typed.cwd / "out"), "1").digest == said["digest"]


def test_of_a_build_nothing_but_what_it_stands_on_stays_on_this_machine_s_shelf(typed: Shell) -> None:
    place = typed.home / ".cache/s2ictl/bases"
    built(typed, APP, "--to", "tar:out.tar")
    assert (list((place / "blobs/sha256").iterdir()), shelf.kept(place)) == ([], ())
    built(typed, APP, "--to", "oci:out", "--force")
    layer = layouts.picture(Layout(typed.cwd / "out"), "1").blobs[-2]
    assert [image.name for image in shelf.kept(place)] == [BUILDER]
    assert layer.digest.removeprefix("sha256:") not in {blob.name for blob in (place / "blobs/sha256").iterdir()}


# ------------------------------------------------------------------------------------------- into and out of engines


def nowhere(name: Reference) -> oci.Target:
    raise AssertionError(f"{name} is not to be pushed")


class Counting:
    """An engine, and of each image that it was sent how many bytes those were."""

    def __init__(self, engine: Docker) -> None:
        self.save, self.held = engine.save, engine.held
        self.sent: list[int] = []
        self._engine = engine

    def load(self, image: Iterator[bytes]) -> str:
        self.sent.append(0)
        return self._engine.load(self._counted(image))

    def _counted(self, image: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in image:
            self.sent[-1] += len(chunk)
            yield chunk


def test_an_engine_that_has_the_base_is_not_sent_it(docker: Docker, api: Any) -> None:
    facts = docker.facts(BUILDER, pull="never", login=None, emit=lambda _: None)
    assert facts is not None
    image = layered(ROOT, packed({"opt/app/hello.txt": b"from a layer\n"}))
    engine = Counting(docker)
    ways = Ways(repository=nowhere, carrier=lambda: engine, platform="linux/amd64", held=facts.layers)
    put(image, (ENGINE,), (Reference.parse("targets/thin:1"),), ways, emit=lambda _: None)
    assert (len(engine.sent), engine.sent[0] < 20_000 < len(ROOT)) == (1, True)
    assert text_in(api, "targets/thin:1", "/opt/app/hello.txt") == "from a layer\n"


def test_an_engine_that_does_not_have_it_after_all_is_sent_it(docker: Docker, api: Any) -> None:
    below = packed({"opt/app/hello.txt": secrets.token_bytes(20)})
    image = layered(below, packed({"opt/app/more.txt": b"more\n"}))
    name = Reference.parse("targets/claimed:1")
    engine, held = Counting(docker), [oci.digest_of(below)]
    with pytest.raises(CommitContainerFailed):
        docker.load(tarballs.loadable(image, (name,), platform="", held=held))
    ways = Ways(repository=nowhere, carrier=lambda: engine, platform="linux/amd64", held=held)
    put(image, (ENGINE,), (name,), ways, emit=lambda _: None)
    assert (len(engine.sent), api.inspect_image(str(name))["Id"]) == (2, image.id)


def text_in(api: Any, image: str, path: str) -> str:
    container = api.create_container_from_config({"Image": image, "Cmd": ["none"]})["Id"]
    try:
        content = b"".join(api.get_archive(container, path)[0])
    finally:
        api.remove_container(container, force=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        file = tar.extractfile(tar.getmembers()[0])
        assert file is not None
        return file.read().decode()


def test_a_file_for_two_platforms_is_taken_by_an_engine_and_by_others(docker: Docker, api: Any, tmp_path: Path) -> None:
    layer, name = packed({"hello.txt": b"hello"}), Reference.parse("targets/both:1")
    both = several(arm64=layered(layer, architecture="arm64"), amd64=layered(layer))
    tarballs.write(tmp_path / "both.tar", both, (name,), platform="linux/amd64", emit=lambda _: None)
    with (tmp_path / "both.tar").open("rb") as file:
        docker.load(iter(lambda: file.read(1 << 16), b""))
    assert api.inspect_image(str(name))["Architecture"] == "amd64"
    for architecture in ("amd64", "arm64"):
        words = ("inspect", "--override-arch", architecture, f"oci-archive:{tmp_path}/both.tar")
        assert json.loads(skopeo(*words))["Architecture"] == architecture
