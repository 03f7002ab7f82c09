"""Whether a build is needed at all: the image of its recipe may be in the engine, or in the registry, already."""

from __future__ import annotations

from contextlib import suppress

from s2ictl.errors import CommitContainerFailed, S2IError
from s2ictl.labels import RECIPE
from s2ictl.models import ImageFacts, Reference
from s2ictl.workshop import Workshop


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


def in_registry(recipe: str, names: tuple[Reference, ...], platform: str, workshop: Workshop) -> ImageFacts | None:
    """The image of this recipe, if all the names lead to it in their registries."""
    first: ImageFacts | None = None
    for name in names:
        facts = _registered(name, platform, workshop)
        if facts is None or facts.labels.get(RECIPE) != recipe or (first and facts.digest != first.digest):
            return None
        first = facts
    return first


def _registered(name: Reference, platform: str, workshop: Workshop) -> ImageFacts | None:
    with suppress(S2IError):  # whatever is wrong there, the push will meet it too, and say it
        return workshop.registered(name, platform)
    return None
