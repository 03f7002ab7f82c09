"""Registries of every kind, as the whole program meets them: TLS, tokens, rules, and proxies of somebody else's."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import testbed
from tests.cli import Ran, Shell, shell
from tests.engine.proxy import Harm, Proxy, Step, running
from tests.fakes import tokens
from tests.fakes.images import program
from tests.fakes.tokens import LEEWAY, Tokens
from tests.parts import available
from tests.testbed import certificates
from tests.testbed.certificates import Authority
from tests.testbed.registry import Rules, standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """Where registries are set up, and where commands are typed."""

    directory: Path
    shell: Shell
    stack: ExitStack

    def registry(self, name: str = "storage", rules: Rules | None = None) -> str:
        with available():
            return self.stack.enter_context(standing(self.directory / name, rules or Rules()))

    def proxy(self, upstream: str, *, tls: certificates.Pair | None = None, body_limit: int = 0) -> Proxy:
        return self.stack.enter_context(running(Proxy(upstream=upstream, body_limit=body_limit), tls=tls))

    def tokens(self) -> Tokens:
        return self.stack.enter_context(tokens.running(Tokens(directory=self.directory)))

    def log_in(self, host: str, **entry: str) -> None:
        config = self.shell.home / ".docker/config.json"
        config.parent.mkdir(exist_ok=True)
        config.write_text(json.dumps({"auths": {host: entry}}))

    def push(self, *names: str, flags: tuple[str, ...] = ()) -> Ran:
        """Push a program under these names."""
        (self.shell.cwd / "app").write_bytes(program())
        tags = [word for name in names for word in ("--tag", name)]
        return self.shell.run("b2i", "app", *tags, "--push", *flags)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with ExitStack() as stack:
        yield Yard(directory=tmp_path, shell=shell(tmp_path), stack=stack)


def digest_at(host: str, name: str, *, trusted: ssl.SSLContext | None = None) -> str:
    """What the registry itself says."""
    repository, _, tag = name.partition(":")
    scheme = "https" if trusted else "http"
    request = urllib.request.Request(f"{scheme}://{host}/v2/{repository}/manifests/{tag}", method="HEAD")
    request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
    with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
        return str(answer.headers["Docker-Content-Digest"])


def failure(ran: Ran) -> tuple[int, str]:
    """The status, and the first words of all that was said of it."""
    begin = ran.stderr.find("error: ")
    return ran.status, ran.stderr[begin:]


# -------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return certificates.authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.mark.parametrize(
    ("name", "alternative", "days", "bundle", "cause"),
    [
        ("unknown", "IP:127.0.0.1", "30", False, "its certificate is not trusted"),
        ("elsewhere", "DNS:registry.example.com", "30", True, "its certificate is for another host"),
        ("expired", "IP:127.0.0.1", "-1", True, "its certificate is not valid now"),
    ],
)
def test_a_certificate_that_is_wrong_ends_with_10_and_is_never_gone_around(
    name: str, alternative: str, days: str, bundle: bool, cause: str, yard: Yard, authority: Authority
) -> None:
    pair = authority.issue(name, subject="/CN=registry", alternatives=[alternative], days=days)
    host = yard.registry(rules=Rules(tls=pair))
    trusted = ("--ca-bundle", str(authority.own.certificate)) if bundle else ()
    for flags in ((), ("--insecure-registry", host)):
        ran = yard.push(f"{host}/team/app:1", flags=(*trusted, *flags))
        assert failure(ran)[1].startswith(f"error: could not reach {host}: {cause} (Unreachable)"), ran.stderr
        assert ran.status == 10


def test_a_registry_is_trusted_by_the_authority_that_is_named(yard: Yard, authority: Authority) -> None:
    pair = authority.issue("good", subject="/CN=registry", alternatives=["IP:127.0.0.1"])
    host = yard.registry(rules=Rules(tls=pair))
    ran = yard.push(f"{host}/team/app:1", flags=("--ca-bundle", str(authority.own.certificate)))
    trusted = ssl.create_default_context(cafile=authority.own.certificate)
    assert ran.stdout == f"{host}/team/app:1@{digest_at(host, 'team/app:1', trusted=trusted)}\n", ran.stderr


def test_a_registry_behind_a_proxy_with_tls_believes_in_plain_http_and_is_not_believed(
    yard: Yard, authority: Authority
) -> None:
    pair = authority.issue("proxy", subject="/CN=proxy", alternatives=["IP:127.0.0.1"])
    host = yard.registry()
    proxy = yard.proxy(host, tls=pair)
    ran = yard.push(f"{proxy.address}/team/app:1", flags=("--ca-bundle", str(authority.own.certificate)))
    assert ran.stdout == f"{proxy.address}/team/app:1@{digest_at(host, 'team/app:1')}\n", ran.stderr


# ------------------------------------------------------------------------------------------------------------ tokens


def with_tokens(yard: Yard) -> tuple[Tokens, Proxy]:
    """A registry that wants tokens, and the proxy before it and its service."""
    signer = yard.tokens()
    proxy = yard.proxy("")
    proxy.tokens = signer.address
    proxy.upstream = yard.registry(rules=Rules(auth=signer.auth(f"http://{proxy.address}/token")))
    yard.log_in(proxy.address, username=signer.username, password=signer.password)
    return signer, proxy


def test_a_token_is_fetched_and_pushes(yard: Yard) -> None:
    _, proxy = with_tokens(yard)
    ran = yard.push(f"{proxy.address}/team/app:1", f"{proxy.address}/team/app:latest")
    assert ran.status == 0, ran.stderr
    named, latest = ran.stdout.split() if "\n" in ran.stdout.strip() else (ran.stdout.strip(), "")
    assert named.startswith(f"{proxy.address}/team/app:1@sha256:")
    assert latest in ("", named.replace(":1@", ":latest@"))


@pytest.mark.parametrize("path", ["blobs/uploads/UPLOAD", "manifests/1"])
def test_a_token_that_expires_amid_a_push_is_renewed(path: str, yard: Yard) -> None:
    signer, proxy = with_tokens(yard)
    signer.seconds = 2

    def dawdle(step: Step) -> None:
        if step == Step("PUT", path):
            signer.seconds = 300
            time.sleep(2.2)  # the registry looks at its own clock

    proxy.before = dawdle
    ran = yard.push(f"{proxy.address}/team/app:1")
    assert ran.status == 0, ran.stderr
    assert signer.granted == 2


def test_a_token_that_is_old_already_is_renewed_once_and_then_refused(yard: Yard) -> None:
    signer, proxy = with_tokens(yard)
    signer.seconds = -LEEWAY
    ran = yard.push(f"{proxy.address}/team/app:1")
    status, said = failure(ran)
    assert (status, signer.granted) == (4, 1), said
    assert said.startswith(f"error: could not push {proxy.address}/team/app")
    assert "the login came from" in said


@pytest.mark.parametrize("mistake", ["for another registry", "to pull alone"])
def test_a_token_that_does_not_allow_it_ends_with_4_and_where_the_login_came_from(mistake: str, yard: Yard) -> None:
    signer, proxy = with_tokens(yard)
    if mistake == "to pull alone":
        signer.actions = frozenset({"pull"})
    else:
        signer.service = "another registry"
    status, said = failure(yard.push(f"{proxy.address}/team/app:1"))
    assert status == 4, said
    assert said.startswith(f"error: could not push {proxy.address}/team/app")
    assert f'auths → "{proxy.address}"' in said.replace("\n", " ")


def test_a_wrong_password_is_shown_once_to_the_token_service_and_never_to_anybody_else(yard: Yard) -> None:
    signer, proxy = with_tokens(yard)
    yard.log_in(proxy.address, username=signer.username, password="wrong-canary")
    status, said = failure(yard.push(f"{proxy.address}/team/app:1"))
    assert (status, len(signer.asked), "canary" in said, "\x1b" in said) == (4, 1, False, False), said


def test_an_identity_token_is_exchanged_by_a_form(yard: Yard) -> None:
    signer, proxy = with_tokens(yard)
    user = base64.b64encode(b"<token>:").decode()
    yard.log_in(proxy.address, auth=user, identitytoken=signer.refresh)
    ran = yard.push(f"{proxy.address}/team/app:1")
    assert ran.status == 0, ran.stderr
    assert set(signer.asked) == {"POST refresh_token"}


# ------------------------------------------------------------------------------------------------------------- rules


def test_a_registry_that_only_reads_ends_with_8_and_says_so(yard: Yard) -> None:
    host = yard.registry(rules=Rules(read_only=True))
    status, said = failure(yard.push(f"{host}/team/app:1"))
    assert (status, "the registry seems to be read-only" in said) == (8, True), said


def test_a_proxy_that_limits_the_size_of_a_layer_ends_with_8_and_says_so(yard: Yard) -> None:
    proxy = yard.proxy(yard.registry(), body_limit=1000)
    status, said = failure(yard.push(f"{proxy.address}/team/app:1"))
    assert status == 8, said
    assert "limits the size" in said


def test_a_full_quota_ends_with_4_at_the_first_word_and_gives_the_registry_s_reason(yard: Yard) -> None:
    proxy = yard.proxy(yard.registry())
    body = json.dumps({"errors": [{"code": "DENIED", "message": "quota \x1b[2J exceeded"}]}).encode()
    proxy.begin(Harm(step=Step("POST", "blobs/uploads/"), kind="status", status=403, body=body, times=99))
    status, said = failure(yard.push(f"{proxy.address}/team/app:1"))
    assert (status, proxy.hurt, "\x1b" in said) == (4, 1, False), said
    assert "DENIED quota" in said


# ----------------------------------------------------------------------------------------- faults, by the whole program


AT_ONCE = {"Retry-After": "0"}


@pytest.mark.parametrize(
    ("method", "path", "kind", "status", "times"),
    [
        ("POST", "blobs/uploads/", "status", 429, 4),
        ("PUT", "manifests/1", "status", 500, 4),
        ("POST", "blobs/uploads/", "reset", 0, 1),
        ("PUT", "manifests/1", "lose", 0, 1),
    ],
)
def test_what_passes_is_survived_and_the_answer_is_right(
    method: str, path: str, kind: str, status: int, times: int, yard: Yard
) -> None:
    host = yard.registry()
    proxy = yard.proxy(host)
    proxy.begin(Harm(step=Step(method, path), kind=kind, status=status, headers=AT_ONCE, times=times))
    ran = yard.push(f"{proxy.address}/team/app:1")
    assert (ran.status, proxy.hurt) == (0, times), ran.stderr
    assert ran.stdout == f"{proxy.address}/team/app:1@{digest_at(host, 'team/app:1')}\n"


def test_what_does_not_pass_ends_with_8_and_without_a_tag(yard: Yard) -> None:
    host = yard.registry()
    proxy = yard.proxy(host)
    proxy.begin(Harm(step=Step("PUT", "manifests/1"), kind="status", status=503, headers=AT_ONCE, times=99))
    ran = yard.push(f"{proxy.address}/team/app:1")
    assert (failure(ran)[0], ran.stdout, proxy.hurt) == (8, "", 5), ran.stderr
    assert "the registry answered 503" in ran.stderr
    with pytest.raises(urllib.error.HTTPError, match="404"):
        digest_at(host, "team/app:1")


# ------------------------------------------------------------------------------------------------- others see the same


def skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", *words], check=True, capture_output=True).stdout


def test_skopeo_the_engine_and_two_tags_agree_on_the_digest(
    registry_facts: testbed.Registry, engine_facts: testbed.Engine, yard: Yard
) -> None:
    repository = f"{registry_facts.open}/registries/{os.urandom(6).hex()}"
    ran = yard.push(f"{repository}:1", f"{repository}:latest")
    digest = ran.stdout.split()[0].partition("@")[2]
    raw = [skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{repository}:{tag}") for tag in ("1", "latest")]
    assert raw[0] == raw[1] == json.dumps(json.loads(raw[0]), separators=(",", ":"), sort_keys=False).encode()
    assert digest == f"sha256:{hashlib.sha256(raw[0]).hexdigest()}"
    docker = ["docker", "--host", engine_facts.docker_host]
    try:
        pulled = subprocess.run([*docker, "pull", f"{repository}:1"], check=True, capture_output=True, text=True)
        assert f"Digest: {digest}" in pulled.stdout
    finally:
        subprocess.run([*docker, "rmi", f"{repository}:1"], check=False, capture_output=True)


def test_a_second_push_of_the_same_sends_nothing_and_says_the_same(yard: Yard) -> None:
    proxy = yard.proxy(yard.registry())
    first = yard.push(f"{proxy.address}/team/app:1")
    os.utime(yard.shell.cwd / "app", (0, 0))
    proxy.begin()
    second = yard.push(f"{proxy.address}/team/app:1")
    assert (second.status, second.stdout) == (0, first.stdout)
    assert [step for step in proxy.seen if "uploads" in step.path] == []
