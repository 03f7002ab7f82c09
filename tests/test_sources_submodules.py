from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.errors import Refused
from s2ictl.events import Notice, Progress
from s2ictl.models import Login, Secret, Source
from s2ictl.sources import FetchOptions
from s2ictl.sources.submodules import Declared, address, declared, joined
from s2ictl.sources.walls import is_behind_walls
from tests.engine.gitservers import clone, commit, git, repository, submodule, web
from tests.sourcetrees import Bench, failing, on_disk, streamed


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with a library in it, and a tool in that."""
    built = tmp_path_factory.mktemp("built")
    attributes = "*.sh text eol=lf\nleft export-ignore\n"
    repository(built / "tool", {"tool.sh": "#!/bin/sh\r\n", ".gitattributes": attributes, "left": "1"})
    repository(built / "lib", {"lib.py": "x = 1\n", "id.txt": "$Id$\n", ".gitattributes": "id.txt ident\n"})
    submodule(built / "lib", "../tool", "deep/tool")
    repository(built / "shop", {"app.py": "print(1)\n", "lib-2/x": ""})
    submodule(built / "shop", "../lib", "lib")
    return built


@pytest.fixture
def served(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "served", symlinks=True))


# ------------------------------------------------------------------------------------------------------------ fetched


def test_a_tree_with_submodules_is_what_a_recursive_clone_would_be(bench: Bench, served: Path) -> None:
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop")
        expected = on_disk(clone(f"{server.url}/shop", bench.root / "clone"))
        assert streamed(tree) == expected
    assert tree.paths == tuple(sorted(path for path, content in expected.items() if content[0] == "file"))
    assert (tree.read("lib/deep/tool/left"), tree.size > 0) == (b"1", True)
    assert [event for event in bench.events if not isinstance(event, Progress)] == []


def test_a_commit_that_is_here_with_its_submodules_costs_one_question(bench: Bench, served: Path) -> None:
    with web(served) as server:
        first = bench.fetch(f"{server.url}/shop")
        before = len(server.seen)
        second = bench.fetch(f"{server.url}/shop")
        asked = {path.partition("?")[0] for _, path in server.seen[before:]}
    assert (first.cached, second.cached, asked) == (False, True, {"/shop/info/refs", "/shop/git-upload-pack"})
    assert streamed(first) == streamed(second)


def test_only_the_submodules_of_the_context_directory_are_fetched(bench: Bench, served: Path) -> None:
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop", context_dir="lib-2")
        assert list(streamed(tree)) == ["x"]
        assert not [path for _, path in server.seen if path.startswith("/lib")]


def test_a_context_directory_may_lie_in_a_submodule(bench: Bench, served: Path) -> None:
    context_dir = "lib/deep/tool"
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop", context_dir=context_dir)
        expected = on_disk(clone(f"{server.url}/shop", bench.root / "clone") / context_dir)
        assert streamed(tree) == expected
    assert tree.commit
    assert tree.commit.id == git(served / "shop", "rev-parse", "HEAD")


def test_the_rules_of_the_source_hold_in_its_submodules(bench: Bench, served: Path) -> None:
    commit(served / "shop", {".s2iignore": "*.py\n/lib/deep\n"})
    with web(served) as server:
        tree = bench.fetch(f"{server.url}/shop")
        assert tree.paths == (
            ".gitmodules",
            ".s2iignore",
            "lib-2/x",
            "lib/.gitattributes",
            "lib/.gitmodules",
            "lib/id.txt",
        )
        assert not [path for _, path in server.seen if path.startswith("/tool")]
    assert "lib/deep" not in streamed(tree)


def test_submodules_that_are_not_wanted_or_not_declared_stay_empty(bench: Bench, served: Path) -> None:
    git(served / "shop", "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},stray")
    git(served / "shop", "config", "-f", ".gitmodules", "submodule.lib.update", "none")
    git(served / "shop", "add", ".gitmodules")
    git(served / "shop", "commit", "-q", "-m", "stray")
    with web(served) as server:
        without = bench.fetch(f"{server.url}/shop", submodules=False)
        bench.fetch(f"{server.url}/shop")
    assert streamed(without)["lib"] == ("directory", False, b"")
    assert bench.warnings == ["submodules are not fetched, their directories stay empty: lib, stray"] * 2


def test_a_submodule_whose_commit_is_gone_is_named(bench: Bench, served: Path) -> None:
    git(served / "shop", "update-index", "--cacheinfo", f"160000,{'1' * 40},lib")
    git(served / "shop", "commit", "-q", "-m", "gone")
    with web(served) as server:
        error = failing(bench, f"{server.url}/shop")
    assert (error.exit_code, error.detail.partition("\n")[0]) == (5, "it is the submodule lib")


def test_more_levels_than_three_are_a_limit(bench: Bench, served: Path) -> None:
    for name, inner in (("d2", "shop"), ("d1", "d2")):
        repository(served / name, {"x": name})
        submodule(served / name, f"../{inner}", "in")
    with web(served) as server:
        assert "in/lib/deep/tool/left" in bench.fetch(f"{server.url}/d2").paths
        error = failing(bench, f"{server.url}/d1")
    assert (error.exit_code, "in/in/lib/deep/tool is more than 3 deep" in error.message) == (11, True)


def test_all_repositories_share_one_limit(bench: Bench, served: Path) -> None:
    with web(served) as server:
        error = failing(bench, f"{server.url}/shop", options=FetchOptions(most=6))
    assert (error.exit_code, error.message) == (11, "the source has more than 6 members")


# ------------------------------------------------------------------------------------------------------------- logins


def test_a_submodule_of_the_same_host_is_asked_with_the_same_login(bench: Bench, served: Path) -> None:
    with web(served, login=("ada", "CANARY")) as server:
        host = server.url.partition("//")[2]
        found = Login(host=host, username="ada", password=Secret("CANARY"), origin="a file")
        tree = bench.fetch(f"{server.url}/shop", find_login=lambda _: found)
    assert "lib/deep/tool/left" in tree.paths


def test_a_submodule_of_another_host_is_asked_without_any_login_and_that_is_said(bench: Bench, served: Path) -> None:
    with web(served) as other, web(served, login=("ada", "CANARY")) as server:
        git(served / "shop", "config", "-f", ".gitmodules", "submodule.lib.url", f"{other.url}/lib")
        commit(served / "shop", {})
        host = server.url.partition("//")[2]
        asked: list[str] = []

        def find(wanted: str) -> Login:
            asked.append(wanted)
            return Login(host=wanted, username="ada", password=Secret("CANARY"), origin="a file")

        tree = bench.fetch(f"{server.url}/shop", find_login=find)
        assert "lib/deep/tool/left" in tree.paths
        assert (set(other.logins), set(asked)) == ({""}, {host})
    said = [event.text for event in bench.events if isinstance(event, Notice)]
    assert said[0] == "the submodule lib comes from another host, 127.0.0.1, which is asked without any login"


def test_what_the_user_once_fetched_is_not_handed_to_whoever_names_its_commit(bench: Bench, served: Path) -> None:
    """The commit is in the cache, but a source of another host has no right to it."""
    with web(served) as other, web(served, login=("ada", "CANARY")) as private:
        host = private.url.partition("//")[2]
        found = Login(host=host, username="ada", password=Secret("CANARY"), origin="a file")
        commit_id = git(served / "lib", "rev-parse", "HEAD").strip()
        bench.fetch(f"{private.url}/lib", ref=commit_id, find_login=lambda _: found)
        git(served / "shop", "config", "-f", ".gitmodules", "submodule.lib.url", f"{private.url}/lib")
        commit(served / "shop", {})
        error = failing(bench, f"{other.url}/shop")
    assert (error.exit_code, error.detail.partition("\n")[0]) == (4, "it is the submodule lib")


# -------------------------------------------------------------------------------------------------------------- local


def test_a_repository_here_has_its_submodules_here(bench: Bench, served: Path) -> None:
    with web(served) as server:
        clone(f"{server.url}/shop", bench.root / "clone")
    tree = bench.fetch("clone")
    assert (streamed(tree), tree.cached) == (on_disk(bench.root / "clone"), False)
    assert not [event for event in bench.events if "host" in str(event)]


def test_what_is_not_here_is_fetched_from_where_the_clone_came_from(bench: Bench, served: Path) -> None:
    with web(served) as server:
        git(bench.root, "clone", "-q", f"{server.url}/shop", "clone")
        assert "lib/deep/tool/left" in bench.fetch("clone").paths


def test_a_submodule_beside_a_repository_that_was_never_cloned_is_refused(bench: Bench, served: Path) -> None:
    git(served / "shop", "submodule", "deinit", "-q", "--all", "--force")
    (served / "shop" / ".git" / "modules").rename(bench.root / "modules")
    error = failing(bench, str(served / "shop"))
    assert (error.exit_code, "lib has an address that is not followed: '../lib'" in error.message) == (12, True)


# -------------------------------------------------------------------------------------------------------- what is read


PARENT = Source(kind="git", location="https://git.example.com/team/shop.git")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://git.example.com/a/b.git", "https://git.example.com/a/b.git"),
        ("../lib.git", "https://git.example.com/team/lib.git"),
        ("../../other/./lib", "https://git.example.com/other/./lib"),
        ("./sub", "https://git.example.com/team/shop.git/sub"),
        ("git@git.example.com:a/b", "git@git.example.com:a/b"),
        ("https://elsewhere.example.com/a", "https://elsewhere.example.com/a"),
    ],
)
def test_an_address_is_followed_over_https_and_to_the_same_host_over_ssh(url: str, location: str) -> None:
    assert address(Declared(name="lib", path="lib", url=url), PARENT).location == location


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc",
            "/etc",
            "etc",
            "ext::sh -c id",
            "fd::17",
            "git://git.example.com/a",
            "",
            "-uid",
            "--upload-pack=x",
        ),
        *(
            "http://git.example.com/a",
            "http://127.0.0.1/a",
            "https://h/a?token=x",
            "https://h/a#ref",
            "https://h\\@e/a",
        ),
        *("ssh://other.example.com/a", "git@other.example.com:a", "ssh://git.example.com:2222/a", "git@-host:a"),
        *("../../../x", "../../../evil.example.com/x", "https://h:99999/a", "archive.tar.gz", "https://h/a.tar.gz"),
        *("https://h/a.jar", "/etc/a.war", "//[::1/x"),
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        address(Declared(name="lib", path="lib", url=url), PARENT)
    assert ("submodule lib" in caught.value.message, "--ignore-submodules" in caught.value.hint) == (True, True)


PRIVATE = """127.0.0.1 169.254.169.254 10.1.2.3 192.168.0.1 0x7f.1 2130706433 017700000001 localhost 0
::1 ::ffff:10.0.0.1 fe80::1 fd00::1 64:ff9b::a00:1 2002:7f00:1:: \uff11\uff12\uff17.0.0.1 10\u30020.0.1"""


@pytest.mark.parametrize("host", PRIVATE.split())
def test_an_address_behind_the_walls_is_known_in_every_spelling(host: str) -> None:
    names = {"inside.example.com": ("93.184.216.34", host), "outside.example.com": ("93.184.216.34",)}
    looked_at = [host, "inside.example.com", "outside.example.com", "nowhere.example.com"]
    found = [is_behind_walls(one, lambda name: names.get(name, ())) for one in looked_at]
    assert found == [True, True, False, False]


def test_a_server_follows_no_submodule_behind_its_own_walls_but_on_the_source_s_own_host(
    bench: Bench, served: Path
) -> None:
    options = FetchOptions(public_only=True)
    with web(served) as server:
        assert "lib/lib.py" in bench.fetch(f"{server.url}/shop", options=options).paths
        other = server.url.replace("127.0.0.1", "127.0.0.2")
        git(served / "shop", "config", "-f", ".gitmodules", "submodule.lib.url", f"{other}/lib")
        commit(served / "shop", {})
        error = failing(bench, f"{server.url}/shop", options=options)
    assert (error.exit_code, error.detail) == (12, "it is a private address")


@pytest.mark.parametrize(
    ("base", "relative", "result"),
    [
        ("https://h/a/b", "../c", "https://h/a/c"),
        ("https://h/a/b/", "../c", "https://h/a/c"),
        ("https://h/a", "../../c", ""),
        ("ssh://git@h:22/a/b", "../../c", "ssh://git@h:22/c"),
        ("git@h:a/b", "../c", "git@h:a/c"),
        ("git@h:/a/b", "../c", "git@h:/a/c"),
        ("git@h:a", "../../c", ""),
        ("/srv/a", "../c", ""),
        ("file:///srv/a", "../c", ""),
    ],
)
def test_a_relative_address_never_climbs_out_of_its_host(base: str, relative: str, result: str) -> None:
    assert joined(base, relative) == result


def listing(**values: str) -> bytes:
    return b"".join(f"submodule.{values.get('name', 'a')}.{key}\n{value}\0".encode() for key, value in values.items())


@pytest.mark.parametrize(
    "values",
    [
        {"name": "../../x", "path": "x", "url": "u"},
        {"name": "a/../../x", "path": "x", "url": "u"},
        {"name": "a\\..\\x", "path": "x", "url": "u"},
        {"name": "", "path": "x", "url": "u"},
        {"path": "x\r", "url": "u"},
        {"path": "../x", "url": "u"},
        {"path": "/x", "url": "u"},
        {"path": "-x", "url": "u"},
        {"path": "x", "url": "https://h/a\r"},
        {"path": "x", "url": "https://h/a\n[core]"},
        {"name": "a\x1b[31m", "path": "x", "url": "u"},
    ],
)
def test_a_name_a_path_or_an_address_that_means_harm_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(Refused):
        declared(listing(**values))


def test_of_two_values_the_first_counts_and_of_two_names_as_well() -> None:
    said = listing(path="x", url="one") + listing(url="two") + listing(name="b", path="x", url="three")
    assert declared(said) == {"x": Declared(name="a", path="x", url="one")}


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_git_says_of_a_file_of_modules_is_read_or_refused(answer: bytes) -> None:
    for text in (answer, b"submodule." + answer, b"submodule.a.path\n" + answer):
        with contextlib.suppress(Refused):
            declared(text)


EVIL = {
    "a trailing CR": '[submodule "lib"]\n\tpath = "lib\r"\n\turl = "../lib"\n',
    "a command": '[submodule "lib"]\n\tpath = lib\n\turl = ext::touch canary\n',
}


@pytest.mark.parametrize("kind", EVIL)
def test_a_file_of_modules_that_means_harm_is_refused_before_anything_is_asked(
    bench: Bench, served: Path, kind: str
) -> None:
    (served / "shop" / ".gitmodules").write_bytes(EVIL[kind].encode())
    git(served / "shop", "add", ".gitmodules")
    git(served / "shop", "commit", "-q", "-m", kind)
    with web(served) as server:
        error = failing(bench, f"{server.url}/shop")
        assert not [path for _, path in server.seen if not path.startswith("/shop/")]
    assert (error.exit_code, len(error.message) < 250) == (12, True)


@pytest.mark.parametrize(("content", "code"), [("[submodule\n", 5), ("x" * (17 << 20), 11)])
def test_a_file_of_modules_that_is_none_is_told(bench: Bench, served: Path, content: str, code: int) -> None:
    (served / "shop" / ".gitmodules").write_text(content)
    git(served / "shop", "add", ".gitmodules")
    git(served / "shop", "commit", "-q", "-m", "broken")
    assert failing(bench, str(served / "shop")).exit_code == code


def test_a_file_of_modules_that_is_a_link_or_includes_another_is_not_followed(bench: Bench, served: Path) -> None:
    modules = served / "shop" / ".gitmodules"
    text = modules.read_text()
    modules.write_text(f"[include]\n\tpath = {bench.root}/other\n")
    (bench.root / "other").write_text(text)
    git(served / "shop", "add", ".gitmodules")
    git(served / "shop", "commit", "-q", "-m", "included")
    assert streamed(bench.fetch(str(served / "shop")))["lib"] == ("directory", False, b"")
    modules.unlink()
    modules.symlink_to(bench.root / "other")
    git(served / "shop", "add", ".gitmodules")
    git(served / "shop", "commit", "-q", "-m", "linked")
    assert failing(bench, str(served / "shop")).exit_code == 12
