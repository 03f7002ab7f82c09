"""Source, from wherever it is: `parse_source` reads what was typed, `fetch` makes a tree of it.

After this nobody asks where the bytes came from. Nothing is laid down on disk but git's own objects, in the cache. What
one kind of source needs is imported where it is fetched: whoever builds a directory does not wait for git's parts.

    location            text → Source: the forms that are taken, and every login out of the address
    mirror, refs        a repository elsewhere → a commit in the cache;  places: where that lies
    access, credentials how git gets in, and as whom;  ssh: its command;  secrets: what a cluster's Secret says of that
    working_copy        a repository on this machine → a commit, read where it is
    objects             what a commit holds;  signatures: whether it is signed
    submodules          the commits of other repositories that stand in it;  walls: where a stranger may not send us
    largefiles, lfs     the files that git-lfs keeps elsewhere
    commits             all of these → Tree
    directory           a directory as it is → Tree;  digests: what is in it, without reading it again
    archive             an archive → Tree;  spool: the file of one that comes from an address or by standard input
    program, words      git itself, and what it says;  ignore, patterns, notices, options: what they share
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from s2ictl.errors import InvalidUsage, LimitReached
from s2ictl.events import Emit, Notice
from s2ictl.models import Login, Source, Tree
from s2ictl.sources.location import parse_file, parse_source
from s2ictl.sources.options import FetchOptions, Surroundings
from s2ictl.sources.ssh import check

__all__ = ["FetchOptions", "bring_file", "check", "fetch", "git_version", "parse_file", "parse_source"]


@contextmanager
def fetch(
    source: Source,
    *,
    cache: Path,
    environ: Mapping[str, str],
    emit: Emit,
    options: FetchOptions,
    find_login: Callable[[str], Login | None],
    stdin: BinaryIO | None = None,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], int] = time.time_ns,
) -> Iterator[Tree]:
    """The tree of a source while the context lasts; `find_login` is asked for the `HOST[:PORT]` of an address, and
    `stdin` is read when the source is an archive that comes that way."""
    surroundings = Surroundings(
        cache=cache, environ=environ, emit=emit, options=options, find_login=find_login, wait=wait, clock=clock
    )
    check(options)
    _warn_of_login(source, emit)
    with ExitStack() as stack:
        with _disk(cache):
            tree = _tree(source, surroundings, stack, stdin)
        if options.allowed_signers:
            _refuse_unsigned(tree)
        yield tree


@contextmanager
def bring_file(
    source: Source,
    *,
    cache: Path,
    environ: Mapping[str, str],
    emit: Emit,
    options: FetchOptions,
    find_login: Callable[[str], Login | None],
    stdin: BinaryIO | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Path]:
    """Where one file can be read while the context lasts: on this machine where it lies, and else brought here."""
    surroundings = Surroundings(
        cache=cache, environ=environ, emit=emit, options=options, find_login=find_login, wait=wait
    )
    _warn_of_login(source, emit)
    if source.path is not None and not source.checksum:
        yield source.path
        return

    from s2ictl.sources.archive import check_sum
    from s2ictl.sources.spool import path_of

    with ExitStack() as stack:
        with _disk(cache):
            file = _file_of(source, surroundings, stack, stdin)
            check_sum(source, file, source.location.rpartition("/")[2], emit)
        yield path_of(file)


def git_version(environ: Mapping[str, str]) -> str:
    """Say which git there is."""
    from s2ictl.sources.program import Git, variables
    from s2ictl.sources.words import explain_local

    git = Git(directory=Path("/"), variables=variables(environ), explain=lambda said: explain_local(said, "git"))
    return git.answer("version").decode(errors="replace").strip()


def _tree(source: Source, surroundings: Surroundings, stack: ExitStack, stdin: BinaryIO | None) -> Tree:
    match source:
        case Source(kind="stdin" | "archive"):
            return _tree_of_archive(source, surroundings, stack, stdin)
        case Source(path=Path() as path):
            return _tree_of_local(source, path, surroundings)
        case _:
            return _tree_of_remote(source, surroundings)


def _tree_of_archive(source: Source, surroundings: Surroundings, stack: ExitStack, stdin: BinaryIO | None) -> Tree:
    from s2ictl.sources.archive import archive_tree

    return archive_tree(source, _file_of(source, surroundings, stack, stdin), surroundings)


def _file_of(source: Source, surroundings: Surroundings, stack: ExitStack, stdin: BinaryIO | None) -> BinaryIO:
    from s2ictl.sources.archive import opened
    from s2ictl.sources.spool import downloaded, received

    match source:
        case Source(kind="stdin"):
            return stack.enter_context(received(stdin, surroundings))
        case Source(path=Path() as path):
            return stack.enter_context(opened(source, path))
        case _:
            return stack.enter_context(downloaded(source, surroundings))


def _tree_of_remote(source: Source, surroundings: Surroundings) -> Tree:
    from s2ictl.sources.commits import tree_of
    from s2ictl.sources.mirror import bring

    snapshot = bring(source, surroundings)
    return tree_of(snapshot, source, location=source.location, surroundings=surroundings)


def _tree_of_local(source: Source, directory: Path, surroundings: Surroundings) -> Tree:
    repository = None if source.copy else _repository_of(directory)
    if repository is None:
        if source.ref:
            raise InvalidUsage(
                f"{source.location} is no git repository, so it has no {source.ref}", hint="leave out --ref"
            )
        from s2ictl.sources.directory import directory_tree

        return directory_tree(source, directory, surroundings)

    from s2ictl.sources.commits import tree_of
    from s2ictl.sources.working_copy import committed

    snapshot, location = committed(source, directory, repository, surroundings)
    return tree_of(snapshot, source, location=location, surroundings=surroundings)


def _repository_of(directory: Path) -> Path | None:
    """The git directory of a working copy or of a bare repository; None for any other directory."""
    inside = directory / ".git"
    if inside.exists() and not inside.is_symlink():
        return inside
    is_bare = (directory / "HEAD").is_file() and (directory / "objects").is_dir() and (directory / "refs").is_dir()
    return directory if is_bare else None


def _refuse_unsigned(tree: Tree) -> None:
    from s2ictl.sources.signatures import refuse_unsigned

    refuse_unsigned(tree)


def _warn_of_login(source: Source, emit: Emit) -> None:
    if source.login:
        text = "the address has a login in it, which stays in the shell's history; --git-password-file keeps it out"
        emit(Notice(text=text, level="warning"))


@contextmanager
def _disk(cache: Path) -> Iterator[None]:
    """What the cache's disk refuses; everything else about files is said where the file is known."""
    try:
        yield
    except OSError as error:
        hint = "let S2ICTL_CACHE name another place"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LimitReached(f"no space is left in {cache}", detail=str(error), hint=hint) from error
        raise InvalidUsage(f"the cache {cache} cannot be used", detail=str(error), hint=hint) from error
