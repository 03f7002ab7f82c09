"""A war that becomes an image in two places, its base made first; and a push that its registry does not take."""

from __future__ import annotations

from s2ictl.build import DONE
from s2ictl.errors import PushImageToRegistryFailed
from s2ictl.events import Line, Notice, Progress, StepFinished, StepStarted
from tests.recordings.story import Moment

_ARTIFACT = "https://files.example.com/releases/shop.war"
_BASE = "s2ictl/tomcat:9"
_NAME = "registry.example.com/team/shop:1.4"
_SBOM = "sbom.json (application/spdx+json)"
_AGAIN = "the answer was 503; asking again in {} s"

B2I = (
    Moment(0.0, StepStarted(name="read", subject=_ARTIFACT)),
    Moment(0.3, Progress(subject=_ARTIFACT, done=900_000, total=2_400_000)),
    Moment(0.6, "an artifact on its way"),
    Moment(0.8, StepFinished(name="read", seconds=0.8)),
    Moment(0.8, Notice(text="append: no container is needed")),
    Moment(0.8, StepStarted(name="base", subject=_BASE)),
    Moment(0.9, Notice(text=f"{_BASE} is not here yet: it is built now, once")),
    Moment(0.9, StepStarted(name="build builder", subject=_BASE)),
    Moment(4.0, Line(text="Setting up openjdk-21-jre-headless:amd64 (21.0.9+10-1) ...")),
    Moment(4.1, "the base is made"),
    Moment(18.9, StepFinished(name="build builder", seconds=18.0)),
    Moment(18.9, StepStarted(name="keep", subject=_BASE)),
    Moment(20.0, "and kept"),
    Moment(24.9, StepFinished(name="keep", seconds=6.0, size=148_300_000)),
    Moment(24.9, StepFinished(name="base", seconds=24.1)),
    Moment(24.9, StepStarted(name="append", subject="/deployments/shop.war")),
    Moment(25.0, StepFinished(name="append", seconds=0.1, size=2_400_000)),
    Moment(25.0, StepStarted(name="deliver", subject=f"{_NAME}, tar:/home/bot/shop.tar")),
    Moment(25.5, Progress(subject=_NAME, done=60_000_000, total=150_700_000)),
    Moment(26.0, Progress(subject=_NAME, done=120_000_000, total=150_700_000)),
    Moment(26.1, "two places"),
    Moment(26.5, StepFinished(name="deliver", seconds=1.5)),
    Moment(26.5, Notice(text="shop.war is served at /shop, on port 8080")),
    Moment(26.5, Notice(text=DONE)),
)

PUSH = (
    Moment(0.0, StepStarted(name="deliver", subject=_NAME)),
    Moment(0.4, Progress(subject=_NAME, done=60_000_000, total=150_700_000)),
    Moment(0.5, Notice(text=_AGAIN.format("0.5"), level="warning")),
    Moment(1.2, "waiting to ask again"),
    Moment(1.4, Progress(subject=_NAME, done=150_700_000, total=150_700_000)),
    Moment(1.5, StepFinished(name="deliver", seconds=1.5)),
    Moment(1.5, StepStarted(name="attach", subject=_SBOM)),
    *(Moment(1.5 + wait, Notice(text=_AGAIN.format(f"{wait:g}"), level="warning")) for wait in (0.5, 1, 2, 4)),
    Moment(9.0, StepFinished(name="attach", seconds=7.5, failed=True)),
    Moment(
        9.0,
        PushImageToRegistryFailed(
            f"could not push {_NAME}",
            detail="the registry answered 503: the storage is being moved",
            hint="do it again later, or ask whoever keeps the registry",
        ),
    ),
)
