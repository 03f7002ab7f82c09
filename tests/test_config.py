"""s2i.yaml: the whole of it, both forms, and what is wrong said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2ictl import config
from s2ictl.errors import InvalidConfiguration
from s2ictl.hooks import SENDERS
from s2ictl.models import (
    AppConfig,
    BuildConfig,
    Config,
    DeployConfig,
    ForgeConfig,
    ReadinessConfig,
    Reference,
    RuntimeArtifact,
    WebhookConfig,
)

WHOLE = """\
name: shop
image: registry.example.com/team/shop
source: https://git.example.com/shop.git#main:web
build: {builder: java, env: {MAVEN_ARGS_APPEND: -Pprod}}
registry-secret: prod/dockerhub-id
deploy: {namespace: prod, port: 8080, expose: nodeport, readiness: {path: /up, delay: 30s, timeout: 1m}}
webhook: {provider: github, branches: [main, "release/*"], secret-env: [NEW, OLD]}
forge: {url: https://git.example.com, username: bot, token-env: FORGE_TOKEN, aliases: [git.internal]}
"""


def test_every_key_of_one_app_is_read() -> None:
    app = AppConfig(
        name="shop",
        image=Reference(registry="registry.example.com", repository="team/shop"),
        source="https://git.example.com/shop.git",
        ref="main",
        build=BuildConfig(builder="java", env={"MAVEN_ARGS_APPEND": "-Pprod"}, context_dir="web"),
        registry_secret="prod/dockerhub-id",
        deploy=DeployConfig(
            namespace="prod",
            port=8080,
            expose="nodeport",
            readiness=ReadinessConfig(path="/up", delay=30, timeout=60),
        ),
        webhook=WebhookConfig(provider="github", branches=("main", "release/*"), secret_env=("NEW", "OLD")),
        forge=ForgeConfig(
            url="https://git.example.com", username="bot", token_env="FORGE_TOKEN", aliases=("git.internal",)
        ),
    )
    assert config.parse(WHOLE, "s2i.yaml") == Config(name="shop", apps=(app,))


def test_what_stands_beside_apps_is_each_apps_that_does_not_say_its_own() -> None:
    text = (
        "name: both\nsource: https://git.example.com/shop.git#main\nwebhook: {provider: gitea, secret-file: s}\n"
        "apps:\n- {name: front, build: {context-dir: front}}\n- {name: back, source: https://git.example.com/b.git}\n"
    )
    webhook = WebhookConfig(provider="gitea", secret_file="s")
    front = AppConfig(
        name="front",
        source="https://git.example.com/shop.git",
        ref="main",
        build=BuildConfig(context_dir="front"),
        webhook=webhook,
    )
    back = AppConfig(name="back", source="https://git.example.com/b.git", webhook=webhook)
    assert config.parse(text, "s2i.yaml") == Config(name="both", apps=(front, back))


def test_what_a_build_is_made_of_may_stand_in_the_file() -> None:
    text = (
        "name: shop\nbuild: {submodules: false, lfs: true, incremental: true, "
        "runtime-image: r, runtime-artifacts: [/a:b, /c]}\n"
    )
    assert config.parse(text, "s2i.yaml").apps[0].build == BuildConfig(
        submodules=False,
        lfs=True,
        incremental=True,
        runtime_image="r",
        runtime_artifacts=(RuntimeArtifact(source="/a", target="b"), RuntimeArtifact(source="/c", target="")),
    )


def test_where_builders_lie_may_be_said_once_for_all_apps() -> None:
    apps = "apps: [{name: a}, {name: b, builders: {prefix: other.example}}]"
    text = f"builders: {{prefix: registry.example.com/team/}}\n{apps}"
    assert [app.builders.prefix for app in config.parse(text, "s2i.yaml").apps] == [
        "registry.example.com/team",
        "other.example",
    ]


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    (tmp_path / "s2i.yaml").write_text("name: shop\nwebhoook: {}\n")
    with pytest.raises(InvalidConfiguration) as caught:
        config.load(tmp_path / "s2i.yaml")
    assert caught.value.message == f"{tmp_path}/s2i.yaml:2:1: unknown key 'webhoook'"
    assert caught.value.hint == "did you mean 'webhook'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: Shop", "s2i.yaml:1:7: 'Shop' cannot be a name"),
        ("name: shop\nimage: Team//shop", "s2i.yaml:2:8: 'Team//shop' is not an image name"),
        ("name: shop\nimage: shop:1.10\ndeploy: {port: 0}", "s2i.yaml:3:16: 0 is not a port: 1 to 65535"),
        ("name: shop\ndeploy: {service-port: 65536}", "s2i.yaml:2:24: 65536 is not a port: 1 to 65535"),
        (
            "name: shop\nbuilders: {prefix: team}",
            "s2i.yaml:2:20: 'team' is no place in a registry where builders could lie",
        ),
        ("name: shop\ndeploy: {replicas: -1}", "s2i.yaml:2:20: -1 replicas cannot be"),
        ("name: shop\ndeploy: {readiness: {delay: soon}}", "s2i.yaml:2:29: 'soon' is not a duration"),
        ("name: shop\nwebhook: {provider: gitlab}", "s2i.yaml:2:21: webhook.provider cannot be 'gitlab'"),
        ("name: shop\nwebhook: {provider: gogs, paths: [x]}", "s2i.yaml:2:27: unknown key 'paths'"),
        (
            "name: shop\nwebhook: {provider: gogs, secret-env: A, secret-file: b}",
            "s2i.yaml:2:55: the secret is named twice: secret-env and secret-file",
        ),
        (
            "name: shop\nsource: ./here\nwebhook: {provider: gogs}",
            "s2i.yaml:2:9: a webhook needs a git repository with an address, not a directory",
        ),
        (
            "name: shop\nref: a\nsource: https://h/p#b",
            "s2i.yaml:3:9: the ref or the directory is given twice",
        ),
        ("apps: []", "s2i.yaml:1:7: apps is empty"),
        ("apps: [{name: a}, {name: a}]", "s2i.yaml:1:7: 2 apps are called 'a'"),
        (
            "apps: [{name: a, webhook: {provider: gogs}}]",
            "s2i.yaml:1:18: webhook stands beside apps: one delivery serves all of them",
        ),
        ("apps: [{name: a}]\nwebhook: {provider: gogs}", "s2i.yaml:1:1: '' cannot be a name"),
    ],
)
def test_what_types_cannot_say_is_checked_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        config.parse(text, "s2i.yaml")
    assert caught.value.message == message


def test_a_fragment_belongs_to_a_git_address_alone() -> None:
    assert config.parse("name: a\nsource: ./odd#name", "s2i.yaml").apps[0].source == "./odd#name"
    assert config.parse("name: a\nsource: git@h:p.git#x", "s2i.yaml").apps[0].ref == "x"


def test_every_provider_of_the_schema_is_a_sender() -> None:
    for provider in SENDERS:
        assert config.parse(f"name: a\nwebhook: {{provider: {provider}}}", "s2i.yaml").apps[0].webhook is not None
