"""Who may go where, and texts that nobody may see."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Literal

from s2ictl.values import dataclass


class Secret:
    """A text that shows itself to nobody who does not ask: `reveal()` stands only where it leaves for its own host."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def _bytes(self) -> bytes:
        return self._text.encode(errors="surrogateescape")  # the environment may hold any bytes

    def __repr__(self) -> str:
        return "<redacted>"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash((Secret, self._text))


_TELLING = 4  # letters of a password: to blot out a shorter one wherever it stands in a text would tell it
LoginKind = Literal["password", "identity", "bearer"]  # a token is had for the second; the third is one already


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who may go to one host and port, and where that was found (said when it is refused)."""

    host: str
    username: str
    password: Secret
    origin: str
    path: str = ""  # the part of the host that it is for, where it is not for all of it
    kind: LoginKind = "password"
    lasting: bool = True  # False for what a credential helper or an identity token gave: never to be written down
    plain: bool = False  # it was written down for a registry without TLS

    def basic(self) -> str:
        """What the header Authorization says to its own host, and to nobody else."""
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def redacted(self, text: str) -> str:
        """A text of a host that may repeat what it was told, without that."""
        for told in (self.basic().removeprefix("Basic "), self.password.reveal()):
            if len(told) >= _TELLING:
                text = text.replace(told, repr(self.password))
        return text


Logins = Callable[[str], Login | None]  # who may go to HOST[:PORT][/PATH]; asked only when the host wants to know
