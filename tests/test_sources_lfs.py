from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.errors import FetchSourceFailed, Refused, S2IError
from s2ictl.models import Login, Secret
from s2ictl.sources import FetchOptions
from s2ictl.sources.largefiles import Store
from s2ictl.sources.lfs import Action, Pointer, answered, check_href, endpoint, pointer, question
from tests.engine.gitservers import LargeFiles, clone, commit, git, repository, submodule, web
from tests.sourcetrees import Bench, streamed

BIG = b"large " * 50_000
ATTRIBUTES = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


@pytest.fixture
def large() -> LargeFiles:
    return LargeFiles()


@pytest.fixture
def shop(tmp_path: Path, large: LargeFiles) -> Path:
    files = {"app.py": "x", "data/big.bin": large.add(BIG), "data/copy.bin": large.add(BIG), "not.txt": large.add(b"n")}
    return repository(tmp_path / "served" / "shop", {**ATTRIBUTES, **files})


def failing(bench: Bench, text: str, **how: object) -> S2IError:
    with pytest.raises(S2IError) as caught:
        bench.fetch(text, lfs=True, **how)  # type: ignore[arg-type]
    return caught.value


# ------------------------------------------------------------------------------------------------------------ brought


def test_pointers_become_the_files_that_they_stand_for(bench: Bench, shop: Path, large: LargeFiles) -> None:
    with web(shop.parent, instead=large) as server:
        tree = bench.fetch(f"{server.url}/shop", lfs=True)
        again = bench.fetch(f"{server.url}/shop", lfs=True)
    members = streamed(tree)
    assert (members["data/big.bin"], members["data/copy.bin"]) == (("file", False, BIG),) * 2
    assert (tree.read("data/big.bin"), members["not.txt"][2][:7]) == (BIG, b"version")
    assert (tree.cached, again.cached, bench.warnings) == (False, True, [])
    assert tree.size > 2 * len(BIG)
    oid = hashlib.sha256(BIG).hexdigest()
    assert large.asked == ["POST /shop.git/info/lfs/objects/batch", f"GET /lfs-objects/{oid}"]


def test_without_the_flag_pointers_stay_and_the_flag_is_named(bench: Bench, shop: Path, large: LargeFiles) -> None:
    with web(shop.parent, instead=large) as server:
        bench.fetch(f"{server.url}/shop")
    said = "kept as the pointer that git-lfs left there (--lfs brings the file): data/big.bin, data/copy.bin"
    assert (bench.warnings, large.asked) == ([said], [])


@pytest.mark.parametrize("context_dir", ["data", ""])
def test_the_attributes_above_the_context_directory_count(
    bench: Bench, shop: Path, large: LargeFiles, context_dir: str
) -> None:
    with web(shop.parent, instead=large) as server:
        tree = bench.fetch(f"{server.url}/shop", context_dir=context_dir, lfs=True)
    assert tree.read("big.bin" if context_dir else "data/big.bin") == BIG


def test_the_large_files_of_a_submodule_are_asked_for_at_its_own_address(
    bench: Bench, shop: Path, large: LargeFiles
) -> None:
    repository(shop.parent / "outer", {"x": ""})
    submodule(shop.parent / "outer", "../shop", "in")
    with web(shop.parent, instead=large) as server:
        assert bench.fetch(f"{server.url}/outer", lfs=True).read("in/data/big.bin") == BIG
    assert large.asked[0] == "POST /shop.git/info/lfs/objects/batch"


def test_a_clone_on_this_machine_lends_what_it_has_and_asks_for_the_rest(
    bench: Bench, shop: Path, large: LargeFiles
) -> None:
    with web(shop.parent, instead=large) as server:
        here = clone(f"{server.url}/shop", bench.root / "here")
        commit(here, {"other.bin": large.add(b"other")})
        oid = hashlib.sha256(BIG).hexdigest()
        kept = here / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
        kept.mkdir(parents=True)
        (kept / oid).write_bytes(BIG)
        tree = bench.fetch("here", lfs=True)
    assert (tree.read("data/big.bin"), tree.read("other.bin")) == (BIG, b"other")
    assert large.asked[1:] == [f"GET /lfs-objects/{hashlib.sha256(b'other').hexdigest()}"]


def test_what_lies_beside_a_repository_is_taken_by_its_digest_alone(bench: Bench, large: LargeFiles) -> None:
    secret = bench.root / "secret"
    secret.write_bytes(b"s" * len(BIG))
    here = repository(bench.root / "here", {**ATTRIBUTES, "big.bin": large.add(BIG)})
    oid = hashlib.sha256(BIG).hexdigest()
    kept = here / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
    kept.mkdir(parents=True)
    (kept / oid).symlink_to(secret)
    assert failing(bench, "here").exit_code == 5


# ------------------------------------------------------------------------------------------------------------- logins


def test_the_login_of_the_repository_is_given_to_its_own_host_alone(
    bench: Bench, shop: Path, large: LargeFiles
) -> None:
    large.login = ("ada", "CANARY")
    with web(shop.parent, instead=LargeFiles(objects=large.objects)) as other:
        large.elsewhere = other.url
        with web(shop.parent, login=large.login, instead=large) as server:
            found = Login(
                host=server.url.partition("//")[2], username="ada", password=Secret("CANARY"), origin="a file"
            )
            tree = bench.fetch(f"{server.url}/shop", lfs=True, find_login=lambda _: found)
            refused = Bench(root=bench.root / "second")
            error = failing(refused, f"{server.url}/shop")
        assert (tree.read("data/big.bin"), other.logins, error.exit_code) == (BIG, [""], 4)
    kept = [path for path in bench.root.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]
    assert kept == []


# -------------------------------------------------------------------------------------------------------------- faults


def test_an_object_that_is_nowhere_is_named_by_path_and_digest(bench: Bench, shop: Path, large: LargeFiles) -> None:
    (oid,) = (oid for oid, content in large.objects.items() if content == BIG)
    del large.objects[oid]
    with web(shop.parent, instead=large) as server:
        error = failing(bench, f"{server.url}/shop")
    assert (error.exit_code, "data/big.bin is not at" in error.message) == (5, True)
    assert error.detail == f"its object is {oid}\n404 Object does not exist"


@pytest.mark.parametrize(("content", "code"), [(b"x" * len(BIG), 5), (BIG[:-1], 5), (BIG + b"x", 11)])
def test_what_is_not_the_object_is_never_kept(
    bench: Bench, shop: Path, large: LargeFiles, content: bytes, code: int
) -> None:
    oid = hashlib.sha256(BIG).hexdigest()
    large.objects[oid] = content
    with web(shop.parent, instead=large) as server:
        error = failing(bench, f"{server.url}/shop")
    assert error.exit_code == code
    assert [path for path in (bench.root / "cache" / "lfs").rglob("*") if path.is_file()] == []


def test_a_download_that_breaks_off_is_begun_again(bench: Bench, shop: Path, large: LargeFiles) -> None:
    large.cut = 2
    with web(shop.parent, instead=large) as server:
        assert bench.fetch(f"{server.url}/shop", lfs=True).read("data/big.bin") == BIG
    assert len(large.asked) == 4


def test_a_host_without_large_files_and_a_source_over_ssh_are_told(bench: Bench, shop: Path) -> None:
    with web(shop.parent) as server:
        error = failing(bench, f"{server.url}/shop")
    assert (error.exit_code, "serves no large files" in error.message) == (5, True)
    error = failing(bench, str(shop))
    assert (error.exit_code, "takes https" in error.message) == (5, True)


def test_more_than_the_limit_is_told_before_anything_is_asked(bench: Bench, shop: Path, large: LargeFiles) -> None:
    with web(shop.parent, instead=large) as server:
        error = failing(bench, f"{server.url}/shop", options=FetchOptions(largest=100_000))
    assert (error.exit_code, large.asked) == (11, [])


def test_many_pointers_to_one_object_count_as_many(bench: Bench, shop: Path, large: LargeFiles) -> None:
    """What they stand for is sent to the engine as often as they stand there."""
    pointer = large.add(b"x" * 1000)
    commit(shop, {f"copy{number}.bin": pointer for number in range(400)})
    with web(shop.parent, instead=large) as server:
        error = failing(bench, f"{server.url}/shop", options=FetchOptions(largest=400_000))
    assert (error.exit_code, large.asked) == (11, [])


def test_the_source_s_own_word_for_its_server_is_taken_on_its_host_alone(
    bench: Bench, shop: Path, large: LargeFiles
) -> None:
    with web(shop.parent, instead=large) as other, web(shop.parent, instead=large) as server:
        commit(shop, {".lfsconfig": f"[lfs]\n\turl = {server.url}/moved/info/lfs\n"})
        bench.fetch(f"{server.url}/shop", lfs=True)
        commit(shop, {".lfsconfig": f"[lfs]\n\turl = {other.url}/shop.git/info/lfs\n", "n.bin": large.add(b"new")})
        error = failing(bench, f"{server.url}/shop")
        assert (error.exit_code, other.seen) == (12, [])
    assert large.asked[0] == "POST /moved/info/lfs/objects/batch"


def test_what_nobody_has_used_for_a_month_goes(tmp_path: Path) -> None:
    store, old = Store(tmp_path), 1_700_000_000
    first, second = (Pointer(path="p", oid=hashlib.sha256(one).hexdigest(), size=1) for one in (b"a", b"b"))
    assert store.put(first, lambda file: file.write(b"a"))
    assert store.put(second, lambda file: file.write(b"b"))
    os.utime(store.place(first), (old, old))
    os.utime(store.place(second), (old + 31 * 86400,) * 2)
    store.sweep(now=old + 31 * 86400)
    assert (store.has(first), store.has(second)) == (False, True)


# --------------------------------------------------------------------------------------- described, and not performed

OID = "a" * 64
HERE = "https://git.example.com/a/b"
ONE = Pointer(path="x.bin", oid=OID, size=3)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 3\n", 3),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize -3\n", None),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID[:-1]}\nsize 3\n", None),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{'../' * 21}a\nsize 3\n", None),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 3\nmore\n", None),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {'9' * 30}\n", None),
    ],
)
def test_only_a_whole_pointer_is_one(content: str, size: int | None) -> None:
    found = pointer("x", content.encode())
    assert (found and found.size) == size


@pytest.mark.parametrize(
    ("location", "configured", "asked"),
    [
        (HERE, "", f"{HERE}.git/info/lfs"),
        (f"{HERE}.git/", "", f"{HERE}.git/info/lfs"),
        (HERE, "https://git.example.com/lfs/", "https://git.example.com/lfs"),
        (HERE, "https://ada:x@git.example.com/lfs", "https://git.example.com/lfs"),
        ("git@git.example.com:a/b", "https://git.example.com/lfs", "https://git.example.com/lfs"),
        ("ssh://git@git.example.com:2222/a/b", "https://git.example.com/lfs", "https://git.example.com/lfs"),
    ],
)
def test_large_files_are_asked_for_at_the_repository_s_own_host(location: str, configured: str, asked: str) -> None:
    assert endpoint(location, configured) == asked


@pytest.mark.parametrize(
    ("location", "configured", "code"),
    [
        (HERE, "https://evil.example.com/lfs", 12),
        (HERE, "http://git.example.com/lfs", 12),
        (HERE, "https://git.example.com:8443/lfs", 12),
        (HERE, "https://git.example.com/lfs?x=1", 12),
        (HERE, "file:///etc", 12),
        (HERE, "https://[::1", 12),
        (HERE, "https://git.example.com:99999/lfs", 12),
        (HERE, "https://git.example.com:x/lfs", 12),
        (HERE, "https://git.example\uff0fcom/lfs", 12),
        ("git@git.example.com:a/b", "https://evil.example.com/lfs", 12),
        ("git@git.example.com:a/b", "http://git.example.com/lfs", 12),
        ("git@git.example.com:a/b", "", 5),
    ],
)
def test_no_other_place_is_asked(location: str, configured: str, code: int) -> None:
    with pytest.raises(S2IError) as caught:
        endpoint(location, configured)
    assert caught.value.exit_code == code


@pytest.mark.parametrize(
    ("href", "asked"),
    [
        ("https://cdn.example.com/x", HERE),
        ("https://10.0.0.1/x", HERE),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:2/r"),
        ("http://git.local/x", "http://git.local/r"),
    ],
)
def test_an_object_is_had_from_any_host(href: str, asked: str) -> None:
    check_href(href, asked)


@pytest.mark.parametrize(
    "href",
    [
        *("http://cdn.example.com/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "//x", "", "https:///x"),
        *(
            "https://[::1",
            "https://[:alpha:]/",
            "https://h:99999/x",
            "https://h:x/",
            "http://\udcff/",
            "https://a\uff0fb/",
        ),
    ],
)
def test_an_object_is_never_had_with_less_safety(href: str) -> None:
    with pytest.raises(Refused):
        check_href(href, HERE)


def test_a_server_follows_no_object_behind_its_own_walls(bench: Bench, shop: Path, large: LargeFiles) -> None:
    options = FetchOptions(public_only=True)
    with web(shop.parent, instead=large) as server:
        large.elsewhere = server.url.replace("127.0.0.1", "127.0.0.2")
        error = failing(bench, f"{server.url}/shop", options=options)
        large.elsewhere = ""
        assert bench.fetch(f"{server.url}/shop", lfs=True, options=options).read("data/big.bin") == BIG
    assert (error.exit_code, error.detail) == (12, "it is private")


def test_a_batch_is_asked_and_answered_by_digest() -> None:
    asked = json.loads(question([ONE]))
    assert asked["objects"] == [{"oid": OID, "size": 3}]
    header = {"Authorization": "x", "Host": "evil", "Range": "bytes=5-"}
    said = {"objects": [{"oid": OID, "actions": {"download": {"href": "https://h/x", "header": header}}}]}
    assert answered(json.dumps(said).encode(), [ONE], "h") == {
        OID: Action(href="https://h/x", headers={"Authorization": "x"})
    }


@pytest.mark.parametrize("header", [{"A\nB": "x"}, {"A": "x\r\nB: y"}, {"": "x"}, {"A": "\u20ac"}, {"A:": "x"}])
def test_what_is_no_header_is_not_sent_along(header: dict[str, str]) -> None:
    said = {"objects": [{"oid": OID, "actions": {"download": {"href": "https://h/x", "header": header}}}]}
    with pytest.raises(FetchSourceFailed, match="https://h sends along what is no header"):
        answered(json.dumps(said).encode(), [ONE], "https://h")


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=100) | st.recursive(st.text() | st.none(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_whatever_a_server_answers_is_a_failure_of_ours(body: bytes) -> None:
    with pytest.raises(FetchSourceFailed):
        answered(body, [ONE], "https://h")


def test_a_tree_that_is_not_committed_through_lfs_has_no_pointers(bench: Bench) -> None:
    shop = repository(bench.root / "plain", {**ATTRIBUTES, "a.bin": "version of nothing\n"})
    assert bench.fetch("plain", lfs=True).read("a.bin") == b"version of nothing\n"
    assert git(shop, "status", "--short") == ""
