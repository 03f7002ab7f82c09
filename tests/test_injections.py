"""Where injected files go, and what is never written over."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from s2ictl.engines import injections
from s2ictl.engines.injections import Injected, plan
from s2ictl.errors import InvalidUsage, LimitReached
from s2ictl.models import Injection

DIRECTORY, FILE = 0o040755, 0o100644
IMAGE = {"/": DIRECTORY, "/etc": DIRECTORY, "/etc/passwd": FILE, "/opt": DIRECTORY, "/opt/app": DIRECTORY}


def image(asked: list[str] | None = None) -> Callable[[str], int | None]:
    def mode(path: str) -> int | None:
        if asked is not None:
            asked.append(path)
        return IMAGE.get(path)

    return mode


def planned(source: Path, target: str) -> tuple[Injected, ...]:
    return plan([Injection(source=source, target=target)], workdir="/opt/app", mode=image()).things


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("x")
    return tmp_path / "token"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("", "/opt/app/token"),
        (".", "/opt/app/token"),
        ("sub/", "/opt/app/sub/token"),
        ("sub/name", "/opt/app/sub/name"),
        ("/etc", "/etc/token"),
        ("/new", "/new"),
    ],
)
def test_a_file_goes_into_a_directory_and_is_called_like_what_is_not_there(token: Path, target: str, path: str) -> None:
    assert planned(token, target)[-1] == Injected(path=path, kind="file", source=token)


def test_every_missing_directory_is_made_and_removed_after_what_is_in_it(token: Path) -> None:
    made = plan([Injection(source=token, target="/a/b/")], workdir="/", mode=image())
    assert made.removed == ("/a/b/token", "/a/b", "/a")
    assert (made.files, made.contents) == (("/a/b/token",), ("/a/b/token",))


def test_a_directory_s_content_goes_below_the_target(tmp_path: Path) -> None:
    (tmp_path / "keys" / "sub").mkdir(parents=True)
    (tmp_path / "keys" / "sub" / "a").write_text("x")
    (tmp_path / "keys" / "b").symlink_to("sub/a")
    (tmp_path / "keys" / "data").symlink_to("sub")
    things = {thing.path: (thing.kind, thing.target) for thing in planned(tmp_path / "keys", "/etc/keys")}
    assert things == {
        "/etc/keys": ("directory", ""),
        "/etc/keys/b": ("file", ""),
        "/etc/keys/data": ("link", "sub"),
        "/etc/keys/sub": ("directory", ""),
        "/etc/keys/sub/a": ("file", ""),
    }


def test_what_is_in_the_image_is_never_replaced(token: Path) -> None:
    with pytest.raises(InvalidUsage, match="would replace /etc/passwd"):
        planned(token, "/etc/passwd")


def test_a_link_out_of_the_directory_and_a_source_that_is_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "out").symlink_to("/etc/hostname")
    with pytest.raises(InvalidUsage, match="leads out of the directory"):
        planned(tmp_path / "keys", "/x")
    with pytest.raises(InvalidUsage, match="is no file and no directory"):
        planned(tmp_path / "nowhere", "/x")


def test_a_link_that_leads_nowhere_or_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InvalidUsage, match="cannot be injected"):
        planned(tmp_path, "/x")


def test_nothing_below_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_text("x")
    asked: list[str] = []
    plan([Injection(source=tmp_path, target="/etc/new")], workdir="/", mode=image(asked))
    assert asked == ["/etc", "/etc/new"]


def test_more_than_one_command_could_remove_is_refused(tmp_path: Path) -> None:
    for number in range(injections.MOST + 1):
        (tmp_path / f"{number}").touch()
    with pytest.raises(LimitReached, match=f"more than {injections.MOST} files"):
        planned(tmp_path, "/x")


def test_what_is_sent_is_for_the_user_alone_and_keeps_what_can_be_run(token: Path) -> None:
    tool = token.with_name("tool")
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    made = plan([Injection(source=token.parent, target="/etc/keys")], workdir="/", mode=image())
    with tarfile.open(fileobj=io.BytesIO(b"".join(injections.upload(made, 1001, 0)))) as tar:
        found = {member.name: (member.mode, member.uid) for member in tar.getmembers()[1:]}
    assert found == {"etc/keys": (0o700, 1001), "etc/keys/token": (0o600, 1001), "etc/keys/tool": (0o700, 1001)}
