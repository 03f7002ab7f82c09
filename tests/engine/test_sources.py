"""Private repositories on real servers, and servers that misbehave."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from s2ictl.errors import FetchSourceFailed, Refused
from s2ictl.models import Login, Secret
from s2ictl.sources import FetchOptions
from s2ictl.sources.secrets import read_git_secret
from tests.engine.gitservers import (
    LargeFiles,
    Shell,
    authority,
    clone,
    commit,
    git,
    keygen,
    learn,
    repository,
    sshd,
    submodule,
    web,
)
from tests.parts import need
from tests.sourcetrees import Bench, failing, on_disk, streamed
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
    repository(served / "lib", {"lib.py": "x = 1\n"})
    submodule(served / "shop", "../lib", "lib")
    large = LargeFiles(login=("ada b", CANARY))
    commit(served / "shop", {".gitattributes": "*.bin filter=lfs\n", "a.bin": large.add(b"large")})

    def slowly(request: BaseHTTPRequestHandler) -> bool:
        time.sleep(0.1)
        return large(request)

    with web(served, login=("ada b", CANARY), pair=pair, instead=slowly) as server, watched(CANARY.encode()) as found:
        large.elsewhere = server.url
        options = FetchOptions(ca_bundle=bundle)
        tree = bench.fetch(f"{server.url}/shop", lfs=True, options=options, find_login=lambda _: login(server.url))
        assert {"lib/lib.py", "a.bin"} <= set(streamed(tree))
        error = failing(bench, f"{server.url}/nowhere", options=options, find_login=lambda _: login(server.url))
    assert found == []
    kept = [path for path in bench.root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert (kept, CANARY in repr((bench.events, tree, vars(error)))) == ([], False)


@contextmanager
def watched(canary: bytes) -> Iterator[list[str]]:
    """Look at every process, its arguments and its environment, as long as the context lasts; git must be seen."""
    found: list[str] = []
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                look_at(process, canary, seen, found)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
    assert "git" in seen


def look_at(process: Path, canary: bytes, seen: set[str], found: list[str]) -> None:
    for name in ("cmdline", "environ"):
        try:
            content = (process / name).read_bytes()
        except OSError:
            continue
        if name == "cmdline":
            seen.update(Path(word.decode(errors="replace")).name for word in content.split(b"\0")[:1])
        if canary in content:
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


def test_the_key_of_a_secret_opens_without_ever_being_a_file(bench: Bench, shop: Path, shell: Shell) -> None:
    data = {"ssh-privatekey": shell.key.read_bytes().rstrip(), "known_hosts": shell.known_hosts.read_bytes()}
    secret = read_git_secret("team/git", "kubernetes.io/ssh-auth", data)
    canary = shell.key.read_bytes().splitlines()[1]
    with watched(canary) as found, web(shop.parent):
        tree = bench.fetch(f"{shell.url}{shop}", options=secret.added_to(FetchOptions()))
        assert streamed(tree) == on_disk(shop)
    assert found == []
    kept = [path for path in bench.root.rglob("*") if path.is_file() and canary in path.read_bytes()]
    assert (kept, canary.decode() in repr((tree, secret, bench.events))) == ([], False)


def test_the_certificates_of_a_secret_are_believed(bench: Bench, served: Path, certified: tuple[Path, Pair]) -> None:
    bundle, pair = certified
    data = {"username": b"ada b", "password": CANARY.encode(), "ca.crt": bundle.read_bytes()}
    secret = read_git_secret("team/git", "kubernetes.io/basic-auth", data)
    large = LargeFiles(login=("ada b", CANARY))
    commit(served / "shop", {".gitattributes": "*.bin filter=lfs\n", "a.bin": large.add(b"large")})
    environ = {"PATH": os.environ["PATH"]}
    with web(served, login=("ada b", CANARY), pair=pair, instead=large) as server:
        large.elsewhere = server.url
        options = secret.added_to(FetchOptions())
        tree = bench.fetch(f"{server.url}/shop", lfs=True, options=options, find_login=secret.logins, environ=environ)
    assert tree.read("a.bin") == b"large"


def test_submodules_over_ssh_are_those_of_a_clone(bench: Bench, served: Path, shop: Path, shell: Shell) -> None:
    repository(served / "lib", {"lib.py": "x = 1\n"})
    submodule(shop, "../lib", "lib")
    options = FetchOptions(ssh_key=shell.key, known_hosts=shell.known_hosts)
    tree = bench.fetch(f"{shell.url}{shop}", options=options)
    command = f"ssh -i '{shell.key}' -o UserKnownHostsFile='\"{shell.known_hosts}\"'"
    cloned = clone(f"{shell.url}{shop}", bench.root / "clone", GIT_SSH_COMMAND=command)
    assert streamed(tree) == on_disk(cloned)


def test_a_submodule_that_asks_another_host_for_the_key_is_refused(
    bench: Bench, served: Path, shop: Path, shell: Shell
) -> None:
    repository(served / "lib", {"lib.py": "x = 1\n"})
    submodule(shop, "../lib", "lib")
    git(shop, "config", "-f", ".gitmodules", "submodule.lib.url", f"{shell.url}{served}/lib")
    commit(shop, {})
    with web(served) as server:
        options = FetchOptions(ssh_key=shell.key, known_hosts=shell.known_hosts)
        error = failing(bench, f"{server.url}/shop", options=options)
    assert (error.exit_code, error.detail) == (12, "it asks another host for your ssh key")


# --------------------------------------------------------------------------------------------------------- signatures


def test_only_a_commit_that_a_named_signer_has_signed_is_built(
    bench: Bench, served: Path, shop: Path, shell: Shell, tmp_path: Path
) -> None:
    ours, other = keygen(tmp_path / "ours"), keygen(tmp_path / "other")
    signers = tmp_path / "allowed signers"
    signers.write_text(f"ada@example.com {Path(f'{ours}.pub').read_text()}")
    options = FetchOptions(allowed_signers=signers)
    signed = sign(shop, ours)
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop", options=options)
        assert (tree.commit and tree.commit.id) == signed
        assert bench.fetch(str(shop), options=options).commit == tree.commit
        sign(shop, other)
        forged = failing(bench, f"{server.url}/shop", options=options)
        commit(shop, {"app.py": "x"})
        unsigned = failing(bench, f"{server.url}/shop", options=options)
    assert [(one.exit_code, "is not signed by anybody in" in one.message) for one in (forged, unsigned)] == [
        (12, True)
    ] * 2


def sign(shop: Path, key: Path) -> str:
    how = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")
    git(shop, *how, "commit", "--quiet", "--allow-empty", "--gpg-sign", "--message", "Signed")
    return git(shop, "rev-parse", "HEAD")


# ----------------------------------------------------------------------------------------------------- hostile contents


def test_a_tree_of_hostile_contents_is_what_a_clone_would_be_and_nothing_of_it_runs(
    bench: Bench, served: Path, shop: Path
) -> None:
    canary = bench.root / "canary"
    attributes = (
        "*.txt text eol=crlf\n*.id ident\n*.utf16 working-tree-encoding=UTF-16LE-BOM eol=lf\nleft export-ignore\n"
        "*.sub export-subst\n*.evil filter=evil diff=evil merge=evil\n[attr]mine text eol=crlf\n*.mine mine\n"
    )
    files = {
        ".gitattributes": attributes,
        "lines.txt": "a\nb\n",
        "id.id": "$Id$\n",
        "wide.utf16": "wide\n",
        "left": "1",
        "hash.sub": "$Format:%H$\n",
        "x.evil": "evil\n",
        "y.mine": "a\n",
        "-rf": "",
        "--upload-pack=touch canary": "",
        "$(touch canary)": "",
        "new\nline": "",
        "hooks/post-checkout": f"#!/bin/sh\ntouch {canary}\n",
        ".lfsconfig": "[lfs]\n\turl = https://evil.example.com\n",
        "sub/.gitattributes": "* -text\nlines.txt !eol text=auto\n",
        "sub/lines.txt": "a\r\nb\n",
    }
    for name in files:
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
    (shop / "wide.utf16").write_bytes("wide\n".encode("utf-16"))
    for name, text in files.items():
        if name != "wide.utf16":
            (shop / name).write_text(text, newline="")
    (shop / "hooks" / "post-checkout").chmod(0o755)
    for name, target in {"out": "/etc/passwd", "up": "../../..", "loop": "loop", "git": ".git/config"}.items():
        (shop / name).symlink_to(target)
    (shop / "sub" / os.fsdecode(b"\xff\xfe")).touch()
    git(shop, "config", "filter.evil.smudge", f"touch {canary}")
    commit(shop, {})
    canary.unlink(missing_ok=True)
    with web(served) as server:
        cloned = clone(f"{server.url}/shop", bench.root / "clone")
        expected = on_disk(cloned)
        assert streamed(bench.fetch(f"{server.url}/shop")) == expected
        inside = bench.fetch(f"{server.url}/shop", context_dir="sub")
        assert streamed(inside) == on_disk(cloned / "sub")
    assert expected["lines.txt"][2] == b"a\r\nb\r\n"
    assert (canary.exists(), Path("canary").exists()) == (False, False)


@pytest.mark.parametrize("name", [".git", ".GIT", "..", "a/../../x", "/abs"])
def test_a_tree_with_a_name_that_no_checkout_would_make_leaves_nothing_outside(
    bench: Bench, served: Path, shop: Path, name: str
) -> None:
    git(shop, "update-ref", "refs/heads/main", evil_commit(shop, name))
    with web(served) as server:
        members: dict[str, object] = {}
        with contextlib.suppress(FetchSourceFailed, Refused):
            members.update(streamed(bench.fetch(f"{server.url}/shop")))
    assert not [path for path in members if path.startswith("/") or {"..", ".git"} & set(path.lower().split("/"))]


def evil_commit(shop: Path, name: str) -> str:
    """A commit whose tree no git of today would write."""
    blob = bytes.fromhex(git(shop, "rev-parse", "HEAD:app.py"))
    (shop.parent / "tree").write_bytes(b"100644 " + name.encode() + b"\0" + blob)
    tree = git(shop, "hash-object", "-t", "tree", "-w", "--literally", str(shop.parent / "tree"))
    return git(shop, "commit-tree", tree, "-m", "evil")


# -------------------------------------------------------------------------------------- what servers do, and refuse


def test_only_one_commit_travels_and_the_next_time_only_what_changed(bench: Bench, served: Path, shop: Path) -> None:
    for number in range(5):
        commit(shop, {"app.py": f"print({number})\n"})
    with web(served) as server:
        bench.fetch(f"{server.url}/shop")
        (mirror,) = (bench.root / "cache" / "git").glob("*.[0-9]*")
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
    (mirror,) = (bench.root / "cache" / "git").glob("*.[0-9]*")
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
        (mirror,) = (bench.root / "cache" / "git").glob("*.[0-9]*")
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
