from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.engines import dockerapi
from s2ictl.events import Emit, Event, Progress
from s2ictl.models import BuildSecret, Confinement, ImageFacts, Login, Secret, Volume
from s2ictl.wire import Unreadable
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
            "Mounts": [],
        },
        "StopTimeout": 1,
    }


def test_what_a_container_is_given_stands_beside_what_holds_it_in() -> None:
    given = Confinement(
        volumes=(
            Volume(source="/srv/cache", target="/cache", read_only=True),
            Volume(source="maven", target="/root/.m2"),
            Volume(source="/srv/keys", target="/keys", read_only=True, relabel="Z"),
        ),
        network="builds",
        hosts=("git.example.com:10.0.0.7",),
        cap_drop=("chown", "CAP_KILL"),
        memory=64 << 20,
        cpus=1.5,
    )
    document = dockerapi.host_document(given)
    assert document == {
        "CapDrop": ["ALL"],
        "CapAdd": ["DAC_OVERRIDE", "FOWNER", "FSETID", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": 4096,
        "LogConfig": {"Type": "none"},
        "Mounts": [
            {"Type": "bind", "Source": "/srv/cache", "Target": "/cache", "ReadOnly": True},
            {"Type": "volume", "Source": "maven", "Target": "/root/.m2", "ReadOnly": False},
        ],
        "Binds": ["/srv/keys:/keys:ro,Z"],
        "NetworkMode": "builds",
        "ExtraHosts": ["git.example.com:10.0.0.7"],
        "Memory": 64 << 20,
        "MemorySwap": 64 << 20,
        "NanoCpus": 1_500_000_000,
    }


def test_secrets_have_a_volume_without_a_name_that_is_none_of_the_image_s() -> None:
    secret = BuildSecret(id="token", content=Secret("x"))
    document: Any = dockerapi.container_document(assembly(BASE, secrets=(secret,)), ("/a",))
    assert document["HostConfig"]["Mounts"] == [
        {"Type": "volume", "Target": "/run/secrets", "VolumeOptions": {"NoCopy": True}}
    ]
    assert "Volumes" not in document


@pytest.mark.parametrize(
    ("info", "given", "lacking"),
    [
        ({"MemoryLimit": False}, Confinement(memory=1), "--memory: its kernel or cgroup has no memory limit"),
        ({"CpuCfsQuota": False}, Confinement(cpus=1), "--cpus: its kernel or cgroup has no CPU quota"),
        ({"CPUCfsQuota": False}, Confinement(cpus=1), "--cpus: its kernel or cgroup has no CPU quota"),
        ({"MemoryLimit": False, "CpuCfsQuota": False}, Confinement(), ""),
        ({"MemoryLimit": True}, Confinement(memory=1), ""),
    ],
)
def test_a_limit_that_the_engine_cannot_set_is_known_by_its_own_word(
    info: dict[str, bool], given: Confinement, lacking: str
) -> None:
    assert dockerapi.unsettable(info, given) == lacking


def test_a_moment_is_told_by_the_engine_s_own_clock() -> None:
    assert dockerapi.moment_after("2026-11-21T14:44:00.123456789Z") == "1795272242"


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
    document = {"Id": "1", "RepoDigests": ["other/steam/app@sha256:a", "reg:5000/team/app@sha256:b"], "Os": "linux"}
    assert dockerapi.image_facts(document, "team/app") == ImageFacts(id="1", digest="sha256:b", platform="linux")


def test_an_identity_token_is_no_password() -> None:
    token = Login(host="r", username="<token>", password=Secret("t"), origin="helper", kind="identity")
    bearer = Login(host="r", username="<token>", password=Secret("b"), origin="a file", kind="bearer")
    assert [dockerapi.auth(each) for each in (None, LOGIN, token, bearer)] == [
        {},
        {"serveraddress": "registry.example.com", "username": "bot", "password": "pw"},
        {"serveraddress": "r", "identitytoken": "t"},
        {"serveraddress": "r", "registrytoken": "b"},
    ]


@given(st.binary(max_size=2000))
def test_no_archive_of_a_container_breaks_the_reader(data: bytes) -> None:
    result = dockerapi.first_file(data, 100)
    assert result is None or len(result) <= 100


def test_a_mode_is_told_in_the_words_of_unix() -> None:
    modes = [dockerapi.mode_of(stat({"mode": mode})) for mode in (0o755, 1 << 31 | 0o755, 1 << 27 | 0o777)]
    assert modes == [0o100755, 0o040755, 0o120777]


def stat(said: object) -> dict[str, str]:
    return {dockerapi.STAT: base64.b64encode(json.dumps(said).encode()).decode()}


@pytest.mark.parametrize(
    "headers", [{}, {dockerapi.STAT: "é"}, {dockerapi.STAT: "AAAA"}, stat([]), stat({}), stat({"mode": "755"}), stat(1)]
)
def test_an_answer_that_does_not_tell_what_lies_at_a_path_is_not_readable(headers: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        dockerapi.mode_of(headers)


def test_a_transfer_tells_its_progress_and_keeps_its_digest(events: list[Event], emit: Emit) -> None:
    records: list[dict[str, object]] = [
        {"status": "Preparing"},
        {"id": "a", "progressDetail": {"current": 1, "total": 4}},
        {"id": "b", "progressDetail": {"current": 2}},
        {"aux": {"Digest": f"sha256:{'d' * 64}"}},
    ]
    digests: list[str] = []
    assert dockerapi.first_error(records, "app", emit, digests) == ""
    assert digests == [f"sha256:{'d' * 64}"]
    assert events == [Progress(subject="app", done=1, total=4), Progress(subject="app", done=3, total=4)]


def test_a_transfer_ends_at_its_first_error(emit: Emit) -> None:
    assert dockerapi.first_error([{"error": "denied"}, {"error": "more"}], "app", emit, []) == "denied"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
WORDS = st.sampled_from(["error", "errorDetail", "aux", "status", "progressDetail", "id", "Digest", "current"])


@given(
    st.lists(st.dictionaries(WORDS, ANYTHING | st.dictionaries(WORDS, ANYTHING, max_size=2), max_size=4), max_size=4)
)
def test_whatever_is_said_of_a_transfer_is_understood_or_passed_over(records: list[dict[str, Any]]) -> None:
    digests: list[str] = []
    text = dockerapi.first_error(records, "app", lambda _: None, digests)
    assert bool(text) == any("error" in record or "errorDetail" in record for record in records)
    assert digests == []
