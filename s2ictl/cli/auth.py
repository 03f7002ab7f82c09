"""Logins for registries: `login` and `logout`, and what becomes of them: `auth explain` and `auth check`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from s2ictl import logins, names, ui
from s2ictl.access import Greeting, greet
from s2ictl.cli import flags
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage, S2IError, Unauthorized
from s2ictl.events import Notice
from s2ictl.expressions import expression
from s2ictl.models import Login, Logins, Reference, Secret
from s2ictl.registry import Repository
from s2ictl.transport import Transport
from s2ictl.values import dataclass

_HELP = "Which login a registry gets, where it comes from, and what it may do."
_HEAD = ("STATE", "PLACE", "WHAT IT HAS")
_LONGEST_PASSWORD = 16384
# Of a word without a slash: what cannot be the tag of a name, as in `shop:1`.
_SURELY_A_HOST = expression(r"https?://.*|.*/|\[.*|localhost(?::\d+)?|[^:/]*\.[^:/]*(?::\d+)?", re.IGNORECASE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WayFlags:
    """How the registry is reached."""

    insecure_registry: flags.Insecure = None
    ca_bundle: flags.CaBundle = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceFlags:
    """Which logins there are to choose from."""

    registry_secret: Annotated[
        str, typer.Option("--registry-secret", metavar="[NS/]NAME", help="The cluster's Secret that stands before all.")
    ] = ""
    dockercfg_path: Annotated[
        Path | None,
        typer.Option("--dockercfg-path", metavar="FILE", help="Take registry logins from this file alone."),
    ] = None


Host = Annotated[str, typer.Argument(metavar="HOST", help="The registry: HOST[:PORT].")]
Somewhere = Annotated[
    str, typer.Argument(metavar="HOST[/PATH]", help="The registry, or a part of it that may have a login of its own.")
]
Image = Annotated[
    str, typer.Argument(metavar="HOST|IMAGE", help="What is to be pushed, HOST[:PORT]/PATH[:TAG], or only where to.")
]
Username = Annotated[
    str,
    typer.Option(
        "--username",
        "-u",
        metavar="NAME",
        help="Who logs in.",
        show_default="the one whose login there is",
    ),
]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password, or a token, from stdin.")]
FromFile = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="Read the password, or a token, from a file.")
]


def register(app: typer.Typer) -> None:
    command(app, "login", example="s2ictl login registry.example.com --username bot --password-file token")(login)
    command(app, "logout", example="s2ictl logout registry.example.com")(logout)
    auth = typer.Typer(name="auth", help=_HELP, rich_markup_mode=None)
    command(auth, "explain", example="s2ictl auth explain registry.example.com")(explain)
    command(auth, "check", example="s2ictl auth check registry.example.com/team/shop")(check)
    app.add_typer(auth)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The answer of `login` and `logout`: whose login is, or was, where."""

    host: str
    username: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """One place that was asked, as the answer shows it."""

    state: str
    place: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Explained:
    """The answer of `auth explain`."""

    host: str
    username: str
    place: str
    accepted: bool
    says: str
    places: tuple[_Looked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Allowed:
    """The answer of `auth check` about an image."""

    image: str
    username: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _LetIn:
    """The answer of `auth check` about a registry."""

    host: str
    username: str
    place: str


# -------------------------------------------------------------------------------------------------- login and logout


def login(
    session: Session,
    host: Host,
    way: WayFlags,
    username: Username = "",
    password_stdin: FromStdin = False,
    password_file: FromFile = None,
    dry_run: flags.DryRun = False,
) -> None:
    """Keep a login for a registry, after the registry has taken it."""
    world, registry = session.world, _registry(host)
    password, origin = _password(session, password_file, stdin=password_stdin)
    given = Login(host=registry, username=_username(session, registry, username), password=password, origin=origin)
    keeper = logins.keeper_of(registry, environ=world.environ, home=world.home)
    if not dry_run:
        _try(session, given, way)
        logins.keep(given, keeper, environ=world.environ)
        _say_what_it_is_worth(session, given, keeper)
    kept = _Kept(host=registry, username=given.username, places=(keeper.origin,))
    text = f"{registry} as {given.username}, kept in {keeper.origin}"
    session.answer(ui.Answer(text=text, names=(registry,), data=kept))


def logout(session: Session, host: Host, dry_run: flags.DryRun = False) -> None:
    """Take a login for a registry away again."""
    world, registry = session.world, _registry(host)
    keeper = logins.keeper_of(registry, environ=world.environ, home=world.home)
    gone = (keeper.origin,) if dry_run else logins.forget(keeper, environ=world.environ)
    text = f"{registry}, taken out of {' and '.join(gone)}" if gone else f"{registry} had no login in {keeper.origin}"
    session.answer(ui.Answer(text=text, names=(registry,), data=_Kept(host=registry, username="", places=gone)))
    left = None if dry_run else _deciding(logins.explain(registry, environ=world.environ, home=world.home))
    if left is not None and left.login is not None:
        session.emit(Notice(text=f"there is still a login for {registry}: {left.place}", level="warning"))


def _try(session: Session, given: Login, way: WayFlags) -> None:
    greeting = _greeted(session, given.host, given, way)
    if not greeting.username:
        said = f"{given.host} lets anybody in: whether it takes this password has not been seen"
        session.emit(Notice(text=said, level="warning"))


def _say_what_it_is_worth(session: Session, given: Login, keeper: logins.Keeper) -> None:
    world = session.world
    if not keeper.helper:
        said = f"{keeper.path} holds the password as base64, hidden from nobody; a credsStore there would hide it"
        session.emit(Notice(text=said, level="warning"))
    first = _deciding(logins.explain(given.host, environ=world.environ, home=world.home))
    if first is None or first.login is None or first.login.password != given.password:
        said = f"another place decides for {given.host}: {first.place if first else 'none'}"
        session.emit(Notice(text=f"{said}; see: s2ictl auth explain {given.host}", level="warning"))


def _username(session: Session, registry: str, username: str) -> str:
    known = None
    if not username:
        known = logins.find_login(registry, environ=session.world.environ, home=session.world.home)
    name = known.username if known and known.kind == "password" else username
    if not name:
        raise InvalidUsage(f"nobody is named who logs in to {registry}", hint="--username NAME")
    if ":" in name or name.startswith("<"):
        raise InvalidUsage(f"{name[:80]!r} is no user of a registry", hint="a user's name has no colon")
    return name


def _password(session: Session, path: Path | None, *, stdin: bool) -> tuple[Secret, str]:
    """What was handed in, and by which flag; never an argument, which all of this machine could read."""
    if stdin == bool(path):
        raise InvalidUsage(
            "a login takes its password from stdin, or from a file" + (", not from both" if stdin else ""),
            hint="--password-stdin <FILE, or --password-file FILE",
        )
    flag = "--password-stdin" if stdin else f"--password-file {path}"
    if path:
        text = flags.content(session.world.cwd, path, flag="--password-file", largest=_LONGEST_PASSWORD)
    else:
        text = _from_stdin(session)
    password = text.rstrip("\r\n")
    if not password or any(character < " " or character == "\x7f" for character in password):
        raise InvalidUsage(f"{flag} gives no password", detail="it is one line of text, and not an empty one")
    return Secret(password), flag


def _from_stdin(session: Session) -> str:
    found = session.world.stdin.buffer.read(_LONGEST_PASSWORD + 1)
    if len(found) > _LONGEST_PASSWORD:
        raise InvalidUsage(f"--password-stdin has more than {_LONGEST_PASSWORD} bytes")
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Not `from` the cause, which holds the content.
        raise InvalidUsage("--password-stdin is no text in UTF-8") from None


# ------------------------------------------------------------------------------------------------- explain and check


def explain(session: Session, place: Somewhere, choice: ChoiceFlags, way: WayFlags) -> None:
    """Say which login a registry gets, where it comes from, what came second, and try it."""
    wanted, world = _place(place), session.world
    findings = logins.explain(
        wanted, environ=world.environ, home=world.home, only=_file(session, choice), given=_given(session, choice)
    )
    first = _deciding(findings)
    greeting, failure = _attempt(lambda: _greeted_by(session, wanted, first, way))
    known = first.login if first else None
    explained = _Explained(
        host=wanted,
        username=known.username if known else "",
        place=first.place if first else "",
        accepted=failure is None,
        says=failure.message if failure else str(greeting),
        places=tuple(_looked(finding, first) for finding in findings),
    )
    rows = [(each.state, each.place, each.says) for each in explained.places]
    text = f"{ui.table(_HEAD, list(rows))}\n\n{explained.says}"
    session.answer(ui.Answer(text=text, names=(explained.place,) if known else (), data=explained))
    if failure is not None:
        raise failure


def check(session: Session, image: Image, choice: ChoiceFlags, way: WayFlags) -> None:
    """Ask whether an image may be pushed, without leaving anything in its registry."""
    given, secret = _given(session, choice), choice.registry_secret
    host = _host_alone(image, given)
    name = None if host else names.final_name(image, secret=given, push=True)
    if given:
        logins.check_logins(given, (name.name if name else host,), name=secret, insecure=_insecure(way))
    find = cache(works.registry_logins(given, secret, session.world, _file(session, choice)))
    session.answer(_try_push(session, name, find, way) if name else _try_registry(session, host, find, way))


def _host_alone(text: str, given: tuple[Login, ...]) -> str:
    """The registry, if no more than that was named; "" for an image. A Secret knows its registry by any name."""
    host = logins.one_name(text)
    surely = _SURELY_A_HOST.fullmatch(text) or host in {login.host for login in given}
    return _registry(text) if surely and "/" not in host else ""


def _try_push(session: Session, name: Reference, find: Logins, way: WayFlags) -> ui.Answer:
    with _transport(session, way) as transport:
        repository = Repository(name, transport=transport, logins=find, insecure=_insecure(way))
        cleared = repository.try_push()
    if not cleared:
        said = f"{name.registry} did not say that it has let go of the upload that was begun: it will, in time"
        session.emit(Notice(text=said, level="warning"))
    found = repository.login
    who = found.username if found else ""
    text = f"{name} may be pushed, {f'as {who}' if who else 'without a login'}"
    allowed = _Allowed(image=str(name), username=who, place=found.origin if found else "")
    return ui.Answer(text=text, names=(str(name),), data=allowed)


def _try_registry(session: Session, host: str, find: Logins, way: WayFlags) -> ui.Answer:
    with _transport(session, way) as transport:
        greeting = greet(host, transport=transport, logins=find, insecure=_insecure(way))
    session.emit(Notice(text=f"who may push depends on the image: s2ictl auth check {host}/PATH"))
    found = find(host) if greeting.username else None
    let_in = _LetIn(host=host, username=greeting.username, place=found.origin if found else "")
    return ui.Answer(text=str(greeting), names=(host,), data=let_in)


def _deciding(findings: tuple[logins.Finding, ...]) -> logins.Finding | None:
    """The place that ends the search: with a login, or because it is broken."""
    return next((finding for finding in findings if finding.state != "none"), None)


def _looked(finding: logins.Finding, first: logins.Finding | None) -> _Looked:
    if finding is first and finding.login:
        return _Looked(state="used", place=finding.place, says=finding.says)
    if finding.login and first:
        return _Looked(state="later", place=finding.place, says=f"{finding.says}; {first.place} stands before it")
    return _Looked(state=finding.state, place=finding.place, says=finding.says)


def _greeted_by(session: Session, wanted: str, first: logins.Finding | None, way: WayFlags) -> Greeting:
    if first is not None and first.login is None:
        raise Unauthorized(
            f"no login for {wanted} is found: {first.place} is in the way",
            detail=first.says,
            hint="mend it, or name another file with --dockercfg-path",
        )
    if first is not None and first.login is not None:
        logins.check_way(first.login, insecure=_insecure(way))
    return _greeted(session, wanted, first.login if first else None, way)


def _greeted(session: Session, place: str, login: Login | None, way: WayFlags) -> Greeting:
    with _transport(session, way) as transport:
        host = logins.normal_host(place)
        return greet(host, transport=transport, logins=lambda _: login, insecure=_insecure(way))


def _attempt(action: Callable[[], T]) -> tuple[T | None, S2IError | None]:
    """What came of it, also where it failed: the failure is a part of the answer here."""
    try:
        return action(), None
    except S2IError as failure:
        return None, failure


@contextmanager
def _transport(session: Session, way: WayFlags) -> Iterator[Transport]:
    bundle = works.bundle(session.world, way.ca_bundle)
    with Transport(session.world.environ, emit=session.emit, ca_bundle=bundle) as transport:
        yield transport


def _insecure(way: WayFlags) -> frozenset[str]:
    return frozenset(way.insecure_registry or ())


def _file(session: Session, choice: ChoiceFlags) -> Path | None:
    return works.login_file(session.world.cwd, choice.dockercfg_path)


def _given(session: Session, choice: ChoiceFlags) -> tuple[Login, ...]:
    if not choice.registry_secret:
        return ()

    from s2ictl.cli import keyring

    return keyring.secret_logins(choice.registry_secret, session)


def _registry(host: str) -> str:
    """A whole registry: what has a path is a part of one, and helpers know of no parts."""
    place = _place(host)
    if "/" in place:
        raise InvalidUsage(f"{host} is more than a registry", hint=f"s2ictl login {place.partition('/')[0]}")
    return place


def _place(text: str) -> str:
    """A registry, or a part of one, by the one name that logins are found by."""
    host, _, path = logins.one_name(text).partition("/")
    try:
        named = Reference.parse(f"{host}/{path or 'image'}")
    except InvalidUsage:
        named = None
    if named is None or named.registry != host:
        raise InvalidUsage(
            f"{logins.one_name(text)[:200]!r} is no registry that could stand in the name of an image",
            hint="write it as registry.example.com, with a port where it has one",
        )
    return f"{host}/{named.repository}" if path else host
