"""The builder of finished programs on real containers: what compilers make, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from s2ictl.errors import AssembleFailed
from tests.engine import programs
from tests.engine.apps import Ours, Works

LISTING = "(cd /opt/app-root && find . -type f -printf '%p %u:%g %m %T@\\n' | sort)"


@pytest.fixture(scope="module")
def works(ours: Ours) -> Works:
    return ours("binary")


def refused(works: Works, files: Mapping[str, bytes]) -> str:
    with pytest.raises(AssembleFailed) as caught:
        works.make("refused", files)
    return caught.value.detail


# ------------------------------------------------------------------------------------------------ what can be brought


def test_the_sample_answers_what_the_builder_promises(works: Works) -> None:
    assert "Hello from a finished program" in works.sample().answer


@pytest.mark.parametrize(
    ("compiled", "greeting"),
    [
        (programs.static_c, "hello from C alone, told  as 123456"),
        (programs.dynamic_c, "hello from C, told  as 123456"),
        (programs.dynamic_cpp, "hello from C++"),
        (programs.static_go, "hello from Go, told []"),
    ],
)
def test_a_program_runs_on_a_read_only_root_as_any_user_of_group_0(
    works: Works, compiled: Callable[[], Path], greeting: str
) -> None:
    image = works.make("kinds", {"shop": compiled().read_bytes()}).image
    with works.running(image, read_only=True, user="123456:0") as shop:
        assert shop.text() == greeting


def test_it_is_told_its_words_and_nothing_in_them_is_looked_up(works: Works) -> None:
    image = works.image("plain", {"shop": programs.dynamic_c().read_bytes()})
    with works.running(image, environment={"ARGS": "--say 'two words' * $HOME `id` \\\"quoted\\\" ;"}) as shop:
        assert shop.text() == 'hello from C, told --say|two words|*|$HOME|`id`|"quoted"|;| as 1001'


def test_a_name_with_spaces_is_a_name(works: Works) -> None:
    image = works.image("spaces", {"my own shop": programs.static_c().read_bytes()})
    with works.running(image) as shop:
        assert shop.text().startswith("hello from C alone")


def test_a_program_stays_beside_its_files_and_starts_among_them(works: Works) -> None:
    files = {"shop": programs.dynamic_c().read_bytes(), "conf/shop.ini": b"a=b\n", "tool": b"#!/bin/sh\necho tool\n"}
    image = works.image("files", files, epoch=1_700_000_000)
    with works.running(image) as shop:
        assert shop.text().startswith("hello from C")
    assert works.printed(image, LISTING, "pwd", "./tool", user="0").splitlines() == [
        "./src/conf/shop.ini default:root 644 1700000000.0000000000",
        "./src/shop default:root 755 1700000000.0000000000",
        "./src/tool default:root 755 1700000000.0000000000",
        "/opt/app-root/src",
        "tool",
    ]


# ------------------------------------------------------------------------------------------------ what cannot be


def test_what_could_not_start_is_refused_with_the_reason(works: Works) -> None:
    static, dynamic = programs.static_c().read_bytes(), programs.dynamic_c().read_bytes()
    foreign, musl = programs.foreign().read_bytes(), programs.dynamic_musl().read_bytes()
    assert "shop is a program for another machine; this one is" in refused(works, {"shop": foreign})
    assert "shop asks for /lib/ld-musl-" in refused(works, {"shop": musl})
    assert "there are several programs: a, b" in refused(works, {"a": static, "b": dynamic})
    assert "no file there is an ELF file" in refused(works, {"README": b"", "run.txt": b""})


def test_a_library_that_is_not_here_is_named(works: Works) -> None:
    asks = programs.asking_for_a_library().read_bytes()
    assert "shop asks for what is not here: libshop.so => not found" in refused(works, {"shop": asks})


# ------------------------------------------------------------------------------------------------ how the image runs


def test_a_stopped_container_ends_at_once_and_by_itself(works: Works) -> None:
    with works.running(works.image("plain", {"shop": programs.dynamic_c().read_bytes()})) as shop:
        shop.text()
        seconds, ended = shop.stop()
    assert (ended, seconds < 3) == (143, True)


def test_the_same_program_makes_the_same_layer(works: Works) -> None:
    files = {"shop": programs.static_go().read_bytes()}
    first, second = (works.make(name, files, epoch=1_700_000_000).image for name in ("once", "twice"))
    assert works.layers(first) == works.layers(second)
    assert works.printed(first, LISTING, user="0") == "./bin/shop default:root 755 1700000000.0000000000\n"
