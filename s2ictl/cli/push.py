"""`push`: images that are there already go to their registries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from s2ictl import push as story
from s2ictl import ui
from s2ictl.cli import engine as engines
from s2ictl.cli import flags, results
from s2ictl.cli import workshop as works
from s2ictl.cli.registries import Registries
from s2ictl.cli.session import Session, command
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit
from s2ictl.expressions import expression
from s2ictl.layouts import Laid, parse_laid
from s2ictl.models import Image, Login, Logins, Reference
from s2ictl.push import Attachment, PushRequest
from s2ictl.registry import OpenRepository
from s2ictl.sources import FetchOptions
from s2ictl.values import dataclass

_LARGEST = 16 << 20
_MEDIA_TYPE = expression(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}", re.IGNORECASE)

Images = Annotated[
    list[str], typer.Argument(metavar="IMAGE…", help="A name in the engine, oci:DIR[:TAG], or tar:FILE.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PushFlags:
    """Where it goes, and what goes with it."""

    tag: flags.Tags = None
    engine: engines.Engine = None
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", metavar="KIND=FILE", help="Attach a file to it there; KIND is its media type."),
    ] = None
    registry_secret: flags.RegistrySecret = ""
    dockercfg_path: flags.LoginFile = None
    insecure_registry: flags.Insecure = None
    ca: flags.CaBundle = None
    result_file: flags.ResultFile = None
    dry_run: flags.DryRun = False


def register(app: typer.Typer) -> None:
    command(app, "push", example="s2ictl push shop:1.4 --tag registry.example.com/team/shop:1.4")(push)


def push(session: Session, images: Images, *, given: PushFlags) -> None:
    """Push images that are there already: from the engine, an OCI layout, or a file."""
    results.check(session, given.result_file)
    meant = tuple(parse_image(text, session.world.cwd) for text in dict.fromkeys(images))
    _refuse_one_name_for_several(meant, given)
    attachments = tuple(_attachment(text, session.world.cwd) for text in given.attach or ())
    file = works.login_file(session.world.cwd, given.dockercfg_path)
    known = _known(given, session)
    waits = bool(given.registry_secret) and given.dry_run  # for the Secret, whose registry completes the names
    requests = tuple(
        PushRequest(image=image, names=_names(image, given, known, push=not waits), attachments=attachments)
        for image in meant
    )
    story.check(requests)
    _check_logins(requests, known, given)
    if given.dry_run:
        session.answer(_described(requests))
        return
    find_login = works.registry_logins(known, given.registry_secret, session.world, file)
    tally = results.Tally(emit=session.emit)
    here = next((str(image) for image in meant if isinstance(image, Reference)), "")
    with _desk(given, find_login, session, tally, holding=here) as desk:
        made = story.push(requests, stock=desk.stock, repository=desk.repository, emit=tally)
    results.give(session, _answer(made), given.result_file)


def parse_image(text: str, cwd: Path) -> Reference | Laid:
    """IMAGE, oci:DIR[:TAG] or tar:FILE."""
    return parse_laid(text, cwd=cwd) or Reference.parse(text)


def _refuse_one_name_for_several(meant: Sequence[Reference | Laid], given: PushFlags) -> None:
    if len(meant) > 1 and given.tag:
        raise InvalidUsage(
            f"--tag {given.tag[0]} cannot be the name of {len(meant)} images", hint="push them one by one"
        )


def _names(image: Reference | Laid, given: PushFlags, known: Sequence[Login], *, push: bool) -> tuple[Reference, ...]:
    """The name of the image itself, where that leads to a registry, and each --tag."""
    typed = tuple(given.tag or ())
    if isinstance(image, Laid):
        if not typed:
            raise InvalidUsage(
                f"{image} needs a name to be pushed under",
                detail="what lies in a file cannot say where it may go",
                hint="--tag registry.example.com/team/app:1.0",
            )
        return flags.image_names(typed, secret=known, push=push)
    own = (str(image),) if not typed or (not image.digest and (image.registry or known)) else ()
    return flags.image_names((*own, *typed), secret=known, push=push)


def _known(given: PushFlags, session: Session) -> tuple[Login, ...]:
    """The logins of the chosen Secret; only that makes this ask the cluster."""
    if not given.registry_secret or given.dry_run:
        return ()
    from s2ictl.cli import keyring

    return keyring.secret_logins(given.registry_secret, session)


def _check_logins(requests: Iterable[PushRequest], known: tuple[Login, ...], given: PushFlags) -> None:
    """The Secret that was chosen must have a login for each name, by a way that is allowed."""
    from s2ictl import logins

    places = {name.name for request in requests for name in request.names} if known else set()
    logins.check_logins(known, places, name=given.registry_secret, insecure=given.insecure_registry or ())


def _attachment(text: str, cwd: Path) -> Attachment:
    kind, equals, name = text.partition("=")
    if not equals or not _MEDIA_TYPE.fullmatch(kind) or not name:
        raise InvalidUsage(
            f"--attach {text[:80]!r} is not KIND=FILE", hint="--attach application/spdx+json=sbom.spdx.json"
        )
    content = flags.octets(cwd, Path(name), flag="--attach", largest=_LARGEST)
    return Attachment(kind=kind, name=Path(name).name, content=content)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What a push works with; an engine is looked for when the first image is wanted from there."""

    stock: Callable[[], story.Stock]
    repository: OpenRepository


@contextmanager
def _desk(given: PushFlags, find_login: Logins, session: Session, emit: Emit, *, holding: str) -> Iterator[_Desk]:
    world, bundle = session.world, works.bundle(session.world, given.ca)
    insecure = frozenset(given.insecure_registry or ())
    with ExitStack() as opened:
        registries = Registries(world=world, find_login=find_login, ca_bundle=bundle, insecure=insecure)

        @cache
        def stock() -> story.Stock:
            wanted = engines.wanted(world, given.engine, holding=holding)
            engine = opened.enter_context(engines.open_engine(world, emit, wanted, registries))
            options = FetchOptions(ca_bundle=bundle)
            workshop = works.workshop(world, engine, options=options, find_login=find_login, insecure=insecure)
            return story.Stock(workshop=workshop, listing=engine)

        yield _Desk(stock=stock, repository=opened.enter_context(registries.opened(emit)))


# ---------------------------------------------------------------------------------------------------------- answers


def _answer(made: tuple[Image, ...]) -> ui.Answer:
    """A line for each name; as JSON an object for one image, a list of them for several."""
    pushed = tuple(results.pushed(image) for image in made)
    names = tuple(str(name.at(image.digest)) for image in made for name in image.names)
    return ui.Answer(text="\n".join(names), names=names, data=pushed if len(pushed) > 1 else pushed[0])


def _described(requests: tuple[PushRequest, ...]) -> ui.Answer:
    """What would be done; nobody is asked whether the images are there."""
    names = tuple(str(name) for request in requests for name in request.names)
    lines = [f"push      {request.image} as {name}" for request in requests for name in request.names]
    lines += [f"attach    {each.name} ({each.kind})" for each in requests[0].attachments]
    data = [
        {"dry-run": True, "image": str(request.image), "tags": list(map(str, request.names))} for request in requests
    ]
    return ui.Answer(text="\n".join(map(ui.printable, lines)), names=names, data=data if len(data) > 1 else data[0])
