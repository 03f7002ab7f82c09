"""What decides a build, and what does not: each alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.assemblies import Parts, describe
from s2ictl.builders import promised, promised_runtime
from s2ictl.models import (
    BuildRequest,
    BuildSecret,
    Confinement,
    Injection,
    Reference,
    RuntimeArtifact,
    Secret,
    Source,
    Tree,
    UidRange,
    Volume,
)
from s2ictl.recipes import recipe_of
from s2ictl.scripts import Script, Scripts
from tests.workbench import BUILDER, COMMIT, REQUEST, tree

SOURCE = tree({"app.py": b"x"}, digest=lambda: "sha256:source")
FACTS = replace(BUILDER, layers=("sha256:a", "sha256:b"), platform="linux/amd64")
RUNTIME = replace(FACTS, layers=("sha256:r",), workdir="/srv")
PARTS = Parts(tree=SOURCE, builder=promised("b:1", FACTS), scripts=Scripts())
ONTO = replace(PARTS, runtime=promised_runtime("r:1", RUNTIME))
JAR = RuntimeArtifact(source="/opt/app/a.jar", target="lib")
ASKED = replace(REQUEST, runtime_image="r:1", runtime_artifacts=(JAR,))


def recipe(request: BuildRequest = REQUEST, parts: Parts = PARTS) -> str:
    return recipe_of(request, parts, describe(request, parts, lambda _: None))


def made_of(**changes: object) -> Parts:
    return replace(PARTS, builder=promised("b:1", replace(FACTS, **changes)))  # type: ignore[arg-type]


def asked(**changes: object) -> BuildRequest:
    return replace(REQUEST, **changes)  # type: ignore[arg-type]


def confined(**changes: object) -> BuildRequest:
    return asked(confinement=Confinement(**changes))  # type: ignore[arg-type]


def of(source: Tree) -> Parts:
    return replace(PARTS, tree=source)


def test_a_recipe_is_a_digest_and_the_same_each_time() -> None:
    assert recipe() == recipe()
    assert len(recipe().removeprefix("sha256:")) == 64


@pytest.mark.parametrize(
    "request_",
    [
        asked(exclude="^docs"),
        asked(env=(("A", "1"),)),
        asked(build_env=(("A", Secret("1")),)),
        asked(labels=(("team", "a"),)),
        asked(description="a shop"),
        asked(application_name="shop"),
        asked(names=(Reference.parse("app:2"),)),  # which is the title that the image bears
        asked(destination="/opt/s2i"),
        asked(assemble_user="1002"),
        asked(allowed_uids=(UidRange(first=1),)),
        asked(keep_source=True),
        asked(incremental=True),
        asked(secrets=(BuildSecret(id="npm", content=Secret("n")),)),
        asked(epoch=1),
        asked(caches=("/opt/app/downloads",)),
        asked(source=replace(REQUEST.source, copy=True)),
        confined(network="none"),
        confined(cap_drop=("NET_RAW",)),
    ],
)
def test_what_is_asked_for_decides(request_: BuildRequest) -> None:
    assert recipe(request_) != recipe()


@pytest.mark.parametrize(
    "parts",
    [
        of(replace(SOURCE, digest=lambda: "sha256:another")),
        of(replace(SOURCE, commit=COMMIT)),
        of(replace(SOURCE, location="https://git.example.com/shop.git")),
        of(tree({".s2i/environment": b"A=1"}, digest=lambda: "sha256:source")),
        replace(PARTS, scripts=Scripts(brought=(Script(name="assemble", content=b"#!/bin/sh\n"),))),
        replace(PARTS, scripts=Scripts(brought=(Script(name="save-artifacts", content=b"#!/bin/sh\n"),))),
        replace(PARTS, scripts=Scripts(place="/opt/others")),
        made_of(layers=("sha256:a", "sha256:c")),
        made_of(env=("PATH=/bin", "MODE=other")),
        made_of(labels={**FACTS.labels, "version": "2"}),
        made_of(user="1002"),
        made_of(workdir="/opt/other"),
        made_of(entrypoint=()),
        made_of(exposed=("9090/tcp",)),
        made_of(volumes=("/var/data",)),
        made_of(platform="linux/arm64"),
    ],
)
def test_source_scripts_and_builder_decide(parts: Parts) -> None:
    assert recipe(parts=parts) != recipe()


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        (REQUEST, PARTS),
        (replace(ASKED, runtime_artifacts=(replace(JAR, target=""),)), ONTO),
        (replace(ASKED, runtime_artifacts=(replace(JAR, source="/opt/app/*.jar"),)), ONTO),
        (ASKED, replace(ONTO, runtime=promised_runtime("r:1", replace(RUNTIME, layers=("sha256:s",))))),
        (ASKED, replace(ONTO, runtime=promised_runtime("r:1", replace(RUNTIME, workdir="/")))),
        (
            replace(ASKED, assemble_runtime_user="7"),
            replace(ONTO, scripts=Scripts(brought=(Script(name="assemble-runtime", content=b"#!/bin/sh\n"),))),
        ),
    ],
)
def test_what_the_result_runs_on_decides_and_what_is_put_there(request_: BuildRequest, parts: Parts) -> None:
    assert recipe(request_, parts) != recipe(ASKED, ONTO)


@pytest.mark.parametrize(
    "request_",
    [
        asked(push=True),
        asked(force=True),
        asked(cache=False),
        asked(app="shop"),
        asked(keep=True),
        asked(settled=True),
        asked(remove_previous=True),
        asked(pull_policy="always"),
        asked(timeout=1.0),
        asked(owner="e1"),
        asked(surroundings=(("PIP_INDEX_URL", Secret("https://mirror.example.com")),)),
        asked(source=replace(REQUEST.source, path=Path("/elsewhere"))),
        confined(memory=1 << 30),
        confined(cpus=1.5),
    ],
)
def test_how_where_and_when_it_is_built_does_not_decide(request_: BuildRequest) -> None:
    assert recipe(request_) == recipe()


def test_certificates_to_trust_do_not_decide(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    assert recipe(asked(ca_bundle=bundle)) == recipe()


def test_what_a_secret_says_does_not_decide() -> None:
    first, second = (asked(secrets=(BuildSecret(id="npm", content=Secret(text)),)) for text in ("a", "b"))
    assert recipe(first) == recipe(second)


@pytest.mark.parametrize(
    "parts",
    [
        of(replace(SOURCE, epoch=9, size=9, cached=True)),  # where and when it was fetched
        made_of(id="sha256:here", digest="sha256:there", created="today"),
        replace(PARTS, builder=promised("registry.example.com/b:1", FACTS)),
    ],
)
def test_an_image_is_the_same_wherever_it_lies_but_for_the_name_that_is_said_of_it(parts: Parts) -> None:
    same = recipe(parts=parts) == recipe()
    assert same == (parts.builder.image == "b:1")


def test_of_an_image_without_known_layers_the_registry_s_digest_decides() -> None:
    bare = made_of(layers=())
    assert recipe(parts=bare) == recipe(parts=made_of(layers=(), id="sha256:another"))
    assert recipe(parts=bare) != recipe(parts=made_of(layers=(), digest="sha256:another"))


@pytest.mark.parametrize(
    "request_",
    [
        asked(injections=(Injection(source=Path("/etc/settings"), target="conf"),)),
        confined(volumes=(Volume(source="data", target="/data"),)),
        confined(hosts=("db:10.0.0.1",)),
        confined(network="backend"),
    ],
)
def test_what_is_given_something_of_which_nobody_knows_what_it_is_has_no_recipe(request_: BuildRequest) -> None:
    assert recipe(request_) == ""


def test_a_source_that_cannot_be_told_from_another_has_no_recipe() -> None:
    assert recipe(parts=of(tree({"app.py": b"x"}))) == ""


def test_each_value_for_the_build_alone_counts_whatever_their_order() -> None:
    pair = (("A", Secret("1")), ("B", Secret("2")))
    assert recipe(asked(build_env=pair)) == recipe(asked(build_env=pair[::-1]))
    assert recipe(asked(build_env=pair)) != recipe(asked(build_env=(pair[0], ("B", Secret("3")))))


def test_another_source_address_is_another_recipe_since_the_image_says_it() -> None:
    assert recipe(asked(source=Source(kind="git", location="https://git.example.com/a.git", ref="v1"))) != recipe()
