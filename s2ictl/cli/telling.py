"""`--callback-url`: whoever waits for a build hears how it ended, whichever way it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl.cli.session import Session, Stopped
from s2ictl.errors import Interrupted, S2IError, Terminated
from s2ictl.models import Image, ImageFacts

if TYPE_CHECKING:
    from s2ictl.callbacks import Callback, Result

Made = Callable[[Image, ImageFacts | None], None]


@contextmanager
def telling(callback: Callback | None, session: Session, *, ca_bundle: Path | None) -> Iterator[Made]:
    """Tell how what is done inside ends, where anybody asked; what was made is handed over while it lasts."""
    if callback is None:
        yield lambda _image, _facts: None
        return
    with _told(callback, session, ca_bundle) as made:
        yield made


@contextmanager
def _told(callback: Callback, session: Session, ca_bundle: Path | None) -> Iterator[Made]:
    from s2ictl.callbacks import Result, tell

    began = time.monotonic()
    result = Result(success=False, reason=S2IError.__name__, exit=S2IError.exit_code)

    def made(image: Image, facts: ImageFacts | None) -> None:
        nonlocal result
        name = str(image.names[0]) if image.names else ""
        labels = facts.labels if facts else {}
        result = Result(success=True, labels=labels, image=name, digest=image.digest, id=image.id)

    try:
        yield made
    except (S2IError, KeyboardInterrupt) as error:
        result = _failure(error)
        raise
    finally:
        result = replace(result, seconds=round(time.monotonic() - began, 3))
        tell(callback, result, environ=session.world.environ, emit=session.emit, ca_bundle=ca_bundle)


def _failure(error: S2IError | KeyboardInterrupt) -> Result:
    from s2ictl.callbacks import Result

    match error:
        case Stopped():
            return Result(success=False, reason=Terminated.__name__, exit=Terminated.exit_code)
        case S2IError():
            return Result(success=False, reason=error.reason, exit=error.exit_code)
    return Result(success=False, reason=Interrupted.__name__, exit=Interrupted.exit_code)
