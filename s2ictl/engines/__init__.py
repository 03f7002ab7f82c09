"""What an engine must be able to do, and which one does it here.

An engine takes one described container from start to image; it knows nothing of sources, builders or registries'
credentials. There are two, unaware of each other:

    append                          a layer on a base, without any container
    docker                          one assembly on the Docker API, told in order
      performing                      one container: filled, run, cleared, judged
        salvaging  following            what an earlier image saves; a command from its start to its end
        containers  images              what the API can do with each
      handover  injections  transfers   what goes in and must not stay; what goes from one container into another
      dockerapi  accounts  streams  outcomes  verdicts     the API's words as data
      connection                      the library's only door
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from s2ictl.events import Emit
from s2ictl.models import Assembly, Built, ImageFacts, Login, PullPolicy, Reference


class Engine(Protocol):
    def facts(self, image: str, *, pull: PullPolicy, login: Login | None, emit: Emit) -> ImageFacts | None:
        """What the image says of itself; None when it is nowhere to be had."""

    def load_base(self, filesystem: Iterator[bytes], name: Reference, *, command: tuple[str, ...]) -> ImageFacts:
        """Make an image of a tar of a root file system."""

    def assemble(self, assembly: Assembly, emit: Emit) -> Built:
        """Run what is described, and commit what it left behind."""

    def push(self, name: Reference, *, login: Login | None, emit: Emit) -> str:
        """Send the image to its registry and answer the digest there."""

    def remove(self, image: str) -> None:
        """Forget the image of this id, when no name leads to it any more and nothing uses it."""


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
