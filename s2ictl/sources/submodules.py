"""The submodules of a commit: each another repository's commit, that stands in a directory of this one.

`.gitmodules` is written by whoever wrote the source. git itself parses it, and then every word of it is judged: a name
is never a place on this machine, an address leads over https or ssh alone, and no login goes to a host that the user
did not name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from s2ictl.addresses import is_loopback, split
from s2ictl.archives import Budget
from s2ictl.errors import FetchSourceFailed, InvalidUsage, LimitReached, Refused, S2IError
from s2ictl.events import Notice
from s2ictl.models import Login, Source
from s2ictl.sources.ignore import Excludes
from s2ictl.sources.location import parse_source, refuse_control_characters
from s2ictl.sources.mirror import Snapshot, bring
from s2ictl.sources.objects import LINK, MODULE, Object, content, found, listed, root_of
from s2ictl.sources.options import Surroundings
from s2ictl.sources.walls import is_behind_walls
from s2ictl.sources.words import last_words
from s2ictl.sources.working_copy import borrowed
from s2ictl.values import dataclass

_DEEPEST = 3
_MOST = 200
_FILE = ".gitmodules"
_HINT = "--ignore-submodules leaves all of them out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One repository's commit in the whole: `inside` is the directory of it that is taken, `at` where that stands.

    `source` is where the repository is, and `surroundings` with what it may be asked. `named` says that its host is the
    one that the user named, and not one that stands in the source alone.
    """

    source: Source
    surroundings: Surroundings
    snapshot: Snapshot
    inside: str = ""
    at: str = ""
    depth: int = 0
    named: bool = True
    kept: tuple[Object, ...] = ()

    def placed(self, path: str) -> str:
        """Where a path of this part stands in the whole."""
        return f"{self.at}/{path}" if self.at else path

    def own(self, path: str) -> str:
        """What this repository itself calls a path of this part."""
        return f"{self.inside}/{path}" if self.inside else path

    def without(self, out: Excludes) -> Part:
        """The same, but for what the rules leave out."""
        kept = (entry for entry in self.kept if not out(self.placed(entry.path), entry.mode == MODULE))
        return replace(self, kept=tuple(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What `.gitmodules` says of one submodule."""

    name: str
    path: str
    url: str
    update: str = ""


def entered(part: Part) -> Part:
    """The part that holds the context directory: where that lies in a submodule, the submodule."""
    parts = part.inside.split("/") if part.inside and part.source.submodules else []
    for depth in range(1, len(parts) + 1):
        entry = found(part.snapshot.git, part.snapshot.commit, "/".join(parts[:depth]))
        for module in _modules(replace(part, inside="", kept=(entry,))) if entry else ():
            return entered(replace(module, at="", inside="/".join(parts[depth:])))
    return part


def with_submodules(first: Part, out: Excludes, budget: Budget) -> tuple[Part, ...]:
    """The part and, below it, every submodule that the ignore rules leave in."""
    parts, waiting = [first], [first]
    while waiting:
        parent = waiting.pop(0)
        for module in _modules(parent):
            if len(parts) > _MOST:
                raise LimitReached(f"the source has more than {_MOST} submodules", hint=_HINT)
            parts.append(filled(module, budget).without(out))
            waiting.append(parts[-1])
    return tuple(parts)


def filled(part: Part, budget: Budget) -> Part:
    """The part with all that it holds."""
    git = part.snapshot.git
    return replace(part, kept=tuple(listed(git, root_of(git, part.snapshot.commit, part.inside), budget)))


def _modules(part: Part) -> Iterator[Part]:
    if not part.source.submodules:
        return
    links = [entry for entry in part.kept if entry.mode == MODULE]
    known = declarations(part.snapshot) if links else {}
    for link in links:
        declared = known.get(part.own(link.path))
        # Where the repository does not say what belongs there, or wants nothing there, a clone leaves it empty as well.
        if declared and declared.update != "none":
            yield _module(part, declared, link)


def _module(part: Part, declared: Declared, entry: Object) -> Part:
    at = part.placed(entry.path)
    if part.depth == _DEEPEST:
        raise LimitReached(f"the submodule {at} is more than {_DEEPEST} deep", hint=_HINT)
    here = _here(part, declared, entry.id)
    source = _source(part, declared, here)
    named = part.named and is_same_host(source, part.source)
    surroundings = part.surroundings if named or here else _as_nobody(part.surroundings, source, at)
    try:
        snapshot = here or bring(replace(source, ref=entry.id), surroundings)
    except S2IError as error:
        raise _said_of(at, error) from error
    source = replace(source, lfs=part.source.lfs, submodules=True)
    return Part(source=source, surroundings=surroundings, snapshot=snapshot, at=at, depth=part.depth + 1, named=named)


def _source(part: Part, declared: Declared, here: Snapshot | None) -> Source:
    """Where it is; an address that is not followed matters only when it has to be followed."""
    try:
        source = address(declared, part.source)
        _refuse_for(part, declared, source)
    except Refused:
        if here is None:
            raise
        return Source(kind="directory", location=declared.url)
    return source


def _refuse_for(part: Part, declared: Declared, source: Source) -> None:
    """What depends on who asks: a key goes to no host that the user did not name, a server not behind its walls."""
    if not part.named and _scheme(source) == "ssh":
        raise _refused(declared, "it asks another host for your ssh key")
    host, surroundings = host_of(source), part.surroundings
    strange = surroundings.options.public_only and host != host_of(part.source)
    if strange and is_behind_walls(host, surroundings.resolve):
        raise _refused(declared, "it is a private address")


def _said_of(at: str, error: S2IError) -> S2IError:
    detail = f"it is the submodule {at}\n{error.detail}".strip()
    return type(error)(error.message, detail=detail, hint=error.hint)


def _here(part: Part, declared: Declared, commit: str) -> Snapshot | None:
    """The commit in what git has put aside for this submodule, beside a repository of this machine."""
    here = part.snapshot.here
    if here is None:
        return None
    return borrowed(here / "modules" / declared.name, commit, declared.name, part.surroundings)


# ------------------------------------------------------------------------------------------------- what they declare


def declarations(snapshot: Snapshot) -> Mapping[str, Declared]:
    """Every submodule that the commit declares, by its path."""
    entry = found(snapshot.git, snapshot.commit, _FILE)
    if entry is None:
        return {}
    if entry.mode == LINK:
        raise Refused(f"{_FILE} is a link", hint=_HINT)
    content(snapshot.git, entry)  # refuses what is too large to be one
    git = replace(snapshot.git, explain=_unreadable)
    return declared(git.answer("config", "-z", "--no-includes", f"--blob={entry.id}", "--list"))


def declared(answer: bytes) -> Mapping[str, Declared]:
    """Read what `git config -z --list` says of `.gitmodules`; of two values git takes the first as well."""
    values: dict[tuple[str, str], str] = {}
    for line in answer.decode(errors="surrogateescape").split("\0"):
        key, _, value = line.partition("\n")
        section, _, rest = key.partition(".")
        name, dot, variable = rest.rpartition(".")
        if section == "submodule" and dot:
            values.setdefault((name, variable), value)
    names = dict.fromkeys(name for name, variable in values if variable == "path")
    by_path: dict[str, Declared] = {}
    for name in names:
        path, url = values[name, "path"], values.get((name, "url"), "")
        _refuse_odd(name, path, url)
        module = Declared(name=name, path=path, url=url, update=values.get((name, "update"), ""))
        by_path.setdefault(path, module)
    return by_path


def _refuse_odd(name: str, path: str, url: str) -> None:
    for what, value in (("name", name), ("path", path), ("address", url)):
        try:
            refuse_control_characters(f"the {what} of a submodule", value)
        except InvalidUsage as error:
            raise Refused(f"{_FILE}: {error.message}", hint=_HINT) from error
    for what, value in (("name", name), ("path", path)):
        if not value or value.startswith(("/", "-")) or ".." in value.replace("\\", "/").split("/"):
            raise Refused(f"{_FILE}: {value[:80]!r} is no {what} of a submodule", hint=_HINT)


def _unreadable(said: str) -> S2IError:
    return FetchSourceFailed(f"{_FILE} of the source is not readable", detail=last_words(said), hint=_HINT)


# ------------------------------------------------------------------------------------------------- where they lead


def address(declared: Declared, parent: Source) -> Source:
    """Where a submodule is: never on this machine, never with less safety than its parent, never another's program."""
    location = joined(parent.location, declared.url) if declared.url.startswith(("./", "../")) else declared.url
    try:
        if "#" in location or not location:
            raise InvalidUsage("it is no address")
        by_flag = _scheme(parent) == "http" and not is_loopback(host_of(parent))
        source = parse_source(location, allow_http=by_flag, cwd=Path("/"))
    except (InvalidUsage, Refused, FetchSourceFailed) as error:
        raise _refused(declared, error.message) from error
    if source.kind != "git":
        raise _refused(declared, "it is a path, and only https and ssh are followed")
    if _scheme(source) == "http" and _scheme(parent) != "http":
        raise _refused(declared, "it is plain http: anybody between could change the source")
    if _scheme(source) == "ssh" and not is_same_host(source, parent):
        raise _refused(declared, "it asks another host for your ssh key")
    return source


def joined(base: str, relative: str) -> str:
    """A relative address, from that of the parent; "" when it climbs out of the host or there is none."""
    root, path = _split(base.rstrip("/"))
    parts = [part for part in path.split("/") if part]
    while relative.startswith(("./", "../")):
        step, _, relative = relative.partition("/")
        if step == "..":
            if not parts:
                return ""
            parts.pop()
    return f"{root}{'/' if path.startswith('/') else ''}{'/'.join([*parts, relative])}" if root else ""


def _split(location: str) -> tuple[str, str]:
    """Host and path of a repository elsewhere; no host for one that is here."""
    parts = split(location)
    if parts.scheme in ("https", "http", "ssh"):
        return f"{parts.scheme}://{parts.netloc}", parts.path or "/"
    host, colon, path = location.partition(":")
    is_scp = colon and "/" not in host and "://" not in location
    return (f"{host}:", path) if is_scp else ("", location)


def _scheme(source: Source) -> str:
    root, _ = _split(source.location)
    return split(root).scheme if "://" in root else "ssh" if root else ""


def host_of(source: Source) -> str:
    """The host of a source without its port; "" for one that is here."""
    root, _ = _split(source.location)
    return split(root if "://" in root else f"ssh://{root[:-1]}").hostname or ""


def is_same_host(source: Source, parent: Source) -> bool:
    """Whether both are on one server: one may be asked by https and the other by ssh, each at its usual port."""
    ports = [split(one.location).port if "://" in one.location else None for one in (source, parent)]
    same = ports[0] == ports[1] if _scheme(source) == _scheme(parent) else ports == [None, None]
    return same and host_of(source) == host_of(parent) != ""


def _refused(declared: Declared, why: str) -> Refused:
    shown = declared.url.rpartition("@")[2][:80]
    return Refused(
        f"the submodule {declared.path[:80]} has an address that is not followed: {shown!r}",
        detail=why,
        hint=_HINT,
    )


def _as_nobody(surroundings: Surroundings, source: Source, at: str) -> Surroundings:
    """How a host is asked that only the source names."""
    text = f"the submodule {at} comes from another host, {host_of(source)}, which is asked without any login"
    surroundings.emit(Notice(text=text))
    return replace(surroundings, find_login=nobody, options=replace(surroundings.options, helpers=False, let_in=True))


def nobody(_: str) -> Login | None:
    """Know no login for any host."""
    return None
