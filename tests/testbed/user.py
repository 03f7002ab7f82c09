"""An ordinary user with subordinate ids, who may nothing that not everybody may.

He runs what we run: where the repository or its interpreter lie in somebody's closed directory, his processes see them
in mounts of their own, and nothing is opened for anybody else.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.testbed import packages, processes
from tests.testbed.bed import Bed
from tests.testbed.errors import Unavailable
from tests.testbed.models import User

PACKAGES = ("passwd", "uidmap", "util-linux")
LISTS = (Path("/etc/subuid"), Path("/etc/subgid"))
MANY = 1 << 16
ROOT = Path(__file__).parent.parent.parent


def up(bed: Bed) -> User:
    """Make him; who is not root is one already."""
    packages.need("user", *PACKAGES, say=bed.say)
    home = bed.make("user") / "home"
    user = User(name=name_of(bed), home=home)
    if os.geteuid() == 0:
        bed.at("user").chmod(0o711)
        if home_of(user.name):
            raise Unavailable(
                "user", f"{user.name} belongs to {home_of(user.name)}; S2ICTL_TESTBED_SLOT moves the name"
            )
        make(user)
    else:
        home.mkdir(mode=0o700)
    if missing := [str(file) for file in LISTS if not subordinate(file, user.name)]:
        raise Unavailable("user", f"{user.name} has no subordinate ids in {' and '.join(missing)}")
    return user


def ready(bed: Bed, facts: User) -> bool:
    """Whether the machine knows him, and where he lives."""
    return facts.home.is_dir() and (os.geteuid() != 0 or home_of(facts.name) == facts.home)


def down(bed: Bed) -> None:
    """End all that he runs, and have the machine forget him."""
    name = name_of(bed)
    if os.geteuid() == 0 and home_of(name) == bed.at("user") / "home":
        processes.eventually(partial(ended, ids_of(name)), patience=10)
        subprocess.run(["userdel", name], check=True, capture_output=True)


def make(user: User) -> None:
    for file in LISTS:
        file.touch()  # where there is none, useradd gives nobody any
    given = [f"--key={key}={MANY}" for key in ("SUB_UID_COUNT", "SUB_GID_COUNT")]
    home = ["--create-home", f"--home-dir={user.home}", "--key=HOME_MODE=0700", "--skel=/nonexistent"]
    command = ["useradd", *given, *home, "--user-group", "--shell=/bin/sh", user.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable("user", f"{user.name} cannot be made: {done.stderr.strip()}")


def name_of(bed: Bed) -> str:
    return f"s2ibed{bed.slot}" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def home_of(name: str) -> Path | None:
    with suppress(KeyError):
        return Path(pwd.getpwnam(name).pw_dir)
    return None


def subordinate(file: Path, name: str) -> list[range]:
    """The ids that are this user's besides his own."""
    with suppress(FileNotFoundError):
        lines = [line.split(":") for line in file.read_text().splitlines()]
        return [range(int(first), int(first) + int(count)) for who, first, count in lines if who == name]
    return []


def ids_of(name: str) -> list[range]:
    own = pwd.getpwnam(name).pw_uid
    return [range(own, own + 1), *subordinate(LISTS[0], name)]


def ended(ids: list[range]) -> bool:
    """Kill what runs under these ids; whether nothing did."""
    found = [process for process in processes.every() if any(owner_of(process) in part for part in ids)]
    processes.end(found, patience=0)
    return not found


def owner_of(process: processes.Process) -> int:
    with suppress(OSError):
        return Path(f"/proc/{process.pid}").stat().st_uid
    return 0


# ------------------------------------------------------------------------------------------------ what he runs, and how


def words(bed: Bed, user: User, *command: str | Path) -> list[str]:
    """The command line by which he runs this: one process from first to last, in the directory that it is given."""
    if os.geteuid() != 0:
        return list(map(str, command))
    become = ["setpriv", f"--reuid={user.name}", f"--regid={user.name}", "--init-groups", "--"]
    return ["unshare", "--mount", "sh", "-ec", opening(bed.at("user")), *become, *map(str, command)]


def opening(stages: Path) -> str:
    """The script that has a process see what lies in closed directories, and then becomes what stands behind it."""
    places = {place: stages / f"place-{number}" for number, place in enumerate(wanted()) if closed_above(place)}
    covers = sorted({str(closed_above(place)) for place in places})
    lines = [f"mkdir -p {quoted(stage)}; mount --rbind {quoted(place, stage)}" for place, stage in places.items()]
    lines += [f"mount -t tmpfs -o mode=755 closed {quoted(cover)}" for cover in covers]
    lines += [f"mkdir -p {quoted(place)}; mount --move {quoted(stage, place)}" for place, stage in places.items()]
    return "; ".join(["umask 022", *lines, 'exec "$0" "$@"'])


def wanted() -> list[Path]:
    """Where the code, its libraries and its interpreter lie; none of them in another."""
    places = {ROOT, Path(sys.prefix), Path(sys.base_prefix).resolve()}
    return sorted(place for place in places if not any(other in place.parents for other in places))


def closed_above(place: Path) -> Path | None:
    """The topmost directory on the way there that not everybody may go through."""
    above = reversed(place.parents)
    return next((directory for directory in above if not directory.stat().st_mode & stat.S_IXOTH), None)


def quoted(*paths: Path | str) -> str:
    return " ".join(shlex.quote(str(path)) for path in paths)
