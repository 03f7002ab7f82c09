from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from s2ictl.archives import tar_stream
from s2ictl.errors import FetchSourceFailed, InvalidConfiguration, LimitReached, Refused, S2IError
from s2ictl.models import Commit, Member, Tree
from s2ictl.sources import FetchOptions
from s2ictl.sources.ignore import excludes
from tests.engine.gitservers import commit, git, repository
from tests.sourcetrees import Bench, on_disk, plain, streamed

NAME = st.binary(min_size=1, max_size=60).filter(
    lambda name: not {0, ord("/")} & set(name) and name.lower() not in (b".", b"..", b".git", b".gitattributes")
)
FILES = {"app.py": "print(1)\n", "src/deep/data.txt": "a\nb\n", ".s2i/environment": "A=1\n"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


# --------------------------------------------------------------------------------------------------------- directory


def test_a_directory_is_taken_as_it_is(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    (shop / "run").write_text("#!/bin/sh\n")
    (shop / "run").chmod(0o755)
    (shop / "link").symlink_to("app.py")
    (shop / "empty").mkdir()
    tree = bench.fetch("shop")
    assert (tree.location, tree.commit, tree.size, tree.cached) == ("shop", None, 27, False)
    assert tree.paths == (".s2i/environment", "app.py", "run", "src/deep/data.txt")
    assert tree.read("app.py") == b"print(1)\n"
    assert streamed(tree) == on_disk(shop)
    assert bench.events == []


def test_members_come_in_the_order_of_git_s_own_trees(bench: Bench) -> None:
    plain(bench.root / "shop", {"a/x": "", "a.b": "", "a-b": "", "B": "", "é": ""})
    assert [member.path for member, _ in bench.fetch("shop").members()] == ["B", "a-b", "a.b", "a", "a/x", "é"]


def test_a_context_directory_is_the_whole_source(bench: Bench) -> None:
    plain(bench.root / "shop", FILES)
    tree = bench.fetch("shop", context_dir="src/deep")
    assert (tree.paths, tree.context_dir) == (("data.txt",), "src/deep")
    assert list(streamed(tree)) == ["data.txt"]


@pytest.mark.parametrize("context_dir", ["app.py", "missing", "etc", "out", "out/ssh"])
def test_a_context_directory_is_never_reached_through_a_link(bench: Bench, context_dir: str) -> None:
    shop = plain(bench.root / "shop", FILES)
    (shop / "out").symlink_to("/etc")
    for copy in (True, False):
        with pytest.raises(S2IError) as caught:
            bench.fetch("shop", context_dir=context_dir, copy=copy)
        assert (caught.value.exit_code, caught.value.reason) == (5, "InvalidContextDirectory")
        if copy:
            git(shop, "init", "-q")
            commit(shop, {})


def test_links_are_kept_and_those_that_lead_out_are_named(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"d/file": "x"})
    targets = {"abs": "/etc/passwd", "d/up": "../../x", "d/fine": "../d/file", "self": "self", "dangling": "no/where"}
    for name, target in targets.items():
        (shop / name).symlink_to(target)
    tree = bench.fetch("shop")
    assert {path: os.fsdecode(c[2]) for path, c in streamed(tree).items() if c[0] == "link"} == targets
    assert bench.warnings == ["kept as a link, but it leads out of the source: abs -> /etc/passwd, d/up -> ../../x"]


def test_a_fifo_a_socket_and_a_device_are_refused_by_their_path(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    os.mkfifo(shop / "src" / "pipe")
    with pytest.raises(Refused, match="src/pipe is a fifo"):
        bench.fetch("shop")
    (shop / "src" / "pipe").unlink()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/sock")
        with pytest.raises(Refused, match="sock is a socket"):
            bench.fetch(short)


def test_what_is_left_out_may_be_anything(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {".s2iignore": "pipe\n", "a": ""})
    os.mkfifo(shop / "pipe")
    assert bench.fetch("shop").paths == (".s2iignore", "a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
@pytest.mark.parametrize("name", ["secret", "closed"])
def test_what_may_not_be_read_is_never_left_out_in_silence(bench: Bench, name: str) -> None:
    shop = plain(bench.root / "shop", {"secret": "x", "closed/file": "y"})
    (shop / name).chmod(0)
    for directory in (shop, *bench.root.parents, bench.root):
        directory.chmod(directory.stat().st_mode | 0o055)
    os.seteuid(65534)
    try:
        with pytest.raises(FetchSourceFailed, match=f"{name} may not be read"):
            bench.fetch("shop")
    finally:
        os.seteuid(0)
        (shop / name).chmod(0o755)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_directory_that_may_be_listed_and_not_entered_is_told(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"a": "x"})
    for directory in (*bench.root.parents, bench.root):
        directory.chmod(directory.stat().st_mode | 0o055)
    shop.chmod(0o744)
    os.seteuid(65534)
    try:
        with pytest.raises(FetchSourceFailed, match=r"\.s2iignore may not be read"):
            bench.fetch("shop", copy=True)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("change", ["grow", "shrink", "vanish", "swap"])
def test_a_file_that_changes_under_the_upload_stops_it(bench: Bench, change: str) -> None:
    shop = plain(bench.root / "shop", {"a": "first", "b": "x" * 1000})
    entries = bench.fetch("shop").members()
    next(entries)
    entry = next(entries) if change in ("grow", "shrink") else None
    match change:
        case "grow":
            (shop / "b").write_text("x" * 2000)
        case "shrink":
            (shop / "b").write_text("")
        case "vanish":
            (shop / "b").unlink()
        case "swap":
            (shop / "b").unlink()
            (shop / "b").symlink_to("/etc/passwd")
    with pytest.raises(FetchSourceFailed, match="b changed while it was read") as caught:
        list(tar_stream([entry] if entry else entries, uid=0, gid=0))
    assert caught.value.hint


def test_git_s_own_directory_is_never_source(bench: Bench) -> None:
    plain(
        bench.root / "shop", {".git/config": "", "a/.git": "gitdir: x", "b/.GIT/config": "", "c/.github/x": "", "d": ""}
    )
    assert bench.fetch("shop", copy=True).paths == ("c/.github/x", "d")


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("name", [b"a b", b"\xff", b"q\"u'o\\te$x", b"#x", b"-x", b"l\nx"])
def test_a_directory_may_have_any_name(bench: Bench, name: bytes, copy: bool) -> None:
    shop = repository(bench.root / os.fsdecode(name), {"app.py": "x"})
    inside = replace(bench, root=shop)
    if b"\n" in name and not copy:
        with pytest.raises(FetchSourceFailed, match="the path of the repository has a line end in it"):
            inside.fetch(".")
    else:
        assert inside.fetch(".", copy=copy).read("app.py") == b"x"


def test_a_name_that_ends_a_line_is_told_in_one(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"a": ""})
    (shop / "x\n::error::y\u2028").symlink_to("/etc")
    bench.fetch("shop")
    assert bench.warnings == [r"kept as a link, but it leads out of the source: x\x0a::error::y\x2028 -> /etc"]


def test_setuid_is_told_and_gone(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"tool": ""})
    (shop / "tool").chmod(0o4755)
    bench.fetch("shop")
    assert bench.warnings == ["the setuid and setgid bits are dropped: tool"]


@pytest.mark.parametrize(
    ("options", "said"),
    [(FetchOptions(most=2), "more than 2 members"), (FetchOptions(largest=5), "more than 5 bytes")],
)
def test_more_than_the_limit_is_told_before_anything_is_sent(bench: Bench, options: FetchOptions, said: str) -> None:
    plain(bench.root / "shop", {"a": "1234", "b": "5678", "c": ""})
    with pytest.raises(LimitReached, match=said) as caught:
        bench.fetch("shop", options=options)
    assert caught.value.detail == f"reached at {'c' if options.most == 2 else 'b'}"


def test_a_sparse_file_of_a_terabyte_is_a_limit(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"huge": ""})
    os.truncate(shop / "huge", 1 << 40)
    with pytest.raises(LimitReached) as caught:
        bench.fetch("shop")
    assert caught.value.detail == "reached at huge"


@pytest.mark.parametrize("levels", [200, 300])
def test_a_directory_is_read_to_a_depth_that_no_source_has(bench: Bench, levels: int) -> None:
    (bench.root / "shop").mkdir()
    fd = os.open(bench.root / "shop", os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        fd, above = os.open("d", os.O_RDONLY, dir_fd=fd), fd
        os.close(above)
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    with too_deep(levels):
        assert bench.fetch("shop").paths == ("d/" * levels + "leaf",)


@pytest.mark.parametrize("levels", [200, 300, 1500])
def test_a_commit_is_read_to_the_same_depth(bench: Bench, levels: int) -> None:
    shop = repository(bench.root / "shop", {})
    who = "committer A <a@example.com> 0 +0000"
    said = f"commit refs/heads/deep\n{who}\ndata 1\nx\nM 644 inline {'d/' * levels}leaf\ndata 1\nx\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=shop, input=said.encode(), check=True)
    with too_deep(levels):
        tree = bench.fetch("shop", ref="deep")
        assert (tree.paths, len(streamed(tree))) == (("d/" * levels + "leaf",), levels + 1)


@contextmanager
def too_deep(levels: int) -> Iterator[None]:
    expected = pytest.raises(LimitReached, match="a path in the source has more than 256 directories")
    with expected if levels > 256 else nullcontext():
        yield


@pytest.mark.parametrize(
    ("text", "ref", "code"),
    [("missing", "", 5), ("shop/app.py", "", 5), ("shop", "main", 2), ("github.com/a/b", "", 5)],
)
def test_what_is_no_directory_is_not_found(bench: Bench, text: str, ref: str, code: int) -> None:
    plain(bench.root / "shop", FILES)
    with pytest.raises(S2IError) as caught:
        bench.fetch(text, ref=ref)
    assert caught.value.exit_code == code


# -------------------------------------------------------------------------------------------------------- s2iignore


def test_ignored_files_stay_behind_and_nothing_is_deleted(bench: Bench) -> None:
    files = {**FILES, ".s2iignore": "*.txt\n!keep.txt\n/app.py\n", "keep.txt": "", "src/app.py": ""}
    shop = plain(bench.root / "shop", files)
    copied = bench.fetch("shop").paths
    git(repository(bench.root / "r", files), "status")
    assert copied == bench.fetch("r").paths == (".s2i/environment", ".s2iignore", "keep.txt", "src/app.py")
    assert (shop / "app.py").exists()


PIECES = st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "[!a]", "[b-a]", "/", "/**/", "!", "\\a", " ", "#", "a*"])
LINE = st.lists(PIECES, min_size=1, max_size=4).map("".join)


@settings(max_examples=15, deadline=None)
@given(rules=st.lists(LINE, min_size=1, max_size=4), paths=st.sets(st.text("ab/", min_size=1, max_size=6), min_size=3))
def test_the_rules_are_git_s(rules: list[str], paths: set[str]) -> None:
    names = {"/".join(part for part in path.split("/") if part) for path in paths} - {""}
    names -= {name for name in names if any(other.startswith(f"{name}/") for other in names)}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        git(root, "init", "-q")
        plain(root, dict.fromkeys(names, ""))
        (root / ".git" / "info").mkdir(exist_ok=True)
        (root / ".git" / "info" / "exclude").write_text("\n".join(rules))
        kept = set(git(root, "ls-files", "-z", "--others", "--exclude-standard").split("\0")) - {""}
    try:
        out = excludes("\n".join(rules).encode())
    except InvalidConfiguration:
        reject()
    assert {name for name in names if not out(name, False)} == kept


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ok\n../*\n", ".s2iignore:2: ../"),
        (b"!../x", ".s2iignore:1: !../x leads out"),
        (b"a/../b", ".s2iignore:1"),
        (b"a\n\0\n", ".s2iignore:2: not a text"),
        (b"\n" * 20_000, ".s2iignore:10001: more than"),
        (b"x" * (2 << 20), "larger than"),
        (b"a\n!\n", ".s2iignore:2: ! is not a pattern"),
    ],
)
def test_a_bad_ignore_file_is_told_by_its_line(content: bytes, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        excludes(content)
    assert said in caught.value.message


def test_an_ignore_file_that_is_a_link_is_not_followed(bench: Bench) -> None:
    shop = bench.root / "shop"
    shop.mkdir()
    (shop / ".s2iignore").symlink_to("/etc/passwd")
    with pytest.raises(InvalidConfiguration, match="is not a file"):
        bench.fetch("shop")
    git(shop, "init", "-q")
    commit(shop, {})
    with pytest.raises(InvalidConfiguration, match="is a link"):
        bench.fetch("shop")


# -------------------------------------------------------------------------------------------- a repository that is here


def test_a_repository_is_built_from_its_commit(bench: Bench) -> None:
    shop = repository(bench.root / "shop", FILES, message="Sell " + "things " * 20)
    tree = bench.fetch("shop")
    assert tree.commit == Commit(
        id=git(shop, "rev-parse", "HEAD"),
        ref="main",
        author="Ada <ada@example.com>",
        date="Tue Nov 14 23:13:20 2023 +0100",
        message=("Sell " + "things " * 20)[:78] + "..",
        epoch=1700000000,
    )
    assert streamed(tree) == on_disk(shop)
    assert {member.mtime for member, _ in tree.members()} == {1700000000}
    assert (tree.read("src/deep/data.txt"), bench.events) == (b"a\nb\n", [])


def test_what_is_not_committed_is_said_and_built_with_copy(bench: Bench) -> None:
    shop = repository(bench.root / "shop", {**FILES, ".gitignore": "*.log\n"})
    plain(shop, {"app.py": "print(2)\n", "new/file": "", "noise.log": ""})
    assert bench.fetch("shop").read("app.py") == b"print(1)\n"
    said = "not committed, so not built (--copy builds the directory as it is): app.py, new/"
    assert bench.warnings == [said]
    copied = bench.fetch("shop", copy=True)
    assert (copied.read("app.py"), copied.commit, bench.warnings) == (b"print(2)\n", None, [said])


@pytest.mark.parametrize("ref", ["dev", "v1", "light", "refs/heads/dev", "COMMIT", "SHORT"])
def test_any_ref_of_it_can_be_built(bench: Bench, ref: str) -> None:
    shop = repository(bench.root / "shop", FILES)
    git(shop, "checkout", "-q", "-b", "dev")
    wanted = commit(shop, {"app.py": "print('dev')\n"})
    git(shop, "tag", "-a", "v1", "-m", "one")
    git(shop, "tag", "light")
    git(shop, "checkout", "-q", "main")
    ref = {"COMMIT": wanted, "SHORT": wanted[:9]}.get(ref, ref)
    tree = bench.fetch(f"shop#{ref}")
    assert tree.commit is not None
    assert (tree.commit.id, tree.read("app.py")) == (wanted, b"print('dev')\n")


@pytest.mark.parametrize(
    ("ref", "code", "said"),
    [
        ("nope", 5, "has no branch or tag nope"),
        ("both", 2, "both a branch and a tag"),
        ("f" * 40, 5, "there is no commit"),
        ("TREE", 5, "is a tree, not a commit"),
    ],
)
def test_a_ref_that_is_no_commit_is_told(bench: Bench, ref: str, code: int, said: str) -> None:
    shop = repository(bench.root / "shop", FILES)
    git(shop, "branch", "both")
    git(shop, "tag", "both")
    with pytest.raises(S2IError) as caught:
        bench.fetch("shop", ref=git(shop, "rev-parse", "HEAD^{tree}") if ref == "TREE" else ref)
    assert (caught.value.exit_code, said in caught.value.message) == (code, True), caught.value.message


def test_a_repository_without_a_commit_is_told(bench: Bench) -> None:
    (bench.root / "shop").mkdir()
    git(bench.root / "shop", "init", "-q")
    with pytest.raises(FetchSourceFailed, match="no commit") as caught:
        bench.fetch("shop")
    assert caught.value.detail == "the repository is empty"


@pytest.mark.parametrize("kind", ["bare", "worktree", "borrowed", "detached", "file", "sha256", "foreign"])
def test_every_kind_of_repository_is_read_where_it_is(bench: Bench, kind: str) -> None:
    shop = repository(bench.root / "shop", FILES)
    other = bench.root / ("other" if kind == "worktree" else 'ot:h"er')
    match kind:
        case "bare":
            git(bench.root, "clone", "-q", "--bare", "shop", str(other))
        case "worktree":
            git(shop, "worktree", "add", "-q", str(other))
        case "borrowed":
            git(bench.root, "clone", "-q", "--shared", "shop", str(other))
        case "detached":
            git(bench.root, "clone", "-q", "shop", str(other))
            git(other, "checkout", "-q", "--detach")
        case "file" | "foreign":
            git(bench.root, "clone", "-q", "shop", str(other))
        case "sha256":
            other.mkdir()
            git(other, "init", "-q", "--object-format=sha256")
            commit(other, FILES)
    if kind == "foreign" and os.geteuid() == 0:
        for path in (other, *other.rglob("*")):
            os.lchown(path, 65534, 65534)
    tree = bench.fetch(f"file://{other}" if kind == "file" else str(other))
    assert streamed(tree) == on_disk(shop)


def test_the_address_of_a_clone_is_told_without_its_login(bench: Bench) -> None:
    shop = repository(bench.root / "shop", FILES)
    git(shop, "remote", "add", "origin", "https://ada:CANARY@git.example.com/shop.git")
    assert bench.fetch("shop").location == "https://git.example.com/shop.git"
    git(shop, "remote", "set-url", "origin", "/home/ada/shop")
    assert bench.fetch("shop").location == "shop"


def test_nothing_of_a_repository_s_own_configuration_is_run(bench: Bench) -> None:
    shop = repository(bench.root / "shop", {**FILES, ".gitattributes": "* filter=evil diff=evil\n"})
    canary = bench.root / "canary"
    script = f"touch '{canary}'; cat"
    for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "diff.external", "core.fsmonitor"):
        git(shop, "config", key, script)
    for key in ("core.sshCommand", "core.pager", "tar.tar.command", "uploadpack.packObjectsHook", "core.editor"):
        git(shop, "config", key, script)
    git(shop, "config", "core.hooksPath", str(plain(bench.root / "hooks", {"post-index-change": script})))
    (bench.root / "hooks" / "post-index-change").chmod(0o755)
    (shop / "app.py").write_text("print(2)\n")
    streamed(bench.fetch("shop"))
    assert not canary.exists()


def test_a_tree_is_what_a_clone_would_be(bench: Bench) -> None:
    attributes = "*.bat eol=crlf\nleft export-ignore\nid.txt ident export-subst\n"
    files = {
        ".gitattributes": attributes,
        "run.bat": "a\nb\n",
        "left": "",
        "id.txt": "$Id$ $Format:%H$\n",
        "sub/x.bat": "c\n",
    }
    shop = repository(bench.root / "shop", files)
    (shop / "run.bat").chmod(0o755)
    (shop / "link").symlink_to("../out")
    commit(shop, {})
    git(bench.root, "clone", "-q", "shop", "clone")
    assert streamed(bench.fetch("shop")) == on_disk(bench.root / "clone")
    assert streamed(bench.fetch("shop", context_dir="sub")) == on_disk(bench.root / "clone" / "sub")


@settings(max_examples=5, deadline=None)
@given(names=st.sets(NAME, min_size=1, max_size=6))
def test_any_name_that_the_kernel_takes_is_streamed_as_it_is(names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shop = root / "shop"
        shop.mkdir()
        git(shop, "init", "-q")
        for name in names:
            (shop / os.fsdecode(name)).write_bytes(name)
        copied = streamed(Bench(root=root).fetch("shop", copy=True))
        commit(shop, {})
        expected = on_disk(shop)
        assert streamed(Bench(root=root).fetch("shop")) == expected == copied


def test_submodules_and_large_files_elsewhere_are_told(bench: Bench) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    shop = repository(bench.root / "shop", {".gitattributes": "*.bin filter=lfs\n", "big.bin": pointer, "a.bin": "x"})
    git(shop, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    git(shop, "commit", "-q", "-m", "lib")
    (shop / "lib").mkdir()
    tree = bench.fetch("shop", submodules=False)
    assert bench.warnings == [
        "kept as the pointer that git-lfs left there (--lfs brings the file): big.bin",
        "submodules are not fetched, their directories stay empty: lib",
    ]
    assert streamed(tree)["lib"] == ("directory", False, b"")


@pytest.mark.parametrize(
    ("levels", "name", "most", "said"),
    [(10, "d", 1000, "more than 1000 members"), (4, "d" * 3000, 200_000, "the names in the source have more than")],
)
def test_a_tree_that_stands_for_billions_of_names_is_a_limit(
    bench: Bench, levels: int, name: str, most: int, said: str
) -> None:
    shop = repository(bench.root / "shop", {"f": "x"})
    tree = git(shop, "rev-parse", "HEAD^{tree}")
    for _ in range(levels):
        lines = "".join(f"040000 tree {tree}\t{name}{number}\n" for number in range(10))
        (shop / "lines").write_text(lines)
        with (shop / "lines").open() as given:
            tree = _made_tree(shop, given.fileno())
    git(shop, "update-ref", "refs/heads/bomb", git(shop, "commit-tree", tree, "-m", "bomb"))
    with pytest.raises(LimitReached, match=said):
        bench.fetch("shop", ref="bomb", options=FetchOptions(most=most))


def _made_tree(shop: Path, given: int) -> str:
    import subprocess

    done = subprocess.run(["git", "mktree"], cwd=shop, stdin=given, capture_output=True, check=True, text=True)
    return done.stdout.strip()


def test_a_reader_that_leaves_early_leaves_no_git_behind(bench: Bench) -> None:
    repository(bench.root / "shop", {f"f{number}": "x" * 100_000 for number in range(20)})
    entries = bench.fetch("shop").members()
    member, read = next(entries)
    assert (member, len(read(10))) == (
        Member(path="f0", kind="file", mode=0o644, size=100_000, mtime=1700000000),
        10,
    )
    entries.close()  # type: ignore[attr-defined]
    assert not _children()


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_a_repository_that_lost_objects_is_told(bench: Bench) -> None:
    shop = repository(bench.root / "shop", FILES)
    lost = git(shop, "rev-parse", "HEAD:app.py")
    (shop / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(FetchSourceFailed, match="repository of shop could not be read"):
        _all_of(bench.fetch("shop"))


def _all_of(tree: Tree) -> int:
    return sum(len(chunk) for chunk in tar_stream(tree.members(), uid=0, gid=0))


def test_a_cache_that_cannot_be_written_is_told(bench: Bench) -> None:
    repository(bench.root / "shop", FILES)
    (bench.root / "cache").write_text("a file")
    with pytest.raises(S2IError) as caught:
        bench.fetch("shop")
    assert (caught.value.exit_code, "S2ICTL_CACHE" in caught.value.hint) == (2, True)


def test_two_trees_of_one_commit_are_the_same_bytes(bench: Bench) -> None:
    repository(bench.root / "shop", FILES)
    shutil.copytree(bench.root / "shop", bench.root / "elsewhere")
    streams = [b"".join(tar_stream(bench.fetch(name).members(), uid=1, gid=0)) for name in ("shop", "elsewhere")]
    assert streams[0] == streams[1]
