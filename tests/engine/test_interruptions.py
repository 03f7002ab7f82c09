"""An interrupted build leaves nothing on an engine or on this machine, whenever and however it is interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests import testbed
from tests.engine import gitservers, tiny
from tests.engine.ownengine import OwnEngine, own_engine
from tests.interruptions import ENDED, FILES, SCRIPTS, Site, planned, prepare

BUILDER, RUNTIME = "interrupted/builder:1", "interrupted/runtime:1"
USER = ("USER user", "ENV PATH=/bin", 'CMD ["true"]')
LABELS = (*USER, "LABEL io.openshift.s2i.scripts-url=image:///usr/libexec/s2i")
KINDS = {
    "pushed": ("--push", "--build-env", "A=b"),
    "incremental": ("--incremental", "--rm"),
    "handed": ("--secret", "id=token,src=token.txt", "--inject", "keys:/etc/keys"),
    "runtime": ("--runtime-image", RUNTIME, "--runtime-artifact", "/opt/app/big.txt:."),
}
WAYS = {**ENDED, "engine": {0, 8, 10}}
# What nobody had the time to take away is the next build's to take away, by the name that it has.
LEAVES_IT_TO_THE_NEXT = ("INT INT", "TERM INT", "KILL", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """Everything that a build could leave behind, on the engine and on this machine."""

    containers: tuple[str, ...]
    volumes: tuple[str, ...]
    nameless: tuple[str, ...]
    files: tuple[str, ...]
    processes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A site, and the engine that is built on there."""

    site: Site
    engine: OwnEngine
    api: Any

    def census(self) -> Census:
        return Census(
            containers=tuple(name for each in self.api.containers(all=True) for name in each["Names"]),
            volumes=tuple(volume["Name"] for volume in self.api.volumes()["Volumes"] or ()),
            nameless=tuple(image["Id"] for image in self.api.images(filters={"dangling": True})),
            files=tuple(sorted(map(str, self.site.left_over()))),
            processes=tuple(self.site.descendants()),
        )

    def tags(self) -> set[str]:
        return {name for image in self.api.images() for name in image["RepoTags"] or () if "/interrupted/" in name}


@pytest.fixture(scope="module")
def field(registry_facts: testbed.Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    root = tmp_path_factory.mktemp("interrupted")
    prepare(root)
    shop = gitservers.repository(root / "git" / "shop", FILES)
    with ExitStack() as stack:
        engine = stack.enter_context(own_engine())
        api = engine.api()
        stack.callback(api.close)
        scripts = {name: tiny.script(text) for name, text in SCRIPTS.items()}
        stack.enter_context(tiny.imported(api, BUILDER, tiny.rootfs(scripts), *LABELS))
        stack.enter_context(tiny.imported(api, RUNTIME, tiny.rootfs({}), *USER))
        server = stack.enter_context(gitservers.web(root / "git"))
        site = Site(
            root=root,
            source=f"{server.url}/{shop.name}",
            builder=BUILDER,
            registry=registry_facts.open,
            environ={"DOCKER_HOST": engine.docker_host, "S2ICTL_ENGINE": "docker"},
            kinds=KINDS,
        )
        yield Field(site=site, engine=engine, api=api)


def test_an_interrupted_build_leaves_nothing(field: Field, soak: bool) -> None:
    plan = planned(field.site, tuple(WAYS), count=200 if soak else 20)
    for each in plan:
        before = Census(containers=(), volumes=(), nameless=(), files=(), processes=())
        assert field.census() == before
        strike = (lambda _: field.engine.kill()) if each.way == "engine" else each.strike
        status, said = field.site.interrupt(each, strike)
        run = f"{each} ended with {status}\n{said}"
        assert status in WAYS[each.way], run
        assert "Traceback" not in said or status < 0, run
        if each.way == "engine":
            field.engine.start()
        if each.way in LEAVES_IT_TO_THE_NEXT:
            field.site.build(f"next{each.number}", each.kind)
        assert field.census() == before, run
    for tag in field.tags():
        facts = field.api.inspect_image(tag)
        assert "io.openshift.s2i.build.commit.id" in facts["Config"]["Labels"], tag
