"""What an engine must be able to do, and which one does it here.

An engine takes one described container from start to image; it knows nothing of sources, builders or registries'
credentials. There are three, unaware of each other:

    choice                          which of the next two it is
    append                          a layer on a base, without any container
    docker                          one assembly on the Docker API, told in order
      performing                      one container: filled, run, cleared, judged
        salvaging  following            what an earlier image saves; a command from its start to its end
        caches  settling                what is kept for later builds; the time of what a build only passed through
        upper  leavings                 what it left behind, as a layer: read where it lies, or asked for
        anatomy                         what an image holds, asked once
        containers  images              what the API can do with each
        carrying                        whole images, out of the engine and into it
        pushing                         an image sent, again if need be, until its registry has it
      handover                        what goes in and must not stay, where the image's own shell takes it away
      dockerapi  kept  verdicts       the API's words as data
      connection                      every request, and the door by which every failure leaves
        client  endpoints            one API over many connections; which engine is meant
    embedded                        no daemon: a package of its own, with its own map

What the last two both stand on:

    injections  transfers           what goes in and must not stay; what goes from one container into another
    accounts  programs  privileges  who runs a command, whether it can start, what it may do
    streams  outcomes               what it says, line by line, and how it ended
    layers  stacking                in what two images differ; a base with a layer on it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from s2ictl.events import Emit
from s2ictl.models import Assembly, Built, ImageConfig, ImageFacts, Login, PullPolicy, Reference
from s2ictl.values import dataclass

# Of a name its registry is asked, without the engine: the digest that it leads to there, if that is the image of this
# id or of this digest; "" otherwise.
Confirm = Callable[[Reference, str], str]


class Images(Protocol):
    """What an engine has."""

    def facts(self, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit) -> ImageFacts | None:
        """What an image that is to be run here says of itself; None when it is nowhere to be had."""

    def find(self, label: str, value: str) -> ImageFacts | None:
        """The newest image of which its label says this, of those that were made here."""

    def load_base(self, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
        """Make an image of a tar of a root file system."""

    def name(self, image: str, names: tuple[Reference, ...]) -> None:
        """Give an image all of these names, or none of them."""

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more and nothing uses it."""


class Carrier(Protocol):
    """An engine, as somewhere that whole images are taken out of and put into."""

    def held(self, image: str) -> ImageFacts | None:
        """What it has under this name or id, for whatever machine that is."""

    def save(self, image: str) -> AbstractContextManager[Iterator[bytes]]:
        """An image with all its layers, as the tar that `load` of every engine takes."""

    def load(self, image: Iterator[bytes]) -> str:
        """Take in what such a tar holds; answers the id of the image."""


class Engine(Images, Carrier, Protocol):
    """What can also make one."""

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        """Run what is described, and commit what it left behind."""

    def push(self, name: Reference, *, login: Login | None, confirm: Confirm, emit: Emit) -> str:
        """Send the image to its registry, and answer the digest under which the registry has it then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """What assemble left behind: one layer on the image that it started from, and what the result says of itself.

    `chunks` gives the plain tar of it, from the beginning and the same each time; `size` is about how long that is, 0
    where nobody knows yet.
    """

    config: ImageConfig
    chunks: Callable[[], Iterator[bytes]]
    epoch: int = 0
    size: int = 0


class Layering(Protocol):
    """An engine that can hand out what assemble left behind, with no image made of it."""

    def layered(self, assembly: Assembly, emit: Emit) -> AbstractContextManager[Layered]:
        """Run what is described; its layer can be read while the context lasts."""


class Listing(Protocol):
    def names(self) -> tuple[str, ...]:
        """Every name that leads to an image here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Something that an engine keeps for later builds: a cache of an app, or the image of its dependencies."""

    kind: Literal["cache", "dependencies"]
    app: str
    builder: str
    name: str
    what: str
    size: int
    used: str


class Keeper(Protocol):
    """An engine, asked for what it keeps."""

    def kept(self) -> tuple[Kept, ...]:
        """All of it, of every app."""

    def forget(self, kept: Kept) -> bool:
        """Let go of it; False when a build uses it right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A path that two images do not have alike, and how: content, time, mode, owner, kind, target, presence."""

    path: str
    ways: tuple[str, ...]


class Comparing(Protocol):
    def differences(self, first: str, second: str) -> tuple[Difference, ...]:
        """In what the last layers of two images differ, in the order of their paths."""


class Follow(Protocol):
    def __call__(self, emit: Emit, *, wait: bool = True) -> None:
        """Tell all that the container has said; with `wait` until it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A container that runs: the loopback port that leads to each of its own, and its output."""

    ports: Mapping[int, int]
    follow: Follow


class Runner(Protocol):
    def run(
        self, image: str, *, ports: tuple[int, ...], env: Mapping[str, str], owner: str
    ) -> AbstractContextManager[Running]:
        """A running container while the context lasts."""

    def output(self, image: str, *, command: tuple[str, ...], emit: Emit) -> None:
        """Run one command in the image and say what it prints."""


class Whole(Engine, Layering, Listing, Keeper, Comparing, Runner, Protocol):
    """All that the engine of a command can be asked for."""

    def version(self) -> str:
        """Which one it is, in a few words."""
