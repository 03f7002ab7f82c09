"""A server on loopback that speaks TLS and nothing else, under a certificate that nobody trusts unasked."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# For localhost and 127.0.0.1, for a hundred years: the first layer has no program that could make one.
_PAIR = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6gAGVBPQXS5Xjn1k
N4IkVGG1c1rxVizzWtzKkS0Cww2hRANCAAQhMlIfwWdx2XRpJPDrnHQ1ZBUknzyl
BFi1/gdumGU0KoMd/vHZzEqfsI+LP8DwbeZa58Yb3I7Pcq+NToZfHgtC
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUDBI1o8t4hmG/IFxB/ktrvsablVUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTIyMjI1MVoYDzIxMjYxMDI4
MjIyMjUxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQhMlIfwWdx2XRpJPDrnHQ1ZBUknzylBFi1/gdumGU0KoMd/vHZzEqf
sI+LP8DwbeZa58Yb3I7Pcq+NToZfHgtCo28wbTAdBgNVHQ4EFgQUYbreFBQlfV4j
n0DdHY5NAhlLIHkwHwYDVR0jBBgwFoAUYbreFBQlfV4jn0DdHY5NAhlLIHkwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgYLuLyGa2c2CpEv0fUeE6PjJCEZhgDHeYjUqMYvVzjw4CIA9z
YNwHxdqtRvA2UVJIdnvXsAkB1ZGxfs8EiLnpesAh
-----END CERTIFICATE-----
"""


@contextmanager
def speaking(directory: Path, say: Callable[[ssl.SSLSocket], None]) -> Iterator[tuple[str, Path]]:
    """Where it is, and the bundle with which it is trusted; whoever comes with TLS has this said to him."""
    bundle = directory / "server.pem"
    bundle.write_text(_PAIR)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, context, say), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", bundle
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, context: ssl.SSLContext, say: Callable[[ssl.SSLSocket], None]) -> None:
    with suppress(OSError):  # until nobody listens any more
        while True:
            plain, _ = listener.accept()
            with plain, suppress(OSError), context.wrap_socket(plain, server_side=True) as wire:
                say(wire)
