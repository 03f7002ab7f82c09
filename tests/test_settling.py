"""Which directories are given their time, and how that is said; on real containers in tests/engine/test_settling.py."""

from __future__ import annotations

import io
import json
import stat
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from s2ictl.engines.injections import Injected, Plan
from s2ictl.engines.settling import Place, first_directory, places, tar_of, told
from s2ictl.models import ImageFacts, Runtime, RuntimeArtifact
from tests.fakes.engine_contract import assembly

BASE = ImageFacts(id="sha256:0")
STICKY = Place(path="/tmp", mode=stat.S_IFDIR | 0o1777, uid=0, gid=0, mtime=7, changed="now")


def test_what_leads_to_what_is_put_there_and_taken_away_is_given_its_time() -> None:
    injected = Plan(things=(Injected(path="/etc/keys/shop/token", kind="file"),))
    described = assembly(BASE, workspace="/srv/build/.s2ictl", leftovers=("/srv/build/src",))
    assert places(described, injected) == ("/etc", "/etc/keys", "/etc/keys/shop", "/srv", "/srv/build", "/tmp")


def test_so_is_what_artifacts_are_carried_into() -> None:
    artifacts = (RuntimeArtifact(source="/a", target="web"), RuntimeArtifact(source="/b", target=""))
    runtime = Runtime(assembly=assembly(BASE), artifacts=artifacts, root="/opt/app")
    assert places(assembly(BASE), filled=runtime) == ("/opt", "/opt/app", "/opt/app/web", "/tmp")


def test_a_directory_is_told_with_all_of_its_mode_and_a_new_file_is_empty() -> None:
    file = Place(path="/etc/one", mode=stat.S_IFREG | 0o644, uid=1001)
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_of((STICKY, file))))) as tar:
        found = [(each.name, each.type, oct(each.mode), each.uid, each.mtime, each.size) for each in tar]
    assert found == [
        (".", tarfile.DIRTYPE, "0o755", 0, 0, 0),
        ("tmp", tarfile.DIRTYPE, "0o1777", 0, 7, 0),
        ("etc/one", tarfile.REGTYPE, "0o644", 1001, 0, 0),
    ]


def test_only_the_first_header_of_a_directory_s_archive_is_read() -> None:
    asked: list[int] = []
    archive = io.BytesIO(b"".join(tar_of((STICKY,)))[512:] + bytes(1 << 20))

    def read(size: int) -> bytes:
        asked.append(size)
        return archive.read(size)

    assert first_directory(read, "/tmp", changed="now") == STICKY
    assert sum(asked) < 4096


def test_a_file_is_not_given_the_time_of_a_directory() -> None:
    file = io.BytesIO(b"".join(tar_of((Place(path="/a", mode=stat.S_IFREG),)))[512:])
    assert first_directory(file.read, "/a", changed="now") is None


@given(st.integers(min_value=1, max_value=200))
def test_a_list_of_changes_is_searched_in_whatever_pieces_it_comes(at_once: int) -> None:
    changes = [{"Path": path, "Kind": 1} for path in ("/run", "/run/secrets", '/a "quoted" one', "/opt/appendix", "/ä")]
    text = json.dumps(changes, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    pieces = [text[start : start + at_once] for start in range(0, len(text), at_once)]
    wanted = ["/run/secrets", "/opt/app", '/a "quoted" one', "/ä", "/missing"]
    assert told(pieces, wanted) == {"/run/secrets", '/a "quoted" one', "/ä"}


def test_of_no_changes_nothing_is_told() -> None:
    assert told([b"null\n"], ["/run"]) == told([], []) == frozenset()


def test_what_go_escapes_in_a_path_is_found_as_well() -> None:
    assert told([b'[{"Path":"/a\\u0026b","Kind":1}]'], ["/a&b"]) == {"/a&b"}
