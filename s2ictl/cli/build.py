"""`build`: source becomes an image; `detect`: which builder it would be made with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from s2ictl import build as story
from s2ictl import ui
from s2ictl.assemblies import parse_environment
from s2ictl.builders import Choice
from s2ictl.builders import detect as choose_builder
from s2ictl.cli import destination, flags, project, results, rollout
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.engines.docker import open_docker
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Notice
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Image, Logins, PullPolicy, Secret
from s2ictl.sources import FetchOptions, parse_source

_SOUNDS_SECRET = re.compile(r"(?i)(token|password|passwd|secret|credential|api_?key|private_?key)")

From = Annotated[
    str,
    typer.Argument(
        metavar="[SOURCE]", help="A directory, or a git repository: URL[#REF[:DIR]].", show_default="s2i.yaml's, or ."
    ),
]
BuilderName = Annotated[str, typer.Argument(metavar="[BUILDER]", help="The same as --builder.", show_default=False)]
SourceFlag = Annotated[str, typer.Option("--source", help="The same as SOURCE.", show_default=False)]
Builder = Annotated[
    str, typer.Option("--builder", "-b", metavar="NAME|IMAGE", help="What assembles it.", show_default="by detection")
]
Ref = Annotated[str, typer.Option("--ref", "-r", help="The branch, tag or commit.", show_default="the default branch")]
ContextDir = Annotated[str, typer.Option("--context-dir", metavar="DIR", help="The application's part of the source.")]
Copy = Annotated[bool, typer.Option("--copy", "-c", help="Take a directory as it lies there, uncommitted work too.")]
EnvFile = Annotated[
    Path | None, typer.Option("--environment-file", "-E", metavar="FILE", help="Lines of such; -e counts more.")
]
BuildEnv = Annotated[
    list[str] | None,
    typer.Option("--build-env", metavar="NAME[=VALUE]", help="For assemble alone; a bare NAME is taken from here."),
]
Description = Annotated[str, typer.Option("--description", help="What the application is for.")]
ForPeople = Annotated[str, typer.Option("--application-name", help="A name for people.", show_default="the image's")]
AssembleUser = Annotated[
    str, typer.Option("--assemble-user", metavar="USER", help="As whom assemble runs.", show_default="the builder's")
]
Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When the builder is pulled.")]
Push = Annotated[bool, typer.Option("--push", help="Send the image to its registry.")]
Timeout = Annotated[
    int,
    typer.Option(
        "--timeout", parser=flags.timeout, metavar="DURATION", help="How long assemble may take.", show_default="60m"
    ),
]
SshKey = Annotated[Path | None, typer.Option("--ssh-key", metavar="FILE", help="The private key for git over ssh.")]
KnownHosts = Annotated[Path | None, typer.Option("--known-hosts", metavar="FILE", help="Whom ssh believes.")]
GitUser = Annotated[str, typer.Option("--git-username", help="The login's name at the forge.", show_default=False)]
GitPassword = Annotated[
    Path | None, typer.Option("--git-password-file", metavar="FILE", help="Its password, or a token.")
]


def register(app: typer.Typer) -> None:
    command(app, "build", example="s2ictl build . --tag registry.example.com/team/shop:1.4 --push")(build)
    command(app, "detect", example="s2ictl detect https://git.example.com/shop.git")(detect)


def build(
    session: Session,
    source: From = "",
    builder_name: BuilderName = "",
    tag_name: flags.Name = "",
    source_flag: SourceFlag = "",
    builder: Builder = "",
    tag: flags.Tags = None,
    ref: Ref = "",
    context_dir: ContextDir = "",
    copy: Copy = False,
    env: flags.Env = None,
    environment_file: EnvFile = None,
    build_env: BuildEnv = None,
    label: flags.Label = None,
    description: Description = "",
    application_name: ForPeople = "",
    assemble_user: AssembleUser = "",
    pull_policy: Pull = "if-not-present",
    push: Push = False,
    registry_secret: flags.RegistrySecret = "",
    insecure_registry: flags.Insecure = None,
    timeout: Timeout = 3600,
    ca: flags.CaBundle = None,
    allow_http: flags.AllowHttp = False,
    ssh_key: SshKey = None,
    known_hosts: KnownHosts = None,
    git_username: GitUser = "",
    git_password_file: GitPassword = None,
    deploy: flags.Deploy = False,
    name: flags.AppName = "",
    namespace: flags.Namespace = "",
    port: flags.Ports = None,
    expose: flags.Exposed = None,
    replicas: flags.Replicas = None,
    wait: flags.Wait = None,
    result_file: flags.ResultFile = None,
    dry_run: flags.DryRun = False,
) -> None:
    """Turn source into an image."""
    world, bundle = session.world, works.bundle(session.world, ca)
    flags.refuse_mounts(world.arguments)
    described = project.to_make(session, typed=flags.one_of("source", source, source_flag))
    app = described.app
    request = BuildRequest(
        source=parse_source(
            app.source,
            ref=ref or app.ref,
            context_dir=context_dir or app.build.context_dir,
            copy=copy,
            allow_http=flags.lets_http(session.world, allow_http),
            cwd=described.directory,
        ),
        builder=flags.one_of("builder", builder_name, builder) or app.build.builder,
        names=(),
        env=_environment(session, app.build.env, environment_file, env or ()),
        build_env=_build_environment(session, build_env or ()),
        labels=flags.pairs("--label", label or (), flags.LABEL, session.emit),
        description=description,
        application_name=application_name or app.name,
        assemble_user=assemble_user,
        pull_policy=pull_policy,
        timeout=timeout,
        ca_bundle=bundle,
    )
    wish = destination.Wish(
        written=destination.written([tag_name, *(tag or ())], app),
        push=push or deploy,
        deploy=deploy,
        given=flags.DeployFlags(
            name=name, namespace=namespace, ports=tuple(port or ()), expose=expose, replicas=replicas, wait=wait
        ),
        secret=registry_secret or app.registry_secret,
        insecure=frozenset(insecure_registry or ()),
        ca_bundle=bundle,
    )
    story.check(replace(request, names=destination.check(wish, app), push=wish.push))
    where = destination.settle(wish, app, session, dry_run=dry_run)
    request = replace(request, names=where.names, push=wish.push)
    _say_who_decides(wish.insecure, session.emit)
    if dry_run:
        session.answer(_described(request, where))
        return
    options = FetchOptions(ssh_key=_at(world.cwd, ssh_key), known_hosts=_at(world.cwd, known_hosts), ca_bundle=bundle)
    git = works.git_logins(world, git_username, works.git_password(world.cwd, git_username, git_password_file))
    results.give(session, _made(request, where, session, options, git), result_file)


def _made(
    request: BuildRequest, where: destination.Destination, session: Session, options: FetchOptions, git: Logins
) -> ui.Answer:
    tally = results.Tally(emit=session.emit)
    with open_docker(session.world.environ, host=this_host(), emit=tally) as engine:
        bench = works.workshop(session.world, engine, options=options, find_login=where.find_login, find_git_login=git)
        image = story.build(request, bench, emit=tally)
    return destination.answer(image, where, session, tally, names=_had_by(image))


def detect(
    session: Session,
    source: From = "",
    ref: Ref = "",
    context_dir: ContextDir = "",
    copy: Copy = False,
    ca: flags.CaBundle = None,
    allow_http: flags.AllowHttp = False,
) -> None:
    """Say which builder fits a source, and why."""
    options = FetchOptions(ca_bundle=works.bundle(session.world, ca))
    wanted = parse_source(
        source or ".",
        ref=ref,
        context_dir=context_dir,
        copy=copy,
        allow_http=flags.lets_http(session.world, allow_http),
        cwd=session.world.cwd,
    )
    git = works.git_logins(session.world, "", None)
    with works.fetch(session.world, options, git, wanted, session.emit) as tree:
        choice = choose_builder(tree.paths, works.our_builders())
    session.answer(_chosen(choice))


# ---------------------------------------------------------------------------------------------------------- answers


def _had_by(image: Image) -> tuple[str, ...]:
    """The names by which the image can be had: with the digest once a registry has it, its id when it has no name."""
    return tuple(str(name.at(image.digest)) for name in image.names) or (image.id,)


def _described(request: BuildRequest, where: destination.Destination) -> ui.Answer:
    source, tags = request.source, tuple(map(str, request.names))
    there = rollout.place_of(where.rollout.app) if where.rollout else ""
    what = " ".join(filter(None, (source.location, source.ref and f"at {source.ref}", source.context_dir)))
    lines = [
        f"fetch     {what}",
        f"builder   {request.builder or 'by detection'}",
        *(f"stays     {name}" for name, _ in request.env),
        *(f"hands on  {name}" for name, _ in request.build_env),
        *(f"{'push' if request.push else 'tag':<10}{tag}" for tag in tags),
        *([f"deploy    {there}"] if there else []),
    ]
    data = {
        "dry-run": True,
        "source": source.location,
        "ref": source.ref,
        "context-dir": source.context_dir,
        "builder": request.builder,
        "tags": tags,
        "push": request.push,
        "deploy": there,
    }
    return ui.Answer(text="\n".join(lines), names=tags, data=data)


class _Detected(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What `detect -o json` says."""

    kind: str
    builder: str
    because: str
    runner_up: _RunnerUp | None
    base: str
    port: int


class _RunnerUp(msgspec.Struct, frozen=True, kw_only=True):
    builder: str
    because: str


def _chosen(choice: Choice) -> ui.Answer:
    second = choice.runner_up
    plan = choice.folder.blueprint
    lines = [f"{choice.folder.name}  ({choice.because})"]
    lines += [f"then {second.folder.name}  ({second.because})"] if second else []
    detected = _Detected(
        kind="source",
        builder=choice.folder.name,
        because=choice.because,
        runner_up=_RunnerUp(builder=second.folder.name, because=second.because) if second else None,
        base=str(plan.base),
        port=plan.port,
    )
    return ui.Answer(text="\n".join(lines), names=(choice.folder.name,), data=detected)


# ---------------------------------------------------------------------------------------------------- flags, read


def _at(cwd: Path, path: Path | None) -> Path | None:
    return cwd / path if path else None


def _environment(
    session: Session, configured: Mapping[str, str], path: Path | None, given: Iterable[str]
) -> tuple[tuple[str, str], ...]:
    """The variables of s2i.yaml, over them those of the environment file, and over both the flags'."""
    emit = session.emit
    own = flags.pairs("build.env", (f"{name}={value}" for name, value in configured.items()), flags.VARIABLE, emit)
    typed = flags.pairs("--env", given, flags.VARIABLE, emit)
    variables = dict((*own, *_variables_in(session, path), *typed))
    for name in filter(_SOUNDS_SECRET.search, variables):
        text = f"{name} stays in the image, readable for everybody who has it; --build-env does not"
        emit(Notice(text=text, level="warning"))
    return tuple(variables.items())


def _variables_in(session: Session, path: Path | None) -> Iterable[tuple[str, str]]:
    if path is None:
        return ()
    try:
        text = (session.world.cwd / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidUsage(f"--environment-file {path} is not readable") from error
    return parse_environment(text, str(path), session.emit)


def _build_environment(session: Session, given: Iterable[str]) -> tuple[tuple[str, Secret], ...]:
    environ = session.world.environ
    written = [text if "=" in text else f"{text}={_here(text, environ.get(text))}" for text in given]
    own = {name: Secret(value) for name, value in flags.pairs("--build-env", written, flags.VARIABLE, session.emit)}
    return tuple({**dict(works.package_sources(environ)), **own}.items())


def _here(name: str, value: str | None) -> str:
    if value is None:
        raise InvalidUsage(
            f"--build-env {name[:80]} names a variable that is not set here", hint="--build-env NAME=VALUE"
        )
    return value


def _say_who_decides(hosts: Iterable[str], emit: Emit) -> None:
    for host in sorted(hosts):
        text = f"the Docker engine itself decides whether {host} may be without TLS: its insecure-registries"
        emit(Notice(text=text))
