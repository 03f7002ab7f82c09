from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from s2ictl.errors import S2IError
from s2ictl.events import Notice, Progress
from s2ictl.models import Login, Secret
from s2ictl.sources import FetchOptions, check
from s2ictl.sources.mirror import fetch_command
from s2ictl.sources.program import variables
from s2ictl.sources.refs import Refs, Wanted, advertised, wanted
from s2ictl.sources.ssh import ssh_command
from s2ictl.sources.words import explain_remote
from tests.engine.gitservers import commit, git, repository, web
from tests.sourcetrees import Bench, failing, on_disk, streamed

FILES = {"app.py": "print(1)\n", "src/data.txt": "a\n"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return repository(tmp_path / "served" / "shop", FILES)


@pytest.fixture
def served(shop: Path) -> Path:
    return shop.parent


def test_a_remote_repository_is_what_a_clone_would_be(bench: Bench, served: Path, shop: Path) -> None:
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop")
        assert tree.commit is not None
        assert (tree.commit.id, tree.commit.ref) == (git(shop, "rev-parse", "HEAD"), "main")
        assert (tree.location, tree.read("app.py")) == (f"{server.url}/shop", b"print(1)\n")
        assert streamed(tree) == on_disk(shop)
    assert [event for event in bench.events if not isinstance(event, Progress)] == []


def test_repositories_that_are_empty_or_nowhere_are_not_found(bench: Bench, served: Path) -> None:
    (served / "empty").mkdir()
    git(served / "empty", "init", "-q")
    with web(served) as server:
        empty = failing(bench, f"{server.url}/empty")
        nowhere = failing(bench, f"{server.url}/nowhere/${{HOME}}$(id)")
    assert (empty.exit_code, empty.detail) == (5, "the repository is empty")
    assert (nowhere.exit_code, "$(id)" in nowhere.message) == (5, True)


def test_a_repository_without_a_branch_has_no_commit_of_its_own(bench: Bench, served: Path, shop: Path) -> None:
    git(shop, "tag", "v1")
    git(shop, "checkout", "-q", "--detach")
    git(shop, "branch", "-q", "-D", "main")
    git(shop, "symbolic-ref", "HEAD", "refs/heads/gone")
    with web(served) as server:
        error = failing(bench, f"{server.url}/shop")
        assert bench.fetch(f"{server.url}/shop", ref="v1").commit
    assert (error.exit_code, "has no commit" in error.message, error.detail) == (5, True, "it has v1")


def test_a_repository_of_the_newer_kind_is_fetched_by_branch_and_by_commit(bench: Bench, served: Path) -> None:
    newer = served / "newer"
    newer.mkdir()
    git(newer, "init", "-q", "--object-format=sha256", "--initial-branch=main")
    first = commit(newer, FILES)
    commit(newer, {"app.py": "print(2)\n"})
    with web(served) as server:
        assert bench.fetch(f"{server.url}/newer").read("app.py") == b"print(2)\n"
        tree = bench.fetch(f"{server.url}/newer", ref=first)
    assert (len(first), tree.read("app.py"), tree.commit and tree.commit.id) == (64, b"print(1)\n", first)


# ---------------------------------------------------------------------------------------------------------- the cache


def test_a_commit_that_is_here_is_not_fetched_again(bench: Bench, served: Path, shop: Path) -> None:
    with web(served) as server:
        trees = [bench.fetch(f"{server.url}/shop", ref=ref) for ref in ("", "main", git(shop, "rev-parse", "HEAD"))]
        asked = [(method, path) for method, path in server.seen if method == "POST"]
    assert [(tree.cached, tree.size) for tree in trees] == [(False, 11), (True, 11), (True, 11)]
    assert len(asked) == 4  # two questions and a pack for the first, a question for the second, nothing for the third


def test_a_branch_that_was_moved_back_leaves_the_commit_of_the_event_to_be_built(
    bench: Bench, served: Path, shop: Path
) -> None:
    before = git(shop, "rev-parse", "HEAD")
    pushed = commit(shop, {"app.py": "print('pushed')\n"})
    git(shop, "reset", "-q", "--hard", before)
    commit(shop, {"app.py": "print('forced')\n"})
    with web(served) as server:
        assert bench.fetch(f"{server.url}/shop").read("app.py") == b"print('forced')\n"
        assert bench.fetch(f"{server.url}/shop", ref=pushed).read("app.py") == b"print('pushed')\n"
        git(shop, "reflog", "expire", "--expire=now", "--all")
        git(shop, "gc", "--quiet", "--prune=now")
        gone = failing(Bench(root=bench.root / "elsewhere"), f"{server.url}/shop", ref=pushed)
    assert (gone.exit_code, gone.reason) == (5, "FetchSourceFailed")


def test_what_comes_is_told_while_it_comes(bench: Bench, served: Path, shop: Path) -> None:
    commit(shop, {"large": os.urandom(2_000_000).hex()})

    def slowly(request: BaseHTTPRequestHandler) -> bool:
        request.wfile = _Slow(request.wfile)  # type: ignore[assignment]
        return False

    with web(served, instead=slowly) as server:
        bench.fetch(f"{server.url}/shop")
        address = f"{server.url}/shop"
    told = [event for event in bench.events if isinstance(event, Progress)]
    assert {event.subject for event in told} == {address}
    assert [event.done for event in told] == sorted({event.done for event in told})


class _Slow:
    """What is written, in pieces with a pause after each large one."""

    def __init__(self, file: object) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        for begin in range(0, len(data), 1 << 20):
            self._file.write(data[begin : begin + (1 << 20)])  # type: ignore[attr-defined]
            time.sleep(0.3 if len(data) > 1 << 20 else 0)
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def test_a_mirror_of_many_packs_is_begun_anew_beside_its_readers(bench: Bench, served: Path, shop: Path) -> None:
    with web(served) as server:
        old = bench.fetch(f"{server.url}/shop")
        (first,) = mirrors(bench)
        for number in range(60):
            (first / "objects" / "pack" / f"pack-{number:040}.pack").touch()
        commit(shop, {"app.py": "print(2)\n"})
        assert bench.fetch(f"{server.url}/shop").read("app.py") == b"print(2)\n"
        assert old.read("app.py") == b"print(1)\n"
        assert [path.name[-2:] for path in mirrors(bench)] == [".1", ".2"]
        os.utime(first, (time.time() - 2 * 86400,) * 2)
        commit(shop, {"app.py": "print(3)\n"})
        bench.fetch(f"{server.url}/shop")
    assert [path.name[-2:] for path in mirrors(bench)] == [".2"]


def test_what_nobody_has_fetched_for_a_month_goes_unless_it_is_held(bench: Bench, served: Path, shop: Path) -> None:
    for name in ("old", "held", "young"):
        repository(served / name, FILES)
    with web(served) as server:
        for name in ("old", "held", "young"):
            bench.fetch(f"{server.url}/{name}")
        places = sorted(mirrors(bench), key=lambda path: path.stat().st_mtime_ns)
        for place in places[:2]:
            os.utime(place, (time.time() - 31 * 86400,) * 2)
        (served.parent / "cache" / "git" / ".new-x").mkdir()
        os.utime(served.parent / "cache" / "git" / ".new-x", (time.time() - 2 * 86400,) * 2)
        with places[1].with_suffix(".lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bench.fetch(f"{server.url}/shop")
    assert [place.is_dir() for place in places] == [False, True, True]
    assert not list((served.parent / "cache" / "git").glob(".new-*"))


def mirrors(bench: Bench) -> list[Path]:
    return sorted((bench.root / "cache" / "git").glob("*.[0-9]*"))


# ------------------------------------------------------------------------------------------------------------ logins


def login(server: str, password: str = "CANARY") -> Login:  # noqa: S107
    return Login(host=server.partition("//")[2], username="ada b", password=Secret(password), origin="a file")


def test_a_login_is_sent_when_its_host_asks_for_it(bench: Bench, served: Path, shop: Path) -> None:
    with web(served, login=("ada b", "CANARY")) as server:
        tree = bench.fetch(f"{server.url}/shop", find_login=lambda _: login(server.url))
        assert streamed(tree) == on_disk(shop)
        assert server.logins[0] == ""
    left = [path for path in (bench.root / "cache").rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]
    assert (left, "CANARY" in repr((tree, bench.events))) == ([], False)


def test_a_login_in_the_address_works_and_is_warned_about(bench: Bench, served: Path) -> None:
    with web(served, login=("ada", "CA:NA/RY")) as server:
        tree = bench.fetch(f"{server.url.replace('//', '//ada:CA%3ANA%2FRY@')}/shop")
        assert tree.location == f"{server.url}/shop"
    assert [("login in it" in warning, "NA" in warning) for warning in bench.warnings] == [(True, False)]


@pytest.mark.parametrize("password", [None, "WRONG"])
def test_no_login_and_a_wrong_one_are_refused_without_a_question(
    bench: Bench, served: Path, password: str | None
) -> None:
    with web(served, login=("ada b", "CANARY")) as server:
        found = login(server.url, password) if password else None
        error = failing(bench, f"{server.url}/shop", find_login=lambda _: found)
    assert (error.exit_code, error.reason, bench.pauses) == (4, "FetchSourceUnauthorized", [])
    assert ("came from a file" in error.detail, "WRONG" in repr(vars(error))) == (password is not None, False)


def test_a_login_of_another_host_is_never_used(bench: Bench, served: Path) -> None:
    with web(served, login=("ada b", "CANARY")) as server:
        other = Login(host="git.example.com", username="ada b", password=Secret("CANARY"), origin="")
        failing(bench, f"{server.url}/shop", find_login=lambda _: other)
        assert set(server.logins) == {""}


def test_a_redirect_takes_neither_the_source_nor_a_login_elsewhere(bench: Bench, served: Path) -> None:
    with web(served) as other:

        def leave(request: BaseHTTPRequestHandler) -> bool:
            request.send_response(301)
            request.send_header("Location", f"{other.url}{request.path}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return True

        with web(served, instead=leave) as server:
            error = failing(bench, f"{server.url}/shop", find_login=lambda _: login(server.url))
    assert (error.exit_code, error.message) == (5, f"redirect refused: {server.url}/shop leads to another address")
    assert other.seen == []


# ------------------------------------------------------------------------------------------------------ bad networks


def test_a_closed_port_is_tried_again_and_then_unreachable(bench: Bench) -> None:
    error = failing(bench, "http://127.0.0.1:1/shop")
    assert (error.exit_code, bench.pauses) == (10, [1.0, 3.0])
    assert [event.text for event in bench.events if isinstance(event, Notice)] == [
        "http://127.0.0.1:1/shop is not reachable; trying again in 1 s",
        "http://127.0.0.1:1/shop is not reachable; trying again in 3 s",
    ]


def test_a_server_that_says_nothing_is_given_up(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        options = FetchOptions(attempts=2, silence=0.3)
        error = failing(bench, f"http://127.0.0.1:{silent.getsockname()[1]}/shop", options=options)
    assert (error.exit_code, "said nothing" in error.message, bench.pauses) == (10, True, [1.0])
    assert time.monotonic() - began < 5


# --------------------------------------------------------------------------------------- described, and not performed


def test_git_knows_nothing_of_our_environment_but_what_it_needs() -> None:
    given = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://p",
        "GIT_DIR": "/x",
        "GIT_SSH": "evil",
        "AWS_SECRET": "s",
        "HOME": "/h",
    }
    told = variables(given, GIT_ALLOW_PROTOCOL="https")
    assert {name: told[name] for name in told if name in given} == {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://p",
        "HOME": "/h",
    }
    assert (told["GIT_ALLOW_PROTOCOL"], told["GIT_TERMINAL_PROMPT"], told["GIT_CONFIG_GLOBAL"]) == (
        "https",
        "0",
        "/dev/null",
    )


def test_an_address_is_never_an_option() -> None:
    words = fetch_command("https://h/r", ("+a:b",), "--depth=1")
    assert words[-3:] == ("--", "https://h/r", "+a:b")


def test_ssh_asks_nothing_and_accepts_no_host_by_itself(tmp_path: Path) -> None:
    key, hosts = tmp_path / "my key%", tmp_path / "hosts"
    key.touch()
    hosts.touch()
    command = ssh_command(FetchOptions(ssh_key=key, known_hosts=hosts))
    assert ("BatchMode=yes" in command, "StrictHostKeyChecking=yes" in command) == (True, True)
    assert command[-4:] == (
        *("-o", f'IdentityFile="{tmp_path}/my key%%"'),
        *("-o", f'UserKnownHostsFile="{tmp_path}/hosts"'),
    )


@pytest.mark.parametrize(("name", "code"), [("missing", 4), ('quo"te', 2), ("${HOME}", 2)])
def test_a_key_that_cannot_be_used_is_told_before_ssh_is_started(tmp_path: Path, name: str, code: int) -> None:
    if name != "missing":
        (tmp_path / name).touch()
    with pytest.raises(S2IError) as caught:
        check(FetchOptions(ssh_key=tmp_path / name))
    assert caught.value.exit_code == code


ID, OTHER = "1" * 40, "2" * 40
REFS = Refs(
    ids={"HEAD": ID, "refs/heads/main": ID, "refs/heads/abcd": OTHER, "refs/tags/v1": OTHER}, head="refs/heads/main"
)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("", Wanted(name="main", remote="refs/heads/main")),
        ("v1", Wanted(name="v1", remote="refs/tags/v1")),
        ("abcd", Wanted(name="abcd", remote="refs/heads/abcd")),
        ("abcde", Wanted(name="abcde", remote="abcde", short=True)),
        ("A" * 40, Wanted(name="a" * 40, remote="a" * 40)),
    ],
)
def test_a_ref_stands_for_one_thing(ref: str, expected: Wanted) -> None:
    assert wanted(ref, REFS, "somewhere") == expected


@pytest.mark.parametrize(
    ("answer", "refs"),
    [
        (b"", Refs(ids={}, head="")),
        (f"ref: refs/heads/main\tHEAD\n{ID}\tHEAD\n".encode(), Refs(ids={"HEAD": ID}, head="refs/heads/main")),
        (f"ref: refs/heads/../x\tHEAD\n{ID}\tHEAD\n".encode(), Refs(ids={"HEAD": ID}, head="")),
        (f"ref: --upload-pack=x\tHEAD\n{ID}\tHEAD\n".encode(), Refs(ids={"HEAD": ID}, head="")),
        (b"\xff\xfe\nnonsense\trefs/heads/x\n\n", Refs(ids={}, head="")),
    ],
)
def test_whatever_a_server_answers_is_only_names(answer: bytes, refs: Refs) -> None:
    assert advertised(answer) == refs


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("fatal: unable to access 'https://h/': Could not resolve host: h", 10),
        ("fatal: unable to access 'https://h/': SSL certificate problem: self signed certificate", 10),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 503", 10),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 403", 4),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", 4),
        ("remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://h/'", 4),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", 4),
        ("ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.", 10),
        ("Host key verification failed.\nfatal: Could not read from remote repository.", 12),
        ("remote: Repository not found.\nfatal: repository 'https://h/' not found", 5),
        ("fatal: unable to write to file: No space left on device", 11),
        ("fatal: the remote end hung up unexpectedly\nfatal: early EOF\nfatal: index-pack failed", 10),
    ],
)
def test_git_s_words_have_one_meaning_each(said: str, code: int) -> None:
    error = explain_remote(said, "https://h/r")
    assert (error.exit_code, "https://h/r" in error.message or code == 11, bool(error.hint)) == (code, True, True)


def test_what_counts_up_is_no_reason() -> None:
    said = "remote: Counting objects: 50% (1/2)\rremote: Counting objects: 100% (2/2), done.\nfatal: it broke\n"
    assert explain_remote(said, "x").detail == "fatal: it broke"


@pytest.fixture(autouse=True)
def _no_git_is_left_behind() -> Iterator[None]:
    yield
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == ""


def test_a_handle_that_was_interrupted_while_it_was_made_ends_quietly() -> None:
    made = "handle = program._gitpython().AutoInterrupt; handle.__new__(handle)"
    ran = subprocess.run(
        [sys.executable, "-c", f"from s2ictl.sources import program; {made}"], capture_output=True, check=True
    )
    assert ran.stderr == b""
