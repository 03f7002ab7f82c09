"""What the Docker API is told, and what it answers, as data: docker.py alone says it."""

from __future__ import annotations

import base64
import io
import json
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from s2ictl.engines import kept, privileges
from s2ictl.events import Emit, Progress
from s2ictl.expressions import expression
from s2ictl.models import SECRETS, Assembly, Confinement, ImageConfig, ImageFacts, Login, Salvage
from s2ictl.wire import Unreadable

_NEVER_STARTED = ("/",)  # a container needs a command, also one that only takes files in

_DIGEST = expression(r"(?:[\w.-]+: )?digest: (sha256:[0-9a-f]{64})(?: size: \d+)?", re.IGNORECASE)

STAT = "x-docker-container-path-stat"
T = TypeVar("T")


def container_document(assembly: Assembly, command: tuple[str, ...]) -> dict[str, object]:
    """The container as the engine wants it told; the builder's own entrypoint must not stand before the command."""
    host = host_document(assembly.confinement)
    # Told among the container's volumes, the commit would make it one of the image's.
    secrets = [{"Type": "volume", "Target": SECRETS, "VolumeOptions": {"NoCopy": True}}] if assembly.secrets else []
    return {
        **_command_document(assembly.image_id, command, assembly.user),
        "Env": [f"{name}={value}" for name, value in assembly.env],
        "HostConfig": {
            **host,
            "Mounts": [*_mounts(assembly.confinement), *kept.mounts(assembly.caches, assembly.user), *secrets],
        },
    }


def bare(assembly: Assembly) -> Assembly:
    """The same container with nothing of anybody's in it."""
    return replace(assembly, secrets=(), caches=(), confinement=Confinement())


def salvage_document(salvage: Salvage) -> dict[str, object]:
    return {
        **_command_document(salvage.image_id, salvage.command, salvage.user),
        "HostConfig": host_document(salvage.confinement),
    }


def _command_document(image: str, command: tuple[str, ...], user: str) -> dict[str, object]:
    told = {"Image": image, "Entrypoint": list(command or _NEVER_STARTED), "Cmd": [], "User": user}
    # A shell that is the first process hears no request to end: nobody who stops the engine has to wait for it.
    return {**told, "StopTimeout": 1}


def run_document(image: str, ports: tuple[int, ...], env: Mapping[str, str]) -> dict[str, object]:
    """A container whose output the engine keeps, but not without end: whoever asks may come late, or not at all."""
    published = {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in ports}
    log = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "1"}}
    return {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "ExposedPorts": {port: {} for port in published},
        "HostConfig": {**host_document(Confinement()), "PortBindings": published, "LogConfig": log},
    }


def host_document(given: Confinement) -> dict[str, object]:
    """What holds the container in; what is not given the engine decides."""
    asked: dict[str, object] = {
        "Mounts": _mounts(given),
        "Binds": _binds(given),
        "NetworkMode": given.network,
        "ExtraHosts": list(given.hosts),
        "Memory": given.memory,
        "MemorySwap": given.memory,  # both together: no swap, or the limit would only make it slow
        "NanoCpus": round(given.cpus * 1e9),
    }
    return {
        "CapDrop": ["ALL"],
        "CapAdd": list(privileges.capabilities(given.cap_drop)),
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": privileges.PROCESSES,
        # The container's output is read as it comes; a log beside it would only fill the engine's disk.
        "LogConfig": {"Type": "none"},
        **{name: value for name, value in asked.items() if value},
    }


def _mounts(given: Confinement) -> list[dict[str, object]]:
    """As mounts and not as binds, which make the directory on the host where it is missing."""
    return [
        {
            "Type": "bind" if volume.source.startswith("/") else "volume",
            "Source": volume.source,
            "Target": volume.target,
            "ReadOnly": volume.read_only,
        }
        for volume in given.volumes
        if not volume.relabel
    ]


def _binds(given: Confinement) -> list[str]:
    """Those that SELinux is to know, which no mount can say."""
    return [f"{volume.source}:{volume.target}:{volume.options}" for volume in given.volumes if volume.relabel]


def unsettable(info: Mapping[str, Any], given: Confinement) -> str:
    """The explicit limit that this engine cannot set, by its own word; "" when there is none."""
    if given.memory and not info.get("MemoryLimit", True):
        return "--memory: its kernel or cgroup has no memory limit"
    if given.cpus and not info.get("CpuCfsQuota", info.get("CPUCfsQuota", True)):
        return "--cpus: its kernel or cgroup has no CPU quota"
    return ""


def commit_document(config: ImageConfig) -> dict[str, object]:
    """What the image says of itself; an empty list, unlike none at all, keeps the container's entrypoint out."""
    return {
        "Cmd": list(config.command),
        "Entrypoint": list(config.entrypoint),
        "User": config.user,
        "WorkingDir": config.workdir,
        "Env": [f"{name}={value}" for name, value in config.env],
        "Labels": dict(config.labels),
        "ExposedPorts": {port: {} for port in config.exposed},
    }


def image_facts(document: Mapping[str, Any], repository: str) -> ImageFacts:
    """What `inspect` says of an image."""
    config = document.get("Config") or {}
    digests = [digest.partition("@") for digest in document.get("RepoDigests") or ()]
    named = [found for name, _, found in digests if f"/{name}".endswith(f"/{repository}")] or [d for *_, d in digests]
    return ImageFacts(
        id=document["Id"],
        digest=named[0] if named else "",
        labels=dict(config.get("Labels") or {}),
        env=tuple(config.get("Env") or ()),
        user=config.get("User") or "",
        workdir=config.get("WorkingDir") or "",
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        exposed=tuple(sorted(config.get("ExposedPorts") or ())),
        volumes=tuple(sorted(config.get("Volumes") or ())),
        onbuild=tuple(config.get("OnBuild") or ()),
        platform="/".join(part for part in (document.get("Os"), document.get("Architecture")) if part),
        created=document.get("Created") or "",
        layers=tuple((document.get("RootFS") or {}).get("Layers") or ()),
    )


def auth(login: Login | None) -> dict[str, str]:
    """The login for one request; an empty one keeps the engine from refusing the request as malformed."""
    if login is None:
        return {}
    host, secret = {"serveraddress": login.host}, login.password.reveal()
    if login.kind == "password":
        return {**host, "username": login.username, "password": secret}
    return {**host, "identitytoken" if login.kind == "identity" else "registrytoken": secret}


def auth_header(login: Login | None) -> dict[str, str]:
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth(login)).encode()).decode()}


def moment_after(time: str) -> str:
    """A time as the engine writes it, a second later, as it reads it: seconds since 1970 by its own clock."""
    whole = datetime.fromisoformat(f"{time[:19]}+00:00")
    return str(int(whole.timestamp()) + 2)


def mode_of(headers: Mapping[str, str]) -> int:
    """A file's mode as Unix has it; the API speaks Go's, whose kinds lie in the highest bits."""
    mode = _stat(headers, "mode", int)
    kind = stat.S_IFDIR if mode & 1 << 31 else stat.S_IFLNK if mode & 1 << 27 else stat.S_IFREG
    return kind | mode & 0o777


def mtime_of(headers: Mapping[str, str]) -> str:
    """When what lies at a path was changed last, by the engine's clock."""
    return _stat(headers, "mtime", str)


def _stat(headers: Mapping[str, str], what: str, kind: type[T]) -> T:
    """One word of what an archive's answer says beside the archive; not everything on the way passes that on."""
    try:
        said = json.loads(base64.b64decode(headers.get(STAT, "")))[what]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise Unreadable(f"its header {STAT} does not tell the {what}") from error
    if type(said) is not kind:
        raise Unreadable(f"its header {STAT} has a {what} that is none")
    return said


def first_file(archive: bytes, limit: int) -> bytes | None:
    """The first bytes of the regular file with which the archive begins; None when it begins with anything else."""
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as tar:
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.isreg() else None
            return file.read(limit) if file else None
    except tarfile.TarError:
        return None


def first_error(records: Iterable[Mapping[str, Any]], subject: str, emit: Emit, digests: list[str]) -> str:
    """Follow a transfer: its progress is told, its digests are kept, and its first error is the answer."""
    moved: dict[str, tuple[int, int]] = {}
    for record in records:
        if "error" in record or "errorDetail" in record:
            return _trouble(record)
        if digest := _digest(record):
            digests.append(digest)
        detail = record.get("progressDetail")
        if isinstance(detail, dict) and detail:
            moved[str(record.get("id"))] = _bytes(detail.get("current")), _bytes(detail.get("total"))
            done, total = (sum(column) for column in zip(*moved.values(), strict=True))
            emit(Progress(subject=subject, done=done, total=total))
    return ""


def _bytes(told: object) -> int:
    return told if isinstance(told, int) and told >= 0 else 0


def _trouble(record: Mapping[str, Any]) -> str:
    detail = record.get("errorDetail")
    said = record.get("error") or (detail.get("message") if isinstance(detail, dict) else detail)
    return str(said or "it failed, and the engine does not say why")


def _digest(record: Mapping[str, Any]) -> str:
    """The digest that this word of a transfer names; some engines have it in a sentence alone."""
    aux = record.get("aux")
    told = aux.get("Digest") if isinstance(aux, dict) else None
    found = _DIGEST.fullmatch(f"digest: {told}" if told else str(record.get("status", "")))
    return found[1] if found else ""
