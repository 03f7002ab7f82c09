"""What a failure in the helper process means to whoever asked, and that questions and answers arrive whole."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pytest

from s2ictl.engines.embedded.asking import Desk, gone, meant
from s2ictl.engines.embedded.warden.failures import Damaged, Missing, TooMuch, told
from s2ictl.engines.embedded.warden.lines import Line, pair
from s2ictl.errors import (
    AssembleFailed,
    ConnectionLost,
    FetchSourceFailed,
    InvalidUsage,
    LimitReached,
    PullBuilderImageFailed,
    S2IError,
    Unreachable,
)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_limit(number: int) -> None:
    error = meant(told(OSError(number, "", "/store/layers")), "put")
    assert (type(error), error.message) == (LimitReached, "could not put files into the container: the disk is full")
    assert error.detail == f"/store/layers: {os.strerror(number)}"
    assert "cache prune" in error.hint


def test_what_the_machine_refuses_is_an_engine_that_is_not_there() -> None:
    error = meant(told(PermissionError(errno.EPERM, "", "/store")), "chamber")
    assert (type(error), error.in_passing) == (
        Unreachable,
        "could not make a container: /store: Operation not permitted",
    )
    missing = meant(told(Missing("there is no overlay", "load it")), "chamber")
    assert (type(missing), missing.message, missing.hint) == (Unreachable, "there is no overlay", "load it")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("unpack", PullBuilderImageFailed),
        ("put", FetchSourceFailed),
        ("layer", AssembleFailed),
        ("mount_points", InvalidUsage),
    ],
)
def test_what_is_damaged_is_the_fault_of_whoever_made_it(call: str, kind: type[S2IError]) -> None:
    error = meant(told(Damaged("it climbs")), call)
    assert (type(error), error.detail) == (kind, "it climbs")


def test_a_limit_of_ours_is_a_limit_and_a_fault_of_ours_a_fault() -> None:
    assert type(meant(told(TooMuch("a million")), "unpack")) is LimitReached
    fault = meant(told(ZeroDivisionError("by zero")), "unpack")
    assert type(fault) is S2IError
    assert "ZeroDivisionError: by zero" in fault.detail


def test_a_question_and_its_answer_may_be_long_and_bear_any_name() -> None:
    here, there = pair()
    message = {"name": os.fsdecode(b"caf\xe9"), "long": "x" * (4 << 20)}
    sender = threading.Thread(target=here.say, args=(message,))
    sender.start()
    assert there.hear() == (message, [])
    sender.join()
    here.close()
    assert there.hear() is None
    there.close()


def test_descriptors_go_along_and_are_closed_where_the_message_is_not_whole() -> None:
    here, there = pair()
    outlet, inlet = os.pipe()
    here.say("take it", inlet)
    os.close(inlet)
    heard = there.hear()
    assert heard is not None
    message, (descriptor,) = heard
    assert message == "take it"
    os.write(descriptor, b"well")
    os.close(descriptor)
    assert (os.read(outlet, 10), os.read(outlet, 10)) == (b"well", b"")
    os.close(outlet)
    here.close()
    there.close()


def test_nobody_at_the_other_end_is_a_lost_connection() -> None:
    here, there = pair()
    there.close()
    with pytest.raises(ConnectionLost):
        Desk(here, gone).ask("mode", path="/")
    here.close()


def test_one_desk_answers_many_in_turn() -> None:
    here, there = pair()
    desk = Desk(here, gone)
    got = dict[int, Any]()
    server = threading.Thread(target=_echo, args=(there,))
    server.start()
    askers = [threading.Thread(target=lambda n=n: got.update({n: desk.ask("mode", n=n)})) for n in range(20)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    here.close()
    server.join()
    assert got == {number: number for number in range(20)}


def _echo(line: Line) -> None:
    while (heard := line.hear()) is not None:
        (_, given), _ = heard
        line.say({"answer": given["n"]})
    line.close()
