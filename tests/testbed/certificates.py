"""Certificates of a node: an authority of its own, and one certificate for everybody who speaks on it.

By the openssl program, so that the tests need no Python library for it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DAYS = "30"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Signs certificates below its directory."""

    directory: Path

    @property
    def own(self) -> Pair:
        return self.pair("ca")

    def pair(self, name: str) -> Pair:
        return Pair(certificate=self.directory / f"{name}.crt", key=self.directory / f"{name}.key")

    def issue(self, name: str, *, subject: str, alternatives: Sequence[str] = (), days: str = DAYS) -> Pair:
        """A certificate for both ends of a connection."""
        made, request, extensions = (
            self.pair(name),
            self.directory / f"{name}.csr",
            self.directory / f"{name}.ext",
        )
        lines = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth"]
        lines += [f"subjectAltName={','.join(alternatives)}"] if alternatives else []
        extensions.write_text("\n".join(lines) + "\n")
        openssl("req", *KEY, "-subj", subject, "-keyout", made.key, "-out", request)
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.own.certificate, "-CAkey", self.own.key),
            *("-CAcreateserial", "-days", days, "-extfile", extensions, "-out", made.certificate),
        )
        return made


def authority(directory: Path) -> Authority:
    """A new authority in a directory that nobody else reads."""
    directory.mkdir(mode=0o700)
    made = Authority(directory=directory)
    names = ("-keyout", made.own.key, "-out", made.own.certificate)
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python trusts no authority that does not say it
    openssl("req", "-x509", *KEY, "-days", DAYS, "-subj", "/CN=s2ictl-testbed", *usage, *names)
    return made


def rsa_key(target: Path) -> Path:
    openssl("genrsa", "-out", target, "2048")
    return target


def openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], capture_output=True, check=True)
