"""What `--as-dockerfile` writes, built by docker itself: the image is the one that the engine's own assemble makes."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from s2ictl import dockerfiles
from s2ictl.archives import Entry, directory_entry, file_entry, tar_stream
from s2ictl.engines.docker import Docker, open_docker
from s2ictl.events import Event
from s2ictl.labels import RECIPE
from s2ictl.leases import this_host
from s2ictl.models import (
    Assembly,
    BuildSecret,
    ImageConfig,
    Injection,
    Member,
    Reference,
    Runtime,
    RuntimeArtifact,
    Salvage,
    Secret,
)
from tests import testbed
from tests.cli import shell
from tests.engine import tiny

BUILDER, SLIM = "as-dockerfile/builder:1", "as-dockerfile/slim:1"
ASSEMBLE = tiny.script(
    "umask 022; mkdir -p dist/sub; cp -a /tmp/src/. .; [ ! -e /tmp/artifacts ] || cp -a /tmp/artifacts .\n"
    'echo "$GREETING" >greeting; echo one >dist/one.txt; echo two >dist/two.txt; chmod 0600 dist/two.txt\n'
    "echo deep >dist/sub/deep; chmod 0750 dist/sub; touch /tmp/src/left-behind"
)
SCRIPTS = {
    "assemble": ASSEMBLE,
    "run": tiny.script("cat greeting"),
    "save-artifacts": tiny.script("cd /opt/app && tar -cf - dist"),
    "tell": tiny.script('cat /run/secrets/npmrc conf/key "$SSL_CERT_FILE"; echo "$TOKEN"; echo "${ELSEWHERE-unset}"'),
    "assemble-runtime": tiny.script('umask 022; echo "$GREETING" >runtime-greeting'),
}
LABELLED = "LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i"
SETTINGS = (
    LABELLED,
    "WORKDIR /opt/app",
    "USER user",
    "ENV PATH=/bin",
    "EXPOSE 8080",
    'ENTRYPOINT ["/bin/sh", "-c", "$0"]',
)
ENV = (("GREETING", 'it\'s $PATH, "quoted" \\ and \t ${so} on \\n'), ("PLAIN", "1"), ("EMPTY", ""), ("ÄÖ", "ß"))
LABELS = {"a.plain": "1", "b.odd": 'say "$HOME" \\ here', "c.empty": "", "d.words": "several words  here"}
HOSTILE = "na me[1]*?$HOME\"'.txt"


def source(*, own: Mapping[str, bytes]) -> Iterator[Entry]:
    """An upload as a build makes it: the source's own scripts, and the source."""
    yield from scripts(own)
    yield directory_entry("tmp/src")
    yield directory_entry("tmp/src/empty")
    yield directory_entry("tmp/src/sub")
    yield file_entry("tmp/src/sub/data", b"\0\xff", mode=0o644)
    yield file_entry("tmp/src/tool", b"#!/bin/sh\n", mode=0o755)
    yield file_entry(f"tmp/src/{HOSTILE}", b"odd\n", mode=0o600)
    yield file_entry("tmp/src/.dockerignore", b"**\n", mode=0o644)
    yield Member(path="tmp/src/link", kind="link", mode=0o777, target="../../etc/passwd"), lambda _: b""


def scripts(own: Mapping[str, bytes]) -> Iterator[Entry]:
    yield directory_entry("tmp/scripts")
    for name, content in own.items():
        yield file_entry(f"tmp/scripts/{name}", content, mode=0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One engine, asked in two ways."""

    api: Any
    engine: Docker
    directory: Path
    steps: list[str]

    def assembly(self, name: str, *, own: Mapping[str, bytes] | None = None, base: str = BUILDER) -> Assembly:
        config = self.api.inspect_image(base)["Config"]
        run = "/tmp/scripts/run" if own and "run" in own else f"{tiny.SCRIPTS}/run"
        said = ImageConfig(
            command=(run,),
            entrypoint=tuple(config["Entrypoint"] or ()),
            user=config["User"],
            workdir=config["WorkingDir"],
            env=(*(tuple(entry.split("=", 1)) for entry in config["Env"]), *ENV),
            labels={**(config["Labels"] or {}), **LABELS},
            exposed=("8080/tcp",),
        )
        return Assembly(
            image=base,
            image_id=self.api.inspect_image(base)["Id"],
            owner="as-dockerfile",
            command=("/tmp/scripts/assemble" if own and "assemble" in own else f"{tiny.SCRIPTS}/assemble",),
            programs=(),
            user=config["User"],
            upload=lambda uid, gid: tar_stream(source(own=own or {}), uid=uid, gid=gid),
            workspace="/tmp/.s2ictl",
            leftovers=("/tmp/src", "/tmp/artifacts"),
            env=ENV,
            build_env=(),
            ca_bundle=b"",
            timeout=60.0,
            metadata="/tmp/.s2i/image_metadata.json",
            config=lambda _: said,
            names=(Reference.parse(f"as-dockerfile/made-{name}:1"),),
        )

    def assembled(self, assembly: Assembly) -> str:
        said: list[Event] = []
        return self.engine.assemble(assembly, said.append).id

    def built(self, assembly: Assembly) -> str:
        """What docker makes of the written file."""
        said: list[Event] = []
        written = dockerfiles.write(assembly, self.directory / "Recipe", emit=said.append)
        return self.docker_builds(written, f"{assembly.names[0].name}:built")

    def docker_builds(self, written: Path, tag: str) -> str:
        log = list(
            self.api.build(path=str(written.parent), dockerfile=written.name, tag=tag, decode=True, forcerm=True)
        )
        self.steps.extend(re.findall(r" ---> ([0-9a-f]{12})", "".join(line.get("stream", "") for line in log)))
        assert "error" not in log[-1], (log, written.read_text())
        return tag

    def files(self, image: str) -> dict[str, tuple[object, ...]]:
        """Every file of the image, without its times."""
        container = self.api.create_container_from_config({"Image": image, "Cmd": ["x"]})["Id"]
        try:
            content = b"".join(self.api.export(container))
        finally:
            self.api.remove_container(container)
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {member.name.rstrip("/"): _seen(tar, member) for member in tar}

    def output(self, words: list[str], binds: list[str]) -> str:
        document = {"Image": BUILDER, "Entrypoint": words, "Cmd": [], "HostConfig": {"Binds": binds}}
        container = self.api.create_container_from_config(document)["Id"]
        try:
            self.api.start(container)
            self.api.wait(container)
            return str(self.api.logs(container).decode())
        finally:
            self.api.remove_container(container)

    def config(self, image: str) -> dict[str, object]:
        config = self.api.inspect_image(image)["Config"]
        kept = {
            key: config[key] or None for key in ("Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Labels")
        }
        return {**kept, "Env": dict(entry.split("=", 1) for entry in config["Env"])}

    def same(self, assembly: Assembly) -> dict[str, tuple[object, ...]]:
        """Both ways give the same; answers its files."""
        ours, theirs = self.assembled(assembly), self.built(assembly)
        assert self.config(theirs) == self.config(ours)
        files = self.files(ours)
        assert self.files(theirs) == files
        return files


def _seen(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    file = tar.extractfile(member) if member.isreg() else None
    return (member.type, oct(member.mode), member.uid, member.gid, member.linkname, file.read() if file else b"")


def forget(bench: Bench) -> None:
    """Remove what docker keeps of each step of a build, and no tag leads to."""
    tiny.remove_named(bench.api, "as-dockerfile/made-")
    for image in reversed(bench.steps):
        with suppress(docker.errors.APIError):  # gone already, or somebody stands on it
            if not bench.api.inspect_image(image)["RepoTags"]:
                bench.api.remove_image(image)


@pytest.fixture
def bench(engine_facts: testbed.Engine, api: Any, tmp_path: Path) -> Iterator[Bench]:
    said: list[Event] = []
    environ = {"DOCKER_HOST": engine_facts.docker_host}
    with ExitStack() as stack:
        for name in (BUILDER, SLIM):
            stack.enter_context(tiny.imported(api, name, tiny.rootfs(SCRIPTS), *SETTINGS))
        engine = stack.enter_context(open_docker(environ, host=this_host(), emit=said.append))
        bench = Bench(api=api, engine=engine, directory=tmp_path, steps=[])
        stack.callback(forget, bench)
        yield bench


def test_a_plain_build_is_the_same_image(bench: Bench) -> None:
    files = bench.same(bench.assembly("plain"))
    assert files["opt/app/greeting"][-1] == f"{ENV[0][1]}\n".encode()
    assert f"opt/app/{HOSTILE}" in files
    assert "tmp/src" not in files


def test_with_scripts_of_its_own_it_is_the_same_image(bench: Bench) -> None:
    own = {"assemble": tiny.script("cp -a /tmp/src/. ."), "run": tiny.script("echo mine")}
    files = bench.same(bench.assembly("own", own=own))
    assert files["tmp/scripts/run"][-1] == own["run"]


@pytest.mark.parametrize("user", ["0", "1002:1003"])
def test_whoever_assembles_it_is_the_same_image(user: str, bench: Bench) -> None:
    bench.same(replace(bench.assembly("users", own={"assemble": tiny.script("id >/tmp/id")}), user=user))


def incremental(bench: Bench, *, own: Mapping[str, bytes]) -> Assembly:
    """A build to which the image of one before it gives what its save-artifacts saves."""
    plain = bench.assembly("incremental")
    salvage = Salvage(
        image=str(plain.names[0]),
        image_id=bench.assembled(plain),
        command=("/tmp/scripts/save-artifacts" if own else f"{tiny.SCRIPTS}/save-artifacts",),
        user=plain.user,
        upload=lambda uid, gid: tar_stream(scripts(own), uid=uid, gid=gid),
        target="/tmp/artifacts",
    )
    return replace(plain, salvage=salvage)


def test_what_an_earlier_image_saves_is_there_in_both(bench: Bench) -> None:
    files = bench.same(incremental(bench, own={}))
    assert files["opt/app/artifacts/dist/one.txt"][-1] == b"one\n"


@pytest.mark.parametrize("script", ["exit 3", "echo no tar"])
def test_an_earlier_image_that_saves_nothing_stops_neither(script: str, bench: Bench) -> None:
    files = bench.same(incremental(bench, own={"save-artifacts": tiny.script(script)}))
    assert "opt/app/artifacts" not in files


@pytest.mark.parametrize("command", [(), (f"{tiny.SCRIPTS}/assemble-runtime",)])
def test_a_runtime_image_is_the_same_image(command: tuple[str, ...], bench: Bench) -> None:
    last = replace(
        bench.assembly("runtime", base=SLIM),
        command=command,
        upload=lambda uid, gid: tar_stream(scripts({}), uid=uid, gid=gid),
    )
    artifacts = (
        RuntimeArtifact(source="/opt/app/dist", target=""),
        RuntimeArtifact(source="/opt/app/dist/*.txt", target="texts"),
        RuntimeArtifact(source="/opt/*/.docker*", target=""),
        RuntimeArtifact(source="/opt/app/tool", target="bin/deep"),
    )
    runtime = Runtime(assembly=last, artifacts=artifacts, root="/opt/app")
    files = bench.same(replace(bench.assembly("runtime"), names=last.names, runtime=runtime))
    assert files["opt/app/dist/sub/deep"][-1] == b"deep\n"
    assert [name for name in files if name.startswith("opt/app/texts/")] == [
        "opt/app/texts/one.txt",
        "opt/app/texts/two.txt",
    ]


def test_the_command_finds_what_the_mounts_bring(bench: Bench) -> None:
    """This engine has no BuildKit: the mounts are made by hand, just as the written RUN asks for them."""
    key = bench.directory / "keys" / "key"
    key.parent.mkdir()
    key.write_text("the key\n")
    assembly = replace(
        bench.assembly("handed"),
        command=(f"{tiny.SCRIPTS}/tell",),
        build_env=(("TOKEN", Secret("canary")), ("ELSEWHERE", Secret("canary"))),
        ca_bundle=b"canary",
        secrets=(BuildSecret(id="npmrc", content=Secret("canary")),),
        injections=(Injection(source=key.parent, target="conf"),),
    )
    text = dockerfiles.write(assembly, bench.directory / "Recipe", emit=lambda _: None).read_text()
    assert "canary" not in text
    values = {"env-TOKEN": "it's $a\n", "ca-bundle": "a bundle\n", "npmrc": "a file\n", "inject-1": key.read_text()}
    targets = dict(re.findall(r"id=([^,]+),target=([^,]+)", text))
    assert list(targets) == ["ca-bundle", "env-TOKEN", "env-ELSEWHERE", "npmrc", "inject-1"]
    binds = []
    for name, value in values.items():
        (bench.directory / name).write_text(value)
        binds.append(f"{bench.directory / name}:{targets[name]}:ro")
    (words,) = re.findall(r"^(?:RUN|    )\s*(\[\"/bin/sh\".*\])$", text, re.MULTILINE)
    assert bench.output(json.loads(words), binds) == "a file\nthe key\na bundle\nit's $a\nunset\n"


@pytest.mark.parametrize("place", ["/tmp", "/opt/app/up", "/opt/s2i/deep"])
def test_what_is_typed_is_written_as_it_is_built(place: str, bench: Bench, engine_facts: testbed.Engine) -> None:
    here = shell(bench.directory, DOCKER_HOST=engine_facts.docker_host)
    for name, content in {
        ".s2i/environment": b'FROM_SOURCE=a "b" $c\n',
        ".s2i/bin/assemble": tiny.script(f'cp -R {place}/src/. . && echo "$FROM_SOURCE" >told'),
        "page": b"page\n",
    }.items():
        (here.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (here.cwd / name).write_bytes(content)
    words = ("build", ".", BUILDER, "as-dockerfile/made-typed:1", "--destination", place, "-e", "TYPED=1")
    built = here.run(*words)
    assert built.status == 0, built.stderr
    written = here.run(*words, "--as-dockerfile", "../recipe/Dockerfile")
    assert written.status == 0, written.stderr
    theirs = bench.docker_builds(bench.directory / "recipe" / "Dockerfile", "as-dockerfile/made-typed:built")
    ours = bench.config("as-dockerfile/made-typed:1")
    assert bench.config(theirs) == {**ours, "Labels": without_recipe(ours["Labels"])}
    assert bench.files(theirs) == bench.files("as-dockerfile/made-typed:1")


def without_recipe(labels: Any) -> dict[str, str]:
    """Whoever builds a file may have changed it before: what comes of it is not the image of any recipe of ours."""
    assert labels[RECIPE].startswith("sha256:")
    return {name: value for name, value in labels.items() if name != RECIPE}
