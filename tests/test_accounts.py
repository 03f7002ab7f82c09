from __future__ import annotations

from dataclasses import replace

import pytest

from s2ictl.engines import accounts
from s2ictl.engines.accounts import Account
from s2ictl.errors import (
    PullBuilderImageFailed,
)

PASSWD = "root:x:0:0::/root:/bin/sh\nbroken\ndefault:x:1001:5::/app:/bin/sh\nodd:x:a:b::/:/bin/sh\n"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", (0, 0)),
        ("root", (0, 0)),
        ("0", (0, 0)),
        ("1001", (1001, 5)),
        ("1001:0", (1001, 0)),
        ("default", (1001, 5)),
        ("default:staff", (1001, 50)),
        ("4242", (4242, 0)),
        ("4242:7", (4242, 7)),
    ],
)
def test_a_user_has_the_numbers_that_the_image_gives_it(user: str, ids: tuple[int, int]) -> None:
    assert accounts.ids_of(user, passwd=PASSWD, group="staff:x:50:\n") == ids


@pytest.mark.parametrize(
    ("user", "account"),
    [
        ("default", Account(uid=1001, gid=5, groups=(10, 50), home="/app")),
        ("1001", Account(uid=1001, gid=5, groups=(10, 50), home="/app")),
        ("default:staff", Account(uid=1001, gid=50, home="/app")),
        ("root", Account(uid=0, gid=0, home="/root")),
        ("4242", Account(uid=4242, gid=0)),
    ],
)
def test_an_account_has_its_home_and_the_groups_that_it_is_in_unless_one_is_named(user: str, account: Account) -> None:
    group = b"staff:x:50:default\nwheel:x:10:other,default\nown:x:5:default\nbroken\n"
    files = {"/etc/passwd": PASSWD.encode(), "/etc/group": group}
    found = accounts.account_of(user, lambda path, _: files.get(path))
    assert replace(found, groups=tuple(sorted(found.groups))) == account


def test_an_image_without_lists_knows_numbers_alone() -> None:
    assert accounts.account_of("7:8", lambda _path, _limit: None) == Account(uid=7, gid=8)


@pytest.mark.parametrize("user", ["nobody", "odd", "default:nogroup"])
def test_a_name_that_the_image_does_not_have_is_a_broken_builder(user: str) -> None:
    with pytest.raises(PullBuilderImageFailed):
        accounts.ids_of(user, passwd=PASSWD, group="")
