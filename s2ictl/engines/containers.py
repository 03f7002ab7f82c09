"""One container of the Docker API: made and removed by name, looked into, written to, run, and never forgotten."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from s2ictl.archives import Reader
from s2ictl.engines import accounts, dockerapi, streams, verdicts
from s2ictl.engines.connection import ANSWER, WORK, Forgiven, answer, door, patient
from s2ictl.errors import AssembleFailed, CommitContainerFailed, PullBuilderImageFailed, Unreachable

SMALL_FILE = 1024 * 1024
_SETTLE = (0.1, 0.2, 0.4, 0.8)  # waits for a container whose creation was cut off on our side only


@contextmanager
def created(api: Any, name: str, document: Mapping[str, object], *, image: str) -> Iterator[Container]:
    """A container that exists while the context lasts, unless it is given another name."""
    answered = False
    try:
        with _told_apart(image), door("create a container", PullBuilderImageFailed):
            identity = api.create_container_from_config(dict(document), name=name)["Id"]
        answered = True
        yield Container(api=api, id=identity, image=image)
    finally:
        remove(api, name, waits=() if answered else _SETTLE)


@contextmanager
def _told_apart(image: str) -> Iterator[None]:
    try:
        yield
    except PullBuilderImageFailed as error:
        raise verdicts.start_failure(image, error) from error


def remove(api: Any, name: str, *, waits: tuple[float, ...] = ()) -> None:
    """Remove by the name that we gave it: an id is not known when the answer to the creation was lost."""
    for wait in (0.0, *waits):
        time.sleep(wait)
        # An engine that is gone keeps the container; the next build's sweep knows it by its name.
        with suppress(Unreachable), door("remove a container"), Forgiven(404):
            with Forgiven(409):  # it is being removed already
                api.remove_container(name, v=True, force=True)
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What can be done with one container that exists; `image` is what the user calls the one that it was made of."""

    api: Any
    id: str
    image: str

    # ------------------------------------------------------------------------------------------------------- files

    def mode(self, path: str) -> int | None:
        """The mode of a path; None when it is not there."""
        looking = door(f"look for {path} in the container", PullBuilderImageFailed)
        with looking, self._archive("HEAD", path) as given:
            return None if given.status_code == 404 else dockerapi.mode_of(given.headers[dockerapi.STAT])

    def read(self, path: str, limit: int) -> bytes | None:
        """The first bytes of a regular file, at most one more than `limit`; None when there is none."""
        data = bytearray()
        reading = door(f"read {path} in the container", CommitContainerFailed)
        with reading, self._archive("GET", path) as given:
            chunks = iter(()) if given.status_code == 404 else given.iter_content(64 * 1024)
            while len(data) <= limit + 64 * 1024 and (chunk := next(chunks, b"")):
                data += chunk
        return dockerapi.first_file(bytes(data), limit + 1)

    @contextmanager
    def taken(self, path: str) -> Iterator[Reader | None]:
        """A reader of the tar of what lies at a path; None when nothing does."""
        with door(f"read {path} in the container", AssembleFailed), self._archive("GET", path) as given:
            yield None if given.status_code == 404 else streams.reader(given.iter_content(64 * 1024))

    def put(self, tar: Iterator[bytes]) -> None:
        """Unpack a plain tar at the root; only before the first start, or after the end."""
        with door("upload into the container", CommitContainerFailed), patient(self.api, WORK):
            # Only an iterator is streamed; anything else is first held in memory as a whole.
            self.api.put_archive(self.id, "/", tar)

    @contextmanager
    def _archive(self, method: str, path: str) -> Iterator[Any]:
        what = f"containers/{self.id}/archive"
        with answer(self.api, method, what, {"path": path}, silence=WORK, passing=(404,)) as given:
            yield given

    # -------------------------------------------------------------------------------------------------------- life

    def facts(self) -> Mapping[str, Any]:
        with door("inspect the container"):
            facts: Mapping[str, Any] = self.api.inspect_container(self.id)
        return facts

    def state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self.facts()["State"]
        return state

    def start(self) -> None:
        with _told_apart(self.image), door(f"start {self.image}", PullBuilderImageFailed):
            self.api.start(self.id)

    def ended(self, limit: streams.Limit) -> Mapping[str, Any]:
        """How it ended, once it truly has."""
        while (state := self.state())["Running"]:
            limit.check()
            time.sleep(0.05)
        return state

    @contextmanager
    def attached(self) -> Iterator[socket.socket]:
        """The wire on which its output comes from now on."""
        with door("listen to the container"):
            wire = self.api.attach_socket(self.id, params={"stdout": 1, "stderr": 1, "stream": 1})
        with _connection(wire) as connection:
            yield connection

    def execute(self, document: Mapping[str, Any], limit: streams.Limit) -> int:
        """Run another command in the running container and answer its status; what it prints is for nobody."""
        with door(f"run {limit.what}", CommitContainerFailed):
            identity = self.api.exec_create(self.id, **document)["Id"]
            with _connection(self.api.exec_start(identity, socket=True)) as connection:
                for _ in streams.received(connection, limit):
                    pass
            while (state := self.api.exec_inspect(identity))["Running"]:
                limit.check()
                time.sleep(0.02)
        return int(state["ExitCode"] or 0)

    def signal(self, name: str) -> None:
        with door("signal the container"), Forgiven(404, 409):  # it has ended by itself
            self.api.kill(self.id, signal=name)

    def died_unseen(self, state: Mapping[str, Any]) -> bool:
        """Whether this engine, as it runs now, knows nothing of the container's death: then it was restarted since."""
        until = dockerapi.moment_after(state["FinishedAt"])
        filters = json.dumps({"container": [self.id], "event": ["die"]})
        asked = {"since": "0", "until": until, "filters": filters}
        with door("ask what happened"), answer(self.api, "GET", "events", asked, silence=ANSWER) as given:
            return not any(given.iter_lines())

    def rename(self, name: str) -> None:
        with door("rename the container"):
            self.api.rename(self.id, name)

    @contextmanager
    def log(self, *, follow: bool) -> Iterator[Iterator[bytes]]:
        """All that it has said so far, and with `follow` until it ends, as long as that may take."""
        params = {"stdout": 1, "stderr": 1, "follow": int(follow)}
        hearing = door("read the container's log")
        what = f"containers/{self.id}/logs"
        with hearing, answer(self.api, "GET", what, params, silence=None if follow else ANSWER) as given:
            yield given.iter_content(None)


@contextmanager
def _connection(wire: Any) -> Iterator[socket.socket]:
    """The raw connection of an answer that has become a stream."""
    # A copy of the descriptor, since what the library hands out cannot be read on after a timeout.
    connection = wire if hasattr(wire, "recv") else socket.socket(fileno=os.dup(wire.fileno()))
    # The answer behind the wire is the only one who can close the connection it came from.
    with closing(connection), closing(wire), closing(wire._response):  # noqa: SLF001
        yield connection


def ids_of(container: Container, user: str) -> tuple[int, int]:
    """The numbers that a user has in the container's image."""
    wanted = accounts.needs_files(user)
    passwd = (container.read("/etc/passwd", SMALL_FILE) if wanted else None) or b""
    group = (container.read("/etc/group", SMALL_FILE) if wanted else None) or b""
    return accounts.ids_of(user, passwd=passwd.decode(errors="replace"), group=group.decode(errors="replace"))
