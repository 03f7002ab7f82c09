"""The Docker engine, and Podman by its socket: the only importer of docker.

Every container that is made here is removed here, also when the answer to its creation was lost, on Ctrl-C and on
errors; what a killed process left is swept when the next one opens the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import PurePosixPath
from typing import Any

from s2ictl.engines import accounts, dockerapi, handover, outcomes, streams, verdicts
from s2ictl.errors import (
    AssembleFailed,
    CommitContainerFailed,
    PullBuilderImageFailed,
    PushImageToRegistryFailed,
    RolloutFailed,
    S2IError,
    Unreachable,
    WrongPlatform,
)
from s2ictl.events import Emit, Notice
from s2ictl.leases import Host, is_abandoned, name_for
from s2ictl.models import Assembly, Built, ImageConfig, ImageFacts, Login, PullPolicy, Reference
from s2ictl.transport import unreachable

_WHICH_ENGINE = "start Docker or Podman, name another engine in DOCKER_HOST, or join the group that may use its socket"
_CONNECT = 10.0  # seconds in which a living engine says its version
_ANSWER = 600.0  # seconds of silence while it works: a commit of gigabytes says nothing until it is done
_SETTLE = (0.1, 0.2, 0.4, 0.8)  # waits for a container whose creation was cut off on our side only
_RUN_LIMIT = 24 * 3600.0
_SMALL_FILE = 1024 * 1024
_METADATA_LIMIT = 256 * 1024


@contextmanager
def open_docker(environ: Mapping[str, str], *, host: Host, emit: Emit) -> Iterator[Docker]:
    """The engine that the docker program would talk to, with what dead processes left there removed."""
    with door("say its version"):
        api = _connect(environ)
    try:
        engine = Docker(api, host=host)
        engine.sweep(emit)
        yield engine
    finally:
        api.close()


def _connect(environ: Mapping[str, str]) -> Any:
    import docker
    from docker.constants import DEFAULT_UNIX_SOCKET
    from docker.context import ContextAPI

    where = docker.utils.kwargs_from_env(environment=dict(environ))
    if "base_url" not in where:
        where = {**ContextAPI.kwargs_from_context(environment=dict(environ)), **where}
    _knock(where.get("base_url") or DEFAULT_UNIX_SOCKET)
    api = docker.APIClient(version="auto", timeout=_CONNECT, **where)
    api.timeout = _ANSWER
    return api


def _knock(address: str) -> None:
    """Find out whether anybody is there; the library leaves its socket open where nobody is."""
    scheme, _, path = address.removeprefix("http+").partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as door_bell:
            door_bell.settimeout(_CONNECT)
            door_bell.connect(path)


class Docker:
    """An Engine and a Runner on one connection."""

    def __init__(self, api: Any, *, host: Host) -> None:
        self._api = api
        self._host = host

    def version(self) -> str:
        """Say which engine this is, in a few words."""
        said = self._platform()
        return f"{said['Version']} (API {said['ApiVersion']}, {said['Os']}/{said['Arch']})"

    def _platform(self) -> Mapping[str, str]:
        with door("ask the engine for its version"):
            answer: Mapping[str, str] = self._api.version()
        return answer

    # ---------------------------------------------------------------------------------------------------- images

    def facts(self, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit) -> ImageFacts | None:
        """What the image says of itself; None when it is nowhere to be had."""
        known = self._inspect(image) if pull != "always" else None
        if known is None and pull != "never" and self._pull(image, login, emit):
            known = self._inspect(image)
        if known is not None:
            self._check_platform(image, known)
        return known

    def _inspect(self, image: str) -> ImageFacts | None:
        import docker.errors

        with door(f"inspect {image}", PullBuilderImageFailed):
            try:
                return dockerapi.image_facts(self._api.inspect_image(image), Reference.parse(image).repository)
            except docker.errors.NotFound:
                return None

    def _pull(self, image: str, login: Login | None, emit: Emit) -> bool:
        import docker.errors

        name = Reference.parse(image)
        tag = name.digest or name.tag or "latest"
        emit(Notice(text=f"pulling {image}"))
        with door(f"pull {image}", PullBuilderImageFailed):
            try:
                records = self._api.pull(
                    name.name, tag=tag, stream=True, decode=True, auth_config=dockerapi.auth(login)
                )
                text = dockerapi.first_error(records, image, emit, digests=[])
            except docker.errors.APIError as error:
                text = str(error.explanation)
        if text and (failure := verdicts.pull_failure(image, text, login)):
            raise failure
        return not text

    def _check_platform(self, image: str, facts: ImageFacts) -> None:
        version = self._platform()
        own = f"{version['Os']}/{version['Arch']}"
        if facts.platform and facts.platform != own:
            raise WrongPlatform(
                f"{image} is for {facts.platform}, the engine runs {own}", hint="name an image of the engine's platform"
            )

    def load_base(self, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
        """Make an image of a tar of a root file system."""
        changes = [
            "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"CMD {json.dumps(command)}",
        ]
        with door(f"load {name}", PullBuilderImageFailed):
            self._api.import_image_from_data(filesystem, repository=name.name, tag=name.tag, changes=changes)
        facts = self._inspect(str(name))
        if facts is None:
            raise PullBuilderImageFailed(f"could not load {name}", detail="the engine did not keep it")
        return facts

    def push(self, name: Reference, *, login: Login | None, emit: Emit) -> str:
        """Send the image to its registry and answer the digest there."""
        with door(f"push {name}", PushImageToRegistryFailed):
            records = self._api.push(
                name.name, tag=name.tag, stream=True, decode=True, auth_config=dockerapi.auth(login)
            )
            kept: list[str] = []
            text = dockerapi.first_error(records, str(name), emit, digests=kept)
        if text:
            raise verdicts.push_failure(name, text, login)
        if not kept:
            raise PushImageToRegistryFailed(
                f"could not push {name}", detail="the engine's answer ended without a digest"
            )
        return kept[-1]

    # -------------------------------------------------------------------------------------------------- assemble

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        """Run what is described, and commit what it left behind."""
        assembly.config(None)  # what is wrong with it is said before anything runs
        with self._container(assembly, handover.wrapped(assembly)) as container:
            if self._mode(container, handover.SHELL) is not None:
                return self._perform(container, assembly, emit, files=handover.needs_files(assembly))
        emit(Notice(text=handover.without_shell(assembly), level="warning"))
        with self._container(assembly, assembly.command) as container:
            return self._perform(container, assembly, emit, files=False)

    @contextmanager
    def _container(self, assembly: Assembly, command: tuple[str, ...]) -> Iterator[str]:
        name = name_for(assembly.owner, self._host, seconds=assembly.timeout + _ANSWER)
        with self._created(name, dockerapi.container_document(assembly, command)) as container:
            yield container

    def _perform(self, container: str, assembly: Assembly, emit: Emit, *, files: bool) -> Built:
        for program in assembly.programs:
            self._check_program(container, program, assembly.image)
        uid, gid = self._ids(container, assembly.user)
        self._upload(container, assembly.upload(uid, gid))
        if files:
            self._upload(container, iter((handover.files(assembly, uid, gid),)))
        tail = outcomes.Tail(emit)
        what = PurePosixPath(assembly.command[0]).name
        ended = self._follow(container, what, tail, seconds=assembly.timeout)
        outcomes.judge(ended, what, tail.lines)
        found = self._read(container, assembly.metadata, _METADATA_LIMIT)
        image = self._commit(container, assembly.config(found), assembly.names)
        return Built(id=image, size=self._size(image) - self._size(assembly.image_id))

    def _check_program(self, container: str, path: str, image: str) -> None:
        """A script that cannot start is a broken builder, and said before the source is sent."""
        mode = self._mode(container, path)
        if mode is None:
            raise PullBuilderImageFailed(
                f"{image} has no {path}", hint="its label io.openshift.s2i.scripts-url names that place"
            )
        if stat.S_ISREG(mode) and not mode & 0o111:
            raise PullBuilderImageFailed(f"{path} in {image} is not executable")
        interpreter = dockerapi.interpreter_of(self._read(container, path, _SMALL_FILE) or b"")
        if interpreter.endswith("\r"):
            raise PullBuilderImageFailed(f"{path} in {image} has Windows line ends, which no interpreter understands")
        if interpreter.startswith("/") and self._mode(container, interpreter) is None:
            raise PullBuilderImageFailed(f"{path} in {image} wants {interpreter[:200]}, which is not there")

    def _ids(self, container: str, user: str) -> tuple[int, int]:
        wanted = accounts.needs_files(user)
        passwd = (self._read(container, "/etc/passwd", _SMALL_FILE) if wanted else None) or b""
        group = (self._read(container, "/etc/group", _SMALL_FILE) if wanted else None) or b""
        return accounts.ids_of(user, passwd=passwd.decode(errors="replace"), group=group.decode(errors="replace"))

    def _commit(self, container: str, config: ImageConfig, names: Iterable[Reference]) -> str:
        with door("commit the container", CommitContainerFailed):
            image: str = self._api.commit(container, conf=dockerapi.commit_document(config))["Id"]
            for name in names:
                self._api.tag(image, name.name, tag=name.tag)
        return image

    def _size(self, image: str) -> int:
        with door("inspect the image", CommitContainerFailed):
            return int(self._api.inspect_image(image)["Size"])

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more and nothing uses it."""
        import docker.errors

        with door("remove the image", CommitContainerFailed):
            try:
                if not self._api.inspect_image(image)["RepoTags"]:
                    self._api.remove_image(image)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != 409:  # something uses it
                    raise

    # -------------------------------------------------------------------------------------------------- containers

    @contextmanager
    def _created(self, name: str, document: Mapping[str, object]) -> Iterator[str]:
        """A container that exists while the context lasts."""
        answered = False
        try:
            with door("create a container", PullBuilderImageFailed):
                container = self._api.create_container_from_config(dict(document), name=name)["Id"]
            answered = True
            yield container
        finally:
            self._remove(name, waits=() if answered else _SETTLE)

    def _remove(self, name: str, *, waits: tuple[float, ...]) -> None:
        """Remove by the name that we gave it: an id is not known when the answer to the creation was lost."""
        import docker.errors

        for wait in (0.0, *waits):
            time.sleep(wait)
            # An engine that is gone keeps the container; the next build's sweep knows it by its name.
            with contextlib.suppress(Unreachable), door("remove a container"):
                try:
                    self._api.remove_container(name, v=True, force=True)
                except docker.errors.NotFound:
                    continue
                except docker.errors.APIError as error:
                    if error.status_code != 409:  # it is being removed already
                        raise
            return

    def sweep(self, emit: Emit) -> None:
        """Remove the containers of processes that have died."""
        with door("list containers"):
            every = self._api.containers(all=True, filters={"name": "s2ictl-"})
        names = [name.lstrip("/") for container in every for name in container.get("Names") or ()]
        for name in names:
            if is_abandoned(name, self._host):
                self._remove(name, waits=())
                emit(Notice(text=f"removed {name}, which a build that died had left"))

    def _upload(self, container: str, tar: Iterator[bytes]) -> None:
        with door("upload into the container", CommitContainerFailed):
            # Only an iterator is streamed; anything else is first held in memory as a whole.
            self._api.put_archive(container, "/", tar)

    def _mode(self, container: str, path: str) -> int | None:
        """The mode of a path in the container; None when it is not there."""
        looking = door(f"look for {path} in the image", PullBuilderImageFailed)
        with looking, self._archive("HEAD", container, path) as answer:
            return None if answer.status_code == 404 else dockerapi.mode_of(answer.headers[dockerapi.STAT])

    def _read(self, container: str, path: str, limit: int) -> bytes | None:
        """The first bytes of a regular file, at most one more than `limit`; None when there is none."""
        data = bytearray()
        reading = door(f"read {path} in the container", CommitContainerFailed)
        with reading, self._archive("GET", container, path) as answer:
            chunks = iter(()) if answer.status_code == 404 else answer.iter_content(64 * 1024)
            while len(data) <= limit + 64 * 1024 and (chunk := next(chunks, b"")):
                data += chunk
        return dockerapi.first_file(bytes(data), limit + 1)

    @contextmanager
    def _archive(self, method: str, container: str, path: str) -> Iterator[Any]:
        """An answer of the archive API, closed again, which the library's own reader forgets."""
        url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container}/archive"
        with self._api.request(method, url, params={"path": path}, stream=True, timeout=_ANSWER) as answer:
            if answer.status_code != 404:
                answer.raise_for_status()
            yield answer

    def _follow(self, container: str, what: str, emit: Emit, *, seconds: float) -> outcomes.Ended:
        """Start the container, tell its output, and answer how it ended once it truly has."""
        limit = streams.Limit(what=what, seconds=seconds, deadline=time.monotonic() + seconds)
        with door(f"follow {what}", AssembleFailed), self._attached(container) as connection:
            self._api.start(container)
            for line in streams.lines(streams.pieces(streams.received(connection, limit))):
                emit(line)
            # The end of the output proves nothing: the program may have closed it, or the engine may have died.
            return self._ended(container, limit)

    @contextmanager
    def _attached(self, container: str) -> Iterator[socket.socket]:
        wire = self._api.attach_socket(container, params={"stdout": 1, "stderr": 1, "stream": 1})
        # A copy of the descriptor, since what the library hands out cannot be read on after a timeout.
        connection = wire if hasattr(wire, "recv") else socket.socket(fileno=os.dup(wire.fileno()))
        # The answer behind the wire is the only one who can close the connection it came from.
        with closing(connection), closing(wire), closing(wire._response):  # noqa: SLF001
            yield connection

    def _ended(self, container: str, limit: streams.Limit) -> outcomes.Ended:
        while (state := self._api.inspect_container(container)["State"])["Running"]:
            limit.check()
            time.sleep(0.05)
        return outcomes.Ended(status=state["ExitCode"], out_of_memory=state["OOMKilled"])

    # ----------------------------------------------------------------------------------------------------- running

    @contextmanager
    def run(
        self, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str
    ) -> Iterator[Mapping[int, int]]:
        """A running container while the context lasts; answers the loopback port that leads to each of its own."""
        name = name_for(owner, self._host, seconds=_RUN_LIMIT)
        with self._created(name, dockerapi.run_document(image, ports, env)) as container:
            with door(f"start {image}", RolloutFailed):
                self._api.start(container)
                published = self._api.inspect_container(container)["NetworkSettings"]["Ports"] or {}
            try:
                yield {port: int(published[f"{port}/tcp"][0]["HostPort"]) for port in ports}
            finally:
                with contextlib.suppress(S2IError), door("stop a container"):
                    self._api.stop(container, timeout=3)

    def output(self, image: str, *, command: tuple[str, ...], emit: Emit) -> None:
        """Run one command in the image and say what it prints."""
        name = name_for("output", self._host, seconds=_ANSWER)
        document = {**dockerapi.run_document(image, (), {}), "Entrypoint": list(command), "Cmd": []}
        with self._created(name, document) as container:
            ended = self._follow(container, command[0], emit, seconds=_ANSWER)
        if ended.status:
            raise RolloutFailed(f"{command[0]} in {image} ended with {ended.status}")


# ------------------------------------------------------------------------------------------- errors of the library


@contextmanager
def door(doing: str, failure: type[S2IError] = Unreachable) -> Iterator[None]:
    """Turn what docker, requests and urllib3 raise into one error of ours."""
    try:
        yield
    except S2IError:
        raise
    except Exception as cause:
        error = translated(cause, doing, failure)
        if error is None:
            raise
        raise error from cause


def translated(cause: Exception, doing: str, failure: type[S2IError]) -> S2IError | None:
    """The error of ours for one of the library's; None for what is not the library's."""
    import docker.errors
    import requests.exceptions

    if isinstance(cause, docker.errors.APIError):
        text = verdicts.bounded(str(cause.explanation or cause))
        return verdicts.full(doing, text) if verdicts.is_full(text) else failure(f"could not {doing}", detail=text)
    if isinstance(cause, docker.errors.InvalidVersion):
        return Unreachable(f"could not {doing}: the engine is too old", detail=str(cause))
    if isinstance(cause, docker.errors.StreamParseError):
        return failure(f"could not {doing}", detail="the engine's answer is not readable")
    if isinstance(cause, requests.exceptions.HTTPError):
        return failure(f"could not {doing}", detail=verdicts.bounded(str(cause)))
    lost = unreachable(cause, subject="the container engine")
    if lost is not None:
        return Unreachable(lost.message, detail=f"it was to {doing}: {lost.detail}", hint=_WHICH_ENGINE)
    if isinstance(cause, docker.errors.DockerException):
        return Unreachable(f"could not {doing}", detail=verdicts.bounded(str(cause)), hint=_WHICH_ENGINE)
    return None
