"""What is taken out of one container, and where it goes in the next."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from s2ictl.archives import Entry
from s2ictl.engines import transfers
from s2ictl.errors import AssembleFailed
from s2ictl.events import Emit, Event
from s2ictl.models import Member, RuntimeArtifact


def members(*described: Member) -> Iterator[Entry]:
    return ((member, io.BytesIO(b"").read) for member in described)


def file(path: str, mode: int = 0o600) -> Member:
    return Member(path=path, kind="file", mode=mode)


def directory(path: str) -> Member:
    return Member(path=path, kind="directory", mode=0o700)


def placed(source: str, *described: Member, target: str = "") -> list[str]:
    selected = transfers.selection(RuntimeArtifact(source=source, target=target))
    return [member.path for member, _ in transfers.chosen(selected, members(*described), root="/opt/app")]


@pytest.mark.parametrize(
    ("source", "parent", "pattern"),
    [
        ("/opt/app/target/*.jar", "/opt/app/target", ("*.jar",)),
        ("/opt/app/build/", "/opt/app/build", ()),
        ("/opt/*/lib/**/x", "/opt", ("*", "lib", "**", "x")),
        ("/*.war", "/", ("*.war",)),
    ],
)
def test_what_is_read_is_the_longest_path_without_a_pattern(source: str, parent: str, pattern: tuple[str, ...]) -> None:
    artifact = RuntimeArtifact(source=source, target="")
    expected = transfers.Selection(artifact=artifact, parent=parent, pattern=pattern)
    assert transfers.selection(artifact) == expected


def test_a_pattern_takes_what_matches_and_all_that_is_below_it() -> None:
    tree = (
        directory("target"),
        file("target/a.jar"),
        file("target/a.txt"),
        directory("target/x.jar"),
        file("target/x.jar/in"),
    )
    assert placed("/opt/app/target/*.jar", *tree, target="lib") == [
        "opt/app/lib/a.jar",
        "opt/app/lib/x.jar",
        "opt/app/lib/x.jar/in",
    ]


def test_a_star_stays_in_its_directory_and_two_do_not() -> None:
    tree = (file("a/b/c.jar"), file("a/d.jar"))
    assert placed("/a/*.jar", *tree) == ["opt/app/d.jar"]
    assert placed("/a/**/*.jar", *tree) == ["opt/app/c.jar", "opt/app/d.jar"]


def test_what_lies_at_the_root_needs_no_directory() -> None:
    assert placed("/*.war", file("shop.war"), file("etc/x.war")) == ["opt/app/shop.war"]


def test_a_runtime_image_has_plain_modes() -> None:
    selected = transfers.selection(RuntimeArtifact(source="/b", target="."))
    tree = members(directory("b"), file("b/run", 0o4750), file("b/data", 0o666))
    found = {member.path: member.mode for member, _ in transfers.chosen(selected, tree, root="/")}
    assert found == {"b": 0o755, "b/run": 0o755, "b/data": 0o644}


def test_a_hard_link_leads_to_where_its_file_went() -> None:
    selected = transfers.selection(RuntimeArtifact(source="/b", target="to"))
    link = Member(path="b/two", kind="hardlink", mode=0o600, target="b/one")
    found = [member for member, _ in transfers.chosen(selected, members(file("b/one"), link), root="/opt")]
    assert (found[1].path, found[1].target) == ("opt/to/b/two", "opt/to/b/one")


def test_a_hard_link_to_what_is_not_taken_is_a_failure() -> None:
    selected = transfers.selection(RuntimeArtifact(source="/b/*.jar", target=""))
    link = Member(path="b/two.jar", kind="hardlink", mode=0o600, target="b/one")
    with pytest.raises(AssembleFailed, match="is a hard link to b/one"):
        list(transfers.chosen(selected, members(file("b/one"), link), root="/opt"))


def test_nothing_that_matches_is_a_failure() -> None:
    with pytest.raises(AssembleFailed, match=r"assemble left nothing at /b/\*.jar for the runtime image"):
        placed("/b/*.jar", file("b/x"))


def test_directories_that_lead_there_are_made_once_and_those_that_exist_are_left_alone() -> None:
    tree = members(file("opt/app/a/x"), file("opt/app/a/y"), directory("opt/app/b"), file("opt/app/b/z"))
    found = transfers.with_parents(tree, present={"/", "/opt", "/opt/app"})
    assert [member.path for member, _ in found] == [
        "opt/app/a",
        "opt/app/a/x",
        "opt/app/a/y",
        "opt/app/b",
        "opt/app/b/z",
    ]


def test_what_is_saved_goes_below_the_directory_that_is_for_it() -> None:
    found = [member for member, _ in transfers.saved(members(file("a")), "/tmp/artifacts")]
    assert found == [
        Member(path="tmp/artifacts", kind="directory", mode=0o700),
        Member(path="tmp/artifacts/a", kind="file", mode=0o600),
    ]


def test_what_is_over_in_a_moment_is_not_counted_aloud(emit: Emit, events: list[Event]) -> None:
    assert list(transfers.told([b"a", b"b"], "upload", emit)) == [b"a", b"b"]
    assert events == []
