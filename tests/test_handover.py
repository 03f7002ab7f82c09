from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from s2ictl.archives import Entry, tar_stream
from s2ictl.engines import dockerapi, handover
from s2ictl.engines.injections import Injected, Plan
from s2ictl.models import BuildSecret, ImageFacts, Injection, Secret
from tests.fakes.engine_contract import assembly

BASE = ImageFacts(id="sha256:base", user="user")
MARK = "s2ictl-mark"
INJECTION = Injection(source=Path("/nowhere/keys"), target="/etc/keys")
SECRETIVE = assembly(
    BASE,
    build_env=(("TOKEN", Secret("canary")),),
    secrets=(BuildSecret(id="token", content=Secret("canary")),),
)


def test_a_command_is_wrapped_to_clear_away_what_may_not_stay_and_to_say_that_it_ended() -> None:
    gone = "/tmp/src /tmp/artifacts /tmp/.s2ictl"
    places = "|".join(f"{path}|{path}/*" for path in gone.split())
    script = f""""$@" || exit
cd /
held=
while read -r device place rest; do case $place in {places}) held=1;; esac; done </proc/mounts
[ "$held" ] || rm -rf -- {gone} 2>/dev/null || {{ chmod -R u+rwX {gone} 2>/dev/null; rm -rf -- {gone}; }}
printf '\\n%s\\n' "$0"
exit 0"""
    assert handover.wrapped(assembly(BASE), MARK) == ("/bin/sh", "-c", script, MARK, "/usr/libexec/s2i/assemble")


def test_where_something_is_injected_the_shell_stays_until_it_was_taken_away() -> None:
    script = handover.wrapped(assembly(BASE, injections=(INJECTION,)), MARK)[2]
    assert script.splitlines()[5:] == [
        "trap 'exit 0' USR1",
        """while printf '\\n%s\\n' "$0"; do sleep 1 2>/dev/null & wait $!; done""",
        "exit 0",
    ]


def test_build_only_variables_are_read_and_removed_before_the_command_starts() -> None:
    script = handover.wrapped(assembly(BASE, build_env=(("TOKEN", Secret("x")),)), MARK)[2]
    assert script.splitlines()[0] == ". /tmp/.s2ictl/variables && rm -f /tmp/.s2ictl/variables || exit"


def test_what_anybody_may_know_is_exported_and_gives_way_to_the_user_s_own_word() -> None:
    known = assembly(BASE, exports=(("EPOCH", "1"), ("ODD", "it's")), build_env=(("EPOCH", Secret("2")),))
    assert handover.wrapped(known, MARK)[2].splitlines()[:3] == [
        "export EPOCH=1",
        """export ODD='it'"'"'s'""",
        ". /tmp/.s2ictl/variables && rm -f /tmp/.s2ictl/variables || exit",
    ]


def uploaded(entries: Iterable[Entry]) -> Iterator[bytes]:
    return tar_stream(entries, uid=1001, gid=0)


def test_the_workspace_is_for_the_command_alone_and_quotes_what_it_hands_over() -> None:
    hidden = assembly(BASE, build_env=(("TOKEN", Secret("it's $(id)")),), ca_bundle=b"PEM")
    members, variables = unpacked(uploaded(handover.files(hidden)), "tmp/.s2ictl/variables")
    assert members == {
        ".": (0o755, 0, 0),
        "tmp/.s2ictl": (0o711, 1001, 0),
        "tmp/.s2ictl/variables": (0o600, 1001, 0),
        "tmp/.s2ictl/ca.pem": (0o644, 1001, 0),
    }
    lines = variables.decode().splitlines()
    assert (lines[0], lines[-1]) == (
        "export SSL_CERT_FILE=/tmp/.s2ictl/ca.pem",
        """export TOKEN='it'"'"'s $(id)'""",
    )


def test_a_secret_is_readable_for_the_command_s_user_alone() -> None:
    members, content = unpacked(uploaded(handover.secret_files(SECRETIVE)), "run/secrets/token")
    assert members == {".": (0o755, 0, 0), "run/secrets/token": (0o400, 1001, 0)}
    assert content == b"canary"


def test_what_is_kept_has_every_file_and_nothing_in_it() -> None:
    plan = Plan(things=(Injected(path="/etc/keys", kind="directory"), Injected(path="/etc/keys/a", kind="file")))
    handed = handover.Handover(assembly=SECRETIVE, mark=MARK, injected=plan)
    members, content = unpacked(handover.emptied(handed), "etc/keys/a")
    assert set(members) == {".", "tmp/.s2ictl/variables", "run/secrets/token", "etc/keys/a"}
    assert content == b""


def test_nothing_of_the_build_s_environment_reaches_what_root_runs() -> None:
    plan = Plan(things=(Injected(path="/etc/keys", kind="directory"), Injected(path="/etc/keys/a", kind="file")))
    hostile = assembly(BASE, env=(("PATH", "/opt/app/bin"), ("LD_PRELOAD", "/opt/app/evil.so")))
    told = handover.clearing(handover.Handover(assembly=hostile, mark=MARK, injected=plan), "0:0")
    assert told["Env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LD_PRELOAD=",
    ]
    assert (told["User"], told["Cmd"][-2:]) == ("0:0", ["/etc/keys/a", "/etc/keys"])


def unpacked(tar: Iterator[bytes], path: str) -> tuple[dict[str, tuple[int, int, int]], bytes]:
    """Mode and owner of every member, and the content of one."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar))) as archive:
        members = {member.name: (member.mode, member.uid, member.gid) for member in archive}
        file = archive.extractfile(path)
        assert file is not None
        return members, file.read()


def test_no_secret_stands_in_what_the_engine_is_told_of_the_container() -> None:
    document = dockerapi.container_document(SECRETIVE, handover.wrapped(SECRETIVE, MARK))
    assert "canary" not in json.dumps(document)


def test_without_a_shell_the_user_hears_what_did_not_reach_the_command() -> None:
    assert handover.without_shell(assembly(BASE, build_env=(("A", Secret("x")),), ca_bundle=b"PEM")) == (
        "contract/builder:1 has no /bin/sh with rm: /tmp/src stays in the image, and A, the CA bundle did not reach it"
    )
