from __future__ import annotations

import pytest

from s2ictl.engines import verdicts
from s2ictl.errors import (
    ImageNotFound,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
    PullUnauthorized,
    PushImageToRegistryFailed,
    PushUnauthorized,
    Refused,
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
        ("An image does not exist locally with the tag: app", ImageNotFound),
    ],
)
def test_a_push_that_failed_is_told_apart(text: str, kind: type[S2IError]) -> None:
    failure = verdicts.push_failure(NAME, text, LOGIN)
    assert (type(failure), str(NAME) in failure.message) == (kind, True)


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


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("toomanyrequests: You have reached your pull rate limit", True),
        ("error parsing HTTP 429 response body: unexpected end of JSON input", True),
        ("received unexpected HTTP status: 503 Service Unavailable", True),
        ("net/http: TLS handshake timeout", True),
        ("read tcp 127.0.0.1: connection reset by peer", True),
        ("dial tcp 127.0.0.1:1: connect: connection refused", False),
        ("unauthorized: authentication required", False),
        ("manifest unknown", False),
        ("could not pull registry.example.com/team/eofs:1", False),
        ("", False),
    ],
)
def test_what_is_likely_to_pass_is_told_from_what_stays(text: str, passes: bool) -> None:
    assert verdicts.passes(text) is passes


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ('invalid mount config for type "bind": bind source path does not exist: /x', InvalidUsage),
        ("network builds not found", InvalidUsage),
        ("Minimum memory limit allowed is 6MB", Refused),
        ("range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Refused),
        ("No such image: sha256:0", PullBuilderImageFailed),
    ],
)
def test_what_a_container_cannot_have_is_told_from_a_broken_image(detail: str, kind: type[S2IError]) -> None:
    found = PullBuilderImageFailed("could not create a container", detail=detail)
    failure = verdicts.start_failure("x:1", found)
    assert (type(failure), failure.detail) == (kind, detail)
