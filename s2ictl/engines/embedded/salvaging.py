"""What an earlier image saves, taken from it while it is written, and put into the next container as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from s2ictl.archives import tar_stream
from s2ictl.engines import accounts, injections, outcomes, transfers
from s2ictl.engines.accounts import Account
from s2ictl.engines.embedded import listening
from s2ictl.engines.embedded.commands import Command, Site, environment, running
from s2ictl.engines.embedded.wardens import Chamber, Process
from s2ictl.engines.streams import Limit, Silence, Writer
from s2ictl.errors import LimitReached
from s2ictl.events import Emit
from s2ictl.models import Salvage

_SILENCE = 300.0


def salvage(site: Site, asked: Salvage, into: Chamber, account: Account, emit: Emit) -> None:
    """Fill the container with what the earlier image saves; what goes wrong is raised, and leaves it half filled."""
    image = site.image(asked.image_id)
    limit = Limit.of(PurePosixPath(asked.command[0]).name, asked.timeout)
    tail = outcomes.Tail(emit)
    with site.chamber(image, "salvage", emit, seconds=asked.timeout) as source:
        own = accounts.account_of(asked.user, source.read)
        source.put(asked.upload(own.uid, own.gid))
        command = Command(
            words=asked.command,
            env=environment(image, own),
            workdir=image.workdir,
            account=own,
            confinement=asked.confinement,
        )
        with running(site, source, command) as process:
            saved = transfers.saved(transfers.printed(_output(process, limit, tail), limit.what), asked.target)
            entries = transfers.with_parents(saved, present=injections.present_above(asked.target, into.mode))
            tar = tar_stream(entries, uid=account.uid, gid=account.gid)
            into.put(transfers.told(_unless_failed(tar, process, limit, tail, asked), "saved artifacts", emit))


def _unless_failed(
    tar: Iterator[bytes], process: Process, limit: Limit, tail: outcomes.Tail, asked: Salvage
) -> Iterator[bytes]:
    """The archive; the end of its command is looked at before anybody takes it for whole."""
    yield from tar
    ended = listening.ended(process, limit)
    outcomes.judge(ended, limit.what, tail.lines, memory=asked.confinement.memory)


def _output(process: Process, limit: Limit, emit: Emit) -> Iterator[bytes]:
    """The bytes of its output; what it says beside them is told."""

    def give_up() -> None:
        raise LimitReached(f"{limit.what} said nothing for {_SILENCE:.0f} s")

    said = Writer("stderr")
    for stream, data in listening.heard(process, limit, Silence(seconds=_SILENCE, heard=give_up)):
        if stream == "stdout":
            yield data
        else:
            for line in said.write(data):
                emit(line)
    for line in said.finish():
        emit(line)
