"""The files of Docker and Podman in which logins stand, and the variable that stands for one: which, in which order.

They are read only from where the user keeps them or says so, and never out of a source: what is named in them is run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec

from s2ictl.errors import Unauthorized
from s2ictl.logins.entries import decode
from s2ictl.logins.places import Place, key_of
from s2ictl.values import dataclass

# Where Podman keeps what is to last until the next start, if nobody says where such things are.
_RUNTIME = Path("/run/containers")
_LARGEST = 4 << 20


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The part of a Docker config that is about logins; an entry is only read when it is the one that is wanted."""

    auths: dict[str, msgspec.Raw] | None = None
    cred_helpers: dict[str, str] | None = None
    creds_store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """One place where logins may stand, by the name that people know it by; `read` answers None where it is not."""

    name: str
    read: Callable[[], bytes | None]


def shelves(environ: Mapping[str, str], home: Path, only: Path | None) -> Iterator[Shelf]:
    """Every place there may be, the most explicit first; a file that was named is the only one."""
    if only:
        yield _named(only, "--dockercfg-path")
        return
    if direct := environ.get("DOCKER_AUTH_CONFIG"):
        yield Shelf(name="DOCKER_AUTH_CONFIG", read=partial(direct.encode, errors="surrogateescape"))
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield _named(Path(named), "REGISTRY_AUTH_FILE")
    session = environ.get("XDG_RUNTIME_DIR")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    runtime = Path(session, "containers") if session else _RUNTIME / str(os.getuid())
    for path, read in (
        (docker_config(environ, home), content),
        (runtime / "auth.json", _reachable),
        (config / "containers/auth.json", content),
    ):
        yield Shelf(name=str(path), read=partial(read, path))


def docker_config(environ: Mapping[str, str], home: Path) -> Path:
    """Docker's own file, where `login` keeps what it is given."""
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def document(found: bytes, name: str) -> Document:
    """Read a file; an empty one says nothing, as Docker has it."""
    return decode(found.strip() or b"{}", Document, name)


def older_document(found: bytes, name: str) -> Document:
    """Read a file of the form that Docker's had before it was called config.json: entries, and nothing else."""
    return Document(auths=decode(found.strip() or b"{}", dict[str, msgspec.Raw], name))


def content(path: Path) -> bytes | None:
    """The whole of a file, None where there is none."""
    try:
        # Without waiting: a FIFO would have us wait for its writer for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = file.read(_LARGEST + 1) or b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unauthorized(f"{path} cannot be read", detail=error.strerror or "") from error
    if len(found) > _LARGEST:
        raise Unauthorized(f"{path} is larger than {_LARGEST} bytes")
    return found


def _reachable(path: Path) -> bytes | None:
    """The same, of a directory that is root's alone where root's Podman has made it before ours did."""
    return content(path) if os.access(path.parent, os.X_OK) else None


def edited(found: bytes, place: Place, entry: Mapping[str, str] | None, *, name: str) -> bytes:
    """The same file with this entry as the only one for a registry, or with none; all else in it stays as it is."""
    whole = decode(found.strip() or b"{}", dict[str, msgspec.Raw], name)
    auths = document(found, name).auths or {}
    kept: dict[str, object] = {key: raw for key, raw in auths.items() if Place.parse(key) != place}
    if entry is not None:
        kept[key_of(place)] = entry
    return msgspec.json.format(msgspec.json.encode({**whole, "auths": kept}), indent=2) + b"\n"


def _named(path: Path, by: str) -> Shelf:
    def read() -> bytes:
        found = content(path)
        if found is None:
            raise Unauthorized(f"{by} names {path}, which is not there")
        return found

    return Shelf(name=str(path), read=read)
