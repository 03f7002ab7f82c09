"""Where a path of a container leads, by the links that its image has on the way."""

from __future__ import annotations

import posixpath
import stat
from collections import deque
from pathlib import PurePosixPath

from s2ictl.archives import read_tar
from s2ictl.engines import transfers
from s2ictl.engines.embedded.wardens import Chamber

_MOST = 40  # links on the way to one place, as the kernel counts them


def resolved(chamber: Chamber, path: str) -> str:
    """The path without a link on it, as far as it is there."""
    here, links = "/", 0
    names = deque(PurePosixPath(path).parts[1:])
    while names:
        name = names.popleft()
        place = posixpath.dirname(here) if name == ".." else posixpath.join(here, name)
        if links < _MOST and stat.S_ISLNK(chamber.mode(place) or 0):
            target = _target(chamber, place)
            names.extendleft(reversed([part for part in target.split("/") if part not in ("", ".")]))
            here, links = "/" if target.startswith("/") else here, links + 1
        else:
            here = place
    return here


def _target(chamber: Chamber, link: str) -> str:
    with chamber.taken(link) as read:
        members = read_tar(read, name=link, limits=transfers.LIMITS) if read else ()
        return next((member.target for member, _ in members), "")
