"""What a tree holds, in one word; and that nothing is believed which could have changed."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.models import Member, Tree
from s2ictl.sources.digests import Listed, Record, digest_of, facts_of
from tests.engine.gitservers import commit, git, repository, submodule
from tests.sourcetrees import Bench, plain

FILES = {"app.py": "print(1)\n", "src/deep/data.txt": "a\nb\n", "run": "#!/bin/sh\n"}
LATER = 60.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


@pytest.fixture
def rested(tmp_path: Path) -> Bench:
    """A bench for which all that was written before lies long ago."""
    return Bench(root=tmp_path, later=LATER)


def all_read(tree: Tree) -> bytes:
    return b"".join(read(1 << 20) for _, read in tree.members())


def records(bench: Bench) -> list[Path]:
    return sorted((bench.root / "cache" / "digests").iterdir())


# ------------------------------------------------------------------------------------------------------- a directory


def test_the_digest_of_a_directory_does_not_depend_on_time_place_or_order(bench: Bench) -> None:
    one = plain(bench.root / "one", FILES)
    other = plain(bench.root / "far" / "other", dict(reversed(FILES.items())))
    (one / "link").symlink_to("app.py")
    (other / "link").symlink_to("app.py")
    os.utime(one / "app.py", (1, 1))
    digest = bench.fetch("one").digest()
    assert (len(digest), bench.fetch("far/other").digest()) == (64, digest)


def test_content_mode_name_target_and_kind_each_make_another_digest(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    seen = {bench.fetch("shop").digest()}
    (shop / "app.py").write_text("print(2)\n")
    seen.add(bench.fetch("shop").digest())
    (shop / "run").chmod(0o755)
    seen.add(bench.fetch("shop").digest())
    (shop / "app.py").rename(shop / "app2.py")
    seen.add(bench.fetch("shop").digest())
    (shop / "app.py").symlink_to("run")
    seen.add(bench.fetch("shop").digest())
    (shop / "app.py").unlink()
    (shop / "app.py").symlink_to("app2.py")
    seen.add(bench.fetch("shop").digest())
    (shop / "empty").mkdir()
    seen.add(bench.fetch("shop").digest())
    assert (len(seen), "" in seen) == (7, False)


def test_rights_that_no_image_is_given_are_no_difference(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    digest = bench.fetch("shop").digest()
    (shop / "app.py").chmod(0o664)
    assert bench.fetch("shop").digest() == digest


def test_a_context_directory_is_what_is_in_it(bench: Bench) -> None:
    plain(bench.root / "shop", FILES)
    plain(bench.root / "deep", {"data.txt": "a\nb\n"})
    assert bench.fetch("shop", context_dir="src/deep").digest() == bench.fetch("deep").digest()


def test_nobody_who_does_not_ask_for_a_digest_has_anything_kept(bench: Bench) -> None:
    plain(bench.root / "shop", FILES)
    all_read(bench.fetch("shop"))
    assert not (bench.root / "cache").exists()


def test_what_was_changed_while_it_was_built_has_no_digest_any_more(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    tree = bench.fetch("shop")
    assert tree.digest()
    (shop / "app.py").write_text("print(2)\n")
    all_read(tree)
    assert tree.digest() == ""


def test_what_was_changed_between_its_first_byte_and_its_last_has_no_digest_any_more(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"app.py": "print(1)\n"})
    tree = bench.fetch("shop")
    for _, read in tree.members():
        read(1)
        (shop / "app.py").write_text("print(2)\n")
    assert tree.digest() == ""


def test_what_was_changed_before_it_could_be_hashed_has_no_digest(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    tree = bench.fetch("shop")
    (shop / "app.py").write_text("print(2)\n")
    assert tree.digest() == ""


# ------------------------------------------------------------------------------------------------- what is remembered


def listed(directory: Path, *names: str) -> list[Listed]:
    found = [(name, (directory / name).stat()) for name in names]
    return [
        (Member(path=name, kind="file", mode=facts.st_mode & 0o777, size=facts.st_size), facts_of(facts))
        for name, facts in found
    ]


class Reading:
    """Answers a digest for every file, and counts which it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, member: Member, _: bytes) -> bytes:
        self.asked.append(member.path)
        return bytes(32)


def asked_for(listing: list[Listed], record: Record) -> list[str]:
    reading = Reading()
    assert len(digest_of(listing, record, reading)) == 64
    return reading.asked


def long_after(directory: Path) -> Record:
    newest = max(path.stat().st_ctime_ns for path in directory.rglob("*"))
    return Record(place=directory.parent / "record", now=newest + 10**10)


def test_only_what_was_touched_is_read_again(tmp_path: Path) -> None:
    shop = plain(tmp_path / "shop", {"a": "1", "b": "2"})
    assert asked_for(listed(shop, "a", "b"), long_after(shop)) == ["a", "b"]
    assert asked_for(listed(shop, "a", "b"), long_after(shop)) == []
    (shop / "b").write_text("3")
    assert asked_for(listed(shop, "a", "b"), long_after(shop)) == ["b"]
    assert asked_for(listed(shop, "b"), long_after(shop)) == []


def test_a_change_that_hides_its_time_is_still_seen(rested: Bench) -> None:
    shop = plain(rested.root / "shop", FILES)
    before, facts = rested.fetch("shop").digest(), (shop / "app.py").stat()
    (shop / "app.py").write_text("print(2)\n")
    os.utime(shop / "app.py", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert rested.fetch("shop").digest() not in (before, "")


def test_a_file_that_was_changed_just_now_is_read_again_until_it_rests(tmp_path: Path) -> None:
    shop = plain(tmp_path / "shop", {"a": "1", "b": "2"})
    newest = max((shop / name).stat().st_ctime_ns for name in "ab")
    fresh = Record(place=tmp_path / "record", now=newest + 10**9)
    os.utime(shop / "b", (1, 1))
    assert [asked_for(listed(shop, "a", "b"), fresh) for _ in range(2)] == [["a", "b"], ["a", "b"]]
    assert asked_for(listed(shop, "a", "b"), long_after(shop)) == ["a", "b"]
    assert asked_for(listed(shop, "a", "b"), fresh) == []


def test_a_file_from_the_future_never_rests(tmp_path: Path) -> None:
    shop = plain(tmp_path / "shop", {"a": "1", "b": "2"})
    os.utime(shop / "b", (4e9, 4e9))
    assert asked_for(listed(shop, "a", "b"), long_after(shop)) == ["a", "b"]
    written = (tmp_path / "record").stat().st_ino
    assert asked_for(listed(shop, "a", "b"), long_after(shop)) == ["b"]
    assert (tmp_path / "record").stat().st_ino == written


def test_a_directory_in_another_one_s_place_is_not_taken_for_it(rested: Bench) -> None:
    plain(rested.root / "shop", FILES)
    first = rested.fetch("shop").digest()
    (rested.root / "shop").rename(rested.root / "old")
    plain(rested.root / "shop", FILES | {"app.py": "print(2)\n"})
    assert rested.fetch("shop").digest() not in (first, "")
    assert len(records(rested)) == 2


@settings(max_examples=60, deadline=None)
@given(damage=st.binary(max_size=40), at=st.integers(0, 400), cut=st.booleans())
def test_whatever_became_of_a_record_the_digest_is_the_same(
    damage: bytes, at: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("damage")
    shop = plain(root / "shop", {"a": "1", "b": "2"})
    listing, record = listed(shop, "a", "b"), long_after(shop)
    digest = digest_of(listing, record, Reading())
    whole = record.place.read_bytes()
    record.place.write_bytes(whole[:at] + damage + (b"" if cut else whole[at + len(damage) :]))
    assert digest_of(listing, record, Reading()) == digest


def test_a_record_is_for_its_owner_alone_and_a_cache_that_cannot_be_written_is_no_failure(rested: Bench) -> None:
    plain(rested.root / "shop", FILES)
    rested.fetch("shop").digest()
    (record,) = records(rested)
    assert (record.stat().st_mode & 0o777, record.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    shutil.rmtree(record.parent)
    record.parent.write_text("in the way")
    assert len(rested.fetch("shop").digest()) == 64


def test_records_that_nobody_has_used_for_a_month_go(tmp_path: Path) -> None:
    shop = plain(tmp_path / "shop", {"a": "1"})
    old = plain(tmp_path / "kept", {"old": "", "new": ""}) / "old"
    month = 31 * 24 * 3600
    record = Record(place=tmp_path / "kept" / "ours", now=(shop / "a").stat().st_ctime_ns + 10**10)
    os.utime(old, (record.now / 1e9 - month, record.now / 1e9 - month))
    asked_for(listed(shop, "a"), record)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["new", "ours"]


# ----------------------------------------------------------------------------------------------- commits and archives


def test_the_digest_of_a_commit_is_that_of_every_clone(bench: Bench) -> None:
    shop = repository(bench.root / "shop", FILES)
    git(bench.root, "clone", "--quiet", str(shop), "clone")
    first = bench.fetch("shop").digest()
    assert (len(first), bench.fetch("clone").digest()) == (64, first)
    assert bench.fetch("shop", context_dir="src").digest() != first
    commit(shop, {"app.py": "print(2)\n"})
    assert bench.fetch("shop").digest() != first


def test_what_is_left_out_of_a_commit_by_a_flag_makes_another_digest(bench: Bench) -> None:
    repository(bench.root / "lib", {"lib.py": ""})
    submodule(repository(bench.root / "shop", FILES), "../lib", "lib")
    assert bench.fetch("shop", submodules=False).digest() != bench.fetch("shop").digest()


def test_the_digest_of_an_archive_is_that_of_its_bytes(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    with tarfile.open(bench.root / "a.tar", "w") as tar:
        tar.add(shop, "shop")
    shutil.copy(bench.root / "a.tar", bench.root / "b.tar")
    first = bench.fetch("a.tar").digest()
    assert (len(first), bench.fetch("b.tar").digest()) == (64, first)
    assert bench.fetch("a.tar", context_dir="src").digest() != first
    tree = bench.fetch("a.tar")
    with (bench.root / "a.tar").open("ab") as file:
        file.write(bytes(512))
    assert tree.digest() == ""


# ------------------------------------------------------------------------------------------------------------ times


def test_everything_of_a_commit_has_the_commit_s_time_and_git_s_own_modes(bench: Bench) -> None:
    repository(bench.root / "lib", {"inner/lib.py": ""})
    shop = repository(bench.root / "shop", FILES)
    (shop / "run").chmod(0o775)
    (shop / "link").symlink_to("app.py")
    (shop / "src").chmod(0o700)
    commit(shop, {})
    submodule(shop, "../lib", "lib")
    tree = bench.fetch("shop")
    assert tree.commit is not None
    assert tree.epoch == tree.commit.epoch
    assert {(member.path, member.mode & 0o755, member.mtime) for member, _ in tree.members()} == {
        (path, mode, tree.epoch)
        for path, mode in {
            ".gitmodules": 0o644,
            "app.py": 0o644,
            "lib": 0o755,
            "lib/inner": 0o755,
            "lib/inner/lib.py": 0o644,
            "link": 0o755,
            "run": 0o755,
            "src": 0o755,
            "src/deep": 0o755,
            "src/deep/data.txt": 0o644,
        }.items()
    }


def test_a_directory_and_an_archive_keep_their_own_times_and_the_newest_is_theirs(bench: Bench) -> None:
    shop = plain(bench.root / "shop", FILES)
    times = {"app.py": 1000, "run": 3000, "src/deep/data.txt": 2000, "src/deep": 500, "src": 400}
    for path, seconds in times.items():
        os.utime(shop / path, (seconds, seconds))
    with tarfile.open(bench.root / "a.tar", "w") as tar:
        tar.add(shop / "src", "src")
        tar.add(shop / "app.py", "app.py")
    assert {member.path: member.mtime for member, _ in bench.fetch("shop").members()} == times
    archived = {member.path: member.mtime for member, _ in bench.fetch("a.tar").members()}
    assert archived == {path: seconds for path, seconds in times.items() if path != "run"}
    assert (bench.fetch("shop").epoch, bench.fetch("a.tar").epoch) == (3000, 2000)


def test_nothing_is_older_than_the_epoch_itself(bench: Bench) -> None:
    shop = plain(bench.root / "shop", {"app.py": ""})
    os.utime(shop / "app.py", (-5, -5))
    assert [(member.mtime, tree.epoch) for tree in [bench.fetch("shop")] for member, _ in tree.members()] == [(-5, 0)]
