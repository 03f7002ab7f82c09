"""Doctor: every part is asked, none stops the others, and each answer says what to do."""

from __future__ import annotations

import io
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from s2ictl.cli.health import agreed, as_root, described
from s2ictl.cli.session import World
from s2ictl.doctor import Absent, Check, examine, mend
from s2ictl.engines.embedded.machine import Lack
from s2ictl.engines.embedded.machine import Machine as Able
from s2ictl.engines.embedded.mending import distribution
from s2ictl.errors import ClusterForbidden, Interrupted, InvalidUsage, LimitReached, Refused, Unreachable
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
    gone = shell(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none.sock", S2ICTL_ENGINE="docker").run(
        "doctor", "-o", "json", "-q"
    )
    states = {check["name"]: check["state"] for check in json.loads(gone.stdout)}
    assert (gone.status, states) == (
        10,
        {
            "git": "ok",
            "disk": "ok",
            "engine": "broken",
            "embedded": "absent",
            "chosen engine": "ok",
            "cluster": "absent",
        },
    )
    assert gone.stderr.startswith('{"error":"not well: engine"')


def test_what_is_absent_is_no_failed_step_and_what_to_do_stands_below_it(tmp_path: Path) -> None:
    said = shell(tmp_path, S2ICTL_ENGINE="docker").run("doctor")
    rows = said.stdout.splitlines()
    (at,) = [number for number, row in enumerate(rows) if row.startswith("cluster")]
    assert (rows[at].split()[:2], rows[at + 1].strip()) == (
        ["cluster", "absent"],
        "try: set KUBECONFIG to the file that describes it",
    )
    assert "failed" not in said.stderr


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


# ------------------------------------------------------------------------------------------------------ what it mends

INSTALL, GIVE_IDS = ("apk", "add", "runc"), ("usermod", "ann")


class Machine:
    """Lacks things one after the other, and remembers what was asked and run."""

    def __init__(self, *rounds: tuple[tuple[str, ...], ...], status: int = 0) -> None:
        self._rounds = list(rounds)
        self._status = status
        self.done: list[tuple[str, object]] = []

    def lacking(self) -> tuple[tuple[str, ...], ...]:
        return self._rounds.pop(0) if self._rounds else ()

    def agree(self, wanted: tuple[tuple[str, ...], ...]) -> None:
        self.done.append(("agree", wanted))

    def run(self, words: tuple[str, ...]) -> int:
        self.done.append(("run", words))
        return self._status


def test_what_is_missing_is_shown_run_and_looked_at_again(emit: Emit) -> None:
    machine = Machine((INSTALL,), (INSTALL, GIVE_IDS), (INSTALL,))
    assert mend(machine.lacking, agree=machine.agree, run=machine.run, emit=emit) == 2
    assert machine.done == [
        ("agree", (INSTALL,)),
        ("run", INSTALL),
        ("agree", (GIVE_IDS,)),
        ("run", GIVE_IDS),
    ]


def test_a_command_that_fails_ends_it(emit: Emit) -> None:
    machine = Machine((INSTALL, GIVE_IDS), status=100)
    with pytest.raises(Unreachable, match="apk add runc ended with 100"):
        mend(machine.lacking, agree=machine.agree, run=machine.run, emit=emit)
    assert machine.done == [("agree", (INSTALL, GIVE_IDS)), ("run", INSTALL)]


def test_nothing_is_run_that_was_not_agreed_to(emit: Emit) -> None:
    def refuse(_: object) -> None:
        raise Interrupted("nothing was installed")

    machine = Machine((INSTALL,))
    with pytest.raises(Interrupted):
        mend(machine.lacking, agree=refuse, run=machine.run, emit=emit)
    assert machine.done == []


def test_nobody_to_ask_is_a_wrong_usage_and_yes_asks_nobody(tmp_path: Path) -> None:
    world = World(
        arguments=(),
        environ={},
        cwd=tmp_path,
        home=tmp_path,
        stdin=io.StringIO("y\n"),
        stdout=io.StringIO(),
        stderr=io.StringIO(),
    )
    with pytest.raises(InvalidUsage, match="nobody can be asked whether to run apk add runc && usermod ann"):
        agreed(world, (INSTALL, GIVE_IDS), yes=False)
    agreed(world, (INSTALL, GIVE_IDS), yes=True)


@pytest.mark.parametrize("answer", ["y", "YES", "n", ""])
def test_whoever_sits_there_is_asked(tmp_path: Path, answer: str) -> None:
    stdin, stderr = Terminal(f"{answer}\n"), io.StringIO()
    world = World(
        arguments=(), environ={}, cwd=tmp_path, home=tmp_path, stdin=stdin, stdout=io.StringIO(), stderr=stderr
    )
    with nullcontext() if answer.lower() in ("y", "yes") else pytest.raises(Interrupted, match="nothing was installed"):
        agreed(world, (INSTALL,), yes=False)
    assert stderr.getvalue() == "  apk add runc\nrun these? [y/N] "


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_root_runs_it_himself_and_anybody_else_by_sudo() -> None:
    assert as_root(INSTALL, uid=0, find=lambda _: None) == INSTALL
    assert as_root(INSTALL, uid=1000, find=lambda name: f"/usr/bin/{name}") == ("/usr/bin/sudo", *INSTALL)
    with pytest.raises(Refused, match="only root may run apk add runc"):
        as_root(INSTALL, uid=1000, find=lambda _: None)


def test_a_machine_that_can_build_says_with_what() -> None:
    machine = Able(
        rootless=True,
        architecture="x86_64",
        overlays=("/usr/bin/fuse-overlayfs",),
        runtime="/usr/bin/crun",
        warnings=(Lack(what="limits", because="none can be set"),),
    )
    assert (
        described(machine, None)
        == "rootless: fuse-overlayfs, crun, the machine's own network, no limits\nlimits: none can be set"
    )
    whole = replace(
        machine, rootless=False, network_helper="/usr/bin/pasta", limits=frozenset({"pids", "cpu"}), warnings=()
    )
    assert described(whole, None) == "as root: fuse-overlayfs, crun, pasta, cpu, pids"


def test_what_would_have_it_do_better_is_said_with_it() -> None:
    network = Lack(what="an isolated network", because="neither is installed", packages=("slirp4netns",))
    machine = Able(
        rootless=False, architecture="x86_64", overlays=("overlay",), runtime="/sbin/runc", warnings=(network,)
    )
    alpine = distribution(lambda name: "/sbin/apk" if name == "apk" else None)
    assert described(machine, alpine) == (
        "as root: overlay, runc, the machine's own network, no limits\n"
        "an isolated network: neither is installed (try: install slirp4netns (apk), or s2ictl doctor --fix)"
    )
