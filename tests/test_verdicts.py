from __future__ import annotations

import pytest

from s2ictl.engines import verdicts
from s2ictl.errors import (
    LimitReached,
    PullBuilderImageFailed,
    PullUnauthorized,
    PushImageToRegistryFailed,
    PushUnauthorized,
    S2IError,
    Unreachable,
)
from s2ictl.models import Login, Reference, Secret

NAME = Reference.parse("registry.example.com/team/app:1")
LOGIN = Login(host="registry.example.com", username="bot", password=Secret("pw"), origin="config.json")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("unauthorized: authentication required", PushUnauthorized),
        ("no basic auth credentials", PushUnauthorized),
        ("denied: requested access to the resource is denied", PushUnauthorized),
        ('Get "https://r/v2/": dial tcp 127.0.0.1:1: connect: connection refused', Unreachable),
        ('Get "https://r/v2/": x509: certificate signed by unknown authority', Unreachable),
        ("received unexpected HTTP status: 500 Internal Server Error", PushImageToRegistryFailed),
        ("An image does not exist locally with the tag: app", PushImageToRegistryFailed),
    ],
)
def test_a_push_that_failed_is_told_apart(text: str, kind: type[S2IError]) -> None:
    failure = verdicts.push_failure(NAME, text, LOGIN)
    assert (type(failure), failure.message) == (kind, "could not push registry.example.com/team/app:1")


def test_a_refused_push_names_where_the_login_came_from() -> None:
    assert verdicts.push_failure(NAME, "unauthorized: no", LOGIN).detail.endswith("the login came from config.json")
    assert verdicts.push_failure(NAME, "unauthorized: no", None).detail.endswith(
        "no login for registry.example.com was found"
    )


def test_a_registry_without_tls_is_the_engine_s_own_matter() -> None:
    failure = verdicts.push_failure(NAME, "http: server gave HTTP response to HTTPS client", None)
    assert (
        failure.hint
        == "the engine itself decides who may go without TLS: add registry.example.com to its insecure-registries"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("manifest for x:1 not found: manifest unknown: manifest unknown", None),
        ("pull access denied for x, repository does not exist or may require 'docker login'", None),
        ("unauthorized: authentication required", PullUnauthorized),
        ("dial tcp: lookup registry-1.docker.io: no such host", Unreachable),
        ("write /var/lib/docker/tmp: no space left on device", LimitReached),
        ("filesystem layer verification failed", PullBuilderImageFailed),
    ],
)
def test_a_pull_that_failed_is_told_apart(text: str, kind: type[S2IError] | None) -> None:
    failure = verdicts.pull_failure("x:1", text, None)
    assert (type(failure) if failure else None) == kind
