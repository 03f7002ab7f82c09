"""What only a real forge can say: its own login, its own large files, a private repository inside of another."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized
from s2ictl.models import Login, Secret
from tests import testbed
from tests.engine.gitservers import git, repository, submodule
from tests.sourcetrees import Bench

BIG = bytes(range(256)) * 4000
OID = hashlib.sha256(BIG).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(BIG)}\n"
SHOP = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "app.py": "print(1)\n", "big.bin": POINTER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of the forge, and two private repositories of theirs: `shop` with a large file, `parts` inside of it."""

    forge: testbed.Forge
    shop: str
    parts: str

    def address(self, name: str, login: str = "") -> str:
        scheme, _, rest = self.forge.url.partition("://")
        return f"{scheme}://{login}{rest}/{self.forge.username}/{name}.git"

    def login(self, host: str) -> Login | None:
        return Login(host=host, username="bot", password=Secret(self.forge.token), origin="a token of the forge")

    def say(self, method: str, path: str, body: Any = None) -> None:
        headers = {"Authorization": f"token {self.forge.token}", "Content-Type": "application/json"}
        _ask(f"{self.forge.url}/api/v1{path}", method, headers, json.dumps(body).encode())

    def keep(self, content: bytes, oid: str) -> None:
        """Give the forge an object, as git-lfs does before a push."""
        login = base64.b64encode(f"{self.forge.username}:{self.forge.token}".encode()).decode()
        kind = "application/vnd.git-lfs+json"
        headers = {"Authorization": f"Basic {login}", "Accept": kind, "Content-Type": kind}
        wanted = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(content)}]}
        batch = f"{self.address(self.shop)}/info/lfs/objects/batch"
        (one,) = json.loads(_ask(batch, "POST", headers, json.dumps(wanted).encode()))["objects"]
        action = one["actions"]["upload"]
        _ask(
            action["href"], "PUT", {**headers, **action["header"], "Content-Type": "application/octet-stream"}, content
        )


def _ask(url: str, method: str, headers: dict[str, str], body: bytes) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        content: bytes = answer.read()
    return content


@pytest.fixture(scope="module")
def account(forge_facts: testbed.Forge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    place, number = tmp_path_factory.mktemp("forge"), secrets.token_hex(3)
    here = Account(forge=forge_facts, shop=f"shop-{number}", parts=f"parts-{number}")
    repository(place / f"{here.parts}.git", {"part.txt": "a part\n"})
    shop = repository(place / "shop", SHOP)
    submodule(shop, f"../{here.parts}.git", "parts")
    try:
        for name, directory in ((here.shop, shop), (here.parts, place / f"{here.parts}.git")):
            here.say("POST", "/user/repos", {"name": name, "private": True})
            git(directory, "push", "--quiet", here.address(name, f"x:{forge_facts.token}@"), "main")
        here.keep(BIG, OID)
        yield here
    finally:
        for name in (here.shop, here.parts):
            with suppress(OSError):
                here.say("DELETE", f"/repos/{forge_facts.username}/{name}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(root=tmp_path)


def test_a_token_brings_a_private_repository_with_its_submodule_and_its_large_file(
    account: Account, bench: Bench
) -> None:
    tree = bench.fetch(account.address(account.shop), lfs=True, find_login=account.login)
    assert {path: tree.read(path) for path in ("app.py", "big.bin", "parts/part.txt")} == {
        "app.py": b"print(1)\n",
        "big.bin": BIG,
        "parts/part.txt": b"a part\n",
    }


def test_without_a_login_the_forge_shows_nothing(account: Account, bench: Bench) -> None:
    with pytest.raises(FetchSourceUnauthorized):
        bench.fetch(account.address(account.shop))


def test_a_large_file_that_the_forge_does_not_have_is_named(account: Account, bench: Bench, tmp_path: Path) -> None:
    other = repository(tmp_path / "other", {**SHOP, "big.bin": POINTER.replace(OID, "0" * 64)})
    git(other, "push", "--quiet", account.address(account.shop, f"x:{account.forge.token}@"), "main:other")
    with pytest.raises(FetchSourceFailed) as missing:
        bench.fetch(account.address(account.shop), ref="other", lfs=True, find_login=account.login)
    assert "big.bin" in missing.value.message + missing.value.detail
    assert "0" * 64 in missing.value.message + missing.value.detail
