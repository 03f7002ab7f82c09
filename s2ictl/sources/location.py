"""What the user typed as a source, parsed once: after this no login stands in any address, and no text is an option.

git understands more than is good: helpers that run programs, options where an address is expected, addresses that
expand. So the forms are parsed here, by rules of our own, and everything else is refused before git is started.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from s2ictl import files
from s2ictl.addresses import is_loopback
from s2ictl.errors import FetchSourceFailed, InvalidContextDirectory, InvalidUsage, Refused
from s2ictl.expressions import expression
from s2ictl.models import Login, Secret, Source

_LONGEST = 4096
_FORMS = (
    "a source is a directory, an archive, https://HOST/PATH, ssh://[USER@]HOST/PATH, [USER@]HOST:PATH, file:///PATH, "
    "or - for an archive on standard input"
)

_CONTROL = expression(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HELPER = expression(r"[A-Za-z0-9][A-Za-z0-9+.-]*::")
_DRIVE = expression(r"[A-Za-z]:([\\/]|[^@:]*$)")
_URL = expression(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")
_FOREIGN = expression(r"(https?|ssh|file|ftps?|svn|data|javascript|mailto):", re.IGNORECASE)
_SCP = expression(r"(?:(?P<user>[^@/]*)@)?(?P<host>\[[^\]/]*\]|[^:/@]*):(?P<path>.*)")
_HOST_AND_PORT = expression(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{0,6}))?")
_HOST = expression(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_USER = expression(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_USUAL_PORTS = {"https": 443, "http": 80, "ssh": 22}
_ARCHIVE = expression(r"\.(tar|tgz|tbz2?|txz|tzst|zip|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)
_ARTIFACT = expression(r"\.(war|jar|ear|hpi)$", re.IGNORECASE)
_CHECKSUM = expression(r"[0-9a-f]{64}")
_NOT_IN_A_REF = expression(r"[ ~^:?*\[\\]|\.\.|@\{|//|^/|/$|\.$|(^|/)\.|\.lock(/|$)|^@$|^-")


def parse_source(
    text: str,
    *,
    ref: str = "",
    context_dir: str = "",
    copy: bool = False,
    submodules: bool = True,
    lfs: bool = False,
    allow_http: bool = False,
    cwd: Path,
) -> Source:
    """Read what stands for a source, with `#REF:DIR` behind it or in flags of their own; nothing is contacted."""
    for name, value in (("source", text), ("--ref", ref), ("--context-dir", context_dir)):
        refuse_control_characters(name, value)
    address, fragment, fragment_dir = _split(text, cwd)
    checksum = _checksum(fragment)
    ref = _one_of("--ref", ref, "" if checksum else fragment)
    context = parse_context_dir(_one_of("--context-dir", context_dir, fragment_dir))
    source = _as_archive(_parse_address(address, allow_http=allow_http, cwd=cwd), checksum)
    _refuse_contradictions(source, ref=ref, copy=copy)
    return replace(
        source,
        ref=check_ref(ref) if ref else "",
        context_dir=context,
        copy=copy,
        checksum=checksum,
        submodules=submodules,
        lfs=lfs,
    )


def parse_file(text: str, *, allow_http: bool, cwd: Path, certain: bool = False) -> Source | None:
    """Read what stands for one file, whatever is in it: a path, an address with `#sha256=` behind it, or `-`.

    None for a directory and for a repository; with `certain` no address is that of a repository.
    """
    refuse_control_characters("the artifact", text)
    address, fragment, _ = _split(text, cwd)
    checksum = _checksum(fragment)
    source = replace(_parse_address(address, allow_http=allow_http, cwd=cwd), checksum=checksum)
    if source.kind == "stdin":
        return source
    name = source.location.rpartition("/")[2]
    there = source.path is not None and files.is_file(source.path)
    meant = certain or checksum or there or _ARTIFACT.search(name) or _ARCHIVE.search(name)
    return replace(source, kind="archive") if meant and _can_be_file(source) else None


def _refuse_contradictions(source: Source, *, ref: str, copy: bool) -> None:
    if source.kind in ("archive", "stdin") and (ref or copy):
        what = f"it has no {ref[:80]!r}" if ref else "--copy has nothing to do"
        raise InvalidUsage(f"{source.location[:120]} is an archive: {what}", hint="--ref and --copy are not for these")
    if copy and (ref or source.kind == "git"):
        raise InvalidUsage("--copy takes a directory as it is: it cannot be given with a remote address or a ref")


def refuse_control_characters(name: str, value: str) -> None:
    if found := _CONTROL.search(value):
        raise InvalidUsage(f"{name} has a control character at position {found.start() + 1}")
    if len(value) > _LONGEST:
        raise InvalidUsage(f"{name} is longer than {_LONGEST} characters")


def _split(text: str, cwd: Path) -> tuple[str, str, str]:
    # A directory may have a # in its name; an address has it percent-encoded.
    if "#" not in text or files.exists(cwd / text):
        return text, "", ""
    address, _, fragment = text.partition("#")
    ref, _, directory = fragment.partition(":")
    return address, ref, directory


def _checksum(fragment: str) -> str:
    """The digest in `#sha256=…`, "" for any other fragment."""
    if not fragment.startswith("sha256="):
        return ""
    digest = fragment.removeprefix("sha256=").lower()
    if not _CHECKSUM.fullmatch(digest):
        raise InvalidUsage("#sha256= is not followed by 64 hexadecimal digits", hint="sha256sum FILE prints them")
    return digest


def _one_of(flag: str, given: str, fragment: str) -> str:
    if given and fragment and given != fragment:
        raise InvalidUsage(f"{flag} says {given!r} and the address says {fragment!r}", hint="say it once")
    return given or fragment


def check_ref(ref: str) -> str:
    """A branch, a tag or a commit by the rules of git's own names; never an expression, never an option."""
    if _NOT_IN_A_REF.search(ref) or len(ref) > 255:
        raise InvalidUsage(f"{ref[:80]!r} is not the name of a branch, a tag or a commit", hint="--ref NAME")
    return ref


def parse_context_dir(text: str) -> str:
    """The path below the source's root, "" for the root itself; a leading slash means that root."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidUsage(f"--context-dir {text} leads out of the source", hint="name a directory inside it")
    if any(part.lower() == ".git" for part in parts):
        raise InvalidContextDirectory(f"the context directory {text} belongs to git and is never part of the source")
    return "/".join(parts)


# --------------------------------------------------------------------------------------------------------- archives


def _as_archive(source: Source, checksum: str) -> Source:
    """The source as an archive, when its name, a checksum or the file itself says so."""
    if source.kind == "stdin":
        return source
    if not _can_be_file(source):
        if checksum:
            raise InvalidUsage(f"{source.location[:120]} is no archive, so it has no checksum", hint=_FORMS)
        return source
    there = source.path is not None and files.is_file(source.path)
    name = source.location.rpartition("/")[2]
    if _ARTIFACT.search(name) and (there or source.path is None):
        hint = f"s2ictl b2i {source.path}" if there else f"bring it here: s2ictl b2i {name}"
        raise FetchSourceFailed(f"{source.location[:120]} is no source but a finished artifact", hint=hint)
    return replace(source, kind="archive") if there or checksum or _ARCHIVE.search(name) else source


def _can_be_file(source: Source) -> bool:
    if source.path is None:
        return source.location.startswith(("https://", "http://"))
    return not files.is_directory(source.path)


# -------------------------------------------------------------------------------------------------------- addresses


def _parse_address(address: str, *, allow_http: bool, cwd: Path) -> Source:
    if not address or address.isspace():
        raise InvalidUsage("the source is empty", hint=_FORMS)
    if address == "-":
        return Source(kind="stdin", location="-")
    if address.startswith("-"):
        raise InvalidUsage(
            f"{address[:80]!r} looks like a flag, not like a source", hint=f"what lies here is ./{address[:80]}"
        )
    if _HELPER.match(address):
        raise Refused(
            f"{address.partition('::')[0]}:: runs a program of this machine, and is never a source", hint=_FORMS
        )
    if url := _URL.fullmatch(address):
        return _parse_url(url[1].lower(), url[2], allow_http=allow_http)
    if _DRIVE.match(address):
        raise InvalidUsage(f"{address[:80]!r} is a path of Windows", hint="write it as this system does: ./PATH")
    if ":" in address.partition("/")[0]:
        return _parse_scp(address)
    return Source(kind="directory", location=address, path=cwd / address)


def _parse_url(scheme: str, rest: str, *, allow_http: bool) -> Source:
    reader = _SCHEMES.get(scheme)
    if reader is None:
        raise InvalidUsage(f"{scheme}:// is not a scheme for sources", hint=_FORMS)
    if re.search(r"[\s\\]|%[01][0-9a-f]|%7f", rest, re.IGNORECASE):
        raise InvalidUsage(
            f"{shown(scheme, rest)} has a space, a backslash or a line end in it", hint="write a space as %20"
        )
    if "?" in rest:
        raise Refused(
            f"{shown(scheme, rest)} has a query: a secret in query would be kept in image and logs",
            hint="leave out all from the ? on, and give a login by --git-username and --git-password-file",
        )
    source = reader(scheme, rest)
    if scheme == "http" and not allow_http and not is_loopback(urlsplit(source.location).hostname or ""):
        raise Refused(f"{source.location} is plain http: anybody between could change the source", hint="--allow-http")
    return source


def shown(scheme: str, rest: str) -> str:
    """An address for a message: without what could be a login."""
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2][:200]}"


def _parse_web(scheme: str, rest: str) -> Source:
    authority, slash, path = rest.partition("/")
    userinfo, _, server = authority.rpartition("@")
    host = _server(scheme, server, shown(scheme, rest))
    return Source(kind="git", location=f"{scheme}://{host}{slash}{path}", login=_login(userinfo, host))


def _login(userinfo: str, host: str) -> Login | None:
    if not userinfo:
        return None
    username, colon, password = (unquote(part) for part in userinfo.partition(":"))
    for part in (username, password):
        refuse_control_characters("the login in the address", part)
    # A lone word is a token as often as a name, so it is kept as a secret; who has tokens takes any name beside one.
    name, secret = (username, password) if colon else ("git", username)
    return Login(host=host, username=name, password=Secret(secret), origin="the address of the source")


def _parse_ssh(scheme: str, rest: str) -> Source:
    authority, _, path = rest.partition("/")
    user, at, server = authority.rpartition("@")
    if ":" in user:
        raise InvalidUsage(
            f"{shown(scheme, rest)} has a password in it, which ssh does not take", hint="--ssh-key FILE"
        )
    host = _server(scheme, server, shown(scheme, rest))
    if not path:
        raise InvalidUsage(f"{shown(scheme, rest)} names no repository", hint=_FORMS)
    return Source(kind="git", location=f"ssh://{_user(user) + '@' if at else ''}{host}/{path}")


def _parse_scp(address: str) -> Source:
    match = _SCP.fullmatch(address)
    if match is None or not match["host"] or _FOREIGN.match(address):
        _not_an_address(address)
    user, host, path = match["user"], match["host"], match["path"]
    if re.match(r"[0-9]+:", path):
        port, _, path = path.partition(":")
        hint = f"with a port it is ssh://{host}:{port}/{path.lstrip('/')}"
        raise InvalidUsage(f"{address[:80]!r} has two colons", hint=hint)
    if not path or path.startswith("-") or re.search(r"\s", address):
        _not_an_address(address)
    where = _server("ssh", host, address)
    return Source(kind="git", location=f"{_user(user) + '@' if user is not None else ''}{where}:{path}")


def _parse_file(scheme: str, rest: str) -> Source:
    host, _, path = rest.partition("/")
    decoded = unquote(f"/{path}")
    refuse_control_characters("the path of the source", decoded)
    if not path and not host:
        raise InvalidUsage(f"{scheme}:// names no path", hint="a file has three slashes: file:///PATH")
    if host not in ("", "localhost"):
        raise InvalidUsage(
            f"{scheme}://{rest[:200]} names another machine", hint="a file has three slashes: file:///PATH"
        )
    return Source(kind="directory", location=f"{scheme}://{rest}", path=Path(decoded))


_SCHEMES: dict[str, Callable[[str, str], Source]] = {
    "https": _parse_web,
    "http": _parse_web,
    "ssh": _parse_ssh,
    "file": _parse_file,
}


def _server(scheme: str, server: str, address: str) -> str:
    """Host and port in the one spelling by which logins and the cache know them."""
    match = _HOST_AND_PORT.fullmatch(server)
    if match is None:
        raise InvalidUsage(f"{address} does not name a host", hint=_FORMS)
    host, port = _host(match["host"], address), match["port"]
    if port and not 0 < int(port) < 65536:
        raise InvalidUsage(f"{address} names port {port}", hint="a port is between 1 and 65535")
    return f"{host}:{int(port)}" if port and int(port) != _USUAL_PORTS[scheme] else host


def _host(host: str, address: str) -> str:
    try:
        if host.startswith("["):
            return f"[{ipaddress.IPv6Address(host.strip('[]')).compressed}]"
        # What is shown is what is asked: a letter that only looks like another one becomes xn--….
        ascii_host = host if host.isascii() else host.encode("idna").decode()
    except ValueError as error:
        raise InvalidUsage(f"{address} does not name a host", hint=_FORMS) from error
    if not _HOST.fullmatch(ascii_host):
        raise InvalidUsage(f"{address} does not name a host", hint=_FORMS)
    return ascii_host.lower()


def _user(user: str) -> str:
    if not _USER.fullmatch(user):
        raise InvalidUsage("the user in the address is not a name that ssh takes", hint=_FORMS)
    return user


def _not_an_address(address: str) -> NoReturn:
    raise InvalidUsage(f"{address.rpartition('@')[2][:80]!r} is not an address of a source", hint=_FORMS)
