from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2ictl.errors import S2IError
from s2ictl.models import Login, Secret, Source
from s2ictl.sources import parse_source

HERE = Path("/nowhere/project")


def parsed(text: str, **flags: str) -> Source:
    return parse_source(text, ref=flags.get("ref", ""), context_dir=flags.get("context_dir", ""), cwd=HERE)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (".", Source(kind="directory", location=".", path=HERE)),
        ("../x", Source(kind="directory", location="../x", path=HERE / "../x")),
        ("/etc", Source(kind="directory", location="/etc", path=Path("/etc"))),
        ("./a:b", Source(kind="directory", location="./a:b", path=HERE / "a:b")),
        ("file:///srv/a%20b", Source(kind="directory", location="file:///srv/a%20b", path=Path("/srv/a b"))),
        ("https://Git.Example.com/shop.git", Source(kind="git", location="https://git.example.com/shop.git")),
        ("HTTPS://h:443/r", Source(kind="git", location="https://h/r")),
        ("https://h:8443/r", Source(kind="git", location="https://h:8443/r")),
        ("https://[::1]:8443/r", Source(kind="git", location="https://[::1]:8443/r")),
        ("https://h/${HOME}`id`$(id)", Source(kind="git", location="https://h/${HOME}`id`$(id)")),
        ("https://bücher.example/r", Source(kind="git", location="https://xn--bcher-kva.example/r")),
        ("http://127.0.0.1:80/r", Source(kind="git", location="http://127.0.0.1/r")),
        ("ssh://git@h:2222/r", Source(kind="git", location="ssh://git@h:2222/r")),
        ("git@h:team/r.git", Source(kind="git", location="git@h:team/r.git")),
        ("host:r", Source(kind="git", location="host:r")),
        ("https://h/r#dev", Source(kind="git", location="https://h/r", ref="dev")),
        ("https://h/r#:api/", Source(kind="git", location="https://h/r", context_dir="api")),
        ("git@h:r#v1:./a//b", Source(kind="git", location="git@h:r", ref="v1", context_dir="a/b")),
    ],
)
def test_every_form_of_a_source_is_read(text: str, source: Source) -> None:
    assert parsed(text) == source


SUM = "ab" * 32


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("-", Source(kind="stdin", location="-")),
        (f"-#sha256={SUM}", Source(kind="stdin", location="-", checksum=SUM)),
        ("-#:api", Source(kind="stdin", location="-", context_dir="api")),
        ("app.tar", Source(kind="archive", location="app.tar", path=HERE / "app.tar")),
        ("../app.TGZ", Source(kind="archive", location="../app.TGZ", path=HERE / "../app.TGZ")),
        ("app.tar.zst", Source(kind="archive", location="app.tar.zst", path=HERE / "app.tar.zst")),
        (f"app#sha256={SUM.upper()}", Source(kind="archive", location="app", path=HERE / "app", checksum=SUM)),
        ("file:///srv/a.zip", Source(kind="archive", location="file:///srv/a.zip", path=Path("/srv/a.zip"))),
        ("https://H/a.tar.bz2", Source(kind="archive", location="https://h/a.tar.bz2")),
        (f"https://h/a#sha256={SUM}", Source(kind="archive", location="https://h/a", checksum=SUM)),
        (f"https://h/a#sha256={SUM}:b", Source(kind="archive", location="https://h/a", checksum=SUM, context_dir="b")),
        ("http://127.0.0.1:8000/a.txz", Source(kind="archive", location="http://127.0.0.1:8000/a.txz")),
        ("https://h/a.tar/", Source(kind="git", location="https://h/a.tar/")),
        ("git@h:a.tar", Source(kind="git", location="git@h:a.tar")),
        ("https://zip", Source(kind="git", location="https://zip")),
    ],
)
def test_every_form_of_an_archive_is_read(text: str, source: Source) -> None:
    assert parsed(text) == source


def test_what_lies_there_says_more_than_its_name(tmp_path: Path) -> None:
    (tmp_path / "release.tar").mkdir()
    (tmp_path / "exploded.war").mkdir()
    (tmp_path / "release").write_bytes(b"")
    kinds = {name: parse_source(name, cwd=tmp_path).kind for name in ("release.tar", "exploded.war", "release", "no")}
    assert kinds == {
        "release.tar": "directory",
        "exploded.war": "directory",
        "release": "archive",
        "no": "directory",
    }


def test_a_finished_artifact_is_sent_where_artifacts_go(tmp_path: Path) -> None:
    (tmp_path / "app.war").write_bytes(b"")
    here, elsewhere = f"s2ictl b2i {tmp_path}/app.war", "bring it here: s2ictl b2i app.jar"
    for text, hint in (("app.war", here), (f"file://{tmp_path}/app.war", here), ("https://h/app.jar", elsewhere)):
        with pytest.raises(S2IError) as caught:
            parse_source(text, cwd=tmp_path)
        assert (caught.value.exit_code, caught.value.hint) == (5, hint)


def test_flags_for_repositories_are_kept_for_them() -> None:
    source = parse_source("https://h/r", submodules=False, lfs=True, cwd=HERE)
    assert source == Source(kind="git", location="https://h/r", submodules=False, lfs=True)


def test_the_login_of_an_archive_s_address_is_bound_to_its_host() -> None:
    source = parsed("https://ada:s3cret@H:8443/a.zip")
    login = Login(host="h:8443", username="ada", password=Secret("s3cret"), origin="the address of the source")
    assert (source.kind, source.location, source.login) == ("archive", "https://h:8443/a.zip", login)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 2, "empty"),
        ("-uid", 2, "looks like a flag"),
        ("--upload-pack=id", 2, "looks like a flag"),
        ("ext::sh -c id", 12, "ext:: runs a program"),
        ("fd::3", 12, "fd:: runs a program"),
        ("transport::addr", 12, "transport:: runs a program"),
        ("http://git.example.com/r", 12, "plain http"),
        ("http://127.0.0.1.example.com/r", 12, "plain http"),
        ("git://h/r", 2, "git:// is not a scheme"),
        ("ftp://h/r", 2, "ftp:// is not a scheme"),
        ("javascript:alert(1)", 2, "not an address"),
        ("https:/h/r", 2, "not an address"),
        ("https://h/r?private_token=CANARY", 12, "secret in query"),
        ("https://h:99999/r", 2, "names port 99999"),
        ("https://h:0/r", 2, "names port 0"),
        ("https://[::1", 2, "does not name a host"),
        ("https://[::zz]/r", 2, "does not name a host"),
        ("https://host name/r", 2, "has a space"),
        ("https:///r", 2, "does not name a host"),
        ("https://h\\@evil/r", 2, "backslash"),
        ("https://h/r%0aHost:x", 2, "line end"),
        ("ssh://-oProxyCommand=x/r", 2, "does not name a host"),
        ("ssh://-o@h/r", 2, "user in the address"),
        ("user@-host:x", 2, "does not name a host"),
        ("-u@h:x", 2, "looks like a flag"),
        ("host:-x", 2, "not an address"),
        ("host:22:/x", 2, "has two colons"),
        ("C:\\x", 2, "path of Windows"),
        ("c:/x", 2, "path of Windows"),
        ("ssh://u:CANARY@h/r", 2, "has a password in it"),
        ("u:CANARY@h:r", 2, "user in the address"),
        ("https://u:CANARY@h:0/r", 2, "names port 0"),
        ("https://u:CANARY%0a@h/r", 2, "line end"),
        ("ssh://h", 2, "names no repository"),
        ("file://elsewhere/r", 2, "another machine"),
        ("file:///r%00", 2, "line end"),
        ("a\nb", 2, "control character at position 2"),
        ("a\x1b[31m", 2, "control character at position 2"),
        ("a\udcff", 2, "control character at position 2"),
        ("x" * 5000, 2, "longer than"),
        ("a.tar#main", 2, "is an archive: it has no 'main'"),
        ("https://h/a.zip#main", 2, "is an archive: it has no 'main'"),
        ("-#main", 2, "is an archive: it has no 'main'"),
        ("a.tar#sha256=abc", 2, "64 hexadecimal digits"),
        (f"a.tar#sha256={'g' * 64}", 2, "64 hexadecimal digits"),
        (f"git@h:r#sha256={'a' * 64}", 2, "is no archive"),
        (f"ssh://h/r#sha256={'a' * 64}", 2, "is no archive"),
        ("https://h/a.zip?token=CANARY", 12, "secret in query"),
        ("http://h/a.zip", 12, "plain http"),
        ("--", 2, "looks like a flag"),
    ],
)
def test_what_is_not_a_source_is_said_without_touching_anything(text: str, code: int, said: str) -> None:
    with pytest.raises(S2IError) as caught:
        parsed(text)
    told = f"{caught.value.message} {caught.value.detail} {caught.value.hint}"
    assert (caught.value.exit_code, said in told, "CANARY" in told) == (code, True, False), told


def test_a_refusal_of_plain_http_names_the_flag_that_allows_it() -> None:
    with pytest.raises(S2IError) as caught:
        parsed("http://git.example.com/r")
    assert caught.value.hint == "--allow-http"
    allowed = parse_source("http://git.example.com/r", allow_http=True, cwd=HERE)
    assert allowed.location == "http://git.example.com/r"


def test_a_port_in_the_short_form_is_shown_as_it_has_to_be_written() -> None:
    with pytest.raises(S2IError) as caught:
        parsed("host:22:/x")
    assert caught.value.hint == "with a port it is ssh://host:22/x"


@pytest.mark.parametrize(
    ("text", "host", "username", "password"),
    [
        ("https://ada:s%3Acret@h/r", "h", "ada", "s:cret"),
        ("https://ada:s3cret@H:8443/r", "h:8443", "ada", "s3cret"),
        ("https://CANARY@h/r", "h", "git", "CANARY"),
        ("https://a@b:s3cret@h/r", "h", "a@b", "s3cret"),
    ],
)
def test_a_login_leaves_the_address_and_is_bound_to_its_host(
    text: str, host: str, username: str, password: str
) -> None:
    source = parsed(text)
    assert source.location == f"https://{host}/r"
    assert source.login == Login(
        host=host, username=username, password=Secret(password), origin="the address of the source"
    )
    assert password not in repr(source)


@pytest.mark.parametrize(
    "ref",
    [
        *(
            "--orphan=x",
            "-b",
            "@{-1}",
            "HEAD^{/x}",
            "a..b",
            "refs/../x",
            "x.lock",
            "x ",
            "a b",
            "a~1",
            "a:b",
            "a" * 300,
        ),
        *("@", "/a", "a/", "a//b", ".a", "a/.b", "a.", "a\\b", "a*", "a?", "a[", "a\tb", "a.lock/b"),
    ],
)
def test_a_ref_is_a_name_and_nothing_else(ref: str) -> None:
    with pytest.raises(S2IError) as caught:
        parsed("https://h/r", ref=ref)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("ref", ["main", "release/1.0", "v1", "größe-🚀", "refs/heads/x", "0123abc", "a@b", "HEAD"])
def test_every_name_that_git_takes_is_a_ref(ref: str) -> None:
    assert parsed("https://h/r", ref=ref).ref == ref


@pytest.mark.parametrize(
    ("context_dir", "outcome"),
    [
        ("/", ""),
        ("./api/", "api"),
        ("a b/ü", "a b/ü"),
        ("../..", 2),
        ("a/../../b", 2),
        (".git", 5),
        ("a/.GIT/hooks", 5),
        ("a\nb", 2),
    ],
)
def test_a_context_directory_stays_inside_the_source(context_dir: str, outcome: str | int) -> None:
    try:
        answer: str | int = parsed(".", context_dir=context_dir).context_dir
    except S2IError as error:
        answer = error.exit_code
    assert answer == outcome


@pytest.mark.parametrize("flags", [{"ref": "main"}, {"context_dir": "web"}])
def test_two_values_for_one_thing_are_a_mistake(flags: dict[str, str]) -> None:
    with pytest.raises(S2IError) as caught:
        parsed("https://h/r#dev:api", **flags)
    assert caught.value.exit_code == 2


def test_a_directory_may_have_a_number_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "c#").mkdir()
    assert parse_source("c#", cwd=tmp_path).path == tmp_path / "c#"
    assert parse_source("c#dev", cwd=tmp_path).ref == "dev"


@pytest.mark.parametrize("text", ["https://h/r", "https://h/a.zip", "a.tar", "-"])
def test_copy_is_for_directories_alone(text: str) -> None:
    with pytest.raises(S2IError) as caught:
        parse_source(text, copy=True, cwd=HERE)
    assert caught.value.exit_code == 2


def test_a_directory_has_no_checksum(tmp_path: Path) -> None:
    with pytest.raises(S2IError) as caught:
        parse_source(f".#sha256={SUM}", cwd=tmp_path)
    assert caught.value.exit_code == 2


@settings(max_examples=150)
@given(text=st.text(alphabet=st.sampled_from("ahtps:/@-#?%[].\\ 0\n~é")) | st.text())
def test_whatever_is_typed_becomes_a_source_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(S2IError):
        source = parsed(text)
        assert source.kind in ("directory", "stdin") or not source.location.startswith("-")
