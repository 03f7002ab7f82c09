"""How a registry is reached and convinced: TLS or not, and the answer to what it wants to see before it does something.

The challenge comes from the other side, and so does the address where a token is to be had: a registry that is not what
it seems could name any host (CVE-2026-48978). So the address is judged before a login is sent there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlencode

import msgspec

from s2ictl.addresses import DOCKER_HUB_NAMES, is_loopback, may_lead, origin_of, shown, split
from s2ictl.errors import ConnectionLost, PullUnauthorized, Refused, RegistryFailed
from s2ictl.expressions import expression
from s2ictl.models import Login, Logins
from s2ictl.transport import REDIRECTS, Response, Transport
from s2ictl.values import dataclass

_DOCKER_HUB_API = "registry-1.docker.io"
_SAID = 300
_MOST_TOKENS = 20
_LARGEST_TOKEN = 64 * 1024
_ONLY_TLS = Response(status=400, headers={})  # the answer of who is polite; others hang up on who comes without TLS

Scope = tuple[str, ...]
Exchange = Callable[[Mapping[str, str]], Response]

_CHALLENGE = expression(
    r'(?P<key>[a-z_]{1,32}+)\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s",]+))|(?P<scheme>[a-z]+)', re.IGNORECASE
)


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token: of visible characters only, since it becomes a part of a header."""

    token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]*\Z")] = ""
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[!-~]*\Z")] = ""


class _Gate:
    """What is the same for all who come for anything in a registry: its address, and where it has tokens fetched."""

    def __init__(self) -> None:
        self.root = ""
        self.challenge: Mapping[str, str] | None = None


class Access:
    """One registry and the login for it, or for what is in it, which is looked for only when the registry asks."""

    def __init__(
        self, host: str, *, repository: str = "", transport: Transport, logins: Logins, insecure: frozenset[str]
    ) -> None:
        self.host = host
        self._place = f"{host}/{repository}" if repository else host
        self._transport = transport
        self._logins = logins
        self._may_be_plain = host.lower() in map(str.lower, insecure) or is_loopback(split(f"//{host}").hostname or "")
        self._gate = transport.known((_Gate, host), _Gate)
        self._login: Login | None = None
        self.asked = False
        self._always = ""
        self._tokens: list[tuple[frozenset[str], str]] = []

    @property
    def root(self) -> str:
        """The address of the registry. Without TLS it may be on this machine, or where the user said so."""
        if not self._gate.root:
            address = _DOCKER_HUB_API if self.host in DOCKER_HUB_NAMES else self.host
            plain = self._may_be_plain and not self._wants_tls(address)
            self._gate.root = f"{'http' if plain else 'https'}://{address}"
        return self._gate.root

    @property
    def login(self) -> Login | None:
        """The login that the registry has asked for, if it has asked and there is one."""
        if not self.asked:
            self._login, self.asked = self._logins(self._place), True
        return self._login

    def headers(self, url: str, scope: Scope) -> Mapping[str, str]:
        """What to send along to this address: never anything to another host."""
        if origin_of(url) != origin_of(self.root):
            return {}
        value = self._always or self._token_for(scope)
        return {"Authorization": value} if value else {}

    def authorized(self, exchange: Exchange, url: str, scope: Scope) -> Response:
        """Make an exchange; if a login is wanted, or a token has expired, once more with a new one."""
        if origin_of(url) != origin_of(self.root):
            return exchange({})
        refusal = self._prepared(scope)
        if refusal:
            return refusal
        answer = exchange(self.headers(url, scope))
        if answer.status != 401:
            return answer
        return self.renew(answer, scope) or exchange(self.headers(url, scope))

    def renew(self, answer: Response, scope: Scope) -> Response | None:
        """Get what the answer asks for; answers the refusal where that is not to be had."""
        challenges = parse_challenges(answer.headers.get("www-authenticate", ""))
        if "bearer" in challenges:
            if self.login is None or self.login.kind != "bearer":
                return self._fetch_token(challenges["bearer"], scope)
            self._always = f"Bearer {self.login.password.reveal()}"
            return None
        if "basic" not in challenges or self.login is None or self.login.kind != "password":
            return answer
        self._always = self.login.basic()
        return None

    def complaint(self, answer: Response) -> str:
        """What the registry says for itself, made short: it is shown, never acted upon. Some repeat what they heard."""
        text = _said_by(answer)
        for _, value in self._tokens:
            text = text.replace(value.removeprefix("Bearer "), "<redacted>")
        if self._login is not None:
            text = self._login.redacted(text)
        return f": {text[:_SAID]}" if text else ""

    def _prepared(self, scope: Scope) -> Response | None:
        """Have a token before it is asked for, once it is known that one is; answers the refusal."""
        if self._gate.challenge is None or self._token_for(scope):
            return None
        return self._fetch_token(self._gate.challenge, scope)

    def _token_for(self, scope: Scope) -> str:
        """The newest token that was asked for with at least these rights."""
        wanted = _rights(scope)
        return next((value for rights, value in reversed(self._tokens) if wanted <= rights), "")

    def _fetch_token(self, parameters: Mapping[str, str], scope: Scope) -> Response | None:
        realm = parameters.get("realm", "")
        self._check_realm(realm)
        fields = [("service", parameters["service"])] if parameters.get("service") else []
        answer = self._ask_for_token(realm, [*fields, *(("scope", one) for one in scope)])
        if answer.status != 200:
            return answer
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            token = _Token()
        value = token.token or token.access_token
        if not value:
            raise RegistryFailed(
                f"the registry {self.host} gives no token",
                detail=f"its token service at {shown(realm)} answered 200, and not with a token",
            )
        self._gate.challenge = parameters
        self._tokens = [*self._tokens[-_MOST_TOKENS:], (_rights(scope), f"Bearer {value}")]
        return None

    def _ask_for_token(self, realm: str, fields: list[tuple[str, str]]) -> Response:
        """Ask once: whoever needs the token asks for all of it again, and the tries of both would multiply."""
        if self.login is not None and self.login.kind == "identity":
            scope = " ".join(value for key, value in fields if key == "scope")
            form = {
                **dict(fields),
                "scope": scope,
                "grant_type": "refresh_token",
                "client_id": "s2ictl",
                "refresh_token": self.login.password.reveal(),
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._transport.once(
                "POST", realm, headers=headers, body=urlencode(form).encode(), limit=_LARGEST_TOKEN
            )
        headers = {"Authorization": self.login.basic()} if self.login else {}
        joint = "&" if split(realm).query else "?"
        return self._transport.once("GET", f"{realm}{joint}{urlencode(fields)}", headers=headers, limit=_LARGEST_TOKEN)

    def _check_realm(self, realm: str) -> None:
        parts, own = split(realm), split(self.root)
        plain_is_fine = parts.hostname == own.hostname or is_loopback(parts.hostname or "")
        if may_lead(self.root, realm) and "@" not in parts.netloc and (parts.scheme == "https" or plain_is_fine):
            return
        raise Refused(
            f"the registry {self.host} sends logins to {shown(realm) or 'nowhere'}, which is not followed",
            detail="a token service is asked over https only, and at a private address only by a private registry",
        )

    def _wants_tls(self, address: str) -> bool:
        def ask() -> Response:
            try:
                # OPTIONS, because no redirect of it is followed: one to https is the answer to the question.
                return self._transport.once("OPTIONS", f"http://{address}/v2/")
            except ConnectionLost:
                if self._transport.speak_tls(f"https://{address}"):
                    return _ONLY_TLS
                raise

        try:
            status = self._transport.persist(ask).status
        except ConnectionLost:
            return False
        return status == 400 or status in REDIRECTS


def _rights(scope: Scope) -> frozenset[str]:
    """Each action of a scope by itself: who may pull and push may also pull."""
    parts = (one.rpartition(":") for one in scope)
    return frozenset(f"{what}:{action}" for what, _, actions in parts for action in actions.split(","))


def parse_challenges(header: str) -> dict[str, dict[str, str]]:
    """Read a WWW-Authenticate header: each scheme, in lower case, with its parameters."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for part in _CHALLENGE.finditer(header[:8192]):
        if part["scheme"]:
            current = found.setdefault(part["scheme"].lower(), {})
        else:
            current[part["key"].lower()] = part["quoted"] or part["plain"] or ""
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A registry that lets us in: by which address, and under which name, "" where it did not ask."""

    address: str
    username: str

    def __str__(self) -> str:
        return f"{self.address} answers, {f'as {self.username}' if self.username else 'without a login'}"


def greet(host: str, *, transport: Transport, logins: Logins, insecure: frozenset[str] = frozenset()) -> Greeting:
    """Ask a registry whether it is there and lets us in."""
    access = Access(host, transport=transport, logins=logins, insecure=insecure)
    url = f"{access.root}/v2/"
    answer = transport.persist(
        lambda: access.authorized(lambda login: transport.once("GET", url, headers=login), url, ())
    )
    login = access.login if access.asked else None
    if answer.status in (401, 403):
        raise _not_let_in(host, login, f"it answered {answer.status}{access.complaint(answer)}")
    if answer.status != 200:
        raise RegistryFailed(f"{host} is no registry, or not well", detail=f"it answered {answer.status} to /v2/")
    return Greeting(address=access.root, username=login.username if login else "")


def _not_let_in(host: str, login: Login | None, detail: str) -> PullUnauthorized:
    if login is None:
        message = f"{host} does not let us in without a login"
        return PullUnauthorized(message, detail=detail, hint=f"s2ictl login {host}")
    return PullUnauthorized(
        f"{host} does not let us in, as {login.username}",
        detail=f"{detail}; the login came from {login.origin}",
        hint=f"check the name and the password, or see which other logins there are: s2ictl auth explain {host}",
    )


class _Complaint(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Complaints(msgspec.Struct, frozen=True):
    errors: tuple[_Complaint, ...]


def _said_by(answer: Response) -> str:
    try:
        said = msgspec.json.decode(answer.body, type=_Complaints).errors
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    text = "; ".join(f"{one.code} {one.message}".strip() for one in said[:3])
    return " ".join(text.split())
