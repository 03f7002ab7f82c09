"""STORY: artifact → what it means → base and layers, or builder and container → where it is wanted → digest."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from s2ictl import build, footing, oci, targets, uids
from s2ictl.artifacts import parts_of, tree_of
from s2ictl.engines.append import Recipe, append
from s2ictl.events import Emit, Notice, step
from s2ictl.fittings import Fitting, fitted
from s2ictl.footing import Supplies
from s2ictl.labels import labels_of, merged, record_of
from s2ictl.models import Builder, Image, ImageConfig, ImageFacts, Target, Tree
from s2ictl.planning import Plan, spare_base


def b2i(plan: Plan, supplies: Supplies, *, emit: Emit) -> Image:
    """Turn an artifact into an image where it is wanted, named by its digest."""
    emit(Notice(text=f"{plan.road.road}: {plan.road.because}"))
    make = _assembled if plan.road.road == "container" else _appended
    return replace(make(plan, supplies, emit), context_path=plan.meaning.context_path or "")


def _appended(plan: Plan, supplies: Supplies, emit: Emit) -> Image:
    """Without a container: a base that is there already, and the artifact as layers on it."""
    spare_base(plan)
    if targets.ENGINE in plan.targets:
        supplies.workshop()  # one that is not there is missed before the work
    with step("base", footing.shown(plan.base), emit) as found:
        bases = footing.find(plan.base, plan.platforms, plan.build, supplies, emit, found)
    sits = _fitting(plan, bases[0].name, bases[0].facts)
    with step("append", str(sits.place), emit) as added:
        picture = append(_recipe(plan, sits, bases[0].name, emit), bases, emit=emit)
        added.size = plan.artifact.size
    with step("deliver", ", ".join(targets.shown(plan.targets, plan.build.names)), emit) as sent:
        missing = _missing(picture, plan, supplies)
        sent.cached = not missing
        ways = _ways(supplies, bases[0].name, into_engine=targets.ENGINE in missing)
        targets.put(picture, missing, plan.build.names, ways, emit=emit)
    _conclude(plan, emit)
    emit(Notice(text=build.DONE))
    stays = plan.targets == (targets.ENGINE,)
    return Image(
        names=plan.build.names,
        id=_id(picture, plan, supplies),
        digest="" if stays else picture.digest,
        builder=bases[0].name or footing.shown(plan.base),
        unchanged=not missing,
    )


def _assembled(plan: Plan, supplies: Supplies, emit: Emit) -> Image:
    """In a container, by whatever builder: the ordinary build, with the artifact in the place of source."""
    tree = tree_of(plan.artifact, plan.meaning.place, beside=plan.meaning.beside)
    workshop = replace(supplies.workshop(), fetch=lambda *_: nullcontext(tree))
    image = build.make(plan.build, workshop, emit=emit)
    _conclude(plan, emit)
    return build.delivered(image, plan.build, workshop, emit=emit)


def _conclude(plan: Plan, emit: Emit) -> None:
    if plan.meaning.context_path:
        emit(Notice(text=f"{plan.meaning.war} is served at {plan.meaning.context_path}, on port {plan.meaning.port}"))


# ------------------------------------------------------------------------------------------------- without a container


def _recipe(plan: Plan, sits: Fitting, base: str, emit: Emit) -> Recipe:
    wishes = plan.request.wishes
    return Recipe(
        parts=parts_of(plan.artifact, sits.place, beside=plan.meaning.beside, layered=wishes.layered, emit=emit),
        config=partial(_config, plan, base, tree_of(plan.artifact, sits.place, beside=plan.meaning.beside)),
        title=plan.artifact.name,
        epoch=plan.build.epoch or 0,
    )


def _fitting(plan: Plan, base: str, facts: ImageFacts) -> Fitting:
    return fitted(plan.meaning, base, facts, arguments=len(plan.request.wishes.arguments))


def _config(plan: Plan, base: str, tree: Tree, facts: ImageFacts) -> ImageConfig:
    """What the image says of itself: the same as if a container had assembled it."""
    sits = _fitting(plan, base, facts)
    asked = replace(plan.build, env=tuple({**dict(sits.env), **dict(plan.request.build.env)}.items()))
    builder = Builder(image=base, destination="", scripts="", assemble_user="", facts=facts)
    labels = labels_of(asked, tree, builder, record_of(asked, allowed_uids=uids.shown(asked.allowed_uids)))
    return ImageConfig(
        command=sits.command,
        entrypoint=sits.entrypoint,
        user=plan.request.user or sits.user,
        workdir=facts.workdir,
        env=tuple({**facts.variables, **dict(asked.env)}.items()),
        labels=merged(facts.labels, labels, {}),
        exposed=tuple(dict.fromkeys((*facts.exposed, *plan.request.ports))) or (f"{plan.meaning.port}/tcp",),
    )


def _id(picture: oci.Picture, plan: Plan, supplies: Supplies) -> str:
    """Of several images in one that is this machine's, where its engine has it."""
    if targets.ENGINE not in plan.targets:
        return picture.id

    from s2ictl.tarballs import loaded_id

    return loaded_id(picture, platform=supplies.platform)


def _missing(picture: oci.Picture, plan: Plan, supplies: Supplies) -> tuple[Target, ...]:
    """The targets that do not have this very image under all its names already."""
    names = plan.build.names

    def is_there(target: Target) -> bool:
        match target.kind:
            case "registry":
                return all(supplies.repository(name).resolve(verb="push") == picture.digest for name in names)
            case "docker":
                engine, loaded = supplies.workshop().engine, _id(picture, plan, supplies)
                known = (engine.held(str(name)) for name in names or (loaded,))
                return all(facts is not None and facts.id == loaded for facts in known)
        return False

    return tuple(target for target in plan.targets if not is_there(target))


def _ways(supplies: Supplies, base: str, *, into_engine: bool) -> targets.Ways:
    """How the targets are reached; an engine that has the base already is sent only what lies on it."""
    there = supplies.workshop().engine.held(base) if into_engine and base else None
    return targets.Ways(
        repository=supplies.repository,
        carrier=lambda: supplies.workshop().engine,
        platform=supplies.platform,
        held=there.layers if there else (),
    )
