"""A builder's sample is built, run, asked, and compared with what the builder promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from s2ictl.builders import Folder, load_all, shelf
from s2ictl.demo import Expectation, ask, expectation_of, try_sample
from s2ictl.engines import Running
from s2ictl.errors import AssembleFailed, InvalidConfiguration, SampleFailed, Unreachable
from s2ictl.events import Emit, Event, Line, StepFinished, StepStarted, step
from s2ictl.models import BuildRequest, Image, Reference, Secret, Source
from s2ictl.transport import Response

FOLDERS = load_all(shelf(Path(__file__).parent.parent / "s2ictl"))
PYTHON = next(folder for folder in FOLDERS if folder.name == "python")
SAMPLE = Reference(registry="", repository="s2ictl/sample-python", tag=PYTHON.blueprint.version)
IMAGE = Image(names=(SAMPLE,), id="sha256:1")
GREETING = Response(status=200, headers={}, body=b"Hello from Python\n")
EXPECTED = Expectation(path="/", status=200, contains="Hello", within=10)
UNREADABLE = "\N{REPLACEMENT CHARACTER}"
REQUEST = BuildRequest(
    source=Source(kind="directory", location="/nowhere"),
    builder="",
    names=(),
    build_env=(("PIP_INDEX_URL", Secret("https://mirror.invalid")),),
    timeout=60,
)


@dataclass(slots=True)
class Machine:
    """A container engine that only remembers what ran, and an application that says what it is told to say."""

    replies: list[Response | Unreachable]
    running: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def run(self, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str) -> Iterator[Running]:
        self.running.append(image)

        def follow(emit: Emit, *, wait: bool = True) -> None:
            emit(Line(text="no such module: shop"))

        try:
            yield Running(ports={port: 40000 + port for port in ports}, follow=follow)
        finally:
            self.running.remove(image)

    def output(self, image: str, *, command: tuple[str, ...], emit: Emit) -> None:
        """The demo asks for no output."""

    def get(self, url: str) -> Response:
        assert self.running == [str(SAMPLE)]
        self.asked.append(url)
        reply = self.replies.pop(0)
        if isinstance(reply, Unreachable):
            raise reply
        return reply


def builds(request: BuildRequest, emit: Emit) -> Image:
    with step("assemble", request.builder, emit):
        return replace(IMAGE, names=request.names)


def test_the_answer_of_the_sample_is_told_and_what_each_step_took(emit: Emit, events: list[Event]) -> None:
    machine = Machine([GREETING])
    trial = try_sample(PYTHON, REQUEST, build=builds, runner=machine, get=machine.get, emit=emit)
    assert (trial.builder, trial.image, trial.answer) == ("python", IMAGE, "Hello from Python")
    assert [finished.name for finished in trial.steps] == ["assemble", "run", "ask"]
    assert list(trial.steps) == [event for event in events if isinstance(event, StepFinished)]
    assert StepStarted(name="ask", subject="http://127.0.0.1:48080/") in events


def test_the_sample_is_built_as_a_user_would_build_it(emit: Emit) -> None:
    requests: list[BuildRequest] = []

    def remembers(request: BuildRequest, emit: Emit) -> Image:
        requests.append(request)
        return builds(request, emit)

    machine = Machine([GREETING])
    try_sample(PYTHON, REQUEST, build=remembers, runner=machine, get=machine.get, emit=emit)
    sample = PYTHON.path / "sample"
    source = Source(kind="directory", location=str(sample), path=sample, copy=True)
    assert requests == [replace(REQUEST, source=source, builder="python", names=(SAMPLE,), owner="sample-python")]


def test_no_container_is_left_when_the_answer_is_wrong(emit: Emit, tmp_path: Path) -> None:
    folder = promising(tmp_path, "{path: /, status: 200, contains: Hello, within: 0}")
    machine = Machine([replace(GREETING, status=500)])
    with pytest.raises(SampleFailed):
        try_sample(folder, REQUEST, build=builds, runner=machine, get=machine.get, emit=emit)
    assert machine.running == []


def test_beside_a_wrong_answer_stands_what_the_sample_said_last(emit: Emit, tmp_path: Path) -> None:
    folder = promising(tmp_path, "{path: /, status: 200, contains: Hello, within: 0}")
    machine = Machine([replace(GREETING, status=500)])
    with pytest.raises(SampleFailed) as failure:
        try_sample(folder, REQUEST, build=builds, runner=machine, get=machine.get, emit=emit)
    assert failure.value.detail.splitlines()[-1] == "no such module: shop"


def test_nothing_is_run_when_the_build_fails(emit: Emit) -> None:
    def fails(request: BuildRequest, emit: Emit) -> Image:
        raise AssembleFailed("assemble ended with 1")

    machine = Machine([])
    with pytest.raises(AssembleFailed):
        try_sample(PYTHON, REQUEST, build=fails, runner=machine, get=machine.get, emit=emit)
    assert (machine.running, machine.asked) == ([], [])


def promising(directory: Path, expect: str) -> Folder:
    (directory / "expect.yaml").write_text(expect)
    return replace(PYTHON, path=directory)


# ---------------------------------------------------------------------------------------------------------- asking


@dataclass(slots=True)
class Clock:
    """Time that passes only while somebody waits for it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def saying(*replies: Response | Unreachable) -> Callable[[str], Response]:
    """An application that says these one after the other, and the last one ever after."""
    waiting = list(replies)

    def get(_url: str) -> Response:
        reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(reply, Unreachable):
            raise reply
        return reply

    return get


def test_a_program_that_needs_time_to_start_is_asked_again() -> None:
    clock = Clock()
    get = saying(Unreachable("refused"), Unreachable("refused"), replace(GREETING, status=503), GREETING)
    assert ask("http://127.0.0.1/", EXPECTED, get=get, clock=clock, pause=clock.wait) == GREETING
    assert round(clock.now, 1) == 0.3


@pytest.mark.parametrize(
    ("reply", "message", "detail"),
    [
        (Unreachable("connection refused"), "nobody answers at http://127.0.0.1/", "connection refused"),
        (
            replace(GREETING, status=500),
            "http://127.0.0.1/ does not answer what the builder promises",
            "expected 200 with 'Hello'; it was 500 with 'Hello from Python\\n'",
        ),
        (
            replace(GREETING, body=b"\xff" * 300),
            "http://127.0.0.1/ does not answer what the builder promises",
            f"expected 200 with 'Hello'; it was 200 with {UNREADABLE * 200!r}",
        ),
    ],
)
def test_a_wrong_answer_is_shown_when_the_time_is_over(
    reply: Response | Unreachable, message: str, detail: str
) -> None:
    clock = Clock()
    with pytest.raises(SampleFailed) as caught:
        ask("http://127.0.0.1/", EXPECTED, get=saying(reply), clock=clock, pause=clock.wait)
    assert (caught.value.message, caught.value.detail, caught.value.exit_code) == (message, detail, 6)
    assert 10 <= clock.now < 10.2


# ------------------------------------------------------------------------------------------- what builders promise


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_builder_has_a_sample_and_says_what_it_answers(folder: Folder) -> None:
    assert any((folder.path / "sample").iterdir())
    assert expectation_of(folder).contains


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_builder_has_scripts_that_can_be_started(folder: Folder) -> None:
    scripts = [folder.path / "install", *(folder.path / "s2i" / "bin" / name for name in ("assemble", "run", "usage"))]
    assert [script for script in scripts if not script.stat().st_mode & 0o100] == []


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("{path: /, status: 200, contains: x}", "expect.yaml:1:1: the key 'within' is missing in the document"),
        (
            "{path: /, status: ok, contains: x, within: 3}",
            "expect.yaml:1:19: status must be a whole number, not a text",
        ),
    ],
)
def test_an_expectation_that_cannot_be_read_is_named_with_its_place(tmp_path: Path, expect: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        expectation_of(promising(tmp_path, expect))
    assert caught.value.message == f"{tmp_path}/{message}"
