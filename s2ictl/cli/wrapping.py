"""What `b2i` does once its words are read: the artifact brought and judged, the work recorded, the answer given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from s2ictl import aliases, builders, footing, planning, ui
from s2ictl.artifacts import content_digest, parts_of
from s2ictl.builders import Folder
from s2ictl.cli import artifact, destination, origin, outlets, project, results
from s2ictl.cli import workshop as works
from s2ictl.cli.decisions import Decision, said
from s2ictl.cli.flags import ResultFlags, lets_http
from s2ictl.cli.places import image_shelf, image_store, own_platform, state_directory
from s2ictl.cli.records import recorded
from s2ictl.cli.registries import Registries
from s2ictl.cli.session import Session
from s2ictl.engines.choice import Wanted, passes
from s2ictl.errors import Unreachable
from s2ictl.events import Emit, step
from s2ictl.footing import Supplies
from s2ictl.models import AppConfig, DeployConfig, ReadinessConfig, Source, Target
from s2ictl.planning import B2IRequest, Plan
from s2ictl.sources import FetchOptions
from s2ictl.targets import ENGINE, places, shown, targets_of
from s2ictl.turns import turn
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl import oci
    from s2ictl.cli.engine import Opened
    from s2ictl.registry import OpenRepository
    from s2ictl.workshop import Workshop

_TAKES_FINISHED = {"java": "jar"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed, each text read into its value; the artifact has not been looked at yet."""

    app: AppConfig
    directory: Path
    request: B2IRequest
    wish: destination.Wish
    fetched: origin.FetchFlags
    result: ResultFlags


def carry_out(order: Order, session: Session) -> None:
    """Do it, or show what would be done."""
    results.check(session, order.result.result_file)
    if order.result.dry_run:
        session.answer(_described(order, session))
    else:
        results.give(session, _made(order, session), order.result.result_file)


def _made(order: Order, session: Session) -> ui.Answer:
    """Read, make, deliver, roll out; all of it recorded."""
    from s2ictl import b2i as story

    build = order.request.build
    source = build.source
    with recorded(
        session,
        kind="b2i",
        app=destination.called(order.app, build.names, source.location),
        source=str(source.path or source.location),
        builder=build.builder or order.request.wishes.base,
        tags=tuple(map(str, build.names)),
    ) as record:
        tally = results.Tally(emit=record.emit, build=record.id)
        heard = replace(session, emit=tally)
        with ExitStack() as brought:
            with step("read", source.location, tally):
                plan = brought.enter_context(_read(order, heard))
            where = destination.settle(order.wish, ready_at(order.app, plan), heard, dry_run=False)
            plan = replace(plan, build=replace(plan.build, names=where.names))
            with _site(order, plan, where, heard) as site, _turn(plan, heard):
                plan, tally.engine = site.plan, site.chosen
                image = story.b2i(plan, site.supplies, emit=tally)
        record.done(image)
        had = results.had_by(image, plan.targets)
        answer, address = destination.answer(image, where, session, tally, names=had)
        record.done(image, address)
    return answer


@contextmanager
def _read(order: Order, session: Session) -> Iterator[Plan]:
    """The artifact here, read, and all decided; it can be read while the context lasts."""
    opener = origin.origin_of(order.fetched, session)
    if _is_elsewhere(order.request.build.source):
        opener = origin.with_secret(opener, order.fetched, session)
    text, http = order.app.source, lets_http(session.world, order.fetched.allow_http)
    with artifact.brought(text, opener, session, cwd=order.directory, allow_http=http, certain=True) as there:
        found = there or artifact.Brought(path=order.directory / text)
        yield _plan(replace(order.request, path=found.path, name=found.name), session)


def _is_elsewhere(source: Source) -> bool:
    return source.kind == "archive" and source.path is None


def _plan(request: B2IRequest, session: Session) -> Plan:
    prefix = project.builders_prefix(session)
    return planning.plan_of(
        request,
        named=partial(_named, session, prefix),
        prefix=works.images_at(session.world, prefix),
        platform=own_platform(),
        emit=session.emit,
    )


def _named(session: Session, prefix: str, word: str, emit: Emit) -> Folder | None:
    """One of our own builders, by its name or by the one that another platform has for such a one."""
    folders = works.our_builders(session.world, prefix, word)
    if folder := builders.named(word, folders):
        return folder
    other = aliases.meant(word, folders)
    if other is None:
        return None
    # Elsewhere one builder compiles and takes what is finished; and its version is not what this artifact asks for.
    name = _TAKES_FINISHED.get(other.folder.name, other.folder.name)
    folder = builders.named(name, works.our_builders(session.world, prefix, name)) or other.folder
    emit(replace(other, folder=folder).notice)
    return folder


def ready_at(app: AppConfig, plan: Plan) -> AppConfig:
    """The app, which is ready when its context path answers: Tomcat listens before it has the war."""
    path = plan.meaning.context_path
    asked = app.deploy or DeployConfig()
    if not path or path == "/" or (asked.readiness and (asked.readiness.kind != "http" or asked.readiness.path != "/")):
        return app
    readiness = replace(asked.readiness or ReadinessConfig(), path=f"{path}/")
    return replace(app, deploy=replace(asked, readiness=readiness))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What the story works with, the plan as it is there, and which engine that is, where it has to be open already."""

    plan: Plan
    supplies: Supplies
    engine: Opened | None

    @property
    def chosen(self) -> results.Engine | None:
        return results.Engine.of(self.engine.choice) if self.engine else None


@contextmanager
def _site(order: Order, plan: Plan, where: destination.Destination, session: Session) -> Iterator[_Site]:
    """Registries are opened when the first word goes to them, and the engine too where no container is needed."""
    from s2ictl import shelf

    world, wish = session.world, order.wish
    registries = Registries(world=world, find_login=where.find_login, ca_bundle=wish.ca_bundle, insecure=wish.insecure)
    with ExitStack() as opened:

        @cache
        def engine() -> Opened:
            return opened.enter_context(_engine(order, plan, registries, session))

        @cache
        def repositories() -> OpenRepository:
            return opened.enter_context(registries.opened(session.emit))

        @cache
        def workshop() -> Workshop:
            bench = works.workshop(
                world,
                engine().engine,
                options=FetchOptions(ca_bundle=wish.ca_bundle),
                find_login=where.find_login,
                insecure=wish.insecure,
                prefix=project.builders_prefix(session),
            )
            return replace(bench, outlet=outlets.outlet(engine(), plan.build))

        @cache
        def store() -> Callable[[str], oci.Base | None]:
            from s2ictl import images

            return opened.enter_context(images.looked_into(image_store(world)))

        supplies = footing.Supplies(
            repository=lambda name: repositories()(name),
            shelf=opened.enter_context(shelf.opened(image_shelf(world))),
            workshop=workshop,
            platform=own_platform(),
            stored=lambda image: store()(image),
        )
        if plan.road.road == "append":
            yield _Site(plan=plan, supplies=supplies, engine=None)
            return
        build = engine().fitted(plan.build, to_docker=ENGINE in order.wish.targets)
        yield _Site(plan=replace(plan, build=build), supplies=supplies, engine=engine())


@contextmanager
def _engine(order: Order, plan: Plan, registries: Registries, session: Session) -> Iterator[Opened]:
    from s2ictl.cli.engine import opened

    with ExitStack() as stack:
        try:
            site = stack.enter_context(opened(session.world, session.emit, _wanted(order, plan, session), registries))
        except Unreachable as error:
            if plan.road.road == "container":
                raise
            without = "--push, --to oci:DIR and --to tar:FILE need none"
            raise Unreachable(error.message, detail=error.detail, hint=f"{error.hint}; {without}") from error
        yield site


def _wanted(order: Order, plan: Plan, session: Session) -> Wanted:
    """Where no container is needed, a place that was named is all that is asked of an engine."""
    from s2ictl.cli import engine

    asked = engine.wanted(session.world, plan.road.engine)
    if plan.road.road == "container":
        return replace(asked, passes=passes(plan.build), images=(plan.build.builder,))
    return Wanted(engine="docker", by="--to docker") if ENGINE in order.wish.targets else asked


def _turn(plan: Plan, session: Session) -> AbstractContextManager[None]:
    """Two builds of one name in one engine take turns."""
    if plan.road.road != "container":
        return nullcontext()
    names, seconds = map(str, plan.build.names), plan.build.timeout
    return turn(state_directory(session.world), names, seconds=seconds, emit=session.emit)


# ------------------------------------------------------------------------------------------------------------- answers


# --------------------------------------------------------------------------------------------------------- the dry run


def _described(order: Order, session: Session) -> ui.Answer:
    """What would be done. The artifact is read where it is here; nobody is asked for one that is not."""
    where = destination.settle(order.wish, order.app, session, dry_run=True)
    source = order.request.build.source
    if _is_elsewhere(source):
        steps = (("fetch", source.location), ("decide", "by what it turns out to be"))
        return _told(steps, {}, targets_of(order.request.build), order, where)
    with _read(order, session) as plan:
        data = {
            "artifact": content_digest(plan.artifact),
            "engine": "append" if plan.road.road == "append" else plan.road.engine or "auto",
            "builder": plan.build.builder if plan.road.road == "container" else "",
            "base": footing.shown(plan.base) if plan.road.road == "append" else "",
            "path": str(plan.meaning.place),
            "platforms": plan.platforms,
            "context-path": plan.meaning.context_path,
        }
        return _told(tuple(_steps(plan, session)), data, plan.targets, order, where)


def _steps(plan: Plan, session: Session) -> Iterator[Decision]:
    yield from (("read", plan.meaning.because), ("road", f"{plan.road.road}: {plan.road.because}"))
    if plan.road.road == "container":
        from s2ictl.cli import engine

        yield "engine", engine.told(engine.wanted(session.world, plan.road.engine))
        yield "assemble", f"by {plan.build.builder}"
        return
    on = f" for {', '.join(plan.platforms)}" if plan.platforms else ""
    yield "append", f"{plan.meaning.place} to {footing.shown(plan.base)}{on}"
    if plan.request.wishes.layered:
        meaning = plan.meaning
        parts = parts_of(plan.artifact, meaning.place, beside=meaning.beside, layered=True, emit=lambda _: None)
        yield from (("layer", part.name) for part in parts)


def _told(
    steps: tuple[Decision, ...],
    data: Mapping[str, object],
    targets: tuple[Target, ...],
    order: Order,
    where: destination.Destination,
) -> ui.Answer:
    to = places(targets, where.names)
    there, secret = destination.place_of(where), order.wish.secret
    later = f"(a registry that is not named is taken from the secret {secret})" if secret else ""
    lines = (
        *steps,
        *(("deliver", place) for place in shown(targets, where.names)),
        *said(("", later), ("deploy", there)),
    )
    text = "\n".join(f"{word:<9}{ui.printable(what)}" for word, what in lines)
    return ui.Answer(text=text, names=to, data={"dry-run": True, **data, "to": to, "deploy": there})
