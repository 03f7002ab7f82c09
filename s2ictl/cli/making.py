"""What `build` and `rebuild` do once all is settled: the work recorded, the answer given, whoever asked for it told."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from s2ictl import build as story
from s2ictl import ui
from s2ictl.builders import named
from s2ictl.cli import destination, origin, outlets, project, results
from s2ictl.cli import engine as engines
from s2ictl.cli import workshop as works
from s2ictl.cli.decisions import decisions, said
from s2ictl.cli.engine import open_engine
from s2ictl.cli.flags import ResultFlags, lets_http
from s2ictl.cli.places import state_directory
from s2ictl.cli.records import Record, recorded
from s2ictl.cli.registries import Registries
from s2ictl.cli.session import Session
from s2ictl.cli.telling import telling
from s2ictl.engines import Comparing, Whole
from s2ictl.engines.choice import Asked, Wanted, passes
from s2ictl.environments import handed_on
from s2ictl.errors import InvalidUsage, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.models import AppConfig, BuildRequest, Image, ImageFacts, Reference, Target
from s2ictl.targets import ENGINE, places, targets_of
from s2ictl.turns import turn
from s2ictl.values import dataclass
from s2ictl.workshop import Workshop

if TYPE_CHECKING:
    from s2ictl.callbacks import Callback


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterFlags:
    """When it is over."""

    run: Annotated[bool, typer.Option("--run", help="Run the image, until it ends or Ctrl-C.")] = False
    callback_url: Annotated[
        str, typer.Option("--callback-url", metavar="URL", help="POST to it how the build ended.")
    ] = ""
    check_reproducible: Annotated[
        bool, typer.Option("--check-reproducible", help="Build it twice, and say in what the two differ.")
    ] = False
    as_dockerfile: Annotated[
        Path | None,
        typer.Option("--as-dockerfile", metavar="FILE", help="Build nothing; write it as a Dockerfile."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the flags and s2i.yaml say, each text read into its value; nobody has been asked anything yet."""

    kind: Literal["build", "rebuild"]
    app: AppConfig
    request: BuildRequest
    wish: destination.Wish
    fetched: origin.FetchFlags
    result: ResultFlags
    after: AfterFlags
    engine: Asked | None = None
    holding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """The same, and all that can be seen without asking anybody: the names may still lack the Secret's registry."""

    plan: Plan
    names: tuple[Reference, ...]
    opener: origin.Origin
    callback: Callback | None
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    """The same, once the cluster's Secrets were asked for names and logins."""

    request: BuildRequest
    where: destination.Destination
    opener: origin.Origin
    twice: bool
    insecure: frozenset[str]


def carry_out(plan: Plan, session: Session) -> None:
    """Check what can be checked before the work; then do it, or show what it would be."""
    checked = _check(plan, session)
    if plan.result.dry_run:
        session.answer(_described(checked, _settle(checked, session)))
    elif plan.after.as_dockerfile:
        _write(checked, _settle(checked, session), session.world.cwd / plan.after.as_dockerfile, session)
    else:
        _make(checked, session)


def _check(plan: Plan, session: Session) -> _Checked:
    _refuse_contradictions(plan)
    results.check(session, plan.result.result_file)
    names = destination.check(plan.wish, plan.app)
    story.check(replace(plan.request, names=names, push=plan.wish.push, targets=_beyond_the_engine(plan)))
    allow_http = lets_http(session.world, plan.fetched.allow_http)
    url = plan.after.callback_url
    return _Checked(
        plan=plan,
        names=names,
        opener=origin.origin_of(plan.fetched, session, typed=plan.kind == "build"),
        callback=_callback(url, allow_http=allow_http) if url else None,
        wanted=engines.wanted(session.world, plan.engine, holding=plan.holding),
    )


def _beyond_the_engine(plan: Plan) -> tuple[Target, ...]:
    """In the engine it is anyway."""
    return tuple(target for target in plan.wish.targets if target != ENGINE)


def _callback(url: str, *, allow_http: bool) -> Callback:
    from s2ictl.callbacks import check_url

    return check_url(url, allow_http=allow_http)


def _settle(checked: _Checked, session: Session) -> _Settled:
    plan, dry_run = checked.plan, checked.plan.result.dry_run
    where = destination.settle(plan.wish, plan.app, session, dry_run=dry_run)
    targets, here = _beyond_the_engine(plan), ENGINE in plan.wish.targets
    return _Settled(
        request=replace(plan.request, names=where.names, push=plan.wish.push, targets=targets, here=here),
        where=where,
        opener=checked.opener if dry_run else origin.with_secret(checked.opener, plan.fetched, session),
        twice=plan.after.check_reproducible,
        insecure=plan.wish.insecure,
    )


def _make(checked: _Checked, session: Session) -> None:
    """Build, deliver, roll out; then answer, and run the image where that was asked for."""
    plan = checked.plan
    with ExitStack() as opened:
        with (
            _recorded(checked, session) as record,
            telling(checked.callback, session, ca_bundle=plan.request.ca_bundle) as made,
        ):
            tally = results.Tally(emit=record.emit, build=record.id)
            settled = _settle(checked, session)
            registries = _registries(settled, session)
            site = opened.enter_context(
                engines.opened(session.world, tally, _wanted(checked, settled, session), registries)
            )
            _say_who_decides(() if site.embedded else settled.insecure, tally)
            request = site.fitted(settled.request, to_docker=ENGINE in plan.wish.targets)
            settled = replace(settled, request=request)
            bench = _workshop(settled, site.engine, session)
            bench = replace(bench, outlet=outlets.outlet(site, settled.request, stays=plan.after.run))
            tally.engine = results.Engine.of(site.choice)
            image = _built(settled, bench, site.engine, session, tally)
            record.done(image)
            had = results.had_by(image, targets_of(replace(settled.request, targets=plan.wish.targets)))
            answer, address = destination.answer(image, settled.where, session, tally, names=had)
            record.done(image, address)
            if checked.callback:
                made(image, _facts_of(image, bench, session.emit))
        results.give(session, answer, plan.result.result_file)
        if plan.after.run:
            from s2ictl.cli import running

            running.run_built(image, site.engine, session, find_login=settled.where.find_login)


def _wanted(checked: _Checked, settled: _Settled, session: Session) -> Wanted:
    """What decides between the engines: where the image goes, and the images that it is made of."""
    request = settled.request
    if not request.builder:
        return checked.wanted
    ours = named(request.builder, works.our_builders(session.world, project.builders_prefix(session), request.builder))
    images = (str(ours.image) if ours else request.builder, request.runtime_image)
    return replace(checked.wanted, passes=passes(request), images=tuple(filter(None, images)))


def _built(settled: _Settled, workshop: Workshop, compare: Comparing, session: Session, emit: Emit) -> Image:
    """The image, in its turn."""
    request = settled.request
    with turn(state_directory(session.world), map(str, request.names), seconds=request.timeout, emit=emit):
        if settled.twice:
            from s2ictl import reproducible

            return reproducible.build_twice(request, workshop, compare=compare, emit=emit)
        return story.build(request, workshop, emit=emit)


def _facts_of(image: Image, bench: Workshop, emit: Emit) -> ImageFacts | None:
    """What the image says of itself, which no engine may have."""
    if image.facts is not None:
        return image.facts
    known, builder = (
        bench.engine.facts(each, pull="never", login=None, emit=emit) for each in (image.id, image.builder)
    )
    if known is None and builder is not None and image.digest:
        with suppress(S2IError):
            return bench.registered(image.names[0].at(image.digest), builder.platform)
    return known


def _recorded(checked: _Checked, session: Session) -> AbstractContextManager[Record]:
    plan = checked.plan
    source = plan.request.source
    return recorded(
        session,
        kind=plan.kind,
        app=destination.called(plan.app, checked.names, str(source.path or source.location)),
        source=source.location,
        builder=plan.request.builder,
        tags=tuple(map(str, checked.names)),
    )


def _write(checked: _Checked, settled: _Settled, path: Path, session: Session) -> None:
    """Describe the build as ever, and write it down where an engine would perform it."""
    with (
        open_engine(session.world, session.emit, checked.wanted, _registries(settled, session)) as engine,
        story.prepare(settled.request, _workshop(settled, engine, session), emit=session.emit) as prepared,
    ):
        from s2ictl import dockerfiles

        file = str(dockerfiles.write(prepared.assembly, path, emit=session.emit))
    data = {"dockerfile": file, "builder": prepared.builder, "commit": prepared.commit}
    session.answer(ui.Answer(text=file, names=(file,), data=data))


def _registries(settled: _Settled, session: Session) -> Registries:
    return Registries(
        world=session.world,
        find_login=settled.where.find_login,
        ca_bundle=settled.opener.options.ca_bundle,
        insecure=settled.insecure,
    )


def _workshop(settled: _Settled, engine: Whole, session: Session) -> Workshop:
    opener = settled.opener
    return works.workshop(
        session.world,
        engine,
        options=opener.options,
        find_login=settled.where.find_login,
        find_git_login=opener.find_login,
        insecure=settled.insecure,
        prefix=project.builders_prefix(session),
    )


def _refuse_contradictions(plan: Plan) -> None:
    """A recipe is no image: nothing can be done with it afterwards."""
    after = plan.after
    done_with_it = {
        "--deploy": plan.wish.deploy,
        "--push": plan.wish.push,
        "--to": bool(plan.wish.targets),
        "--run": after.run,
        "--callback-url": bool(after.callback_url),
        "--result-file": plan.result.result_file is not None,
        "--check-reproducible": after.check_reproducible,
    }
    if after.as_dockerfile and (flag := next((flag for flag, given in done_with_it.items() if given), "")):
        raise InvalidUsage(f"--as-dockerfile makes no image, so {flag} has nothing to do", hint="leave one of them out")


def _say_who_decides(hosts: Iterable[str], emit: Emit) -> None:
    for host in sorted(hosts):
        text = f"the Docker engine itself decides whether it pulls from {host} without TLS: its insecure-registries"
        emit(Notice(text=text))


# ----------------------------------------------------------------------------------------------------- the dry run


def _described(checked: _Checked, settled: _Settled) -> ui.Answer:
    """Every decision, with nobody asked; of a value that could be a secret only the name."""
    request = settled.request
    tags = tuple(map(str, request.names))
    there = destination.place_of(settled.where)
    data = {
        "dry-run": True,
        "source": request.source.location,
        "ref": request.source.ref,
        "context-dir": request.source.context_dir,
        "builder": request.builder,
        "tags": tags,
        "push": request.push,
        "to": places(request.targets, request.names),
        "deploy": there,
        "env": [name for name, _ in request.env],
        "build-env": [name for name, _ in handed_on(request)],
        "secrets": [secret.id for secret in request.secrets],
        "engine": checked.wanted.engine,
    }
    after = said(
        ("engine", engines.told(checked.wanted)),
        ("deploy", there),
        ("tell", "the --callback-url" if checked.callback else ""),
        ("compare", "it with a second build" if checked.plan.after.check_reproducible else ""),
        ("run", "it" if checked.plan.after.run else ""),
        ("write", str(checked.plan.after.as_dockerfile or "")),
    )
    # Of a rebuild the words are an image's own.
    lines = [f"{word:<10}{ui.printable(what)}".rstrip() for word, what in (*decisions(request), *after)]
    return ui.Answer(text="\n".join(lines), names=tags, data=data)
