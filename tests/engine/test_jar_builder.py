"""The builder of finished jars on real containers: every kind of jar that people bring, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from s2ictl.errors import AssembleFailed
from tests.engine import javas
from tests.engine.apps import Ours, Works

# Everything that assemble has left, with what a tar says of it.
LISTING = "cd /deployments && find . -printf '%p %u:%g %m %T@\\n' | sort"


@pytest.fixture(scope="module")
def works(ours: Ours) -> Works:
    return ours("jar")


@pytest.fixture(scope="module")
def newest(ours: Ours) -> Works:
    return ours("jar", "25")


def files_of(path: Path, *, below: str = "") -> Mapping[str, bytes]:
    """A file, or what lies in a directory, as a source has it."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {f"{below}{each.relative_to(path)}": each.read_bytes() for each in path.rglob("*") if each.is_file()}


def refused(works: Works, files: Mapping[str, bytes]) -> str:
    with pytest.raises(AssembleFailed) as caught:
        works.make("refused", files)
    return caught.value.detail


# ------------------------------------------------------------------------------------------------ what can be brought


def test_the_sample_answers_what_the_builder_promises(works: Works) -> None:
    assert "Hello from a finished jar" in works.sample().answer


def test_a_jar_is_told_its_words_and_nothing_in_them_is_looked_up(works: Works) -> None:
    image = works.image("plain", files_of(javas.jar()))
    environment = {"JAVA_ARGS": "--say 'two words' * $HOME `id` ;", "JAVA_OPTIONS": "-Da='b c'"}
    with works.running(image, environment=environment) as shop:
        assert shop.text() == "hello from a jar on Java 21, told [--say, two words, *, $HOME, `id`, ;]"


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (javas.fat_jar, "hello from a fat jar on Java 21, told []"),
        (javas.thin_jar, "hello from a library on Java 21, told []"),
        (javas.many_releases, "hello from any release on Java 21, told []"),
    ],
)
def test_fat_thin_and_many_releases_start(works: Works, make: object, answer: str) -> None:
    assert callable(make)
    image = works.make("kinds", files_of(make())).image
    with works.running(image) as shop:
        assert shop.text() == answer


def test_spring_boot_runs_on_a_read_only_root_as_any_user_of_group_0(works: Works) -> None:
    image = works.image("boot", files_of(javas.boot()))
    with works.running(image, read_only=True, tmpfs={"/tmp": ""}, user="123456:0") as shop:
        assert shop.text() == "hello from Spring Boot on Java 21"


def test_a_war_of_spring_boot_starts_by_itself(works: Works) -> None:
    with works.running(works.image("boot-war", files_of(javas.boot("war")))) as shop:
        assert shop.text() == "hello from Spring Boot on Java 21"


@pytest.mark.parametrize(("packaging", "below"), [("jar", ""), ("war", "shop/")])
def test_spring_boot_unpacked_is_started_by_its_launcher(
    works: Works, tmp_path: Path, packaging: Literal["jar", "war"], below: str
) -> None:
    made = works.make("unpacked", files_of(javas.unpacked(javas.boot(packaging), tmp_path), below=below))
    assert made.says("starts with shop.Shop, on Java 21")
    with works.running(made.image) as shop:
        assert shop.text() == "hello from Spring Boot on Java 21"


def test_what_is_for_java_25_runs_there_and_is_refused_on_21(works: Works, newest: Works) -> None:
    assert "shop.Shop in shop.jar is for Java 25, and this is Java 21" in refused(works, files_of(javas.future()))
    with newest.running(newest.image("future", files_of(javas.future()))) as shop:
        assert shop.text() == "hello from the future on Java 25, told []"
    with newest.running(newest.image("releases", files_of(javas.many_releases()))) as shop:
        assert shop.text() == "hello from release 25 on Java 25, told []"


def test_what_was_made_before_java_17_finds_java_open(works: Works) -> None:
    image = works.image("old", files_of(javas.jar(greeting="hello from long ago", level=8)))
    with works.running(image) as shop:
        assert shop.text() == "hello from long ago on Java 21, told []"
        words = shop.container.exec_run(["sh", "-c", "tr '\\0' '\\n' </proc/1/cmdline"]).output.decode()
    assert "--add-opens=java.base/java.lang=ALL-UNNAMED" in words.splitlines()


def test_a_library_and_a_war_for_a_server_are_refused_with_what_serves(works: Works) -> None:
    assert "there is no Main-Class in words.jar" in refused(works, files_of(javas.library()))
    assert "is for the builder tomcat" in refused(works, files_of(javas.war("jakarta")))


# ------------------------------------------------------------------------------------------------ how the image runs


def test_any_user_of_group_0_may_write_beside_the_application(works: Works) -> None:
    image = works.image("plain", files_of(javas.jar()))
    assert works.printed(image, "touch written", "stat -c %u:%g written", user="123456:0") == "123456:0\n"


def test_the_heap_fits_the_container_and_the_users_word_comes_last(works: Works) -> None:
    image = works.image("plain", files_of(javas.jar()))
    with works.running(image, mem_limit="512m") as shop:  # 60 of 100, without what the collector keeps
        assert 290 <= int(shop.text("/heap")) <= 310
    with works.running(image, mem_limit="512m", environment={"JAVA_OPTIONS": "-Xmx64m"}) as shop:
        assert 55 <= int(shop.text("/heap")) <= 64


def test_a_stopped_container_ends_at_once_and_by_itself(works: Works) -> None:
    with works.running(works.image("plain", files_of(javas.jar()))) as shop:
        shop.text()
        seconds, ended = shop.stop()
    assert (ended, seconds < 3) == (143, True)


# -------------------------------------------------------------------------------------------------- what is left of it


def test_the_layer_holds_the_jar_as_it_would_be_laid_there_without_a_container(works: Works) -> None:
    image = works.image("thin", files_of(javas.thin_jar()), epoch=1_700_000_000)
    assert works.printed(image, LISTING, user="0").splitlines() == [
        ". default:root 775 1700000000.0000000000",
        "./lib default:root 755 1700000000.0000000000",
        "./lib/words.jar default:root 644 1700000000.0000000000",
        "./shop.jar default:root 644 1700000000.0000000000",
    ]
    again = works.make("thin-again", files_of(javas.thin_jar()), epoch=1_700_000_000)
    assert works.layers(again.image) == works.layers(image)
