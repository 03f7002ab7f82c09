"""What a build works with, put together from the world of one command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import s2ictl
from s2ictl import scripts, sources
from s2ictl.addresses import ca_bundle
from s2ictl.builders import PREFIX, Folder, load, load_all, may_be_ours, shelf
from s2ictl.cli import flags
from s2ictl.cli.places import cache_directory, dependencies_directory, image_shelf
from s2ictl.cli.registries import Registries
from s2ictl.cli.session import World
from s2ictl.engines import Engine
from s2ictl.errors import InvalidUsage, Unauthorized
from s2ictl.events import Emit
from s2ictl.files import is_file
from s2ictl.models import ImageFacts, Login, Logins, Reference, Secret, Source, Target, Tree, parse_prefix
from s2ictl.sources import FetchOptions
from s2ictl.turns import turn
from s2ictl.workshop import Workshop

T = TypeVar("T")

_BUILDERS = "S2ICTL_BUILDERS"
_TOKEN = "S2ICTL_GIT_TOKEN"  # noqa: S105  (its name)
_TOKEN_USER = "oauth2"  # noqa: S105  (forges take any name beside a token; this one all of them)
_LONGEST_PASSWORD = 64 * 1024

# Where packages come from, and by which way: the user's own settings, which reach assemble and not the image.
_PASSED_ON = (
    "ALL_PROXY",
    "CARGO_REGISTRIES_CRATES_IO_INDEX",
    "GOINSECURE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GRADLE_DISTRIBUTION_MIRROR",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "MAVEN_MIRROR_URL",
    "NO_PROXY",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_REPLACE_REGISTRY_HOST",
    "NPM_MIRROR",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_INDEX_URL",
    "YARN_NPM_REGISTRY_SERVER",
    "YARN_REGISTRY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "npm_config_registry",
)
_LINKS = "PIP_FIND_LINKS"


def users_registries(world: World) -> Registries:
    """All of them, as this user may ask them."""
    return Registries(world=world, find_login=registry_logins((), "", world), ca_bundle=bundle(world, None))


def workshop(
    world: World,
    engine: Engine,
    *,
    options: FetchOptions | None = None,
    find_login: Logins | None = None,
    find_git_login: Logins | None = None,
    insecure: frozenset[str] = frozenset(),
    prefix: str = "",
) -> Workshop:
    """A build's workshop; what is not handed in is what this user has on this machine.

    `prefix` is the place of our builders' images that s2i.yaml names.
    """
    chosen = options or FetchOptions(ca_bundle=bundle(world, None))
    find_login = find_login or registry_logins((), "", world)
    registries = Registries(world=world, find_login=find_login, ca_bundle=chosen.ca_bundle, insecure=insecure)
    return Workshop(
        engine=engine,
        fetch=partial(fetch, world, chosen, find_git_login or git_logins(world)),
        find_login=find_login,
        folders=partial(our_builders, world, prefix),
        root_filesystem=partial(_root_filesystem, world),
        download=partial(scripts.download, environ=world.environ, ca_bundle=chosen.ca_bundle),
        registered=registries.facts,
        confirm=registries.confirm,
        turn=lambda name, seconds, said: turn(dependencies_directory(world), (name,), seconds=seconds, emit=said),
        carry=partial(_carry, world, engine, registries),
        laid=_laid,
    )


def _root_filesystem(world: World, suite: str, emit: Emit) -> AbstractContextManager[Iterator[bytes]]:
    from s2ictl.bases import root_filesystem

    return root_filesystem(suite, world.environ, emit)


def _laid(directory: Path, tag: str, platform: str) -> ImageFacts | None:
    """What the image of a tag in a layout says of itself."""
    from s2ictl import layouts

    return layouts.facts(directory, tag, platform)


def _carry(
    world: World,
    engine: Engine,
    registries: Registries,
    image: str,
    targets: tuple[Target, ...],
    names: tuple[Reference, ...],
    emit: Emit,
) -> str:
    """Take an image out of the engine into other targets."""
    from s2ictl.shelf import opened
    from s2ictl.targets import Ways, carried

    with registries.opened(emit) as repository, opened(image_shelf(world)) as shelf:
        ways = Ways(repository=repository, carrier=lambda: engine, platform="")
        return carried(image, targets, names, ways, shelf=shelf, emit=emit)


def fetch(
    world: World, options: FetchOptions, find_login: Logins, source: Source, emit: Emit
) -> AbstractContextManager[Tree]:
    """The source's tree, by this world's cache, network and logins."""
    return _brought(sources.fetch, world, options, find_login, source, emit)


def bring(
    world: World, options: FetchOptions, find_login: Logins, source: Source, emit: Emit
) -> AbstractContextManager[Path]:
    """Where one file can be read, by the same ways."""
    return _brought(sources.bring_file, world, options, find_login, source, emit)


def _brought(
    ways: Callable[..., T], world: World, options: FetchOptions, find_login: Logins, source: Source, emit: Emit
) -> T:
    return ways(
        source,
        cache=cache_directory(world),
        environ=world.environ,
        emit=emit,
        options=options,
        find_login=find_login,
        stdin=getattr(world.stdin, "buffer", None),
    )


def our_builders(world: World, prefix: str, word: str = "") -> tuple[Folder, ...]:
    """Those that come with s2ictl, as far as a word may mean them; their images where the environment says, else
    s2i.yaml."""
    place = images_at(world, prefix)
    # To read what describes them costs a tenth of a build in which nothing has changed, and most builders are others'.
    if word and not may_be_ours(word, place):
        return ()
    name = word.rpartition("/")[2].partition(":")[0]
    return _called(name, place) or _known_as(name, place) if name else _shelf(place)


@cache
def _shelf(prefix: str) -> tuple[Folder, ...]:
    return load_all(shelf(Path(s2ictl.__file__).parent), prefix=prefix)


@cache
def _called(name: str, prefix: str) -> tuple[Folder, ...]:
    """The one of this very name, without a look at the others."""
    directory = shelf(Path(s2ictl.__file__).parent) / name
    return (load(directory, prefix=prefix),) if (directory / "builder.yaml").is_file() else ()


@cache
def _known_as(name: str, prefix: str) -> tuple[Folder, ...]:
    """Those that may have another name that ends so: it stands in a list of what describes them."""
    described = sorted(shelf(Path(s2ictl.__file__).parent).glob("*/builder.yaml"))
    word = re.compile(rf"(?:/|[\[,] ?|- ){re.escape(name)}(?=[\s,\]])")
    found = (path.parent for path in described if word.search(path.read_text(encoding="utf-8")))
    return tuple(load(directory, prefix=prefix) for directory in found)


def images_at(world: World, prefix: str = "") -> str:
    """The place of our builders' images."""
    named = world.environ.get(_BUILDERS, "")
    return parse_prefix(named) if named else prefix or PREFIX


def bundle(world: World, flag: Path | None) -> Path | None:
    return ca_bundle(world.environ, flag=flag, cwd=world.cwd)


def package_sources(environ: Mapping[str, str]) -> tuple[tuple[str, Secret], ...]:
    """The user's mirrors and proxies; secrets, since an address may hold a password."""
    settings = {name: environ.get(name, "") for name in _PASSED_ON} | {_LINKS: _addresses(environ.get(_LINKS, ""))}
    return tuple((name, Secret(value)) for name, value in sorted(settings.items()) if value)


def _addresses(links: str) -> str:
    """Without the directories of this machine, which assemble does not see."""
    return " ".join(link for link in links.split() if link.lower().startswith(("https://", "http://")))


def git_logins(world: World, username: str = "", password: Secret | None = None, *, typed: bool = True) -> Logins:
    """The login for a forge: from the flags, else the token of the environment; asked for the source's own host.

    Where nobody typed which host that is, the token, which is for no host in particular, stays here.
    """

    def find(host: str) -> Login | None:
        if password is not None:
            return Login(host=host, username=username, password=password, origin="--git-password-file")
        token = world.environ.get(_TOKEN) if typed else None
        return Login(host=host, username=_TOKEN_USER, password=Secret(token), origin=_TOKEN) if token else None

    return find


# ------------------------------------------------------------------------------------------------- who may do it


def registry_logins(secret: tuple[Login, ...], name: str, world: World, file: Path | None = None) -> Logins:
    """The chosen secret for every registry that it knows; the others as this user may, or as the file says."""
    known = {login.host for login in secret}

    def find(place: str) -> Login | None:
        from s2ictl import logins

        if logins.normal_host(place) in known:
            return logins.login_of(secret, place, name=name)
        return logins.find_login(place, environ=world.environ, home=world.home, only=file)

    return find


def login_file(cwd: Path, path: Path | None) -> Path | None:
    """The file of registry logins that was named; it is missed before the build, not after it."""
    if path is not None and not is_file(cwd / path):
        raise Unauthorized(
            f"--dockercfg-path names {path}, which is no file", hint="--dockercfg-path ~/.docker/config.json"
        )
    return cwd / path if path else None


def git_password(cwd: Path, username: str, path: Path | None) -> Secret | None:
    """The password or token that a file holds."""
    if path is None:
        if username:
            raise InvalidUsage("--git-username needs its password", hint="--git-password-file FILE")
        return None
    return Secret(flags.content(cwd, path, flag="--git-password-file", largest=_LONGEST_PASSWORD).rstrip("\r\n"))
