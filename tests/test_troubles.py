"""What is said of a host that could not be reached, whichever library noticed."""

from __future__ import annotations

import inspect
import socket
import ssl
import subprocess
import sys

import pytest
from urllib3 import exceptions

from s2ictl.errors import ConnectionLost, Unreachable
from s2ictl.troubles import _troubles, unreachable
from s2ictl.wire import Lost, Nameless, NoRoute, ProxyRefused, Silent, Unreadable


def certificate_error(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (certificate_error(20), Unreachable, "its certificate is not trusted"),
        (certificate_error(10), Unreachable, "its certificate is not valid now"),
        (certificate_error(62), Unreachable, "its certificate is for another host"),
        (exceptions.SSLError(ssl.SSLError(1, "WRONG_VERSION_NUMBER")), Unreachable, "it does not speak TLS"),
        (socket.gaierror(-2, "Name or service not known"), Unreachable, "there is no such host name"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), Unreachable, "its name cannot be looked up now"),
        (Nameless("label empty"), Unreachable, "there is no such host name"),
        (ConnectionRefusedError(111, "Connection refused"), Unreachable, "connection refused"),
        (exceptions.ProxyError("no", OSError("Tunnel connection failed: 403")), Unreachable, "the proxy did not let"),
        (exceptions.ProtocolError("Connection aborted.", FileNotFoundError(2, "no")), Unreachable, "its socket does"),
        (ConnectionResetError(104, "reset"), ConnectionLost, "the connection broke off"),
        (exceptions.IncompleteRead(1, 2), ConnectionLost, "the connection broke off"),
        (TimeoutError("timed out"), ConnectionLost, "it fell silent"),
        (Silent("timed out"), Unreachable, "it does not answer"),
        (NoRoute("Network is unreachable"), Unreachable, "there is no way to it from here"),
        (ProxyRefused("it answered 407"), Unreachable, "the proxy did not let it through"),
        (Lost("the connection was closed"), ConnectionLost, "the connection broke off"),
        (Unreadable("it begins with b'SSH'"), ConnectionLost, "it does not answer as an HTTP server"),
    ],
)
def test_each_trouble_has_its_own_words(error: Exception, kind: type[Unreachable], words: str) -> None:
    failure = unreachable(error, subject="registry.example.com")
    assert type(failure) is kind
    assert failure.message.startswith(f"could not reach registry.example.com: {words}")
    assert failure.hint


def test_the_trouble_is_found_below_what_other_libraries_put_around_it() -> None:
    outer = RuntimeError("Error while fetching server API version")
    outer.__cause__ = OSError(exceptions.MaxRetryError(None, "/", ConnectionRefusedError()))  # type: ignore[arg-type]
    failure = unreachable(outer)
    assert failure is not None
    assert failure.message == "could not reach the server: connection refused"


def test_what_has_nothing_to_do_with_the_network_is_nobody_s_business_here() -> None:
    assert unreachable(ValueError("a bug")) is None


def test_no_exception_of_urllib3_is_unmapped() -> None:
    ours = tuple(kind for kinds, _ in _troubles() for kind in kinds)
    theirs = [
        kind
        for _, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, Warning) and kind.__module__ == exceptions.__name__
    ]
    assert [kind.__name__ for kind in theirs if not issubclass(kind, ours)] == []
    assert len(theirs) > 20


def test_nothing_is_loaded_to_find_out() -> None:
    code = "import sys; from s2ictl.troubles import unreachable; unreachable(TimeoutError())"
    code += "; print({'urllib3', 'ssl', 'http.client'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"
