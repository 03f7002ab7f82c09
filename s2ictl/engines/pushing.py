"""One image sent to its registry by the engine, held to what our own client of registries promises.

The engine gives up at the first fault and says what it was in a sentence, and its answer can end in the middle. So a
push is made again while what went wrong is likely to pass, and whether the image has arrived the registry itself says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from s2ictl.engines import Confirm, dockerapi, verdicts
from s2ictl.engines.client import Api
from s2ictl.engines.connection import answer, ask, door
from s2ictl.engines.images import PAUSES, STALL, Sleep, inspect, wait
from s2ictl.errors import ConnectionLost, PushImageToRegistryFailed, Refused, S2IError, Unauthorized, Unreachable
from s2ictl.events import Emit, Notice
from s2ictl.models import Login, Reference
from s2ictl.values import dataclass

_NO_DIGEST = "the engine's answer ended without a digest"
_BROKE_OFF = "the engine's answer broke off"
_SILENT = f"the engine has said nothing for {STALL:.0f} s"
_NOT_THERE = "the registry took the image, and does not have it"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """What came of one: the digest, or what went wrong; whether that is likely to pass, and the engine has said it."""

    digest: str = ""
    trouble: str = ""
    passes: bool = False
    is_said: bool = True


def push(
    api: Api,
    name: Reference,
    *,
    login: Login | None,
    confirm: Confirm,
    emit: Emit,
    sleep: Sleep,
    silence: float = STALL,
) -> str:
    """Send the image to its registry, and answer the digest under which the registry has it then."""
    known = inspect(api, str(name))
    if known is None:
        raise verdicts.absent(name)
    send = partial(_sent, api, name, login, emit, silence)
    made = _try(send, name, known.id, confirm, emit)
    for pause in PAUSES:
        if made.digest or not made.passes:
            break
        wait(f"could not push {name}: {made.trouble[:200]}", pause, emit, sleep)
        again = _try(send, name, known.id, confirm, emit)
        made = replace(again, passes=_may_pass(made, again))
    if made.digest:
        return made.digest
    if not made.is_said:
        with door(f"push {name}"):
            ask(api, "GET", "version")  # if it answers, it is the registry that does not
        raise ConnectionLost(f"could not push {name}", detail=made.trouble)
    raise verdicts.push_failure(name, made.trouble, login)


def _try(send: Callable[[], _Try], name: Reference, image: str, confirm: Confirm, emit: Emit) -> _Try:
    """Push once; what the engine could not say to the end the registry says."""
    made = send()
    if made.digest:
        found = _verified(name, made.digest, confirm, emit)
        return _Try(digest=found) if found else _Try(trouble=_NOT_THERE, passes=True)
    if made.passes:
        with suppress(S2IError):  # whatever it is, what went wrong before is the news
            return replace(made, digest=confirm(name, image))
    return made


def _may_pass(before: _Try, now: _Try) -> bool:
    """What has answered before, and is not there now, is being restarted; a silence is the engine's own.

    It waits for a registry that has fallen silent without an end, and whoever asks for the same layer waits with it.
    """
    if before.trouble == now.trouble == _SILENT:
        return False
    return now.passes or verdicts.is_unreachable(now.trouble)


def _sent(api: Api, name: Reference, login: Login | None, emit: Emit, silence: float) -> _Try:
    digests: list[str] = []
    again: Counter[str] = Counter()
    asked, headers = {"tag": name.tag}, dockerapi.auth_header(login)
    pushing = answer(api, "POST", f"images/{name.name}/push", asked, headers=headers, silence=silence)
    try:
        with door(f"push {name}", PushImageToRegistryFailed), pushing as given:
            trouble = dockerapi.first_error(
                _counted(given.records(), again, name, emit), str(name), emit, digests=digests
            )
    except PushImageToRegistryFailed as error:
        return _Try(trouble=verdicts.unsigned(error.detail, login), passes=verdicts.passes(error.detail))
    except Unreachable as error:
        silent = isinstance(error.__cause__, TimeoutError)
        return _Try(trouble=_SILENT if silent else _BROKE_OFF, passes=True, is_said=False)
    if trouble:
        is_tried_enough = max(again.values(), default=0) >= len(PAUSES)
        return _Try(trouble=verdicts.unsigned(trouble, login), passes=verdicts.passes(trouble) and not is_tried_enough)
    return _Try(digest=digests[-1]) if digests else _Try(trouble=_NO_DIGEST, passes=True)


def _counted(
    records: Iterator[Mapping[str, Any]], again: Counter[str], name: Reference, emit: Emit
) -> Iterator[Mapping[str, Any]]:
    """Some engines send a layer again by themselves, and count down to it: how often that was is kept for each.

    That takes most of a minute in the end, so each time is said once for all layers.
    """
    said = -1
    for record in records:
        status, times = str(record.get("status", "")), max(again.values(), default=0)
        if status.startswith("Retrying in ") and times > said:
            emit(Notice(text=f"the engine could not send a layer of {name}, and is sending it again", level="warning"))
            said = times
        if status == "Retrying in 1 second":
            again[str(record.get("id"))] += 1
        yield record


def _verified(name: Reference, digest: str, confirm: Confirm, emit: Emit) -> str:
    """The digest, once the registry has confirmed it: "" if it does not.

    The engine may stand elsewhere, and trust a registry that nobody reaches from here: then its word has to do.
    """
    try:
        return confirm(name.at(digest), digest)
    except (Unreachable, Unauthorized, Refused) as error:
        because = f"could not ask the registry itself for {name}: {error.in_passing}"
        emit(Notice(text=f"{because}; the digest is what the engine says", level="warning"))
        return digest
