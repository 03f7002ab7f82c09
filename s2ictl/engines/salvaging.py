"""What an earlier image saves, taken from it while it is written, and put into the next container as it comes."""

from __future__ import annotations

from collections.abc import Container as Collection
from collections.abc import Iterator
from pathlib import PurePosixPath

from s2ictl.archives import Entry, tar_stream
from s2ictl.engines import dockerapi, outcomes, streams, transfers
from s2ictl.engines.client import Api
from s2ictl.engines.connection import WORK
from s2ictl.engines.containers import Container, created, ids_of
from s2ictl.errors import LimitReached
from s2ictl.events import Emit
from s2ictl.leases import Host, name_for
from s2ictl.models import Salvage

_SILENCE = 300.0


def salvage(
    api: Api, host: Host, asked: Salvage, into: Container, *, uid: int, gid: int, present: Collection[str], emit: Emit
) -> None:
    """Fill the container with what the earlier image saves; what goes wrong is raised, and leaves it half filled."""
    name = name_for("salvage", host, seconds=asked.timeout + WORK)
    with created(api, name, dockerapi.salvage_document(asked), image=asked.image) as source:
        source.put(asked.upload(*ids_of(source, asked.user)))
        with source.attached() as wire:
            source.start()
            entries = transfers.with_parents(_entries(asked, source, wire, emit), present=present)
            into.put(transfers.told(tar_stream(entries, uid=uid, gid=gid), "saved artifacts", emit))


def _entries(asked: Salvage, source: Container, wire: streams.Wire, emit: Emit) -> Iterator[Entry]:
    """What the command saves; its end is looked at before the last byte goes out."""
    what = PurePosixPath(asked.command[0]).name
    tail = outcomes.Tail(emit)
    limit = streams.Limit.of(what, asked.timeout)
    yield from transfers.saved(transfers.printed(_output(wire, limit, tail), what), asked.target)
    state = source.ended(limit)
    ended = outcomes.Ended(status=state["ExitCode"], out_of_memory=state["OOMKilled"])
    outcomes.judge(ended, what, tail.lines, memory=asked.confinement.memory)


def _output(wire: streams.Wire, limit: streams.Limit, emit: Emit) -> Iterator[bytes]:
    """The bytes of its output; what it says beside them is told."""
    said = streams.Writer("stderr")
    for stream, data in streams.pieces(streams.received(wire, limit, _silence(limit.what))):
        if stream == "stdout":
            yield data
        else:
            for line in said.write(data):
                emit(line)
    for line in said.finish():
        emit(line)


def _silence(what: str) -> streams.Silence:
    def give_up() -> None:
        raise LimitReached(f"{what} said nothing for {_SILENCE:.0f} s")

    return streams.Silence(seconds=_SILENCE, heard=give_up)
