from __future__ import annotations

import pytest

from s2ictl.engines import accounts
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


@pytest.mark.parametrize("user", ["nobody", "odd", "default:nogroup"])
def test_a_name_that_the_image_does_not_have_is_a_broken_builder(user: str) -> None:
    with pytest.raises(PullBuilderImageFailed):
        accounts.ids_of(user, passwd=PASSWD, group="")
