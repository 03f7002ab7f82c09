"""How far a fetch may go, and with what; and the part of the world that it works in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from s2ictl.archives import Limits
from s2ictl.events import Emit
from s2ictl.models import Login, Secret
from s2ictl.sources.walls import Resolve, resolved
from s2ictl.values import dataclass

LARGEST_READ = 16 << 20  # of one file that is read whole, such as a script or an ignore file


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """What the user may say of a fetch. A server that says nothing for `silence` seconds counts as unreachable.

    A key or a list of hosts that he names as a file counts before the content that a secret of the cluster holds;
    authorities add up. `helpers` says that git's own credential helpers may be asked, `public_only` that the source's
    own words lead to no address behind our walls, and `let_in` that even a commit which is here already is taken only
    where its server lets us in now: who names it may be somebody else than who fetched it.
    """

    ssh_key: Path | None = None
    ssh_key_content: Secret | None = None
    known_hosts: Path | None = None
    known_hosts_content: str = ""
    ca_bundle: Path | None = None
    ca_content: bytes = b""
    allowed_signers: Path | None = None
    helpers: bool = False
    public_only: bool = False
    let_in: bool = False
    attempts: int = 3
    silence: float = 35.0
    timeout: float = 900.0
    largest: int = 20 << 30
    most: int = 200_000

    @property
    def limits(self) -> Limits:
        return Limits(members=self.most, size=self.largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a fetch touches outside of itself; `find_login` answers for a host, with its port where that is unusual."""

    cache: Path
    environ: Mapping[str, str]
    emit: Emit
    options: FetchOptions
    find_login: Callable[[str], Login | None]
    wait: Callable[[float], None] = time.sleep
    resolve: Resolve = resolved
    clock: Callable[[], int] = time.time_ns
