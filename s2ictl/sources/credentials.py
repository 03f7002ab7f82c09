"""Who is tried at a git server, one after the other: the address's own login, the one that was found for its host,
nobody, and at last whom git's credential helpers know, asked as git asks them: only when the server has refused nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from s2ictl.errors import LimitReached, S2IError
from s2ictl.events import Notice
from s2ictl.models import Login, Secret, Source
from s2ictl.sources.options import Surroundings
from s2ictl.sources.places import neutral
from s2ictl.sources.program import Git, Patience, users_variables
from s2ictl.sources.words import explain_local

_ORIGIN = "git's credential helper"
_SECONDS = 10.0
_LARGEST = 64 << 10


def logins(source: Source, surroundings: Surroundings) -> Iterator[Login | None]:
    """Each that is known for this host, or nobody, and then the helper's; whoever is let in ends it."""
    parts = urlsplit(source.location)
    if parts.scheme not in ("https", "http"):
        yield None
        return
    asked = surroundings.find_login(parts.netloc)
    known = tuple(login for login in (source.login, asked) if login and login.host == parts.netloc)
    yield from known or (None,)
    helped = _of_helper(source.location, surroundings) if surroundings.options.helpers else None
    if helped:
        yield helped


def basic(login: Login | None) -> Mapping[str, str]:
    """The header by which a login is shown to its own host."""
    return {"Authorization": login.basic()} if login else {}


def _of_helper(location: str, surroundings: Surroundings) -> Login | None:
    """What `git credential` answers under the user's own configuration; nothing is ever told back to a helper."""
    parts = urlsplit(location)
    question = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n\n"
    git = Git(
        directory=neutral(surroundings),
        variables=users_variables(surroundings.environ),
        explain=lambda said: explain_local(said, location),
        patience=Patience(total=_SECONDS),
        configuration=("core.askPass=",),
    )
    try:
        with git.stream("credential", "fill", given=question.encode()) as read:
            return login_of(read(_LARGEST), scheme=parts.scheme, host=parts.netloc)
    except LimitReached:
        text = f"{_ORIGIN} for {parts.netloc} did not answer within {_SECONDS:.0f} s"
        surroundings.emit(Notice(text=text, level="warning"))
    except S2IError:
        pass  # it knows nobody, and git would have asked the user then
    return None


def login_of(answer: bytes, *, scheme: str, host: str) -> Login | None:
    """Read a helper's answer; one that is about another host, or lacks a half, is none."""
    said = dict(line.partition("=")[::2] for line in answer.decode(errors="replace").split("\n"))
    if (said.get("protocol", scheme), said.get("host", host)) != (scheme, host) or not said.get("password"):
        return None
    return Login(
        host=host,
        username=said.get("username", ""),
        password=Secret(said["password"]),
        origin=_ORIGIN,
        lasting=False,
    )
