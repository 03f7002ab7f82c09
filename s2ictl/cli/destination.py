"""Where an image goes that is going to be made: its names, who may push there, and the app that it becomes.

All of it is settled before the work, so that a build does not end in front of a closed door.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from s2ictl import ui
from s2ictl.cli import results
from s2ictl.cli import workshop as works
from s2ictl.cli.flags import DeployFlags, ResultFlags, image_names, refuse_deploy_flags, targets
from s2ictl.cli.session import Session
from s2ictl.errors import InvalidUsage
from s2ictl.models import AppConfig, Image, Login, Logins, Reference, Target
from s2ictl.targets import REGISTRY
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from s2ictl.cli.rollout import RolloutRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the flags and s2i.yaml say of it, as they say it; `targets` are all but the registry."""

    written: tuple[str, ...]
    push: bool
    targets: tuple[Target, ...]
    deploy: bool
    given: DeployFlags
    ports: tuple[str, ...]
    secret: str
    login_file: Path | None
    insecure: frozenset[str]
    ca_bundle: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The final names of the image, the logins for them, and what is to be rolled out, if anything is."""

    names: tuple[Reference, ...]
    find_login: Logins
    rollout: RolloutRequest | None = None


def wish(
    result: ResultFlags,
    given: DeployFlags,
    app: AppConfig,
    session: Session,
    *,
    named: str,
    deploy: bool,
    ports: tuple[str, ...],
    ca_bundle: Path | None,
) -> Wish:
    """The flags over s2i.yaml; `named` is the name that stood among the words."""
    typed = tuple(filter(None, (named, *(result.tag or ()))))
    wanted = targets(result, session.world.cwd)
    return Wish(
        written=typed or ((str(app.image),) if app.image else ()),
        push=REGISTRY in wanted or deploy,
        targets=tuple(target for target in wanted if target != REGISTRY),
        deploy=deploy,
        given=given,
        ports=ports,
        secret=result.registry_secret or app.registry_secret,
        login_file=works.login_file(session.world.cwd, result.dockercfg_path),
        insecure=frozenset(result.insecure_registry or ()),
        ca_bundle=ca_bundle,
    )


def called(app: AppConfig, names: tuple[Reference, ...], made_of: str) -> str:
    """What an app goes by in the records: its own name, else the last part of its image's, or of where it lies."""
    return app.name or (names[0].repository.rpartition("/")[2] if names else PurePosixPath(made_of).stem)


def check(wish: Wish, app: AppConfig) -> tuple[Reference, ...]:
    """Refuse what can be seen in the words alone; answers the names as far as they are known without asking."""
    if not wish.deploy:
        refuse_deploy_flags(wish.given, wish.ports)
    elif not wish.written:
        raise InvalidUsage("--deploy needs a name for the image", hint="--tag registry.example.com/team/app:1.0")
    else:
        from s2ictl.cli import rollout

        rollout.check(_asked(wish, app))
    return _names(wish, ())


def settle(wish: Wish, app: AppConfig, session: Session, *, dry_run: bool) -> Destination:
    """Make final names of the written ones; only a chosen Secret makes this ask the cluster."""
    landing = _landing(wish, app, session, dry_run=dry_run) if wish.deploy else None
    secret = landing.secret if landing else wish.secret
    known = _known(wish, secret, session) if secret and not dry_run else ()
    names = _names(wish, known)
    return Destination(
        names=names,
        find_login=works.registry_logins(known, secret, session.world, wish.login_file),
        rollout=replace(landing, app=replace(landing.app, image=names[0])) if landing else None,
    )


def place_of(where: Destination) -> str:
    """What on the cluster is going to run the image, in words for people; "" where nothing is."""
    if where.rollout is None:
        return ""

    from s2ictl.cli import rollout

    return rollout.place_of(where.rollout.app)


def _landing(wish: Wish, app: AppConfig, session: Session, *, dry_run: bool) -> RolloutRequest:
    from s2ictl.cli import rollout

    return rollout.at(_asked(wish, app), rollout.locate(session.world, optional=dry_run))


def _known(wish: Wish, secret: str, session: Session) -> tuple[Login, ...]:
    """The logins that a Secret holds; one of them must be for each name that is pushed, by a way that is allowed."""
    from s2ictl import logins
    from s2ictl.cli import keyring

    known = keyring.secret_logins(secret, session)
    if wish.push:
        places = (name.name for name in _names(wish, known))
        logins.check_logins(known, places, name=secret, insecure=wish.insecure)
    return known


def answer(
    image: Image, where: Destination, session: Session, tally: results.Tally, *, names: tuple[str, ...]
) -> tuple[ui.Answer, str]:
    """Roll the image out where that was asked for; `names` are those under which it can be had now.

    Answers the app's address beside what is said, "" where nothing was rolled out or is exposed.
    """
    if where.rollout is None:
        return ui.Answer(text=names[0], names=names, data=tally.result(image, name=names[0])), ""

    from s2ictl.cli import rollout

    app = replace(where.rollout.app, image=where.names[0].at(image.digest))
    done = rollout.roll_out(replace(where.rollout, app=app), replace(session, emit=tally))
    there = rollout.place_of(done)
    address = _served_at(done.address, image.context_path)
    result = tally.result(image, name=names[0], address=address)
    return ui.Answer(text=address or there, names=(there,), data=result), address


def _served_at(address: str, context_path: str) -> str:
    """Where a war answers, which is below the address of its app."""
    return f"{address.rstrip('/')}{context_path.rstrip('/')}/" if address and context_path else address


def _names(wish: Wish, known: tuple[Login, ...]) -> tuple[Reference, ...]:
    # A registry that is not named is that of the Secret: while that has not been read, nothing is missing yet.
    return image_names(wish.written, secret=known, push=wish.push and (bool(known) or not wish.secret))


def _asked(wish: Wish, app: AppConfig) -> RolloutRequest:
    from s2ictl.cli import rollout

    image = image_names(wish.written[:1], push=False)[0]
    asked = rollout.request_of(wish.given, app, image, ports=wish.ports)
    return replace(asked, secret=wish.secret, insecure=wish.insecure, ca_bundle=wish.ca_bundle)
