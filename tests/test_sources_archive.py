"""An archive as a source: what is in it is what would be in the directory that it was made of."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2ictl.archives import tar_stream
from s2ictl.errors import FetchSourceFailed, LimitReached, Refused, S2IError
from s2ictl.events import Notice, Progress
from s2ictl.models import Login, Secret
from s2ictl.sources import FetchOptions
from tests import packers
from tests.fakes.registry import FakeRegistry, Fault, running
from tests.sourcetrees import Bench, on_disk, plain, streamed

FILES = {
    "app.py": "print(1)\n",
    "src/deep/data.txt": "a\nb\n",
    ".s2i/environment": "A=1\n",
    "größe/🚀": "x" * 100_000,
    "n" * 120: "long",
}
PACKERS: dict[str, Callable[[Path, Path], object]] = {
    "tar": packers.tar,
    "tar.gz": lambda source, to: packers.tar(source, to, "-z"),
    "tar.bz2": lambda source, to: packers.tar(source, to, "-j"),
    "tar.xz": lambda source, to: packers.tar(source, to, "-J"),
    "zip": packers.zipped,
    "python.tar": lambda source, to: shutil.make_archive(str(to).removesuffix(".tar"), "tar", source),
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(root=tmp_path)
    with bench.open:
        yield bench


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with running(FakeRegistry()) as server:
        yield server


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            name, content = member if isinstance(member, tuple) else (member, b"")
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def notices(bench: Bench) -> list[str]:
    return [event.text for event in bench.events if isinstance(event, Notice)]


# ------------------------------------------------------------------------------------------------- what is in the tree


@pytest.mark.parametrize("packer", PACKERS)
def test_a_tree_from_an_archive_is_the_directory_that_it_was_made_of(packer: str, bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    (shop / "run").write_text("#!/bin/sh\n")
    (shop / "run").chmod(0o755)
    (shop / "link").symlink_to("app.py")
    (shop / "empty").mkdir()
    (shop / ".git").mkdir()
    (shop / ".git" / "config").write_text("secret")
    PACKERS[packer](shop, bench.root / f"shop.{packer}")
    tree, directory = bench.fetch(f"shop.{packer}"), bench.fetch("shop", copy=True)
    assert (tree.location, tree.commit, tree.context_dir) == (f"shop.{packer}", None, "")
    assert streamed(tree) == streamed(directory) == on_disk(shop)
    assert streamed(tree) == on_disk(shop), "it can be read again"
    assert (tree.paths, tree.links) == (directory.paths, directory.links)
    assert [tree.read(path) for path in tree.paths] == [directory.read(path) for path in directory.paths]
    assert tree.size == sum(len(directory.read(path)) for path in directory.paths)
    assert bench.events == []


@pytest.mark.parametrize("packer", ["tar.gz", "zip"])
def test_times_and_modes_are_those_of_the_archive(packer: str, bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"app.py": "", "b": ""})
    (shop / "app.py").chmod(0o640)
    os.utime(shop / "app.py", (1234567890, 1234567890))
    PACKERS[packer](shop, bench.root / f"shop.{packer}")
    [found] = [member for member, _ in bench.fetch(f"shop.{packer}").members() if member.path == "app.py"]
    assert (found.mode, found.mtime) == (0o640, 1234567890)


def test_what_a_forge_packs_below_one_directory_is_the_root(bench: Bench) -> None:
    plain(bench.root / "shop-1.0", {".s2iignore": "*.log\n", "app.py": "x", "a/b.log": "", "a/c": ""})
    shutil.make_archive(str(bench.root / "shop"), "gztar", bench.root, "shop-1.0")
    tree = bench.fetch("shop.tar.gz")
    assert tree.paths == (".s2iignore", "a/c", "app.py")
    assert sorted(streamed(tree)) == [".s2iignore", "a", "a/c", "app.py"]
    assert notices(bench) == ["all of shop.tar.gz lies in shop-1.0/, which is taken for its root"]
    below = bench.fetch("shop.tar.gz", context_dir="a")
    assert (below.paths, below.context_dir, below.read("c")) == (("b.log", "c"), "a", b"")


def test_one_file_or_one_hidden_directory_is_no_root(bench: Bench) -> None:
    (bench.root / "one.tar").write_bytes(tar_of(("app.py", b"x")))
    (bench.root / "hidden.tar").write_bytes(tar_of((".s2i/bin/run", b"x")))
    assert [bench.fetch(name).paths for name in ("one.tar", "hidden.tar")] == [("app.py",), (".s2i/bin/run",)]


@pytest.mark.parametrize("context_dir", ["missing", "app.py", "out", "out/etc", "sub"])
def test_a_context_directory_is_a_directory_of_the_archive(context_dir: str, bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(tar_of(("app.py", b"x"), link("out", "/"), ("subdir/x", b"")))
    with pytest.raises(S2IError) as caught:
        bench.fetch("a.tar", context_dir=context_dir)
    assert (caught.value.exit_code, caught.value.reason) == (5, "InvalidContextDirectory")


def test_directories_that_nobody_packed_are_given_before_what_is_in_them(bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(
        tar_of(("a/b/c", b"x"), ("a/d", b""), ("e", b""), link("a", "", tarfile.DIRTYPE))
    )
    found = [(member.path, member.kind) for member, _ in bench.fetch("a.tar").members()]
    assert found == [("a", "directory"), ("a/b", "directory"), ("a/b/c", "file"), ("a/d", "file"), ("e", "file")]


@pytest.mark.parametrize("packer", ["tar.gz", "zip"])
def test_what_is_left_out_of_a_directory_is_left_out_of_an_archive(packer: str, bench: Bench) -> None:
    ignored = {".s2iignore": "*.log\n!keep.log\n/build/\n", "a.log": "", "keep.log": "", "build/x": "", "b/build/y": ""}
    shop = plain(bench.root / "shop", ignored)
    PACKERS[packer](shop, bench.root / f"shop.{packer}")
    tree, directory = bench.fetch(f"shop.{packer}"), bench.fetch("shop")
    assert tree.paths == directory.paths == (".s2iignore", "b/build/y", "keep.log")
    assert streamed(tree) == streamed(directory)


def test_rules_that_are_a_link_are_not_followed(bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(tar_of(link(".s2iignore", "/etc/passwd"), ("x", b"")))
    with pytest.raises(S2IError) as caught:
        bench.fetch("a.tar")
    assert caught.value.exit_code == 3


def test_links_that_lead_out_and_bits_that_are_dropped_are_told(bench: Bench) -> None:
    tool = tarfile.TarInfo("tool")
    tool.mode = 0o4755
    (bench.root / "a.tar").write_bytes(tar_of(link("out", "../x"), tool))
    assert bench.fetch("a.tar").links == {"out": "../x"}
    assert bench.warnings == [
        "kept as a link, but it leads out of the source: out -> ../x",
        "the setuid and setgid bits are dropped: tool",
    ]


# ---------------------------------------------------------------------------------------------------------- hard links


def test_a_hard_link_is_read_as_the_file_that_it_is(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"bin/a": "same", "c": "else"})
    (shop / "bin" / "b").hardlink_to(shop / "bin" / "a")
    PACKERS["tar.gz"](shop, bench.root / "shop.tar.gz")
    tree = bench.fetch("shop.tar.gz")
    assert tree.paths == ("bin/a", "bin/b", "c")
    assert [tree.read(path) for path in tree.paths] == [b"same", b"same", b"else"]
    archive = b"".join(tar_stream(tree.members(), uid=0, gid=0))
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert [content.read() for name in tree.paths if (content := tar.extractfile(name))] == [
            b"same",
            b"same",
            b"else",
        ]


def test_hard_links_move_with_the_root_of_the_tree(bench: Bench) -> None:
    hard = tarfile.LNKTYPE
    archive = tar_of(("top/d/a", b"x" * 99_999), link("top/d/b", "top/d/a", hard), link("top/d/c", "top/d/b", hard))
    (bench.root / "a.tar").write_bytes(archive)
    tree = bench.fetch("a.tar", context_dir="d")
    assert [(member.path, member.target) for member, _ in tree.members()] == [("a", ""), ("b", "a"), ("c", "b")]
    assert tree.read("c") == b"x" * 99_999


@pytest.mark.parametrize("context_dir", ["in", ""])
def test_a_hard_link_to_what_is_left_out_is_refused(context_dir: str, bench: Bench) -> None:
    hard = link("in/b", "secret/a", tarfile.LNKTYPE)
    (bench.root / "a.tar").write_bytes(tar_of((".s2iignore", b"secret\n"), ("secret/a", b"x"), hard))
    with pytest.raises(Refused, match="is a hard link to what is left out") as caught:
        bench.fetch("a.tar", context_dir=context_dir)
    assert (caught.value.detail, caught.value.hint) == (
        "secret/a is not part of the source",
        "tar --hard-dereference packs the content twice",
    )


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("archive", "code", "said"),
    [
        (tar_of(("../x", b"")), 12, "leads out of the archive"),
        (tar_of(("x", b""), ("x", b"")), 12, "x stands twice in a.tar"),
        (tar_of(link("out", "/etc"), ("out/x", b"")), 12, "would be written through a link"),
        (tar_of(link("tty", "", tarfile.CHRTYPE)), 12, "character device"),
        (tar_of(), 5, "a.tar holds nothing"),
        (tar_of(("META-INF/MANIFEST.MF", b""), ("A.class", b"")), 5, "a.tar is no source but a finished artifact"),
        (gzip.compress(tar_of(("x", b"12345678")), mtime=0)[:-9], 5, "a.tar is damaged"),
        (b"\x7fELF" + bytes(999), 5, "it is a program"),
        (b"print(1)\n", 5, "of no kind that is known"),
        (b"", 5, "it is empty"),
    ],
)
def test_an_archive_is_taken_whole_or_not_at_all(archive: bytes, code: int, said: str, bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(archive)
    with pytest.raises(S2IError) as caught:
        bench.fetch("a.tar")
    assert (caught.value.exit_code, said in caught.value.message, len(caught.value.message) < 250) == (code, True, True)
    assert list(bench.root.iterdir()) == [bench.root / "a.tar"]


def test_names_that_stand_twice_in_a_zip_are_refused(bench: Bench) -> None:
    with zipfile.ZipFile(bench.root / "a.zip", "w") as archive:
        archive.writestr("x", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x", "two")
    with pytest.raises(Refused, match="x stands twice in"):
        bench.fetch("a.zip")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (FetchOptions(most=2), "a.tar has more than 2 members"),
        (FetchOptions(largest=5), "the files of a.tar have more than 5 bytes"),
    ],
)
def test_limits_hold_for_all_that_is_in_it(options: FetchOptions, said: str, bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(tar_of((".s2iignore", b"*"), ("a", b"12345"), ("b", b"1")))
    with pytest.raises(LimitReached, match=said):
        bench.fetch("a.tar", options=options)


def test_a_file_that_is_large_is_not_read_whole(bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(tar_of(("large", bytes((16 << 20) + 1)), ("b", b"")))
    with pytest.raises(LimitReached, match="large is larger than"):
        bench.fetch("a.tar").read("large")


def test_an_archive_that_changes_while_it_is_read_is_told(bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(tar_of(("a", b"12345"), ("b", b"1")))
    tree = bench.fetch("a.tar")
    os.utime(bench.root / "a.tar", (1, 1))
    with pytest.raises(FetchSourceFailed, match="changed while it was read"):
        streamed(tree)


@pytest.mark.parametrize(("name", "said"), [("missing.tar", "could not be read"), ("pipe.tar", "is no regular file")])
def test_what_is_no_file_is_told(name: str, said: str, bench: Bench) -> None:
    os.mkfifo(bench.root / "pipe.tar")
    with pytest.raises(FetchSourceFailed, match=said):
        bench.fetch(name)


def test_what_is_not_in_the_archive_cannot_be_read(bench: Bench) -> None:
    (bench.root / "a.tar").write_bytes(tar_of((".s2iignore", b"a"), ("a", b"12345")))
    with pytest.raises(FetchSourceFailed, match="there is no file a in the source"):
        bench.fetch("a.tar").read("a")


NAMES = st.text(alphabet="ab/.", min_size=1, max_size=8)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=st.lists(st.tuples(NAMES, KINDS, NAMES), min_size=1, max_size=6))
def test_whatever_is_in_it_is_refused_or_unpacks_below_the_root(
    members: list[tuple[str, bytes, str]], bench: Bench
) -> None:
    (bench.root / "a.tar").write_bytes(tar_of(*(link(name, target, kind) for name, kind, target in members)))
    try:
        tree = bench.fetch("a.tar")
    except S2IError:
        return
    seen: dict[str, str] = {}
    for member, _ in tree.members():
        parent = member.path.rpartition("/")[0]
        assert not parent or seen[parent] == "directory"
        assert member.kind != "hardlink" or seen[member.target] in ("file", "hardlink")
        assert member.path not in seen
        assert not {"", ".", ".."} & set(member.path.split("/"))
        seen[member.path] = member.kind
    assert sorted(path for path, kind in seen.items() if kind in ("file", "hardlink")) == sorted(tree.paths)


# ------------------------------------------------------------------------------------------------- checksums and stdin


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_checksum_is_compared_before_anything_is_used(bench: Bench) -> None:
    archive = tar_of(("app.py", b"x"))
    (bench.root / "app").write_bytes(archive)
    assert bench.fetch(f"app#sha256={digest(archive)}").paths == ("app.py",)
    (bench.root / "app").write_bytes(b"not even an archive")
    with pytest.raises(FetchSourceFailed, match="app is not the archive that was asked for") as caught:
        bench.fetch(f"app#sha256={digest(archive)}")
    found = digest(b"not even an archive")
    assert caught.value.detail == f"its sha256 is {found}, and {digest(archive)} was expected"


@pytest.mark.parametrize("packer", ["tar", "tar.xz", "zip"])
def test_standard_input_is_an_archive_of_any_kind(packer: str, bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    PACKERS[packer](shop, bench.root / f"shop.{packer}")
    content = (bench.root / f"shop.{packer}").read_bytes()
    tree = bench.fetch(f"-#sha256={digest(content)}", stdin=io.BytesIO(content))
    assert (tree.location, streamed(tree), tree.read("app.py")) == ("-", on_disk(shop), b"print(1)\n")
    assert bench.events == [Progress(subject="standard input", done=len(content))]
    assert list((bench.root / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", 5, "standard input is no archive that can be read: it is empty"),
        (b"x" * 2000, 11, "standard input has more than 1000 bytes"),
        (None, 2, "nothing is piped into it"),
    ],
)
def test_standard_input_that_is_no_archive_is_told(content: bytes | None, code: int, said: str, bench: Bench) -> None:
    stdin = None if content is None else io.BytesIO(content)
    with pytest.raises(S2IError) as caught:
        bench.fetch("-", stdin=stdin, options=FetchOptions(largest=1000))
    assert (caught.value.exit_code, said in caught.value.message) == (code, True)


def test_a_terminal_is_not_waited_for(bench: Bench) -> None:
    leader, follower = os.openpty()
    with os.fdopen(leader), os.fdopen(follower, "rb") as terminal, pytest.raises(S2IError) as caught:
        bench.fetch("-", stdin=terminal)
    assert (caught.value.exit_code, caught.value.hint) == (2, "tar -c . | s2ictl build - BUILDER TAG")


# ----------------------------------------------------------------------------------------------------------- addresses


ARCHIVE = gzip.compress(tar_of(("shop-main/app.py", b"x"), ("shop-main/b", b"y")), mtime=0)


def serve(server: FakeRegistry, path: str, body: bytes = ARCHIVE, status: int = 200, **headers: str) -> str:
    server.faults.append(Fault(method="GET", path=path, status=status, body=body, headers=headers))
    return f"http://{server.host}{path}"


def test_an_archive_is_brought_from_an_address(server: FakeRegistry, bench: Bench) -> None:
    address = serve(server, "/shop.tar.gz")
    tree = bench.fetch(address)
    assert (tree.location, tree.paths, tree.read("b")) == (address, ("app.py", "b"), b"y")
    assert notices(bench) == [
        f"no checksum was given; to take this archive and no other, add #sha256={digest(ARCHIVE)} to its address",
        "all of shop.tar.gz lies in shop-main/, which is taken for its root",
    ]
    assert Progress(subject=address, done=len(ARCHIVE), total=len(ARCHIVE)) in bench.events
    assert list((bench.root / "cache").iterdir()) == []


def test_a_checksum_is_enough_of_a_word_and_pins_the_archive(server: FakeRegistry, bench: Bench) -> None:
    address = f"{serve(server, '/latest')}#sha256={digest(ARCHIVE)}"
    assert bench.fetch(address).paths == ("app.py", "b")
    serve(server, "/latest", ARCHIVE + b"x")
    with pytest.raises(FetchSourceFailed, match="latest is not the archive that was asked for"):
        bench.fetch(address)


def basic(words: str) -> str:
    return f"Basic {base64.b64encode(words.encode()).decode()}"


def test_a_login_is_sent_to_its_host_alone(server: FakeRegistry, bench: Bench) -> None:
    with running(FakeRegistry()) as other:
        elsewhere = serve(other, "/real.tar.gz")
        serve(server, "/a.tar.gz", status=302, Location=elsewhere)
        tree = bench.fetch(f"http://ada:canary@{server.host}/a.tar.gz")
        asked = [one.headers.get("Authorization") for one in (*server.asked, *other.asked)]
    assert (asked, tree.paths) == ([basic("ada:canary"), None], ("app.py", "b"))
    assert "canary" not in repr((tree, bench.events))
    assert bench.warnings[0].startswith("the address has a login in it")


def test_a_login_is_looked_for_by_host_and_port(server: FakeRegistry, bench: Bench) -> None:
    logins = {server.host: Login(host=server.host, username="bob", password=Secret("canary"), origin="a file")}
    bench.fetch(serve(server, "/a.tar.gz"), find_login=logins.get)
    assert [one.headers.get("Authorization") for one in server.asked] == [basic("bob:canary")]


@pytest.mark.parametrize(
    ("status", "code", "tries"), [(401, 4, 1), (403, 4, 1), (404, 5, 1), (410, 5, 1), (500, 10, 3), (503, 10, 3)]
)
def test_each_answer_has_its_meaning(status: int, code: int, tries: int, server: FakeRegistry, bench: Bench) -> None:
    address = serve(server, "/a.zip", b"<html>", status)
    server.faults[0].times = 9
    with pytest.raises(S2IError) as caught:
        bench.fetch(address)
    assert (caught.value.exit_code, server.tried("GET"), "<html>" in str(caught.value)) == (code, tries, False)
    assert list((bench.root / "cache").iterdir()) == []


def test_a_login_of_the_address_that_is_refused_leaves_room_for_the_one_that_is_known(
    server: FakeRegistry, bench: Bench
) -> None:
    address = serve(server, "/a.tar.gz", b"", 401).replace("http://", "http://ada:canary@")
    server.faults.append(Fault(method="GET", path="/a.tar.gz", status=200, body=ARCHIVE))
    known = Login(host=server.host, username="bob", password=Secret("canary"), origin="a file")
    assert bench.fetch(address, find_login=lambda _: known).paths == ("app.py", "b")
    assert [one.headers.get("Authorization") for one in server.asked] == [basic("ada:canary"), basic("bob:canary")]


def test_a_login_for_another_host_stays_here(server: FakeRegistry, bench: Bench) -> None:
    other = Login(host="h", username="bob", password=Secret("canary"), origin="a file")
    bench.fetch(serve(server, "/a.tar.gz"), find_login=lambda _: other)
    assert [one.headers.get("Authorization") for one in server.asked] == [None]


def test_who_refuses_a_login_is_told_with_where_it_came_from(server: FakeRegistry, bench: Bench) -> None:
    address = serve(server, "/a.zip", b"", 401).replace("http://", "http://ada:canary@")
    with pytest.raises(S2IError) as caught:
        bench.fetch(address)
    assert caught.value.detail == "it answered 401; the login came from the address of the source"
    assert "canary" not in f"{caught.value.message}{caught.value.detail}{caught.value.hint}"


@pytest.mark.parametrize(
    ("options", "said"),
    [(FetchOptions(largest=9), "larger than 9 bytes"), (FetchOptions(timeout=0.0), "takes too long")],
)
def test_an_answer_without_an_end_is_left(options: FetchOptions, said: str, server: FakeRegistry, bench: Bench) -> None:
    with pytest.raises(LimitReached, match=said):
        bench.fetch(serve(server, "/a.zip"), options=options)
    assert list((bench.root / "cache").iterdir()) == []


def test_a_host_that_is_not_there_is_unreachable(bench: Bench) -> None:
    with running(FakeRegistry()) as gone:
        address = f"http://{gone.host}/a.zip"
    with pytest.raises(S2IError) as caught:
        bench.fetch(address)
    assert caught.value.exit_code == 10


def test_a_page_in_the_place_of_an_archive_is_named(server: FakeRegistry, bench: Bench) -> None:
    with pytest.raises(FetchSourceFailed, match="it is an HTML or XML page"):
        bench.fetch(serve(server, "/a.zip", b"<!doctype html><form>log in"))


def test_a_cache_that_cannot_be_used_is_told(bench: Bench) -> None:
    (bench.root / "cache").write_text("no directory")
    with pytest.raises(S2IError) as caught:
        bench.fetch("-", stdin=io.BytesIO(ARCHIVE))
    assert (caught.value.exit_code, caught.value.hint) == (2, "let S2ICTL_CACHE name another place")
