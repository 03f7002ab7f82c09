"""What git's words mean for the user.

git tells its failures apart in English alone: every one of them exits with 128. So this is the one place that reads
them (git is always run with LC_ALL=C), from what a machine here says about itself to what a server may say freely.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from s2ictl.errors import FetchSourceFailed, FetchSourceUnauthorized, LimitReached, Refused, S2IError, Unreachable
from s2ictl.expressions import expression
from s2ictl.values import dataclass

Explain = Callable[[str], S2IError]

_KEPT_LINES = 8
_KEPT_CHARACTERS = 1000
_PROGRESS = expression(r"(remote: )?\w[\w ]*:\s+\d+(% \(\d+/\d+\)|,)|(remote: )?(Total|Enumerating|Counting) ")


class NotOffered(FetchSourceFailed):
    """The server has the commit perhaps, but hands out only what a branch or a tag names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meaning:
    words: str
    error: type[S2IError]
    message: str
    hint: str


_LOGIN = (
    "give a login: --git-username NAME --git-password-file FILE, --git-secret [NS/]NAME, or S2ICTL_GIT_TOKEN; "
    "over ssh: --ssh-key FILE (a key without a passphrase, or one that the agent holds)"
)
_CHECK = "check the address and the ref, and that this login may see the repository"

_MEANINGS = (
    _Meaning(
        words=r"No space left on device|Disk quota exceeded",
        error=LimitReached,
        message="no space is left for the source of {location}",
        hint="s2ictl cache info; or let S2ICTL_CACHE name a place with more room",
    ),
    _Meaning(
        words=r"HOST IDENTIFICATION HAS CHANGED|Host key verification failed|host key is known for",
        error=Refused,
        message="the ssh host of {location} is not the one that is known, or not known yet",
        hint="ask its operator for the host's key, and give it by --known-hosts FILE",
    ),
    _Meaning(
        words=r"returned error: 30\d|unable to update url base from redirection",
        error=FetchSourceFailed,
        message="redirect refused: {location} leads to another address",
        hint="give the address that it leads to; a login is sent to no other",
    ),
    _Meaning(
        words=r"Authentication failed|could not read (Username|Password)|Permission denied \(|returned error: 40[13]"
        r"|Load key .*(invalid format|error in libcrypto|incorrect passphrase|bad permissions)|UNPROTECTED PRIVATE KEY",
        error=FetchSourceUnauthorized,
        message="{location} refuses the login, or asks for one",
        hint=_LOGIN,
    ),
    _Meaning(
        words=r"certificate|CAfile|CApath",
        error=Unreachable,
        message="no trusted connection to {location}",
        hint="--ca-bundle FILE, when a private authority signs for this host",
    ),
    _Meaning(
        words=r"Could not resolve|Connection (refused|timed out|reset)|timed out|No route to host|Failed to connect"
        r"|Network is unreachable|early EOF|unexpected disconnect|RPC failed|transfer closed|Empty reply"
        r"|invalid index-pack output|Operation too slow|returned error: (5\d\d|429)|kex_exchange_identification"
        r"|unexpected EOF|hung up unexpectedly|SSL|TLS|gnutls",
        error=Unreachable,
        message="{location} is not reachable",
        hint="check the address, the network and the proxy variables",
    ),
    _Meaning(
        words=r"unadvertised object",
        error=NotOffered,
        message="{location} does not hand out this commit",
        hint="name a branch or a tag that holds it: --ref NAME",
    ),
    _Meaning(
        words=r"dubious ownership",
        error=Refused,
        message="the repository {location} belongs to another user",
        hint="--copy takes the files as they are",
    ),
    _Meaning(words=r"", error=FetchSourceFailed, message="{location} could not be fetched", hint=_CHECK),
)


def explain_remote(said: str, location: str) -> S2IError:
    """The failure that these words of git stand for, about a repository elsewhere."""
    meaning = next(meaning for meaning in _MEANINGS if re.search(meaning.words, said))
    return meaning.error(meaning.message.format(location=location), detail=last_words(said), hint=meaning.hint)


def explain_local(said: str, location: str) -> S2IError:
    """The same about a repository on this machine, where nothing is asked over a network."""
    return FetchSourceFailed(
        f"the repository of {location} could not be read", detail=last_words(said), hint="git fsck shows what is wrong"
    )


def last_words(said: str) -> str:
    """The end of what git said, without the lines that only count."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", said)]
    kept = [line for line in lines if line and not _PROGRESS.match(line)]
    return "\n".join(kept[-_KEPT_LINES:])[-_KEPT_CHARACTERS:]
