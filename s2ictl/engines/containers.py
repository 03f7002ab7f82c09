"""One container of the Docker API: made and removed by name, looked into, written to, run, and never forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from threading import Thread
from typing import Any

from s2ictl.archives import Reader, reader_of
from s2ictl.engines import accounts, dockerapi, streams, verdicts
from s2ictl.engines.client import Answer, Api
from s2ictl.engines.connection import ANSWER, WORK, Forgiven, answer, ask, door, hijacked
from s2ictl.errors import AssembleFailed, CommitContainerFailed, PullBuilderImageFailed, S2IError
from s2ictl.values import dataclass

SMALL_FILE = 1024 * 1024
_SETTLE = (0.1, 0.2, 0.4, 0.8)  # waits for a container whose creation was cut off on our side only


Act = Callable[[], None]


def at_once(act: Act) -> None:
    act()


class Removals:
    """Containers on their way out while the work that needs them no more goes on; nobody leaves before the last."""

    def __init__(self) -> None:
        self._threads: list[Thread] = []

    def begin(self, act: Act) -> None:
        # No daemon: whoever interrupts the waiting below is held up by the interpreter's own end instead.
        thread = Thread(target=act, name="s2ictl-removal")
        try:
            thread.start()
        except RuntimeError:  # this machine has no room for another thread
            act()
        else:
            self._threads.append(thread)

    def finish(self) -> None:
        while self._threads:
            self._threads[-1].join()
            self._threads.pop()


@contextmanager
def created(
    api: Api, name: str, document: Mapping[str, object], *, image: str, leave: Callable[[Act], None] = at_once
) -> Iterator[Container]:
    """A container that exists while the context lasts, unless it is given another name.

    By `leave` it is removed when all went well; otherwise nothing goes on before it is gone.
    """
    answered = done = False
    try:
        with _told_apart(image), door("create a container", PullBuilderImageFailed):
            identity = ask(api, "POST", "containers/create", {"name": name}, json=document)["Id"]
        answered = True
        yield Container(api=api, id=identity, image=image)
        done = True
    finally:
        if not done:
            remove(api, name, waits=() if answered else _SETTLE)
    leave(partial(remove, api, name))


@contextmanager
def _told_apart(image: str) -> Iterator[None]:
    try:
        yield
    except PullBuilderImageFailed as error:
        raise verdicts.start_failure(image, error) from error


def remove(api: Api, name: str, *, waits: tuple[float, ...] = ()) -> None:
    """Remove by the name that we gave it: an id is not known when the answer to the creation was lost."""
    for wait in (0.0, *waits):
        time.sleep(wait)
        # An engine that is gone, or has no room to do it, keeps the container; the next sweep knows it by its name.
        with suppress(S2IError), door("remove a container"), Forgiven(404):
            with Forgiven(409):  # it is being removed already
                ask(api, "DELETE", f"containers/{name}", {"v": 1, "force": 1})
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What can be done with one container that exists; `image` is what the user calls the one that it was made of."""

    api: Api
    id: str
    image: str

    @property
    def _path(self) -> str:
        return f"containers/{self.id}"

    # ------------------------------------------------------------------------------------------------------- files

    def mode(self, path: str) -> int | None:
        """The mode of a path; None when it is not there."""
        looking = door(f"look for {path} in the container", PullBuilderImageFailed)
        with looking, self._archive("HEAD", path) as given:
            return None if given.status_code == 404 else dockerapi.mode_of(given.headers)

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
            yield None if given.status_code == 404 else reader_of(given.iter_content(64 * 1024))

    def put(self, tar: Iterator[bytes]) -> None:
        """Unpack a plain tar at the root; only before the first start, or after the end."""
        uploading = door("upload into the container", CommitContainerFailed)
        with uploading, answer(self.api, "PUT", f"{self._path}/archive", {"path": "/"}, silence=WORK, data=tar):
            pass

    @contextmanager
    def _archive(self, method: str, path: str) -> Iterator[Answer]:
        what = f"{self._path}/archive"
        with answer(self.api, method, what, {"path": path}, silence=WORK, passing=(404,)) as given:
            yield given

    # -------------------------------------------------------------------------------------------------------- life

    def facts(self) -> Mapping[str, Any]:
        with door("inspect the container"):
            facts: Mapping[str, Any] = ask(self.api, "GET", f"{self._path}/json")
        return facts

    def state(self) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self.facts()["State"]
        return state

    def start(self) -> None:
        with _told_apart(self.image), door(f"start {self.image}", PullBuilderImageFailed):
            ask(self.api, "POST", f"{self._path}/start")

    def ended(self, limit: streams.Limit) -> Mapping[str, Any]:
        """How it ended, once it truly has."""
        while (state := self.state())["Running"]:
            limit.check()
            time.sleep(0.05)
        return state

    @contextmanager
    def attached(self) -> Iterator[streams.Wire]:
        """The wire on which its output comes from now on."""
        with ExitStack() as opened:
            with door("listen to the container"):
                heard = {"stdout": 1, "stderr": 1, "stream": 1}
                wire = opened.enter_context(hijacked(self.api, f"{self._path}/attach", heard))
            yield wire

    def execute(self, document: Mapping[str, Any], limit: streams.Limit) -> int:
        """Run another command in the running container and answer its status; what it prints is for nobody."""
        with door(f"run {limit.what}", CommitContainerFailed):
            identity = ask(self.api, "POST", f"{self._path}/exec", json=document)["Id"]
            with hijacked(self.api, f"exec/{identity}/start", {}, json={"Detach": False, "Tty": False}) as wire:
                for _ in streams.received(wire, limit):
                    pass
            while (state := ask(self.api, "GET", f"exec/{identity}/json"))["Running"]:
                limit.check()
                time.sleep(0.02)
        return int(state["ExitCode"] or 0)

    def signal(self, name: str) -> None:
        with door("signal the container"), Forgiven(404, 409):  # it has ended by itself
            ask(self.api, "POST", f"{self._path}/kill", {"signal": name})

    def died_unseen(self, state: Mapping[str, Any]) -> bool:
        """Whether this engine, as it runs now, knows nothing of the container's death: then it was restarted since."""
        until = dockerapi.moment_after(state["FinishedAt"])
        filters = {"container": [self.id], "event": ["die"]}
        asked = {"since": "0", "until": until, "filters": filters}
        with door("ask what happened"), answer(self.api, "GET", "events", asked, silence=ANSWER) as given:
            return not any(given.iter_lines())

    def rename(self, name: str) -> None:
        with door("rename the container"):
            ask(self.api, "POST", f"{self._path}/rename", {"name": name})

    @contextmanager
    def log(self, *, follow: bool) -> Iterator[Iterator[bytes]]:
        """All that it has said so far, and with `follow` until it ends, as long as that may take."""
        params = {"stdout": 1, "stderr": 1, "follow": int(follow)}
        hearing = door("read the container's log")
        silence = None if follow else ANSWER
        with hearing, answer(self.api, "GET", f"{self._path}/logs", params, silence=silence) as given:
            yield given.iter_content()


def ids_of(container: Container, user: str) -> tuple[int, int]:
    """The numbers that a user has in the container's image."""
    wanted = accounts.needs_files(user)
    passwd = (container.read("/etc/passwd", SMALL_FILE) if wanted else None) or b""
    group = (container.read("/etc/group", SMALL_FILE) if wanted else None) or b""
    return accounts.ids_of(user, passwd=passwd.decode(errors="replace"), group=group.decode(errors="replace"))
