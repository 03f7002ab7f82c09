"""Where scripts come from: the user's place, the source's own, the image's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized, InvalidUsage, LimitReached, Refused, S2IError
from s2ictl.events import Emit, Event
from s2ictl.scripts import Located, Script, Scripts, collect, download, file_at, locate, parse_url
from tests.fakes.web import Page, serving
from tests.logs import texts
from tests.workbench import tree


def nothing(url: str, emit: Emit) -> bytes | None:
    return None


# ------------------------------------------------------------------------------------------------------ which one wins


def test_each_script_is_found_alone_and_the_user_s_place_comes_first(tmp_path: Path, emit: Emit) -> None:
    (tmp_path / "run").write_bytes(b"the user's")
    source = tree({".s2i/bin/assemble": b"the source's", ".s2i/bin/run": b"the source's", ".s2i/bin/notes": b""})
    brought = collect(f"file://{tmp_path}", source, download=nothing, emit=emit)
    assert brought == Scripts(
        brought=(
            Script(name="assemble", content=b"the source's", moved=".s2i/bin/assemble"),
            Script(name="run", content=b"the user's"),
        )
    )


@pytest.mark.parametrize(
    ("name", "located"),
    [
        ("assemble", Located(path="/tmp/scripts/assemble", own=False)),
        ("run", Located(path="/usr/libexec/s2i/run", own=True)),
    ],
)
def test_what_nobody_brings_is_the_image_s_own(name: str, located: Located) -> None:
    brought = Scripts(brought=(Script(name="assemble", content=b""),))
    assert locate(name, brought, destination="/tmp", own="/usr/libexec/s2i") == located


def test_a_script_that_is_nowhere_is_none() -> None:
    assert locate("run", Scripts(), destination="/tmp", own="") is None


def test_a_place_in_the_builder_beats_the_source(emit: Emit) -> None:
    brought = collect("image:///opt/mine", tree({".s2i/bin/run": b"r"}), download=nothing, emit=emit)
    assert locate("run", brought, destination="/tmp", own="/usr/libexec/s2i") == Located(path="/opt/mine/run", own=True)


# -------------------------------------------------------------------------------------------------- the source's own


def test_the_old_place_in_the_source_is_taken_with_a_word(events: list[Event], emit: Emit) -> None:
    brought = collect("", tree({".sti/bin/run": b"old"}), download=nothing, emit=emit)
    assert brought.brought == (Script(name="run", content=b"old", moved=".sti/bin/run"),)
    assert texts(events) == [".sti/bin/run is taken, but its place has another name now: .s2i/bin"]


def test_windows_line_ends_are_made_unix_ones(events: list[Event], emit: Emit) -> None:
    brought = collect("", tree({".s2i/bin/run": b"#!/bin/sh\r\ntrue\r\n"}), download=nothing, emit=emit)
    assert brought.brought[0].content == b"#!/bin/sh\ntrue\n"
    assert texts(events) == [".s2i/bin/run has Windows line ends; they are made Unix ones in the upload"]


@pytest.mark.parametrize(
    ("links", "gone"),
    [
        ({".s2i/bin/run": "../../ops/start"}, ".s2i/bin/run"),
        ({".s2i/bin/run": "./other", ".s2i/bin/other": "../../ops/start"}, ".s2i/bin/run"),
        ({".s2i": "build/s2i", "build/s2i/bin/run": "../../../ops/start"}, ""),
        ({".s2i/bin": "../ops", "ops/run": "start"}, ""),
    ],
)
def test_a_link_is_followed_inside_of_the_source(links: Mapping[str, str], gone: str, emit: Emit) -> None:
    brought = collect("", tree({"ops/start": b"start"}, links=links), download=nothing, emit=emit)
    assert brought.brought == (Script(name="run", content=b"start", moved=gone),)


@pytest.mark.parametrize(
    ("target", "failure"),
    [
        ("/etc/passwd", Refused),
        ("../../../etc/passwd", Refused),
        ("run", Refused),
        ("../../nowhere", FetchSourceFailed),
        ("../..", FetchSourceFailed),
    ],
)
def test_a_link_that_leads_elsewhere_is_said(target: str, failure: type[S2IError], emit: Emit) -> None:
    with pytest.raises(failure, match=r"\.s2i/bin/run"):
        collect("", tree({"app": b""}, links={".s2i/bin/run": target}), download=nothing, emit=emit)


@pytest.mark.parametrize("name", ["assemble", "run"])
def test_a_directory_in_the_place_of_a_script_is_not_passed_over(name: str, emit: Emit) -> None:
    with pytest.raises(FetchSourceFailed, match=rf"\.s2i/bin/{name} is a directory"):
        collect("", tree({f".s2i/bin/{name}/README": b""}), download=nothing, emit=emit)


@given(st.dictionaries(st.sampled_from(["a", "a/b", "c", "d"]), st.text("abcd./", max_size=8), max_size=4))
def test_whatever_links_there_are_a_path_means_a_file_of_the_source_or_nothing(links: dict[str, str]) -> None:
    try:
        found = file_at("a/b", tree({"c/file": b"", "d/b": b""}, links=links))
    except S2IError:
        return
    assert found in (None, "c/file", "d/b")


# --------------------------------------------------------------------------------------------- the place that is named


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("image:///usr/libexec/s2i/", "image:///usr/libexec/s2i"),
        ("file:///opt/scripts", "file:///opt/scripts"),
        ("file://rel/dir", "file:///here/rel/dir"),
        ("https://example.com/scripts/", "https://example.com/scripts"),
        ("http://127.0.0.1:8000/s", "http://127.0.0.1:8000/s"),
    ],
)
def test_a_place_of_scripts_has_one_spelling(text: str, url: str) -> None:
    assert parse_url(text, allow_http=False, cwd=Path("/here")) == url


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("", InvalidUsage),
        ("/usr/libexec/s2i", InvalidUsage),
        ("image://relative", InvalidUsage),
        ("image:///a/../b", InvalidUsage),
        ("image:///a;b", InvalidUsage),
        ("file://", InvalidUsage),
        ("ftp://example.com/s", InvalidUsage),
        ("https:///s", InvalidUsage),
        ("https://example.com:99999/s", InvalidUsage),
        ("https://[::1/s", InvalidUsage),
        ("https://example.com/a\nb", InvalidUsage),
        ("https://example.com/a b", InvalidUsage),
        ("http://example.com/s", Refused),
        ("https://me:canary@example.com/s", Refused),
        ("https://example.com/s?token=canary", Refused),
    ],
)
def test_what_is_no_place_of_scripts_is_refused_and_keeps_its_secrets(text: str, failure: type[S2IError]) -> None:
    with pytest.raises(failure) as refused:
        parse_url(text, allow_http=False, cwd=Path("/here"))
    assert "canary" not in f"{refused.value.message}{refused.value.detail}{refused.value.hint}"


def test_plain_http_is_taken_where_it_is_allowed() -> None:
    assert parse_url("http://example.com/s", allow_http=True, cwd=Path("/")) == "http://example.com/s"


def test_a_place_without_any_script_is_an_error_that_names_what_was_tried(tmp_path: Path, emit: Emit) -> None:
    with pytest.raises(FetchSourceFailed) as failure:
        collect(f"file://{tmp_path}", tree({".s2i/bin/run": b""}), download=nothing, emit=emit)
    assert failure.value.message == f"there is no script at file://{tmp_path}"
    assert failure.value.detail == "looked there for dependencies, assemble, run, save-artifacts, assemble-runtime"


def test_scripts_come_from_an_address(events: list[Event], emit: Emit) -> None:
    web = {"https://example.com/s/run": b"#!/bin/sh\r\n"}
    brought = collect("https://example.com/s", tree({}), download=lambda url, _: web.get(url), emit=emit)
    assert brought.brought == (Script(name="run", content=b"#!/bin/sh\n"),)
    assert texts(events)[0] == "run from https://example.com/s"


def test_a_page_in_the_place_of_a_script_is_said(emit: Emit) -> None:
    with pytest.raises(FetchSourceFailed, match="is a page of the web"):
        collect("https://e.com", tree({}), download=lambda *_: b"\n<!DOCTYPE html><html>", emit=emit)


def test_a_script_of_more_than_a_megabyte_is_not_taken(tmp_path: Path, emit: Emit) -> None:
    (tmp_path / "run").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(LimitReached):
        collect(f"file://{tmp_path}", tree({}), download=nothing, emit=emit)


@pytest.mark.parametrize(
    ("page", "content"),
    [(Page(body=b"#!/bin/sh"), b"#!/bin/sh"), (Page(status=404), None), (Page(status=403), None)],
)
def test_an_answer_is_a_script_or_says_that_there_is_none(page: Page, content: bytes | None, emit: Emit) -> None:
    with serving({"/run": page}) as address:
        assert download(f"{address}/run", emit, environ={}, ca_bundle=None) == content


@pytest.mark.parametrize(
    ("page", "failure"),
    [
        (Page(status=401), FetchSourceUnauthorized),
        (Page(status=418), FetchSourceFailed),
        (Page(body=bytes((1 << 20) + 1)), LimitReached),
    ],
)
def test_any_other_answer_is_a_failure(page: Page, failure: type[S2IError], emit: Emit) -> None:
    with serving({"/run": page}) as address, pytest.raises(failure):
        download(f"{address}/run", emit, environ={}, ca_bundle=None)
