"""Which ids an ordinary user may give to a container, as the machine's files say it."""

from __future__ import annotations

import pytest

from s2ictl.engines.embedded.subordinate import mapping
from s2ictl.errors import Unreachable

FILES = {"/etc/subuid": "other:1:2\nann:100000:65536\n1000:300000:10\n", "/etc/subgid": "# ours\nann:200000:65536\n"}


def mapped(files: dict[str, str], *, programs: tuple[str, ...] = ("newuidmap", "newgidmap")) -> object:
    def find(name: str) -> str | None:
        return f"/usr/bin/{name}" if name in programs else None

    return mapping("ann", 1000, 1001, read=lambda path: files.get(path, ""), find=find)


def test_a_user_is_root_and_has_all_of_his_ranges_after_that_by_name_and_by_number() -> None:
    assert mapped(FILES) == (
        ("/usr/bin/newuidmap", "0", "1000", "1", "1", "100000", "65536", "65537", "300000", "10"),
        ("/usr/bin/newgidmap", "0", "1001", "1", "1", "200000", "65536"),
    )


@pytest.mark.parametrize("line", ["", "ann:100000", "ann:many:65536", "ann:1:2:3", "anna:100000:65536"])
def test_a_user_without_a_range_is_told_how_he_gets_one(line: str) -> None:
    with pytest.raises(Unreachable, match="ann has no subordinate ids in /etc/subgid") as caught:
        mapped({**FILES, "/etc/subgid": line})
    assert caught.value.hint == "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann"


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(Unreachable, match="newgidmap is not installed"):
        mapped(FILES, programs=("newuidmap",))
