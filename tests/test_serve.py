"""The server as a process on loopback: what it answers, what it works off, and what a kill cannot take from it.

The job that its workers do builds nothing (tests/fakes/server.py); all else is real: HTTP, SQLite, processes.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from s2ictl.errors import InvalidConfiguration, S2IError, Unauthorized
from s2ictl.events import Line, Notice
from s2ictl.ledger import log_file, open_ledger
from s2ictl.models import Delivery, Entry, Secret
from s2ictl.serve import find_app, load_hooks
from tests.fakes.deliveries import SECRET, A, B, C, gitea, push
from tests.fakes.server import DIGEST
from tests.logs import said

SHOP = """\
name: shop
image: registry.example.com/team/shop
source: https://git.example.com/team/shop.git
webhook: {provider: gitea, branches: [main, "work/*"], secret-env: HOOK_SECRET}
"""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    process: subprocess.Popen[str]
    port: int
    state: Path

    def post(self, delivery: Delivery, path: str = "/hooks/shop", method: str = "POST") -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, delivery.body, dict(delivery.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json else {"text": content.decode()}

    def raw(self, sent: bytes, *, patience: float = 5.0) -> tuple[bytes, float]:
        """Send these bytes and nothing more; what came back before the server closed, and after how long."""
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as connection:
            connection.sendall(sent)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        return received, time.monotonic() - began

    def entries(self) -> list[Entry]:
        with open_ledger(self.state, time.time) as ledger:
            return list(reversed(ledger.entries(limit=1000)))

    def settled(self, *names: str) -> list[Entry]:
        """The jobs of these names in the order of arrival, once none of them waits or runs."""
        return self.until(lambda entries: all(e.state not in ("queued", "running") for e in entries), *names)

    def until(self, holds: Callable[[list[Entry]], bool], *names: str) -> list[Entry]:
        wanted = [_commit(name) for name in names]
        deadline = time.monotonic() + 30.0
        while not holds(entries := [e for e in self.entries() if not names or e.commit in wanted]):
            assert time.monotonic() < deadline, entries
            time.sleep(0.02)
        return entries

    def lines(self) -> list[list[str]]:
        path = self.state / "told"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def told(self, name: str) -> list[str]:
        return [word for word, _, commit in self.lines() if commit == _commit(name)]

    def order(self, text: str) -> None:
        (self.state / "orders").write_text(text)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def _commit(name: str) -> str:
    return name.encode().hex().rjust(40, "0")


def _work(name: str) -> Delivery:
    """A push of a commit and to a branch of its own."""
    return gitea(push(_commit(name), ref=f"refs/heads/work/{name}"), number=name)


@contextmanager
def running(place: Path, *, port: int = 0) -> Iterator[Running]:
    apps, state = place / "apps", place / "state"
    for directory in (apps, state):
        directory.mkdir(exist_ok=True)
    if not list(apps.iterdir()):
        (apps / "shop.yaml").write_text(SHOP)
    command = [sys.executable, "-W", "error", "-m", "tests.fakes.server", "serve", str(apps), str(state), str(port)]
    environ = {"PATH": os.environ["PATH"], "HOOK_SECRET": SECRET}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process=process, port=_port_of(process), state=state)
        finally:
            process.kill()


def _port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if "/hooks/" in line:
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return int(line.rpartition("/hooks/")[0].rpartition(":")[2])
    raise AssertionError(f"the server ended with {process.wait()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("server")) as found:
        yield found


# ------------------------------------------------------------------------------------------------------- the answers


def test_a_push_is_accepted_and_built_at_its_commit(server: Running) -> None:
    status, body = server.post(_work("1"))
    (entry,) = server.settled("1")
    assert (status, body) == (
        202,
        {
            "verdict": "accepted",
            "delivery": entry.delivery,
            "jobs": [{"id": entry.id, "app": "shop", "kind": "build", "commit": _commit("1")}],
        },
    )
    assert (entry.state, entry.attempts, entry.digest) == ("succeeded", 1, DIGEST)
    assert server.told("1") == ["begun", "done"]
    assert said(log_file(server.state, entry.id)) == [Line(text=f"building {entry.commit}")]


def _without(delivery: Delivery, header: str) -> Delivery:
    return replace(delivery, headers={name: value for name, value in delivery.headers.items() if name != header})


def _with(delivery: Delivery, **headers: str) -> Delivery:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return replace(delivery, headers={**delivery.headers, **named})


OTHER = push(repository={"clone_url": "https://git.example.com/team/other.git"})
GOOD = gitea(push())


@pytest.mark.parametrize(
    ("delivery", "path", "method", "status", "verdict", "reason"),
    [
        (
            gitea(push(A, before=A), number="p"),
            "/hooks/shop",
            "POST",
            200,
            "ping",
            "a test delivery: nothing was pushed",
        ),
        (gitea(push(ref="refs/heads/x"), number="x"), "/hooks/shop", "POST", 200, "ignored", "another branch: x"),
        (gitea(OTHER, number="o"), "/hooks/shop", "POST", 200, "ignored", "another repository"),
        (
            gitea({}, number="i", event="issues"),
            *("/hooks/shop", "POST", 200, "ignored", "the event 'issues' triggers nothing"),
        ),
        (
            gitea(push(commits=[{"id": A, "message": "[skip ci]"}]), number="s"),
            *("/hooks/shop", "POST", 200, "ignored", "the commit message asks to be skipped"),
        ),
        (
            _without(GOOD, "x-gitea-signature"),
            *("/hooks/shop", "POST", 401, "refused", "the signature is missing or wrong"),
        ),
        (
            replace(GOOD, body=b"not JSON"),
            *("/hooks/shop", "POST", 401, "refused", "the signature is missing or wrong"),
        ),
        (
            gitea(b"not JSON"),
            *("/hooks/shop", "POST", 400, "refused", "the payload is not the JSON that it should be"),
        ),
        (GOOD, "/hooks/shop", "GET", 405, "refused", "deliveries are posted"),
        (GOOD, "/hooks/shop", "PUT", 405, "refused", "deliveries are posted"),
        (GOOD, "/", "POST", 405, "refused", "only GET here"),
        (
            _with(GOOD, content_type="text/plain"),
            "/hooks/shop",
            "POST",
            415,
            "refused",
            "only JSON and forms are taken",
        ),
        (_without(GOOD, "content-type"), "/hooks/shop", "POST", 415, "refused", "only JSON and forms are taken"),
        (
            _with(GOOD, content_type="multipart/form-data; boundary=x"),
            *("/hooks/shop", "POST", 415, "refused", "only JSON and forms are taken"),
        ),
        (
            _with(GOOD, content_type="application/json; charset=utf-16"),
            *("/hooks/shop", "POST", 415, "refused", "only UTF-8 is taken"),
        ),
        (
            _with(GOOD, content_encoding="gzip"),
            *("/hooks/shop", "POST", 415, "refused", "compressed bodies are not taken"),
        ),
        (
            replace(GOOD, body=b"x" * ((5 << 20) + 1)),
            *("/hooks/shop", "POST", 413, "refused", "the body is larger than 5242880 bytes"),
        ),
    ],
)
def test_what_starts_nothing_is_answered_with_its_reason(
    server: Running, delivery: Delivery, path: str, method: str, status: int, verdict: str, reason: str
) -> None:
    answer = server.post(delivery, path, method)
    assert (answer[0], answer[1]["verdict"], answer[1]["reason"]) == (status, verdict, reason)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/hooks/none",
            "/hooks/",
            "/hooks",
            "/hooks/Shop",
            "/hooks/shop.",
            "/hooks/shop/",
            "/hooks//shop",
            "//hooks/shop",
        ),
        *(
            "/hooks/../hooks/shop",
            "/hooks/%73hop",
            "/hooks/%2e%2e",
            "/hooks/shop%00",
            "/hooks/" + "s" * 8000,
            "/metrics",
        ),
    ],
)
def test_what_is_not_exactly_a_hook_is_not_there(server: Running, path: str) -> None:
    assert server.post(GOOD, path)[0] == 404


def test_the_server_says_that_it_is_there(server: Running) -> None:
    empty = Delivery(headers={}, body=b"")
    assert {path: server.post(empty, path, "GET") for path in ("/", "/healthz", "/readyz")} == dict.fromkeys(
        ("/", "/healthz", "/readyz"), (200, {"text": "OK"})
    )


def test_a_query_may_follow_and_is_nobodys_business(server: Running) -> None:
    assert server.post(gitea(push(A, before=A), number="q"), "/hooks/shop?token=secret")[0] == 200


def test_a_form_is_understood(server: Running) -> None:
    assert server.post(gitea(push(A, before=A), number="f", form=True))[1]["verdict"] == "ping"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /hooks/shop HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 65536 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused(server: Running, request_: bytes) -> None:
    received, _ = server.raw(request_)
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ", b"HTTP/0.9 400 "))
    assert b"Traceback" not in received


def test_two_signatures_are_none(server: Running) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in GOOD.headers.items())
    twice = f"{head}x-gitea-signature: {GOOD.headers['x-gitea-signature']}\r\n"
    request = f"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: {len(GOOD.body)}\r\n{twice}\r\n".encode()
    assert server.raw(request + GOOD.body)[0].startswith(b"HTTP/1.1 401 ")


def test_a_body_without_a_length_is_cut_off_at_the_limit(server: Running) -> None:
    head = (
        b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    assert server.raw(head + chunk * 5 + b"1\r\nx\r\n0\r\n\r\n")[0].startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\n",
        b"POST /hooks/shop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\nx",
    ],
)
def test_who_dawdles_is_closed(server: Running, sent: bytes) -> None:
    received, seconds = server.raw(sent)
    assert received == b"" or received.startswith(b"HTTP/1.1 408 ")
    assert 0.4 < seconds < 3.0


def test_beside_a_thousand_who_dawdle_a_delivery_is_answered(server: Running) -> None:
    dawdlers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    try:
        began = time.monotonic()
        assert server.post(gitea(push(A, before=A), number="d"))[0] == 200
        assert time.monotonic() - began < 2.0
    finally:
        for dawdler in dawdlers:
            dawdler.close()


# ------------------------------------------------------------------------------------------------------------ the work


def test_fifty_copies_of_one_delivery_are_one_job(server: Running) -> None:
    answers: list[tuple[int, dict[str, Any]]] = []
    threads = [threading.Thread(target=lambda: answers.append(server.post(_work("50")))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (entry,) = server.settled("50")
    assert sorted(status for status, _ in answers) == [200] * 49 + [202]
    assert {job["id"] for _, body in answers for job in body["jobs"]} == {entry.id}
    assert entry.attempts == 1


def test_what_fails_says_why_and_the_rest_goes_on(server: Running) -> None:
    for order in ("fail", "fault", "die", "nothing"):
        server.order(order)
        server.post(_work(f"x{order}"))
        server.settled(f"x{order}")
    entries = server.settled("xfail", "xfault", "xdie", "xnothing")
    assert [(entry.state, entry.attempts, entry.reason) for entry in entries] == [
        ("failed", 1, "AssembleFailed: the assemble script ended with 3"),
        ("failed", 1, "a fault in s2ictl: ZeroDivisionError"),
        ("dead", 3, "its worker died 3 times"),
        ("succeeded", 1, ""),
    ]
    assert said(log_file(server.state, entries[0].id))[1:] == [
        Notice(text="the assemble script ended with 3\ns2ictl builds logs", level="warning")
    ]


def test_drained_it_finishes_what_it_began_and_takes_nothing_new(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.order("sleep 0.7")
        server.post(gitea(push(A), number="1"))
        server.post(gitea(push(B), number="2"))
        server.until(lambda entries: entries[0].state == "running")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert server.post(gitea(push(C), number="3"))[0] == 503
        assert server.post(Delivery(headers={}, body=b""), "/readyz", "GET")[0] == 503
        assert server.process.wait(20) == 0
        assert [(entry.commit, entry.state) for entry in server.entries()] == [(A, "succeeded"), (B, "queued")]


def test_told_twice_it_cleans_up_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.order("sleep 60")
        server.post(_work("1"))
        server.until(lambda _: bool(server.lines()))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert server.end() == 0
        (entry,) = server.entries()
        assert (entry.state, entry.attempts) == ("queued", 0)
        assert server.told("1") == ["begun", "cleaned"]


def test_what_cannot_be_stored_is_not_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        with open_ledger(server.state, time.time) as ledger:
            ledger.connection.executescript("DROP TABLE deliveries; DROP TABLE probe")
        assert server.post(_work("1")) == (503, {"verdict": "refused", "reason": "the delivery could not be stored"})
        assert server.post(Delivery(headers={}, body=b""), "/readyz", "GET")[0] == 503
        assert server.post(Delivery(headers={}, body=b""), "/healthz", "GET")[0] == 200
        assert server.entries() == []


def test_one_state_directory_has_one_server(server: Running) -> None:
    with pytest.raises(AssertionError, match="the server ended with 1"), running(server.state.parent):
        pass


def test_killed_it_starts_again_at_once_and_loses_nothing_that_it_answered(tmp_path: Path, soak: bool) -> None:
    chance = random.Random(7)  # noqa: S311
    rounds = 100 if soak else 5
    acknowledged: set[str] = set()
    finished: list[tuple[int, set[str]]] = []
    port = 0
    for number in range(rounds):
        with running(tmp_path, port=port) as server:
            port = server.port
            server.order(f"sleep {chance.uniform(0, 0.2):.2f}")
            for part in range(2):
                if server.post(_work(f"{number}.{part}"))[0] == 202:
                    acknowledged.add(_commit(f"{number}.{part}"))
            time.sleep(chance.uniform(0, 0.4))
            server.end(signal.SIGKILL)
            # The workers of the killed server may still be writing: what they tell is read before what they recorded.
            lines = len(server.lines())
            finished.append((lines, {entry.id for entry in server.entries() if entry.state == "succeeded"}))
    with running(tmp_path, port=port) as server:
        server.order("")
        entries = server.settled()
        told = server.lines()
    assert {entry.commit for entry in entries} == acknowledged
    assert {entry.state for entry in entries} == {"succeeded"}
    assert {entry.attempts for entry in entries} == {1}
    _check_nothing_was_done_again(told, finished)
    _check_nobody_worked_beside_another(told)


def test_while_a_killed_servers_worker_cleans_up_the_next_takes_deliveries_only(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.order("linger")
        server.post(_work("1"))
        server.until(lambda _: bool(server.lines()))
        server.end(signal.SIGKILL)
    with running(tmp_path, port=server.port) as server:
        assert server.post(_work("2"))[0] == 202
        assert [entry.state for entry in server.entries()] == ["running", "queued"]
        server.order("")
        server.settled()
        words = [word for word, _, _ in server.lines()]
        # Both jobs run at once then, so only what lies before them has an order.
        assert (words[:2], sorted(words[2:])) == (["begun", "cleaned"], ["begun", "begun", "done", "done"])


def _check_nothing_was_done_again(told: list[list[str]], finished: list[tuple[int, set[str]]]) -> None:
    for lines, done in finished:
        assert not [line for line in told[lines:] if line[0] == "begun" and line[1] in done]


def _check_nobody_worked_beside_another(told: list[list[str]]) -> None:
    at_work: set[str] = set()
    for word, entry, _ in told:
        if word == "begun":
            assert entry not in at_work
            at_work.add(entry)
        else:
            at_work.discard(entry)


# ------------------------------------------------------------------------------------------------------------ the apps


def _load(place: Path, files: Mapping[str, str], **environ: str) -> tuple[list[str], list[tuple[type[S2IError], str]]]:
    for name, text in files.items():
        (place / name).write_text(text)
    hooks, faults = load_hooks(place, environ)
    return sorted(hooks), [(type(fault), fault.message.replace(f"{place}/", "")) for fault in faults]


def test_what_is_broken_is_named_and_the_rest_runs(tmp_path: Path) -> None:
    head = "image: h.example/i\nsource: https://git.example.com/a.git\n"
    files = {
        "a.yaml": SHOP,
        "b.yaml": "name: b\nbuilds: 1\n",
        "c.yaml": f"name: c\n{head}webhook: {{provider: gogs, secret-env: NONE}}\n",
        "d.yaml": f"name: d\n{head}webhook: {{provider: gogs, secret-env: SHORT}}\n",
        "e.yaml": f"name: e\n{head}webhook: {{provider: gogs}}\n",
        "f.yaml": f"name: f\n{head}",
        "g.yaml": "name: g\nwebhook: {provider: gogs, secret-env: HOOK_SECRET}\n",
        "h.yaml": f"name: twin\n{head}webhook: {{provider: gogs, secret-env: HOOK_SECRET}}\n",
        "i.yaml": f"name: twin\n{head}webhook: {{provider: gogs, secret-env: HOOK_SECRET}}\n",
        "not-yaml.txt": "x",
    }
    assert _load(tmp_path, files, HOOK_SECRET=SECRET, SHORT="fifteen bytes..") == (
        ["shop"],
        [
            (InvalidConfiguration, "b.yaml:2:1: unknown key 'builds'"),
            (Unauthorized, "c.yaml: the secret NONE of c is unset"),
            (Unauthorized, "d.yaml: the secret SHORT of d is shorter than 16 bytes"),
            (Unauthorized, "e.yaml: e has no secret"),
            (InvalidConfiguration, "f.yaml:1:1: the key 'webhook' is missing"),
            (InvalidConfiguration, "g.yaml:1:1: g needs source and image to be triggered"),
            (InvalidConfiguration, "h.yaml:1:1: another file has the name 'twin' too"),
            (InvalidConfiguration, "i.yaml:1:1: another file has the name 'twin' too"),
        ],
    )


def test_a_secret_may_stand_in_a_file_beside_the_app(tmp_path: Path) -> None:
    (tmp_path / "hook.secret").write_text(SECRET + "\n")
    (tmp_path / "shop.yaml").write_text(SHOP.replace("secret-env: HOOK_SECRET", "secret-file: hook.secret"))
    hooks, faults = load_hooks(tmp_path, {})
    assert (hooks["shop"].secrets, faults) == ((Secret(SECRET),), ())
    assert SECRET not in repr(hooks)


def test_a_job_is_done_as_its_app_is_described_now(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(SHOP)
    job = Entry(
        id="1",
        delivery="1",
        hook="shop",
        app="shop",
        kind="build",
        ref="refs/heads/main",
        commit=A,
        state="running",
        attempts=1,
        arrived=1.0,
    )
    assert find_app(tmp_path, job).source == "https://git.example.com/team/shop.git"
    with pytest.raises(S2IError, match="the app 'gone' is not in"):
        find_app(tmp_path, replace(job, app="gone"))


def test_no_directory_of_apps_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="is no directory"):
        load_hooks(tmp_path / "none", {})
