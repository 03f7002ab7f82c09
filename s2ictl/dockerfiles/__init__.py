"""One build as a Dockerfile, for those who build with docker, podman or buildah where s2ictl is not.

recipe          pure: an assembly, the very one that an engine performs, as instructions
handed          what the command may see and no layer may keep: mounts of secrets, and the shell around it
words           how a value is written so that the program that reads it finds that very value
ground          the files that are copied, laid down beside it
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from s2ictl.dockerfiles import ground, recipe
from s2ictl.dockerfiles.handed import with_files_only
from s2ictl.dockerfiles.recipe import Copies
from s2ictl.dockerfiles.words import SIGNATURE
from s2ictl.errors import InvalidUsage, LimitReached
from s2ictl.events import Emit, Notice
from s2ictl.files import is_full, write_whole
from s2ictl.models import Assembly, Upload

UPLOAD = "upload"
_MARK = ".s2ictl"  # in an upload/ of ours, which the next build may therefore replace
_ALL_BUT_OURS = f"{SIGNATURE}\n*\n!{UPLOAD}\n"


def write(assembly: Assembly, path: Path, *, emit: Emit) -> Path:
    """Put the Dockerfile at `path`, what it copies into upload/ beside it, and answer where it is.

    A directory gets a `Dockerfile`. What is there already is replaced when it was written here; anybody else's stays.
    """
    file = path / "Dockerfile" if path.is_dir() else path
    ignore = file.with_name(f"{file.name}.dockerignore")
    upload = file.parent / UPLOAD
    with _writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        for one in (file, ignore):
            _spare_file(one)
        _spare_upload(upload)
        with _beside(upload) as fresh:
            copies = _laid(assembly, fresh)
            text = recipe.render(with_files_only(assembly), copies, file=file.name)
            ground.exchange(fresh, upload)
        write_whole(ignore, _ALL_BUT_OURS.encode())
        write_whole(file, text.encode("utf-8", "surrogateescape"))
    _tell(assembly, file, emit)
    return file


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"could not write {file} and what belongs to it"
        why = f"{error.strerror or error}: {error.filename or file}"
        if is_full(error):
            raise LimitReached(what, detail=why, hint="make room, or name a FILE elsewhere") from error
        raise InvalidUsage(what, detail=why, hint="--as-dockerfile FILE") from error


def _laid(assembly: Assembly, directory: Path) -> Copies:
    """What the containers would be sent, below an empty directory."""
    (directory / _MARK).touch()
    home = str(PurePosixPath(assembly.workspace).parent)

    def lay(upload: Upload, *below: str) -> tuple[ground.Copy, ...]:
        name = "/".join((UPLOAD, *below))
        return ground.lay(upload(0, 0), directory.joinpath(*below), name=name, strip=home)

    salvage, runtime = assembly.salvage, assembly.runtime
    return Copies(
        saved=lay(salvage.upload, "previous") if salvage else (),
        runtime=lay(runtime.assembly.upload, "runtime") if runtime else (),
        build=lay(assembly.upload),
    )


# ------------------------------------------------------------------------------------------ what is there already


def _spare_file(path: Path) -> None:
    """A file of somebody's work is not replaced: a Dockerfile is a name that people use themselves."""
    if not path.is_symlink() and not path.exists():
        return
    if path.is_symlink() or not path.is_file() or SIGNATURE not in _beginning(path):
        raise InvalidUsage(
            f"{path} is there already, and was not written by --as-dockerfile",
            hint="move it away, or name another FILE",
        )


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(512).decode(errors="replace")


def _spare_upload(path: Path) -> None:
    ours = path.is_dir() and not path.is_symlink() and (path / _MARK).is_file()
    if not ours and (path.is_symlink() or path.exists()):
        raise InvalidUsage(
            f"{path} is there already, and was not written by --as-dockerfile",
            detail="what the Dockerfile copies has to lie there",
            hint="name a FILE in a directory of its own",
        )


# -------------------------------------------------------------------------------------------------------- writing


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """An empty directory on the same file system, gone when it was not put to use."""
    directory = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        ground.remove(directory)


def _tell(assembly: Assembly, file: Path, emit: Emit) -> None:
    final = assembly.runtime.assembly if assembly.runtime else assembly
    for name, value in final.config(None).labels.items():
        if "\n" in value or "\r" in value:
            emit(Notice(text=f"the label {name} has several lines; a Dockerfile can only say one", level="warning"))
    if (file.parent / ".dockerignore").exists():
        text = f"{file.parent / '.dockerignore'} counts too where {file.name}.dockerignore is not known"
        emit(Notice(text=text, level="warning"))
