from __future__ import annotations

import io
import json
import tarfile

from s2ictl.engines import dockerapi, handover
from s2ictl.models import ImageFacts, Secret
from tests.fakes.engine_contract import assembly

BASE = ImageFacts(id="sha256:base", user="user")


def test_a_command_is_wrapped_to_clear_away_what_may_not_stay() -> None:
    script = '"$@" || exit\ncd /\nrm -rf -- /tmp/src /tmp/artifacts /tmp/.s2ictl\nexit 0'
    assert handover.wrapped(assembly(BASE)) == ("/bin/sh", "-c", script, "s2ictl", "/usr/libexec/s2i/assemble")


def test_build_only_variables_are_read_and_removed_before_the_command_starts() -> None:
    script = handover.wrapped(assembly(BASE, build_env=(("TOKEN", Secret("x")),)))[2]
    assert script.splitlines()[0] == ". /tmp/.s2ictl/variables && rm -f /tmp/.s2ictl/variables || exit"


def test_the_workspace_is_for_the_command_alone_and_quotes_what_it_hands_over() -> None:
    hidden = assembly(BASE, build_env=(("TOKEN", Secret("it's $(id)")),), ca_bundle=b"PEM")
    with tarfile.open(fileobj=io.BytesIO(handover.files(hidden, 1001, 0))) as tar:
        members = {member.name: (member.mode, member.uid, member.gid) for member in tar}
        file = tar.extractfile("tmp/.s2ictl/variables")
        assert file is not None
        variables = file.read().decode().splitlines()
    assert members == {
        ".": (0o755, 0, 0),
        "tmp/.s2ictl": (0o711, 1001, 0),
        "tmp/.s2ictl/variables": (0o600, 1001, 0),
        "tmp/.s2ictl/ca.pem": (0o644, 1001, 0),
    }
    assert variables[0] == "export SSL_CERT_FILE=/tmp/.s2ictl/ca.pem"
    assert variables[-1] == """export TOKEN='it'"'"'s $(id)'"""


def test_no_secret_stands_in_what_the_engine_is_told_of_the_container() -> None:
    hidden = assembly(BASE, build_env=(("TOKEN", Secret("canary")),))
    assert "canary" not in json.dumps(dockerapi.container_document(hidden, handover.wrapped(hidden)))


def test_without_a_shell_the_user_hears_what_did_not_reach_the_command() -> None:
    assert handover.without_shell(assembly(BASE, build_env=(("A", Secret("x")),), ca_bundle=b"PEM")) == (
        "contract/builder:1 has no /bin/sh: /tmp/src stays in the image, and A, the CA bundle did not reach it"
    )
