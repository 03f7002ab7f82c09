"""STORY: a delivery → verified → matched → stored → answered; a stored job → worker → build, deploy → recorded.

The first half is a chain of pure functions up to the one transaction that makes it true. The second half runs in
processes of its own, so that no build can hurt the server or be hurt by its end.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from s2ictl import config, documents, journal, workers
from s2ictl.errors import (
    Interrupted,
    InvalidConfiguration,
    InvalidUsage,
    RecordNotFound,
    S2IError,
    Terminated,
    Unauthorized,
)
from s2ictl.events import Emit, Notice
from s2ictl.hooks import receive
from s2ictl.hooks.matching import why_not
from s2ictl.ledger import Ledger, log_file, open_ledger
from s2ictl.listener import Address, Limits, Reply, listening, refusal
from s2ictl.models import AppConfig, Config, Delivery, Entry, Outcome, Receipt, Secret, WebhookConfig
from s2ictl.values import dataclass

SHORTEST_SECRET = 16
_RETRY_SECONDS = 1.0

T = TypeVar("T")
Built = Callable[[str], None]  # told the digest as soon as it is pushed, so that no finished build is built again
Perform = Callable[[Entry, Emit, Built], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One hook that answers: its name, whose deliveries it takes, the secrets that are valid, and what it triggers."""

    name: str
    provider: str
    secrets: tuple[Secret, ...]
    apps: tuple[AppConfig, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRequest:
    state: Path
    address: Address
    limits: Limits
    workers: int
    grace: float


# ---------------------------------------------------------------------------------------------------------- the apps


def load_hooks(apps: Path, environ: Mapping[str, str]) -> tuple[Mapping[str, Hook], tuple[S2IError, ...]]:
    """The hooks that a directory of s2i.yaml files describes, and what is wrong with those that are not among them."""
    loaded: dict[str, Hook] = {}
    faults: list[S2IError] = []
    for path, found in _configs(apps):
        if isinstance(found, S2IError):
            faults.append(found)
            continue
        try:
            loaded[found.name] = _hook(path, found, environ)
        except S2IError as fault:
            faults.append(fault)
    return loaded, tuple(faults)


def find_app(apps: Path, entry: Entry) -> AppConfig:
    """The app of a job, as its file describes it now."""
    for _, found in _configs(apps):
        if isinstance(found, Config) and found.name == entry.hook:
            for app in found.apps:
                if app.name == entry.app:
                    return app
    raise RecordNotFound(f"the app {entry.app!r} is not in {apps} any more")


def _configs(apps: Path) -> list[tuple[Path, Config | S2IError]]:
    if not apps.is_dir():
        raise InvalidConfiguration(f"{apps} is no directory", hint="--apps DIR: every *.yaml in it is one s2i.yaml")
    found: list[tuple[Path, Config | S2IError]] = []
    for path in sorted(apps.glob("*.yaml")):
        try:
            found.append((path, config.load(path)))
        except S2IError as fault:
            found.append((path, fault))
    names = Counter(name for _, each in found if isinstance(each, Config) for name in _names(each))
    return [(path, _unique(path, each, names) if isinstance(each, Config) else each) for path, each in found]


def _names(found: Config) -> set[str]:
    return {found.name, *(app.name for app in found.apps)}


def _unique(path: Path, found: Config, names: Counter[str]) -> Config | S2IError:
    """Two of one name would answer at one address, so neither does."""
    twice = sorted(name for name in _names(found) if names[name] > 1)
    return InvalidConfiguration(f"{path}:1:1: another file has the name {twice[0]!r} too") if twice else found


def _hook(path: Path, found: Config, environ: Mapping[str, str]) -> Hook:
    first = found.apps[0]
    if first.webhook is None:
        raise InvalidConfiguration(f"{path}:1:1: the key 'webhook' is missing", hint="webhook: {provider: …, …}")
    if missing := [app.name for app in found.apps if not app.source or app.image is None]:
        raise InvalidConfiguration(f"{path}:1:1: {missing[0]} needs source and image to be triggered")
    secrets = tuple(_secrets(path, found.name, first.webhook, environ))
    return Hook(name=found.name, provider=first.webhook.provider, secrets=secrets, apps=found.apps)


def _secrets(path: Path, hook: str, webhook: WebhookConfig, environ: Mapping[str, str]) -> Iterator[Secret]:
    names = (webhook.secret_env,) if isinstance(webhook.secret_env, str) else webhook.secret_env
    texts = {name: environ.get(name, "") for name in names}
    if webhook.secret_file:
        texts = {webhook.secret_file: documents.read(path.parent / webhook.secret_file).strip()}
    if not texts:
        raise Unauthorized(f"{path}: {hook} has no secret", hint="webhook: {secret-env: NAME} or {secret-file: FILE}")
    for name, text in texts.items():
        if len(text.encode()) < SHORTEST_SECRET:
            what = "is unset" if not text else f"is shorter than {SHORTEST_SECRET} bytes"
            raise Unauthorized(f"{path}: the secret {name} of {hook} {what}", hint="openssl rand -hex 32")
        yield Secret(text)


# ------------------------------------------------------------------------------------------------------- a delivery


def take(delivery: Delivery, hook: Hook, ledger: Ledger) -> Receipt:
    """Verify, understand and match a delivery, and have what came of it on the disk before anybody is answered."""
    event = receive(delivery, hook.provider, hook.secrets)
    reasons = {app.name: event.reason or why_not(event, app) for app in hook.apps}
    concerned = tuple(name for name, reason in reasons.items() if not reason)
    if concerned:
        return ledger.accept(event, hook=hook.name, provider=hook.provider, apps=concerned)
    return ledger.note(event, hook=hook.name, provider=hook.provider, reason=next(iter(reasons.values())))


def reply_to(receipt: Receipt) -> Reply:
    """What the sender is told."""
    jobs = [{"id": job.id, "app": job.app, "kind": job.kind, "commit": job.commit} for job in receipt.jobs]
    body: dict[str, Any] = {"verdict": receipt.verdict, "delivery": receipt.delivery, "jobs": jobs}
    if receipt.reason:
        body["reason"] = receipt.reason
    return Reply(202 if receipt.verdict == "accepted" else 200, body)


# ------------------------------------------------------------------------------------------------------- the server


def serve(
    request: ServeRequest,
    *,
    hooks: Mapping[str, Hook],
    worker: tuple[str, ...],
    environ: Mapping[str, str],
    clock: Callable[[], float],
    emit: Emit,
) -> None:
    """Take deliveries and work them off, until SIGTERM has drained it; `worker` is the command that does one job."""
    with open_ledger(request.state, clock, check=True) as ledger, workers.crew(ledger.home) as crew:
        server = _Server(
            request=request, hooks=hooks, worker=worker, environ=environ, ledger=ledger, crew=crew, emit=emit
        )
        asyncio.run(server.run())
        if server.alone:
            ledger.give_back()
    if server.faults:
        raise server.faults[0]
    if server.interrupted:
        raise KeyboardInterrupt


@dataclass(slots=True, kw_only=True)
class _Server:
    request: ServeRequest
    hooks: Mapping[str, Hook]
    worker: tuple[str, ...]
    environ: Mapping[str, str]
    ledger: Ledger
    crew: workers.Crew
    emit: Emit
    alone: bool = False
    interrupted: bool = False
    draining: bool = False
    jobs: set[asyncio.Task[None]] = field(default_factory=set)
    faults: list[BaseException] = field(default_factory=list)
    # One thread owns the ledger, so that a slow disk delays answers but never the reading of other connections.
    store: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "ledger"))
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signal, number)
        try:
            async with listening(self, self.request.address, self.request.limits) as address:
                for name in sorted(self.hooks):
                    self.emit(Notice(text=f"{name}: {address.url}/hooks/{name}"))
                await self._until_stopped(asyncio.create_task(self._dispatch()))
                await self._drain()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            self.store.shutdown()

    def _signal(self, number: signal.Signals) -> None:
        if self.stop.is_set() or number == signal.SIGINT:
            self.hurry.set()
        self.interrupted = self.interrupted or number == signal.SIGINT
        self.stop.set()

    async def _until_stopped(self, dispatcher: asyncio.Task[None]) -> None:
        stopped = asyncio.create_task(self.stop.wait())
        await asyncio.wait((dispatcher, stopped), return_when=asyncio.FIRST_COMPLETED)
        self.draining = True
        for task in (dispatcher, stopped):
            task.cancel()
        await asyncio.wait((dispatcher, stopped))
        if not dispatcher.cancelled():
            dispatcher.result()

    async def _drain(self) -> None:
        """Let what runs come to its end in the time of grace, then have it clean up; it will start again later."""
        if self.jobs:
            self.emit(Notice(text=f"draining: {len(self.jobs)} jobs have {self.request.grace:.0f} s to finish"))
            finished = asyncio.gather(*self.jobs, return_exceptions=True)
            hurried = asyncio.ensure_future(self.hurry.wait())
            await asyncio.wait((finished, hurried), timeout=self.request.grace, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            await self.crew.end()
            await finished

    # ------------------------------------------------------------------------------------------ as listener.Site

    def knows(self, hook: str) -> bool:
        return hook in self.hooks

    async def ready(self) -> bool:
        if self.draining:
            return False
        try:
            await self._stored(self.ledger.probe)
        except S2IError:
            return False
        return True

    async def deliver(self, hook: str, delivery: Delivery) -> Reply:
        if self.draining:
            return refusal(503, "this server is ending", Retry_After="10")
        try:
            receipt = await self._stored(lambda: take(delivery, self.hooks[hook], self.ledger))
        except (Unauthorized, InvalidUsage) as error:
            self.emit(Notice(text=f"{hook}: a delivery was refused: {error.message}", level="warning"))
            return refusal(401 if isinstance(error, Unauthorized) else 400, error.message)
        except S2IError as error:
            self.emit(Notice(text=f"{hook}: a delivery could not be stored: {error.message}", level="warning"))
            return refusal(503, "the delivery could not be stored", Retry_After="10")
        self.emit(Notice(text=f"{hook}: {_said(receipt)}"))
        self.wake.set()
        return reply_to(receipt)

    # --------------------------------------------------------------------------------------------------- the work

    async def _dispatch(self) -> None:
        """Give each waiting job a worker, as many at a time as there may be."""
        owner = workers.identity()
        await self.crew.be_alone(self.emit)
        self.alone = True
        if returned := await self._insist(self.ledger.give_back):
            self.emit(Notice(text=f"{returned} interrupted jobs wait again"))
        while True:
            self.wake.clear()
            free = len(self.jobs) < self.request.workers
            entry = await self._insist(lambda: self.ledger.claim(owner)) if free else None
            if entry is None:
                await self.wake.wait()
                continue
            job = asyncio.create_task(self._work(entry))
            self.jobs.add(job)
            job.add_done_callback(self._left)

    def _left(self, job: asyncio.Task[None]) -> None:
        self.jobs.discard(job)
        self.wake.set()
        if not job.cancelled() and (fault := job.exception()):
            self.faults.append(fault)
            self.stop.set()

    async def _work(self, entry: Entry) -> None:
        self.emit(Notice(text=f"{entry.app}: build {entry.id} of {entry.commit[:12]} begins"))
        try:
            await self.crew.run((*self.worker, entry.id), self.environ)
        except OSError as error:
            self.emit(Notice(text=f"no worker could be started: {error.strerror}", level="warning"))
            await asyncio.sleep(_RETRY_SECONDS)
        if self.crew.ending:
            return
        after = await self._insist(lambda: self.ledger.settle(entry.id))
        said = f"{after.state} {after.reason}".strip()
        good = after.state in ("succeeded", "superseded")
        self.emit(Notice(text=f"{entry.app}: build {entry.id} {said}", level="info" if good else "warning"))

    async def _stored(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.store, action)

    async def _insist(self, action: Callable[[], T]) -> T:
        """Do what must not be left undone because a disk was full for a while."""
        while True:
            try:
                return await self._stored(action)
            except S2IError as error:
                self.emit(Notice(text=error.message, level="warning"))
                await asyncio.sleep(_RETRY_SECONDS)


def _said(receipt: Receipt) -> str:
    jobs = " ".join(f"{job.commit[:12]} as build {job.id}" for job in receipt.jobs)
    return " ".join(part for part in (receipt.verdict, receipt.reason, jobs) if part)


# ------------------------------------------------------------------------------------------------------- the worker


def work(
    identity: str,
    *,
    state: Path,
    lifeline: int,
    perform: Perform,
    clock: Callable[[], float],
) -> None:
    """Do one job in this process and record what came of it; what is raised beyond errors leaves the job running."""
    workers.hold_lifeline(lifeline)
    with open_ledger(state, clock) as ledger, journal.writing(log_file(state, identity)) as emit:
        entry = ledger.entry(identity)
        try:
            outcome = perform(entry, emit, partial(ledger.built, identity))
        except (Interrupted, Terminated):
            raise
        except S2IError as error:
            emit(Notice(text="\n".join(filter(None, (error.message, error.detail, error.hint))), level="warning"))
            ledger.fail(identity, f"{error.reason}: {error.message}")
        except Exception as fault:
            emit(Notice(text=f"a fault in s2ictl: {type(fault).__name__}: {fault}", level="warning"))
            ledger.fail(identity, f"a fault in s2ictl: {type(fault).__name__}")
            raise
        else:
            ledger.succeed(identity, outcome)
