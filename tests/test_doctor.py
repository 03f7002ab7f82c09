"""Doctor: every part is asked, none stops the others, and each answer says what to do."""

from __future__ import annotations

import json
from pathlib import Path

from s2ictl.doctor import Absent, Check, examine
from s2ictl.errors import ClusterForbidden, LimitReached, Unreachable
from s2ictl.events import Emit
from tests.cli import shell


def failing(error: Exception) -> str:
    raise error


def test_each_part_says_how_it_is_and_none_stops_the_others(emit: Emit) -> None:
    probes = {
        "git": lambda: "git version 2.47",
        "engine": lambda: failing(Absent("no engine answers", hint="start Docker")),
        "disk": lambda: failing(LimitReached("0.1 GB free", hint="make room")),
        "cluster": lambda: failing(ClusterForbidden("may not list", detail="deployments", hint="ask for the Role")),
    }
    assert examine(probes, emit=emit) == (
        Check(name="git", state="ok", says="git version 2.47"),
        Check(name="engine", state="absent", says="no engine answers", advice="start Docker"),
        Check(name="disk", state="broken", says="0.1 GB free", advice="make room"),
        Check(name="cluster", state="broken", says="may not list: deployments", advice="ask for the Role"),
    )


def test_what_is_absent_is_no_failure_and_what_is_named_and_gone_is_one(tmp_path: Path) -> None:
    gone = shell(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock").run("doctor", "-o", "json", "-q")
    states = {check["name"]: check["state"] for check in json.loads(gone.stdout)}
    assert (gone.status, states) == (10, {"git": "ok", "disk": "ok", "engine": "broken", "cluster": "absent"})
    assert gone.stderr.startswith('{"error":"not well: engine"')


def test_a_kubeconfig_that_leads_nowhere_is_broken(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(
        "current-context: c\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    said = shell(tmp_path, KUBECONFIG=str(file), DOCKER_HOST=f"unix://{tmp_path}/none.sock").run("doctor", "-q")
    (row,) = [line for line in said.stdout.splitlines() if line.startswith("cluster")]
    assert said.status == Unreachable.exit_code
    assert "broken" in row
