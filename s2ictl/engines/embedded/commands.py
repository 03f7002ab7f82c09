"""A command in a container: what it finds there, from its network to its mounts, and nothing of that is in the layer.

What is handed to it lies in memory and is mounted. The places for these mounts are made where the image has none, and
are gone again before anybody looks at what the command has changed.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from s2ictl import files
from s2ictl.archives import Entry, file_entry, tar_stream
from s2ictl.engines.accounts import Account
from s2ictl.engines.embedded import networks, spec
from s2ictl.engines.embedded.links import resolved
from s2ictl.engines.embedded.machine import Machine
from s2ictl.engines.embedded.spec import Mount
from s2ictl.engines.embedded.wardens import Chamber, Process, Warden
from s2ictl.errors import PullBuilderImageFailed
from s2ictl.events import Emit
from s2ictl.images import Store
from s2ictl.leases import Host, name_for
from s2ictl.models import Confinement, ImageFacts
from s2ictl.values import dataclass

HOSTNAME = "s2ictl"  # one for all: a name that changed with each build would be a difference in what it makes
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RESOLVERS, _HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")
_OF_THE_SYSTEM = (("/proc", False), ("/sys", False), ("/dev", False))
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where containers are made: by whom, of which images, in whose name, on what kind of machine."""

    warden: Warden
    store: Store
    machine: Machine
    host: Host

    def image(self, image: str) -> ImageFacts:
        """What an image says of itself that a container is to be made of."""
        known = self.store.held(image)
        if known is None:
            raise PullBuilderImageFailed(
                f"there is no image {image} here any more", hint="build again: it is fetched anew"
            )
        return known

    def chamber(self, image: ImageFacts, owner: str, emit: Emit, *, seconds: float) -> AbstractContextManager[Chamber]:
        """A container of it that `owner` needs for at most so many seconds."""
        name = name_for(owner, self.host, seconds=seconds)
        return self.warden.chamber(name, self.store.trees(image.id, emit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What lies in memory for a command: a file below `handed`, and where it finds that, or the directory above it."""

    entries: tuple[Entry, ...]
    mounts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is to run, as whom and where; `mounts` are directories of this machine, `handed` is for its user alone."""

    words: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    account: Account
    confinement: Confinement = Confinement()
    mounts: tuple[Mount, ...] = ()
    handed: Handed = Handed(entries=(), mounts={})


def environment(image: ImageFacts, account: Account, *more: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The variables of an image's command: its own, then each of these, of which the later count more."""
    variables = {"PATH": DEFAULT_PATH, "HOME": account.home, **image.variables}
    for each in more:
        variables.update(each)
    return tuple(variables.items())


def network_of(confinement: Confinement, machine: Machine) -> networks.Network:
    """What a container of this confinement may reach."""
    return networks.chosen(confinement.network, machine, _content(_RESOLVERS))


@contextmanager
def running(site: Site, chamber: Chamber, command: Command) -> Iterator[Process]:
    """The command at work; at the end it is gone, and all that was there for it alone."""
    _check_workdir(chamber, command.workdir)
    network = network_of(command.confinement, site.machine)
    own = chamber.network(network.helper) if network.is_own else ""
    wanted = (*_handed(chamber, command, network), *_volumes(command.confinement), *_directories(command.mounts))
    placed = [_where_it_leads(chamber, each) for each in wanted]
    made = chamber.mount_points((*_OF_THE_SYSTEM, *((each.mount.target, each.is_file) for each in placed)))
    cgroup = f"{site.machine.cgroups}/{chamber.name}" if site.machine.cgroups else ""
    container = spec.Container(
        root=chamber.root,
        hostname=HOSTNAME,
        command=command.words,
        env=command.env,
        workdir=command.workdir or "/",
        uid=command.account.uid,
        gid=command.account.gid,
        groups=command.account.groups,
        mounts=tuple(each.mount for each in placed),
        confinement=command.confinement,
        network=own,
        cgroup=cgroup,
        limits=site.machine.limits,
        architecture=site.machine.architecture,
        rootless=site.machine.rootless,
    )
    try:
        with chamber.running(spec.document(container), site.machine.runtime, cgroup) as process:
            yield process
    finally:
        if own:
            chamber.cut_off()
        chamber.erase(tuple(reversed(made)))


def _check_workdir(chamber: Chamber, path: str) -> None:
    """A runtime goes there while it still holds what is the machine's, and below /proc/self/fd an image could name that
    (CVE-2024-21626)."""
    place = PurePosixPath(resolved(chamber, path or "/"))
    if any(place.is_relative_to(system) for system, _ in _OF_THE_SYSTEM):
        raise PullBuilderImageFailed(
            f"nothing can run in the working directory {path}",
            detail=f"it leads to {place}, where no image has anything",
            hint="the image has to name another: WORKDIR in its Dockerfile",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    mount: Mount
    is_file: bool


def _where_it_leads(chamber: Chamber, placed: _Placed) -> _Placed:
    """The same at the end of a link: what the resolvers' own leads to is there in a running system alone."""
    if not stat.S_ISLNK(chamber.mode(placed.mount.target) or 0):
        return placed
    return replace(placed, mount=replace(placed.mount, target=resolved(chamber, placed.mount.target)))


def _handed(chamber: Chamber, command: Command, network: networks.Network) -> Iterator[_Placed]:
    """Put into memory what the command is to find, and say where it is mounted."""
    hosts = networks.hosts_file(network, HOSTNAME, command.confinement.hosts, _content(_HOSTS))
    everybodys = (file_entry("resolv.conf", network.resolvers, mode=0o644), file_entry("hosts", hosts, mode=0o644))
    chamber.hand(tar_stream(everybodys, uid=0, gid=0))
    if command.handed.entries:
        chamber.hand(tar_stream(command.handed.entries, uid=command.account.uid, gid=command.account.gid))
    names = {str(_RESOLVERS): "resolv.conf", str(_HOSTS): "hosts", **command.handed.mounts}
    directories = {member.path for member, _ in command.handed.entries if member.kind == "directory"}
    for target, name in names.items():
        mount = Mount(source=f"{chamber.handed}/{name}", target=target, read_only=True)
        yield _Placed(mount=mount, is_file=name not in directories)


def _volumes(confinement: Confinement) -> Iterator[_Placed]:
    """What of this machine is mounted; to relabel it is for engines that give containers a label of their own."""
    for volume in confinement.volumes:
        mount = Mount(source=volume.source, target=volume.target, read_only=volume.read_only)
        yield _Placed(mount=mount, is_file=not files.is_directory(Path(volume.source)))


def _directories(mounts: Iterable[Mount]) -> Iterator[_Placed]:
    return (_Placed(mount=mount, is_file=False) for mount in mounts)


def _content(path: Path) -> bytes:
    """A file of this machine; one that is missing says nothing."""
    with suppress(OSError):
        return files.read_small(path, most=_LARGEST)
    return b""
