"""Whose an address is, in every spelling that a hostile answer could use."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from s2ictl.addresses import ca_bundle, is_loopback, joined, may_lead, origin_of, proxy_for
from s2ictl.errors import InvalidUsage

PUBLIC = "https://registry.example.com/v2/"
LOCAL = "http://127.0.0.1:5000/v2/"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "017700000001", "127.1"])
def test_this_machine_is_known_in_the_spellings_of_the_resolver(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "128.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "10.0.0.1"])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "target",
    [
        "http://registry.example.com/",
        "https://169.254.169.254/latest/meta-data",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[fe80::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://10.1.2.3:8443/",
        "https://localhost/",
        "https://0.0.0.0/",
        "ftp://files.example.com/",
        "https:///nowhere",
        "https://example.com:99999/",
        "",
    ],
)
def test_a_public_host_leads_neither_to_less_safety_nor_behind_our_walls(target: str) -> None:
    assert not may_lead(PUBLIC, target)


@pytest.mark.parametrize(
    ("origin", "target"),
    [
        (PUBLIC, "https://blobs.example.net/layer"),
        (PUBLIC, "https://93.184.216.34/layer"),
        (LOCAL, "http://127.0.0.1:9000/layer"),
        (LOCAL, "https://10.0.0.1/layer"),
        (LOCAL, "http://store.example.com/layer"),
    ],
)
def test_where_the_way_is_as_safe_as_before_it_may_lead_on(origin: str, target: str) -> None:
    assert may_lead(origin, target)


@given(some.text(max_size=60) | some.text("htps:/[]@%.0127x", max_size=30))
@example("http://[")
@example("https://[:::]:1/")
@example("https://a\0b/")
@example("https://\udcff/")
@example("https://h\uff0fx/")
def test_no_text_confuses_the_judgement(text: str) -> None:
    assert may_lead(PUBLIC, joined(PUBLIC, text)) in (True, False)
    assert origin_of(text)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("https://Registry.example.com/a") == origin_of("https://registry.example.com:443/b")
    assert origin_of("https://registry.example.com") != origin_of("https://registry.example.com:8443")
    assert origin_of("https://registry.example.com") != origin_of("http://registry.example.com")


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        (PUBLIC, {}, ""),
        (PUBLIC, {"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        (PUBLIC, {"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        (PUBLIC, {"ALL_PROXY": "http://all:1"}, "http://all:1"),
        (PUBLIC, {"http_proxy": "http://proxy:3128"}, ""),
        (LOCAL, {"http_proxy": "http://proxy:3128"}, ""),
        (PUBLIC, {"https_proxy": "http://proxy:3128", "no_proxy": "*"}, ""),
        (PUBLIC, {"https_proxy": "http://proxy:3128", "no_proxy": "other, example.com"}, ""),
        (PUBLIC, {"https_proxy": "http://proxy:3128", "NO_PROXY": ".example.com:443"}, ""),
        (PUBLIC, {"https_proxy": "http://proxy:3128", "no_proxy": "ample.com,10.0.0.0/8"}, "http://proxy:3128"),
        ("https://10.1.1.1/", {"https_proxy": "http://proxy:3128", "no_proxy": "10.0.0.0/8"}, ""),
        ("https://10.1.1.1/", {"https_proxy": "http://proxy:3128", "no_proxy": "a/b"}, "http://proxy:3128"),
        ("https://10.1.1.1/", {"https_proxy": "http://proxy:3128", "no_proxy": "10.1.1.1:443"}, ""),
        ("https://10.1.1.1/", {"https_proxy": "http://proxy:3128", "no_proxy": "10.1.1.1:80"}, "http://proxy:3128"),
        ("https://[fd00::443]/", {"https_proxy": "http://proxy:3128", "no_proxy": "FD00:0::443"}, ""),
        ("https://[fd00::1]/", {"https_proxy": "http://proxy:3128", "no_proxy": "[fd00::1]:443"}, ""),
        ("https://[fd00::1]/", {"https_proxy": "http://proxy:3128", "no_proxy": "fd00::/8"}, ""),
        ("https://[fd00::1]:1/", {"https_proxy": "http://proxy:3128", "no_proxy": "10.0.0.0/8"}, "http://proxy:3128"),
        ("https://a.example.com./", {"https_proxy": "http://proxy:3128", "no_proxy": "example.com."}, ""),
    ],
)
def test_the_environment_names_the_proxy(url: str, environ: dict[str, str], proxy: str) -> None:
    assert proxy_for(url, environ) == proxy


def test_a_proxy_of_another_kind_is_a_wrong_value_that_is_not_shown() -> None:
    with pytest.raises(InvalidUsage, match="https_proxy does not name") as caught:
        proxy_for(PUBLIC, {"https_proxy": "socks5://user:canary@proxy"})
    assert "canary" not in caught.value.message + caught.value.hint


def test_the_flag_names_the_authorities_before_the_environment() -> None:
    environ = {"S2ICTL_CA_BUNDLE": "/s2ictl.pem", "SSL_CERT_FILE": "/ssl.pem", "REQUESTS_CA_BUNDLE": "/requests.pem"}
    here = Path("/here")
    assert ca_bundle(environ, flag=Path("flag.pem"), cwd=here) == Path("/here/flag.pem")
    assert ca_bundle(environ, flag=None, cwd=here) == Path("/s2ictl.pem")
    assert ca_bundle({"REQUESTS_CA_BUNDLE": "/requests.pem"}, flag=None, cwd=here) == Path("/requests.pem")
    assert ca_bundle({}, flag=None, cwd=here) is None
