"""Who may assemble; the table is that of the older tool's own test of it, and what else was found to slip through."""

from __future__ import annotations

import pytest

from s2ictl.errors import InvalidUsage, Refused
from s2ictl.models import UidRange
from s2ictl.uids import is_root, judge, parse, shown


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", ()),
        ("1001", (UidRange(first=1001, last=1001),)),
        ("1-", (UidRange(first=1),)),
        ("-1999", (UidRange(first=0, last=1999),)),
        ("1000-1999", (UidRange(first=1000, last=1999),)),
        ("5, 7-9,100-", (UidRange(first=5, last=5), UidRange(first=7, last=9), UidRange(first=100))),
    ],
)
def test_a_policy_is_a_list_of_numbers_and_ranges(text: str, policy: tuple[UidRange, ...]) -> None:
    assert parse(text) == policy
    assert parse(shown(policy)) == policy


@pytest.mark.parametrize("text", ["-", ",", "1,", "a", "1-a", "2-1", "1--2", "+1", "-1-2", "٣", "4294967295", "9" * 11])
def test_what_is_no_policy_is_wrong_usage(text: str) -> None:
    with pytest.raises(InvalidUsage):
        parse(text)


@pytest.mark.parametrize(
    ("policy", "user"),
    [
        ("1-", "1"),
        ("1-", "1001:0"),
        ("1-", "1001:root"),
        ("0", "0"),
        ("0-", "0:0"),
        ("100-200,300", "300"),
        ("-1999", "01001"),
        ("", "root"),
        ("", ""),
    ],
)
def test_a_number_that_the_policy_names_may(policy: str, user: str) -> None:
    judge(user, parse(policy), whose="b:1", instead="name another")


@pytest.mark.parametrize(
    ("policy", "user"),
    [
        ("1-", ""),
        ("1-", "0"),
        ("1-", "+0"),
        ("1-", "0:0"),
        ("1-", "00"),
        ("1-", ":1001"),
        ("1-", "root"),
        ("1-", "root:root"),
        ("1-", "default"),
        ("0-", "default"),
        ("0-", ""),
        ("1-", "-1"),
        ("1-", "1001 "),
        ("1-", "١٢"),
        ("1-", "99999999999"),
        ("100-200", "99"),
        ("100-200", "201"),
        ("100-200,300", "250"),
    ],
)
def test_everybody_else_is_refused(policy: str, user: str) -> None:
    with pytest.raises(Refused):
        judge(user, parse(policy), whose="b:1", instead="name another")


def test_a_refusal_names_the_user_whose_he_is_and_the_policy() -> None:
    with pytest.raises(Refused) as refused:
        judge("jboss", parse("1-"), whose="a label of tomcat:9", instead="name another one: --assemble-user UID")
    assert refused.value.message == "the user 'jboss' of a label of tomcat:9 is not among the allowed ones: 1-"
    assert refused.value.hint == "name another one: --assemble-user UID, or allow this one by --allowed-uids"


@pytest.mark.parametrize(
    ("user", "root"),
    [
        ("", True),
        ("0", True),
        ("+0", True),
        ("0:5", True),
        ("root", True),
        (":7", True),
        ("1001", False),
        ("me", False),
    ],
)
def test_root_has_many_names(user: str, root: bool) -> None:
    assert is_root(user) is root
