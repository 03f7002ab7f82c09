"""`build`: source becomes an image; `detect`: which builder it would be made with."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from s2ictl import build as story
from s2ictl import names, ui
from s2ictl.assemblies import parse_environment
from s2ictl.builders import Choice
from s2ictl.builders import detect as choose_builder
from s2ictl.cli import workshop as works
from s2ictl.cli.session import Session, command
from s2ictl.engines.docker import open_docker
from s2ictl.errors import InvalidUsage
from s2ictl.events import Emit, Event, Notice, StepFinished
from s2ictl.leases import this_host
from s2ictl.models import BuildRequest, Image, Login, Logins, PullPolicy, Reference, Secret, parse_duration
from s2ictl.sources import FetchOptions, parse_source

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_SOUNDS_SECRET = re.compile(r"(?i)(token|password|passwd|secret|credential|api_?key|private_?key)")


def _duration(text: str | int) -> int:
    """Typer hands its parser the default as well, which is seconds already."""
    return parse_duration(str(text))


From = Annotated[str, typer.Argument(metavar="[SOURCE]", help="A directory, or a git repository: URL[#REF[:DIR]].")]
BuilderName = Annotated[str, typer.Argument(metavar="[BUILDER]", help="The same as --builder.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="[TAG]", help="The same as --tag.", show_default=False)]
SourceFlag = Annotated[str, typer.Option("--source", help="The same as SOURCE.", show_default="this directory")]
Builder = Annotated[
    str, typer.Option("--builder", "-b", metavar="NAME|IMAGE", help="What assembles it.", show_default="by detection")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", "-t", metavar="NAME", help="What the image is called.")]
Ref = Annotated[str, typer.Option("--ref", "-r", help="The branch, tag or commit.", show_default="the default branch")]
ContextDir = Annotated[str, typer.Option("--context-dir", metavar="DIR", help="The application's part of the source.")]
Copy = Annotated[bool, typer.Option("--copy", "-c", help="Take a directory as it lies there, uncommitted work too.")]
Env = Annotated[list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Stays in the image.")]
EnvFile = Annotated[
    Path | None, typer.Option("--environment-file", "-E", metavar="FILE", help="Lines of such; -e counts more.")
]
BuildEnv = Annotated[
    list[str] | None,
    typer.Option("--build-env", metavar="NAME[=VALUE]", help="For assemble alone; a bare NAME is taken from here."),
]
Label = Annotated[list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help="A label of the image.")]
Description = Annotated[str, typer.Option("--description", help="What the application is for.")]
AppName = Annotated[str, typer.Option("--application-name", help="A name for people.", show_default="the image's")]
AssembleUser = Annotated[
    str, typer.Option("--assemble-user", metavar="USER", help="As whom assemble runs.", show_default="the builder's")
]
Pull = Annotated[PullPolicy, typer.Option("--pull-policy", "-p", help="When the builder is pulled.")]
Push = Annotated[bool, typer.Option("--push", help="Send the image to its registry.")]
RegistrySecret = Annotated[
    str,
    typer.Option(
        "--registry-secret", metavar="[NS/]NAME", help="The cluster's Secret to push with.", show_default=False
    ),
]
Insecure = Annotated[list[str] | None, typer.Option("--insecure-registry", metavar="HOST", help="May be without TLS.")]
Timeout = Annotated[
    int,
    typer.Option(
        "--timeout", parser=_duration, metavar="DURATION", help="How long assemble may take.", show_default="60m"
    ),
]
CaBundle = Annotated[Path | None, typer.Option("--ca-bundle", metavar="FILE", help="Who signed for git and packages.")]
AllowHttp = Annotated[bool, typer.Option("--allow-http", envvar="S2ICTL_ALLOW_HTTP", help="Let git go without TLS.")]
SshKey = Annotated[Path | None, typer.Option("--ssh-key", metavar="FILE", help="The private key for git over ssh.")]
KnownHosts = Annotated[Path | None, typer.Option("--known-hosts", metavar="FILE", help="Whom ssh believes.")]
GitUser = Annotated[str, typer.Option("--git-username", help="The login's name at the forge.", show_default=False)]
GitPassword = Annotated[
    Path | None, typer.Option("--git-password-file", metavar="FILE", help="Its password, or a token.")
]
ResultFile = Annotated[
    Path | None, typer.Option("--result-file", metavar="FILE", help="Where the answer is written as JSON, too.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and contact nothing.")]


def register(app: typer.Typer) -> None:
    command(app, "build", example="s2ictl build . --tag registry.example.com/team/shop:1.4 --push")(build)
    command(app, "detect", example="s2ictl detect https://git.example.com/shop.git")(detect)


def build(
    session: Session,
    source: From = "",
    builder_name: BuilderName = "",
    name: Name = "",
    source_flag: SourceFlag = "",
    builder: Builder = "",
    tag: Tags = None,
    ref: Ref = "",
    context_dir: ContextDir = "",
    copy: Copy = False,
    env: Env = None,
    environment_file: EnvFile = None,
    build_env: BuildEnv = None,
    label: Label = None,
    description: Description = "",
    application_name: AppName = "",
    assemble_user: AssembleUser = "",
    pull_policy: Pull = "if-not-present",
    push: Push = False,
    registry_secret: RegistrySecret = "",
    insecure_registry: Insecure = None,
    timeout: Timeout = 3600,
    ca: CaBundle = None,
    allow_http: AllowHttp = False,
    ssh_key: SshKey = None,
    known_hosts: KnownHosts = None,
    git_username: GitUser = "",
    git_password_file: GitPassword = None,
    result_file: ResultFile = None,
    dry_run: DryRun = False,
) -> None:
    """Turn source into an image."""
    world, bundle = session.world, works.bundle(session.world, ca)
    secret = works.secret_logins(registry_secret, session) if registry_secret and not dry_run else ()
    request = BuildRequest(
        source=parse_source(
            _one("source", source, source_flag) or ".",
            ref=ref,
            context_dir=context_dir,
            copy=copy,
            allow_http=allow_http,
            cwd=world.cwd,
        ),
        builder=_one("builder", builder_name, builder),
        names=_names([name, *(tag or ())], secret, push=push and not (registry_secret and dry_run)),
        env=_environment(session, environment_file, env or ()),
        build_env=_build_environment(session, build_env or ()),
        labels=_pairs("--label", label or (), _LABEL),
        description=description,
        application_name=application_name,
        assemble_user=assemble_user,
        pull_policy=pull_policy,
        push=push,
        timeout=timeout,
        ca_bundle=bundle,
    )
    story.check(request)
    _say_who_decides(insecure_registry or (), session.emit)
    if dry_run:
        session.answer(_described(request))
        return
    options = FetchOptions(ssh_key=_at(world.cwd, ssh_key), known_hosts=_at(world.cwd, known_hosts), ca_bundle=bundle)
    git = works.git_logins(world, git_username, works.git_password(world.cwd, git_username, git_password_file))
    registry = works.registry_logins(secret, registry_secret, world)
    image, result = _built(session, request, options, git, registry)
    if result_file:
        _write(world.cwd / result_file, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    session.answer(ui.Answer(text=result.image, names=_written(image), data=result))


def _built(
    session: Session, request: BuildRequest, options: FetchOptions, git: Logins, registry: Logins
) -> tuple[Image, _Result]:
    began, steps = time.monotonic(), list[StepFinished]()
    with open_docker(session.world.environ, host=this_host(), emit=session.emit) as engine:
        bench = works.workshop(session.world, engine, options=options, find_login=registry, find_git_login=git)
        image = story.build(request, bench, emit=partial(_noting, steps, session.emit))
    return image, _result(image, steps, time.monotonic() - began)


def detect(
    session: Session,
    source: From = "",
    ref: Ref = "",
    context_dir: ContextDir = "",
    copy: Copy = False,
    ca: CaBundle = None,
    allow_http: AllowHttp = False,
) -> None:
    """Say which builder fits a source, and why."""
    options = FetchOptions(ca_bundle=works.bundle(session.world, ca))
    wanted = parse_source(
        source or ".", ref=ref, context_dir=context_dir, copy=copy, allow_http=allow_http, cwd=session.world.cwd
    )
    git = works.git_logins(session.world, "", None)
    tree = works.fetch(session.world, options, git, wanted, session.emit)
    choice = choose_builder(tree.paths, works.our_builders())
    session.answer(_chosen(choice))


# ---------------------------------------------------------------------------------------------------------- answers


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float
    cached: bool = False


class _Result(msgspec.Struct, frozen=True, kw_only=True):
    """What `-o json` and `--result-file` say of a build."""

    image: str
    tags: tuple[str, ...]
    digest: str
    id: str
    builder: str
    commit: str
    unchanged: bool
    seconds: float
    steps: tuple[_Step, ...]


def _noting(steps: list[StepFinished], emit: Emit, event: Event) -> None:
    if isinstance(event, StepFinished):
        steps.append(event)
    emit(event)


def _result(image: Image, steps: list[StepFinished], seconds: float) -> _Result:
    return _Result(
        image=_written(image)[0],
        tags=tuple(map(str, image.names)),
        digest=image.digest,
        id=image.id,
        builder=image.builder,
        commit=image.commit,
        unchanged=False,
        seconds=round(seconds, 3),
        steps=tuple(_Step(name=one.name, seconds=round(one.seconds, 3)) for one in steps),
    )


def _written(image: Image) -> tuple[str, ...]:
    """The names by which the image can be had: with the digest once a registry has it, its id when it has no name."""
    return tuple(str(name.at(image.digest)) for name in image.names) or (image.id,)


def _described(request: BuildRequest) -> ui.Answer:
    source, tags = request.source, tuple(map(str, request.names))
    what = " ".join(filter(None, (source.location, source.ref and f"at {source.ref}", source.context_dir)))
    lines = [
        f"fetch     {what}",
        f"builder   {request.builder or 'by detection'}",
        *(f"stays     {name}" for name, _ in request.env),
        *(f"hands on  {name}" for name, _ in request.build_env),
        *(f"{'push' if request.push else 'tag':<10}{tag}" for tag in tags),
    ]
    data = {
        "dry-run": True,
        "source": source.location,
        "ref": source.ref,
        "context-dir": source.context_dir,
        "builder": request.builder,
        "tags": tags,
        "push": request.push,
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


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing: whoever waits for the file reads it as soon as it is there."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(content)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise InvalidUsage(f"could not write the result to {path}: {error.strerror}") from error


# ---------------------------------------------------------------------------------------------------- flags, read


def _one(what: str, positional: str, flag: str) -> str:
    if positional and flag and positional != flag:
        raise InvalidUsage(f"two values for the {what}: {positional} and {flag}", hint="leave one of them out")
    return positional or flag


def _names(written: Iterable[str], secret: tuple[Login, ...], *, push: bool) -> tuple[Reference, ...]:
    return tuple(dict.fromkeys(names.final_name(one, secret=secret, push=push) for one in written if one))


def _at(cwd: Path, path: Path | None) -> Path | None:
    return cwd / path if path else None


def _pairs(flag: str, texts: Iterable[str], name_rule: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name_rule.fullmatch(name):
            raise InvalidUsage(f"{flag} {name[:80]!r} is not NAME=VALUE", hint=f"{flag} NAME=VALUE")
        pairs[name] = value
    return tuple(pairs.items())


def _environment(session: Session, path: Path | None, flags: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """The file's variables, and over them the flags'."""
    from_file: dict[str, str] = {}
    if path is not None:
        try:
            text = (session.world.cwd / path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidUsage(f"--environment-file {path} is not readable") from error
        from_file = dict(parse_environment(text, str(path), session.emit))
    pairs = {**from_file, **dict(_pairs("--env", flags, _VARIABLE))}
    for name in filter(_SOUNDS_SECRET.search, pairs):
        session.emit(
            Notice(
                text=f"{name} stays in the image, readable for everybody who has it; --build-env does not",
                level="warning",
            )
        )
    return tuple(pairs.items())


def _build_environment(session: Session, flags: Iterable[str]) -> tuple[tuple[str, Secret], ...]:
    environ = session.world.environ
    written = [text if "=" in text else f"{text}={_here(text, environ.get(text))}" for text in flags]
    own = {name: Secret(value) for name, value in _pairs("--build-env", written, _VARIABLE)}
    return tuple({**dict(works.package_sources(environ)), **own}.items())


def _here(name: str, value: str | None) -> str:
    if value is None:
        raise InvalidUsage(
            f"--build-env {name[:80]} names a variable that is not set here", hint="--build-env NAME=VALUE"
        )
    return value


def _say_who_decides(hosts: Iterable[str], emit: Emit) -> None:
    for host in hosts:
        emit(
            Notice(text=f"the Docker engine itself decides whether {host} may be without TLS: its insecure-registries")
        )
