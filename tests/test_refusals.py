"""The words of the Kubernetes API become failures that a user can do something about."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import (
    ClusterForbidden,
    Conflict,
    InvalidUsage,
    RolloutFailed,
    S2IError,
    Unauthorized,
    Unreachable,
)
from s2ictl.refusals import Attempt, Refusal, error_of, parse

APPLY = Attempt(verb="apply", kind="Deployment", name="shop", namespace="prod")
RIGHT = 'deployments.apps "shop" is forbidden: User "ci" cannot patch resource "deployments" in API group "apps"'


def status(message: str, *causes: dict[str, str]) -> str:
    return json.dumps({"kind": "Status", "message": message, "reason": "Whatever", "details": {"causes": causes}})


@pytest.mark.parametrize(
    ("code", "body", "kind", "message"),
    [
        (401, status("Unauthorized"), Unauthorized, "the cluster refuses the login, asked to apply deployment/shop"),
        (403, status(RIGHT), ClusterForbidden, "not allowed to patch deployments in namespace prod"),
        (
            403,
            status("exceeded quota: small"),
            RolloutFailed,
            "the cluster does not admit deployment/shop in namespace prod",
        ),
        (
            403,
            status("being terminated", {"reason": "NamespaceTerminating"}),
            RolloutFailed,
            "namespace prod is being deleted",
        ),
        (404, status('namespaces "prod" not found'), RolloutFailed, "there is no namespace prod"),
        (
            409,
            status("c", {"message": 'conflict with "hpa" using apps/v1', "field": ".spec.replicas"}),
            Conflict,
            "deployment/shop in namespace prod is partly somebody else's",
        ),
        (
            422,
            status("spec.selector: field is immutable", {"field": "spec.selector"}),
            Conflict,
            "deployment/shop in namespace prod has another spec.selector, which cannot change",
        ),
        (
            422,
            status("bad", {"field": "spec.x"}),
            InvalidUsage,
            "the cluster finds deployment/shop invalid: spec.x",
        ),
        (
            400,
            status("admission webhook denied the request: no"),
            RolloutFailed,
            "the cluster does not admit deployment/shop in namespace prod",
        ),
        (500, "oops", Unreachable, "the cluster could not apply deployment/shop in namespace prod"),
    ],
)
def test_each_refusal_has_its_own_failure(code: int, body: str, kind: type[S2IError], message: str) -> None:
    error = error_of(parse(code, body), APPLY)
    assert (type(error), error.message) == (kind, message)
    assert error.hint


def test_the_owner_of_each_field_is_read() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{owner}" with subresource "scale"', "field": "f"}
        for owner in ("hpa", "kubectl edit")
    ]
    assert parse(409, status("Apply failed", *causes)).owned == (("f", "hpa"), ("f", "kubectl edit"))


@pytest.mark.parametrize(
    ("refusal", "passes"),
    [
        (Refusal(code=429, message=""), True),
        (Refusal(code=503, message=""), True),
        (Refusal(code=409, message="please apply your changes to the latest version and try again"), True),
        (Refusal(code=500, message="etcdserver: leader changed"), True),
        (Refusal(code=409, message="conflict"), False),
        (Refusal(code=500, message="oops"), False),
        (Refusal(code=403, message="no"), False),
    ],
)
def test_only_what_is_likely_to_pass_is_asked_again(refusal: Refusal, passes: bool) -> None:
    assert refusal.passing is passes


@given(code=st.integers(min_value=300, max_value=599), body=st.none() | st.text() | st.binary().map(repr))
def test_whatever_answers_is_told_in_bounded_words(code: int, body: str | None) -> None:
    error = error_of(parse(code, body), APPLY)
    assert len(error.message) < 200
    assert len(error.detail) < 1100
