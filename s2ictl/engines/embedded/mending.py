"""What brings a machine what it lacks: commands for root, in the words of its distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from s2ictl.engines.embedded.machine import Lack
from s2ictl.values import dataclass

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How packages are installed: `names` has those that are not called as Debian calls them."""

    manager: str
    install: Command
    before: tuple[Command, ...] = ()
    names: tuple[tuple[str, str], ...] = ()

    def package(self, name: str) -> str:
        return dict(self.names).get(name, name)


_APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300")

DISTRIBUTIONS = (
    Distribution(
        manager="apt-get", before=((*_APT, "update"),), install=(*_APT, "install", "--yes", "--no-install-recommends")
    ),
    # Where both are, runc is the one that comes and goes with the releases.
    Distribution(
        manager="dnf", install=("dnf", "install", "--assumeyes"), names=(("uidmap", "shadow-utils"), ("runc", "crun"))
    ),
    Distribution(manager="apk", install=("apk", "add"), names=(("uidmap", "shadow-uidmap"),)),
    Distribution(manager="zypper", install=("zypper", "--non-interactive", "install"), names=(("uidmap", "shadow"),)),
    Distribution(manager="pacman", install=("pacman", "-S", "--needed", "--noconfirm"), names=(("uidmap", "shadow"),)),
)


def distribution(find: Callable[[str], str | None]) -> Distribution | None:
    """The one whose package manager is there, None for one that is not known; `find` answers where a program is."""
    return next((each for each in DISTRIBUTIONS if find(each.manager)), None)


def commands(lacks: Iterable[Lack], here: Distribution | None) -> tuple[Command, ...]:
    """All that has to be run; nothing for what no package and no command brings."""
    together = tuple(lacks)
    wanted = dict.fromkeys(here.package(name) for each in together for name in each.packages) if here else {}
    installing = (*here.before, (*here.install, *wanted)) if here and wanted else ()
    return (*installing, *(each.mend for each in together if each.mend))


def advice(lack: Lack, here: Distribution | None) -> str:
    """What to do about one, as it can be typed."""
    if lack.packages:
        names = " ".join(here.package(name) if here else name for name in lack.packages)
        return f"install {names} ({here.manager}), or s2ictl doctor --fix" if here else f"install {names}"
    return " ".join(lack.mend) or lack.hint
