"""Every failure that a user can meet, and the exit code that a script can hold on to.

The home of a library translates that library's exceptions into one of these, `from` the cause; the stories add nothing
and catch nothing; `cli/main.py` alone turns one into text. The class name is the stable reason that `-o json` shows, so
where openshift's s2i or KubeSphere has a word for it, that word is used.

    S2IError                             1  a fault in s2ictl itself
    ├── InvalidUsage                     2  wrong usage or value
    ├── InvalidConfiguration             3  a configuration or input file is invalid
    ├── Unauthorized                     4  credentials missing or refused
    │   ├── FetchSourceUnauthorized
    │   ├── PullUnauthorized
    │   ├── PushUnauthorized
    │   └── ClusterForbidden                a missing right, named as verb and resource
    ├── FetchSourceFailed                5  source or artifact not found or unreadable
    │   ├── InvalidContextDirectory
    │   ├── NothingDetected
    │   ├── InvalidArtifact
    │   ├── ImageNotFound
    │   └── RecordNotFound                  no such build, app or workload
    ├── PullBuilderImageFailed           6  builder image missing, broken or of the wrong platform
    │   ├── WrongPlatform
    │   └── SampleFailed                    a builder's own sample does not answer as it promises
    ├── AssembleFailed                   7  the assemble script failed
    │   └── NotReproducible                 two builds of the same are not alike
    ├── CommitContainerFailed            8  commit or push failed
    │   ├── PushImageToRegistryFailed
    │   └── RegistryFailed                  it answers, and keeps failing
    ├── RolloutFailed                    9  deploy or rollout failed
    ├── Unreachable                     10  engine, registry, forge or cluster not reachable
    │   └── ConnectionLost                  it was there, and broke off or fell silent: asking again may help
    ├── LimitReached                    11  a limit or a timeout was reached
    ├── Refused                         12  refused by policy; the message names the flag that allows it
    ├── Conflict                        13  somebody else's object, or a newer build
    ├── Interrupted                    130
    └── Terminated                     143
"""

from __future__ import annotations

from typing import ClassVar

CLOSED_PIPE = 141  # 128 + SIGPIPE, as the shell itself reports a writer whose reader has left; no error is shown


class S2IError(Exception):
    """A failure said to the user: what happened, why, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail

    @property
    def reason(self) -> str:
        return type(self).__name__

    @property
    def in_passing(self) -> str:
        """What happened and why, where the work goes on without it."""
        return ": ".join(filter(None, (self.message, self.detail)))


class InvalidUsage(S2IError):
    exit_code = 2


class InvalidConfiguration(S2IError):
    exit_code = 3


class Unauthorized(S2IError):
    exit_code = 4


class FetchSourceUnauthorized(Unauthorized): ...


class PullUnauthorized(Unauthorized): ...


class PushUnauthorized(Unauthorized): ...


class ClusterForbidden(Unauthorized): ...


class FetchSourceFailed(S2IError):
    exit_code = 5


class InvalidContextDirectory(FetchSourceFailed): ...


class NothingDetected(FetchSourceFailed): ...


class InvalidArtifact(FetchSourceFailed): ...


class ImageNotFound(FetchSourceFailed): ...


class RecordNotFound(FetchSourceFailed): ...


class PullBuilderImageFailed(S2IError):
    exit_code = 6


class WrongPlatform(PullBuilderImageFailed): ...


class SampleFailed(PullBuilderImageFailed): ...


class AssembleFailed(S2IError):
    exit_code = 7


class NotReproducible(AssembleFailed): ...


class CommitContainerFailed(S2IError):
    exit_code = 8


class PushImageToRegistryFailed(CommitContainerFailed): ...


class RegistryFailed(CommitContainerFailed): ...


class RolloutFailed(S2IError):
    exit_code = 9


class Unreachable(S2IError):
    exit_code = 10


class ConnectionLost(Unreachable): ...


class LimitReached(S2IError):
    exit_code = 11


class Refused(S2IError):
    exit_code = 12


class Conflict(S2IError):
    exit_code = 13


class Interrupted(S2IError):
    exit_code = 130


class Terminated(S2IError):
    exit_code = 143
