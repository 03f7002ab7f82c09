"""A git repository on this machine: its commit is built, as a clone of it would be, without a copy of its objects.

Its configuration, hooks and filters are somebody's code, so git never runs there with more than a question about names.
The objects are read through an empty repository of our own that borrows them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2ictl.errors import FetchSourceFailed, S2IError
from s2ictl.events import Emit, Notice
from s2ictl.models import Source
from s2ictl.sources.location import parse_source
from s2ictl.sources.mirror import Snapshot, commit_of
from s2ictl.sources.notices import warn
from s2ictl.sources.options import Surroundings
from s2ictl.sources.places import neutral
from s2ictl.sources.program import Git, Patience, variables
from s2ictl.sources.refs import Refs, wanted
from s2ictl.sources.words import explain_local
from s2ictl.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where a repository keeps what is borrowed from it."""

    objects: str
    index: str
    common: str
    object_format: str


def committed(source: Source, directory: Path, repository: Path, surroundings: Surroundings) -> tuple[Snapshot, str]:
    """The commit that a ref of this repository names, and the address that the repository was cloned from."""
    theirs = _theirs(repository, source.location, surroundings)
    layout, refs = _layout(theirs), _refs(theirs)
    goal = wanted(source.ref, refs, source.location)
    ours = _borrowing(theirs, layout, surroundings)
    commit = commit_of(ours, refs.ids.get(goal.remote, goal.remote), goal)
    if not source.ref and repository != directory:
        _tell_uncommitted(ours, layout, directory, commit, source.context_dir, surroundings.emit)
    snapshot = Snapshot(git=replace(ours, patience=None), commit=commit, ref=goal.name, here=Path(layout.common))
    return snapshot, _origin(theirs, source)


def borrowed(repository: Path, commit: str, location: str, surroundings: Surroundings) -> Snapshot | None:
    """A commit of another repository of this machine, where it has it."""
    if not repository.is_dir() or repository.is_symlink():
        return None
    theirs = _theirs(repository, location, surroundings)
    try:
        layout = _layout(theirs)
        ours = _borrowing(theirs, layout, surroundings)
        there = ours.answer("cat-file", "--batch-check", given=f"{commit}^{{tree}}\n".encode())
    except S2IError:
        return None  # whatever lies there, it is no repository that could be asked
    if b" tree " not in there:
        return None
    return Snapshot(git=replace(ours, patience=None), commit=commit, ref=commit, here=Path(layout.common))


def _theirs(repository: Path, location: str, surroundings: Surroundings) -> Git:
    return Git(
        directory=repository,
        variables=variables(surroundings.environ),
        explain=lambda said: explain_local(said, location),
        # A fifo in the place of one of git's own files would let it wait for ever.
        patience=Patience(total=surroundings.options.timeout),
    )


def _layout(theirs: Git) -> _Layout:
    places = ("--git-path", "objects", "--git-path", "index", "--git-common-dir", "--show-object-format")
    answer = theirs.answer("rev-parse", "--path-format=absolute", *places).decode(errors="surrogateescape")
    lines = answer.removesuffix("\n").split("\n")
    if len(lines) != 4:
        raise FetchSourceFailed("the path of the repository has a line end in it", hint="--copy takes the files alone")
    objects, index, common, object_format = lines
    return _Layout(objects=objects, index=index, common=common, object_format=object_format)


def _refs(theirs: Git) -> Refs:
    lines = theirs.answer("for-each-ref", "--format=%(objectname)%09%(HEAD)%09%(refname)").decode(
        errors="surrogateescape"
    )
    entries = [line.split("\t", 2) for line in lines.split("\n") if line]
    ids = {name: commit for commit, _, name in entries}
    current = next((name for _, star, name in entries if star == "*"), "")
    if current:
        return Refs(ids={"HEAD": ids[current], **ids}, head=current)
    # HEAD is a commit, or a branch that has none yet.
    found = theirs.answer("cat-file", "--batch-check=%(objectname)", given=b"HEAD\n").decode().strip()
    return Refs(ids=ids if " " in found else {"HEAD": found, **ids}, head="")


def _borrowing(theirs: Git, layout: _Layout, surroundings: Surroundings) -> Git:
    ours = neutral(surroundings, object_format=layout.object_format)
    quoted = layout.objects.replace("\\", "\\\\").replace('"', '\\"')
    return replace(
        theirs,
        directory=ours,
        variables={**theirs.variables, "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"'},
    )


def _tell_uncommitted(ours: Git, layout: _Layout, directory: Path, commit: str, context_dir: str, emit: Emit) -> None:
    places = {"GIT_WORK_TREE": str(directory), "GIT_INDEX_FILE": layout.index}
    git = replace(ours, variables={**ours.variables, **places})
    within = ("--", context_dir) if context_dir else ("--",)
    plainly = ("--no-ext-diff", "--no-textconv", "--no-renames", "--ignore-submodules=all", "--name-only", "-z")
    try:
        changed = git.answer("diff", *plainly, commit, *within)
        new = git.answer("ls-files", "-z", "--others", "--exclude-standard", "--directory", *within)
    except FetchSourceFailed as error:
        emit(Notice(text=f"could not find out whether anything is uncommitted: {error.detail}", level="warning"))
        return
    paths = (changed + new).decode(errors="surrogateescape").split("\0")
    warn(emit, "not committed, so not built (--copy builds the directory as it is)", [path for path in paths if path])


def _origin(theirs: Git, source: Source) -> str:
    """What is written into the image as the source's address: never a login, and no path where there is an address."""
    answer = theirs.answer("config", "--default", "", "--get", "remote.origin.url").decode(errors="replace").strip()
    try:
        origin = parse_source(answer, allow_http=True, cwd=theirs.directory)
    except S2IError:
        return source.location
    return origin.location if origin.kind == "git" else source.location
