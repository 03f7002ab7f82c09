"""Whether a build is needed at all: the image of its recipe may be in the engine, or wherever it is wanted, already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from s2ictl.errors import CommitContainerFailed, S2IError
from s2ictl.labels import RECIPE
from s2ictl.models import BuildRequest, ImageFacts, Reference, Target
from s2ictl.targets import destinations
from s2ictl.workshop import Workshop

Ask = Callable[[], ImageFacts | None]


def in_engine(recipe: str, names: tuple[Reference, ...], workshop: Workshop) -> ImageFacts | None:
    """The image of this recipe, to which all the names lead then."""
    led_to = [workshop.engine.held(str(name)) for name in names]
    named = (facts for facts in led_to if facts is not None and facts.labels.get(RECIPE) == recipe)
    found = next(named, None) or workshop.engine.find(RECIPE, recipe)
    if found is None or all(facts is not None and facts.id == found.id for facts in led_to):
        return found
    with suppress(CommitContainerFailed):  # somebody removes it just now: then it is built
        workshop.engine.name(found.id, names)
        return found
    return None


def everywhere(recipe: str, request: BuildRequest, platform: str, workshop: Workshop) -> ImageFacts | None:
    """The image of this recipe, if every place outside of the engine where it is wanted has it under all its names."""
    found: ImageFacts | None = None
    for ask in _questions(request, platform, workshop):
        facts = _answer(ask)
        if facts is None or facts.labels.get(RECIPE) != recipe or (found and facts.digest != found.digest):
            return None
        found = facts
    return found


def _questions(request: BuildRequest, platform: str, workshop: Workshop) -> Iterator[Ask]:
    """One for each name in each place; what nobody can ask has nothing."""
    for target in destinations(request):
        match target:
            case Target(kind="registry"):
                yield from (partial(workshop.registered, name, platform) for name in request.names)
            case Target(kind="oci", path=Path() as directory):
                tags = dict.fromkeys(name.tag for name in request.names) or ("",)
                yield from (partial(workshop.laid, directory, tag, platform) for tag in tags)
            case _:
                yield lambda: None


def _answer(ask: Ask) -> ImageFacts | None:
    with suppress(S2IError):  # whatever is wrong there, who delivers will meet it too, and say it
        return ask()
    return None
