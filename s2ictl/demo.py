"""STORY: a builder's sample → image → container → its answer, compared with what the builder promises."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from s2ictl import documents
from s2ictl.builders import Folder
from s2ictl.engines import Runner, Running
from s2ictl.errors import SampleFailed, Unreachable
from s2ictl.events import Emit, Event, Line, StepFinished, step
from s2ictl.models import BuildRequest, Image, Reference, Source
from s2ictl.transport import Response
from s2ictl.values import dataclass

_PAUSE = 0.1
_SHOWN = 200
_LAST_LINES = 20
_LOOK = "run the sample's image by hand, and see what it prints"

Build = Callable[[BuildRequest, Emit], Image]
Get = Callable[[str], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """An expect.yaml: what is asked of the running sample, and what it must answer."""

    path: str
    status: int
    contains: str
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A sample that answered as its builder promises, and how long each step to that took."""

    builder: str
    image: Image
    answer: str
    seconds: float
    steps: tuple[StepFinished, ...]


def try_sample(folder: Folder, request: BuildRequest, *, build: Build, runner: Runner, get: Get, emit: Emit) -> Trial:
    """Build a builder's sample, run it and ask it; of the request, only what concerns the container matters."""
    expected = expectation_of(folder)
    began, steps = time.monotonic(), list[StepFinished]()
    timed = _keeping(steps, emit)
    image = build(request_for(folder, request), timed)
    name, port = str(image.names[0]), folder.blueprint.port
    with ExitStack() as stack:
        with step("run", name, timed):
            running = stack.enter_context(runner.run(name, ports=(port,), env={}, owner=f"sample-{folder.name}"))
        url = f"http://127.0.0.1:{running.ports[port]}{expected.path}"
        with step("ask", url, timed), _what_it_said(running):
            response = ask(url, expected, get=get)
    answer = response.body.decode("utf-8", "replace").strip()
    seconds = time.monotonic() - began
    return Trial(builder=folder.word, image=image, answer=answer, seconds=seconds, steps=tuple(steps))


@contextmanager
def _what_it_said(running: Running) -> Iterator[None]:
    """Beside the answer that is wrong or missing stands what the sample itself said last."""
    try:
        yield
    except SampleFailed as error:
        last: deque[str] = deque(maxlen=_LAST_LINES)
        running.follow(lambda event: last.append(event.text) if isinstance(event, Line) else None, wait=False)
        detail = "\n".join((error.detail, *last))
        raise SampleFailed(error.message, detail=detail, hint=error.hint) from error


def expectation_of(folder: Folder) -> Expectation:
    """What the builder promises of its sample."""
    path = folder.path / "expect.yaml"
    return documents.convert(documents.load(documents.read(path), str(path)), Expectation)


def request_for(folder: Folder, request: BuildRequest) -> BuildRequest:
    """The request that builds the sample, as a user would build it."""
    sample = folder.path / "sample"
    return replace(
        request,
        source=Source(kind="directory", location=str(sample), path=sample, copy=True),
        builder=folder.word,
        names=(Reference(registry="", repository=f"s2ictl/sample-{folder.name}", tag=folder.version),),
        owner=f"sample-{folder.name}",
    )


def ask(
    url: str,
    expected: Expectation,
    *,
    get: Get,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Response:
    """Ask until the expected answer comes: a program that starts refuses, and may first answer that it is not ready."""
    deadline = clock() + expected.within
    while True:
        try:
            return ask_once(url, expected, get=get)
        except SampleFailed:
            if clock() >= deadline:
                raise
        pause(_PAUSE)


def ask_once(url: str, expected: Expectation, *, get: Get) -> Response:
    """The answer, when it is the expected one."""
    try:
        response = get(url)
    except Unreachable as silence:
        raise SampleFailed(f"nobody answers at {url}", detail=silence.message, hint=_LOOK) from silence
    text = response.body.decode("utf-8", "replace")
    if response.status != expected.status or expected.contains not in text:
        raise SampleFailed(
            f"{url} does not answer what the builder promises",
            detail=f"expected {expected.status} with {expected.contains!r}; "
            f"it was {response.status} with {text[:_SHOWN]!r}",
            hint=_LOOK,
        )
    return response


def _keeping(steps: list[StepFinished], emit: Emit) -> Emit:
    def heard(event: Event) -> None:
        if isinstance(event, StepFinished):
            steps.append(event)
        emit(event)

    return heard
