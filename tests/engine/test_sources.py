"""Private repositories on real servers, and servers that misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from s2ictl.errors import S2IError
from s2ictl.models import Login, Secret
from s2ictl.sources import FetchOptions
from tests.engine.gitservers import Shell, authority, commit, git, keygen, learn, repository, sshd, web
from tests.parts import need
from tests.sourcetrees import Bench, on_disk, streamed
from tests.testbed.certificates import Pair

FILES = {"app.py": "print(1)\n", "src/data.txt": "a\n"}
CANARY = "s3cret-CANARY"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return repository(tmp_path / "served" / "shop", FILES)


@pytest.fixture
def served(shop: Path) -> Path:
    return shop.parent


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair]:
    need("openssl")
    return authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    need("openssh-server", "openssh-client")
    with sshd(tmp_path_factory.mktemp("ssh") / "sshd") as running:
        yield running


def failing(bench: Bench, text: str, *, ref: str = "", options: FetchOptions | None = None, **more: object) -> S2IError:
    with pytest.raises(S2IError) as caught:
        bench.fetch(text, ref=ref, options=options, **more)  # type: ignore[arg-type]
    return caught.value


def login(url: str, password: str = CANARY) -> Login:
    return Login(host=url.partition("//")[2], username="ada b", password=Secret(password), origin="a file")


# ------------------------------------------------------------------------------------------------------------- https


def test_a_private_repository_behind_a_private_authority(
    bench: Bench, served: Path, shop: Path, certified: tuple[Path, Pair]
) -> None:
    bundle, pair = certified
    with web(served, login=("ada b", CANARY), pair=pair) as server:
        options = FetchOptions(ca_bundle=bundle)
        tree = bench.fetch(f"{server.url}/shop", options=options, find_login=lambda _: login(server.url))
        assert streamed(tree) == on_disk(shop)
        assert failing(bench, f"{server.url}/shop", options=options).exit_code == 4


def test_the_bundle_of_the_environment_is_taken(
    bench: Bench, served: Path, shop: Path, certified: tuple[Path, Pair]
) -> None:
    bundle, pair = certified
    environ = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(bundle)}
    with web(served, pair=pair) as server:
        assert streamed(bench.fetch(f"{server.url}/shop", environ=environ)) == on_disk(shop)


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(
    bench: Bench, served: Path, certified: tuple[Path, Pair]
) -> None:
    environ = {"PATH": os.environ["PATH"]}
    with web(served, pair=certified[1]) as server:
        found = login(server.url)
        error = failing(bench, f"{server.url}/shop", environ=environ, find_login=lambda _: found)
        assert (error.exit_code, "--ca-bundle" in error.hint, server.logins) == (10, True, [])


def test_a_login_is_in_no_argument_no_environment_and_no_file_while_git_runs(
    bench: Bench, served: Path, certified: tuple[Path, Pair]
) -> None:
    bundle, pair = certified
    seen: set[str] = set()
    found: list[str] = []

    def slowly(_: BaseHTTPRequestHandler) -> bool:
        deadline = time.monotonic() + 0.3
        while time.monotonic() < deadline:
            for process in Path("/proc").glob("[0-9]*"):
                look_at(process, seen, found)
            time.sleep(0.01)
        return False

    with web(served, login=("ada b", CANARY), pair=pair, instead=slowly) as server:
        options = FetchOptions(ca_bundle=bundle)
        streamed(bench.fetch(f"{server.url}/shop", options=options, find_login=lambda _: login(server.url)))
    assert (found, {"git", "git-remote-https"} <= seen) == ([], True)
    kept = [path for path in bench.root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert (kept, CANARY in repr(bench.events)) == ([], False)


def look_at(process: Path, seen: set[str], found: list[str]) -> None:
    for name in ("cmdline", "environ"):
        try:
            content = (process / name).read_bytes()
        except OSError:
            continue
        if name == "cmdline":
            seen.update(Path(word.decode(errors="replace")).name for word in content.split(b"\0")[:1])
        if CANARY.encode() in content:
            found.append(f"{process}/{name}")


# --------------------------------------------------------------------------------------------------------------- ssh


def test_a_private_repository_over_ssh(bench: Bench, shop: Path, shell: Shell) -> None:
    options = FetchOptions(ssh_key=shell.key, known_hosts=shell.known_hosts)
    tree = bench.fetch(f"{shell.url}{shop}", options=options)
    assert (streamed(tree), tree.location) == (on_disk(shop), f"{shell.url}{shop}")


def test_a_host_that_is_unknown_or_has_another_key_is_refused(
    bench: Bench, shop: Path, shell: Shell, tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.touch()
    options = FetchOptions(ssh_key=shell.key, known_hosts=hosts)
    unknown = failing(bench, f"{shell.url}{shop}", options=options)
    learn(hosts, keygen(tmp_path / "other"), shell.port)
    changed = failing(bench, f"{shell.url}{shop}", options=options)
    assert [(error.exit_code, "--known-hosts" in error.hint) for error in (unknown, changed)] == [(12, True)] * 2
    assert (bench.pauses, len(hosts.read_text().splitlines())) == ([], 1)


@pytest.mark.parametrize("key", ["another", "passphrase", "public", "open"])
def test_a_key_that_does_not_open_is_refused_without_a_question(
    bench: Bench, shop: Path, shell: Shell, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "key"
    match key:
        case "another":
            keygen(path)
        case "passphrase":
            keygen(path, passphrase="secret")
        case "public":
            shutil.copy(f"{shell.key}.pub", path)
            path.chmod(0o600)
        case "open":
            shutil.copy(shell.key, path)
            path.chmod(0o644)
    error = failing(bench, f"{shell.url}{shop}", options=FetchOptions(ssh_key=path, known_hosts=shell.known_hosts))
    assert (error.exit_code, bench.pauses) == (4, [])


def test_a_repository_that_ssh_does_not_find_and_a_port_that_is_closed(bench: Bench, shop: Path, shell: Shell) -> None:
    options = FetchOptions(ssh_key=shell.key, known_hosts=shell.known_hosts, attempts=1)
    assert failing(bench, f"{shell.url}/nowhere", options=options).exit_code == 5
    assert failing(bench, f"ssh://git@127.0.0.1:1{shop}", options=options).exit_code == 10


# -------------------------------------------------------------------------------------- what servers do, and refuse


def test_only_one_commit_travels_and_the_next_time_only_what_changed(bench: Bench, served: Path, shop: Path) -> None:
    for number in range(5):
        commit(shop, {"app.py": f"print({number})\n"})
    with web(served) as server:
        bench.fetch(f"{server.url}/shop")
        (mirror,) = (path for path in (bench.root / "cache" / "git").iterdir() if path.is_dir())
        assert len(git(mirror, "cat-file", "--batch-all-objects", "--batch-check").splitlines()) == 5
        changed = commit(shop, {"app.py": "print('new')\n"})
        tree = bench.fetch(f"{server.url}/shop")
    assert (tree.commit and tree.commit.id, tree.read("app.py")) == (changed, b"print('new')\n")
    assert not list(bench.root.rglob("cache/**/app.py"))


@pytest.mark.parametrize("ref", ["dev", "v1", "refs/tags/v1", "refs/pull/7/head", "größe-🚀", "FULL", "SHORT"])
def test_branches_tags_and_commits_are_fetched(bench: Bench, served: Path, shop: Path, ref: str) -> None:
    git(shop, "checkout", "-q", "-b", "dev")
    middle = commit(shop, {"app.py": "print('dev')\n"})
    git(shop, "tag", "-a", "v1", "-m", "one")
    git(shop, "branch", "größe-🚀")
    git(shop, "update-ref", "refs/pull/7/head", middle)
    git(shop, "config", "uploadpack.allowFilter", "true")
    if ref in ("FULL", "SHORT"):
        commit(shop, {"app.py": "print('later')\n"})
    ref = {"FULL": middle, "SHORT": middle[:8]}.get(ref, ref)
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop", ref=ref)
    assert (tree.commit and tree.commit.id, tree.read("app.py")) == (middle, b"print('dev')\n")


def test_a_server_that_hands_out_only_branches_is_asked_for_all_of_them(bench: Bench, served: Path, shop: Path) -> None:
    first = git(shop, "rev-parse", "HEAD")
    commit(shop, {"app.py": "print(2)\n"})
    with web(served, environ={"GIT_PROTOCOL": ""}) as server:
        bench.fetch(f"{server.url}/shop")
        tree = bench.fetch(f"{server.url}/shop", ref=first)
    assert (tree.commit and tree.commit.id, tree.read("app.py")) == (first, b"print(1)\n")
    (mirror,) = (path for path in (bench.root / "cache" / "git").iterdir() if path.is_dir())
    assert git(mirror, "for-each-ref", "--format=%(refname)", "refs/s2ictl/all") == "refs/s2ictl/all/heads/main"


@pytest.mark.parametrize(
    ("ref", "code", "said"),
    [
        ("nope", 5, "has no branch or tag nope"),
        ("both", 2, "is both a branch and a tag"),
        ("f" * 40, 5, "could not be fetched"),
        ("fffffff", 5, "there is no commit fffffff"),
        ("TREE", 5, "is a tree, not a commit"),
        ("refs/heads/nope", 5, "has no branch or tag"),
    ],
)
def test_a_ref_that_is_no_commit_is_told(
    bench: Bench, served: Path, shop: Path, ref: str, code: int, said: str
) -> None:
    git(shop, "branch", "both")
    git(shop, "tag", "both")
    ref = git(shop, "rev-parse", "HEAD^{tree}") if ref == "TREE" else ref
    with web(served) as server:
        error = failing(bench, f"{server.url}/shop", ref=ref)
    assert (error.exit_code, said in error.message) == (code, True), error.message


def test_the_second_login_is_tried_when_the_first_is_refused(bench: Bench, served: Path) -> None:
    with web(served, login=("ada b", CANARY)) as server:
        address = server.url.replace("//", "//ada:old@")
        tree = bench.fetch(f"{address}/shop", find_login=lambda _: login(server.url))
    assert tree.commit


@pytest.mark.parametrize("fault", ["cut", "503"])
def test_a_connection_that_breaks_is_begun_again_from_nothing(
    bench: Bench, served: Path, shop: Path, fault: str
) -> None:
    commit(shop, {"large": os.urandom(300_000).hex()})
    broken: list[str] = []

    def breaks_once(request: BaseHTTPRequestHandler) -> bool:
        if request.command != "POST" or len(broken) == 2:
            return False
        broken.append(request.path)
        if len(broken) == 1:
            return False  # the list of refs
        request.send_response(503 if fault == "503" else 200)
        request.send_header("Content-Type", "application/x-git-upload-pack-result")
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"000dpackfile\n0105\x01PACK")
        request.close_connection = True
        return True

    with web(served, instead=breaks_once) as server:
        tree = bench.fetch(f"{server.url}/shop")
    assert (streamed(tree), bench.pauses) == (on_disk(shop), [1.0])
    assert not list(bench.root.rglob("cache/**/tmp_*"))


def test_a_repository_that_is_too_large_is_a_limit_and_leaves_nothing(bench: Bench, served: Path, shop: Path) -> None:
    commit(shop, {"large": os.urandom(200_000).hex()})
    with web(served) as server:
        error = failing(bench, f"{server.url}/shop", options=FetchOptions(largest=100_000))
    assert error.exit_code == 11
    assert not list(bench.root.rglob("cache/**/tmp_*"))


def test_what_a_killed_git_left_is_no_obstacle(bench: Bench, served: Path, shop: Path) -> None:
    with web(served) as server:
        bench.fetch(f"{server.url}/shop")
        (mirror,) = (path for path in (bench.root / "cache" / "git").iterdir() if path.is_dir())
        (mirror / "shallow.lock").touch()
        (mirror / "objects" / "pack" / "tmp_pack_abc").touch()
        changed = commit(shop, {"new": ""})
        tree = bench.fetch(f"{server.url}/shop")
    assert tree.commit
    assert (tree.commit.id, list(mirror.rglob("tmp_*"))) == (changed, [])


def test_builds_of_one_source_at_once_all_get_it(bench: Bench, served: Path, shop: Path) -> None:
    answers: list[bytes] = []
    with web(served) as server:

        def build() -> None:
            own = Bench(root=bench.root)
            answers.append(own.fetch(f"{server.url}/shop").read("app.py"))

        threads = [threading.Thread(target=build) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [b"print(1)\n"] * 4


FETCH = """
import os, sys
from pathlib import Path
from tests.sourcetrees import Bench
Bench(root=Path(sys.argv[1])).fetch(sys.argv[2])
"""


def test_after_a_kill_the_next_build_waits_for_what_is_still_running(bench: Bench, served: Path, shop: Path) -> None:
    posts: list[str] = []
    going_on = threading.Event()

    def holds_the_first_pack(request: BaseHTTPRequestHandler) -> bool:
        if request.command == "POST":
            posts.append(request.path)
            if len(posts) == 2:
                going_on.wait(10)
        return False

    with web(served, instead=holds_the_first_pack) as server:
        address = f"{server.url}/shop"
        with subprocess.Popen([sys.executable, "-c", FETCH, bench.root, address], cwd=ROOT) as killed:
            while len(posts) < 2:
                time.sleep(0.01)
            killed.kill()
        threading.Timer(0.5, going_on.set).start()
        tree = bench.fetch(address)
    assert streamed(tree) == on_disk(shop)
    assert any("another build fetches the same source" in str(event) for event in bench.events)
