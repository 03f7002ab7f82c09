from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.engines import dockerapi
from s2ictl.events import Emit, Event, Progress
from s2ictl.models import IDENTITY_USER, ImageFacts, Login, Secret
from tests.fakes.engine_contract import CONFIG, assembly

BASE = ImageFacts(id="sha256:base", user="user")
LOGIN = Login(host="registry.example.com", username="bot", password=Secret("pw"), origin="config.json")


def test_the_container_gains_no_privilege() -> None:
    document = dockerapi.container_document(assembly(BASE), ("/a",))
    assert document == {
        "Image": "sha256:base",
        "Entrypoint": ["/a"],
        "Cmd": [],
        "User": "user",
        "Env": ["KEPT=yes"],
        "HostConfig": {
            "CapDrop": ["ALL"],
            "CapAdd": [
                "CHOWN",
                "DAC_OVERRIDE",
                "FOWNER",
                "FSETID",
                "KILL",
                "SETFCAP",
                "SETGID",
                "SETUID",
                "SYS_CHROOT",
            ],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 4096,
            "LogConfig": {"Type": "none"},
        },
    }


def test_the_commit_says_all_that_the_image_is_to_say() -> None:
    assert dockerapi.commit_document(CONFIG) == {
        "Cmd": ["/usr/libexec/s2i/run"],
        "Entrypoint": [],
        "User": "user",
        "WorkingDir": "/opt/app",
        "Env": ["PATH=/bin", "KEPT=yes"],
        "Labels": {"io.openshift.s2i.build.image": "contract"},
        "ExposedPorts": {},
    }


def test_of_several_digests_the_one_of_this_repository_is_taken() -> None:
    document = {"Id": "1", "RepoDigests": ["other@sha256:a", "reg:5000/team/app@sha256:b"], "Os": "linux"}
    assert dockerapi.image_facts(document, "team/app") == ImageFacts(id="1", digest="sha256:b", platform="linux")


def test_an_identity_token_is_no_password() -> None:
    token = Login(host="r", username=IDENTITY_USER, password=Secret("t"), origin="helper")
    assert [dockerapi.auth(each) for each in (None, LOGIN, token)] == [
        {},
        {"serveraddress": "registry.example.com", "username": "bot", "password": "pw"},
        {"serveraddress": "r", "identitytoken": "t"},
    ]


@pytest.mark.parametrize(
    ("script", "interpreter"),
    [
        (b"\x7fELF", ""),
        (b"#!/bin/sh\n", "/bin/sh"),
        (b"#! /usr/bin/env bash\n", "/usr/bin/env"),
        (b"#!/bin/sh\r\n", "/bin/sh\r"),
    ],
)
def test_the_first_line_names_the_interpreter(script: bytes, interpreter: str) -> None:
    assert dockerapi.interpreter_of(script) == interpreter


@given(st.binary(max_size=2000))
def test_no_archive_of_a_container_breaks_the_reader(data: bytes) -> None:
    result = dockerapi.first_file(data, 100)
    assert result is None or len(result) <= 100


def test_a_mode_is_told_in_the_words_of_unix() -> None:
    def header(mode: int) -> str:
        return base64.b64encode(json.dumps({"mode": mode}).encode()).decode()

    modes = [dockerapi.mode_of(header(mode)) for mode in (0o755, 1 << 31 | 0o755, 1 << 27 | 0o777)]
    assert modes == [0o100755, 0o040755, 0o120777]


def test_a_transfer_tells_its_progress_and_keeps_its_digest(events: list[Event], emit: Emit) -> None:
    records: list[dict[str, object]] = [
        {"status": "Preparing"},
        {"id": "a", "progressDetail": {"current": 1, "total": 4}},
        {"id": "b", "progressDetail": {"current": 2}},
        {"aux": {"Digest": "sha256:d"}},
    ]
    digests: list[str] = []
    assert dockerapi.first_error(records, "app", emit, digests) == ""
    assert digests == ["sha256:d"]
    assert events == [Progress(subject="app", done=1, total=4), Progress(subject="app", done=3, total=4)]


def test_a_transfer_ends_at_its_first_error(emit: Emit) -> None:
    assert dockerapi.first_error([{"error": "denied"}, {"error": "more"}], "app", emit, []) == "denied"
