"""`build` as it is typed, as far as no engine is needed."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from s2ictl.callbacks import check_url
from s2ictl.cli.session import General, Session, Stopped, World
from s2ictl.cli.telling import telling
from s2ictl.cli.workshop import git_logins, our_builders, package_sources
from s2ictl.events import Emit
from s2ictl.models import Login, Secret
from tests.cli import Ran, Shell, shell
from tests.fakes.apiserver import Said, answering
from tests.fakes.receiver import receiving

NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture
def typed(tmp_path: Path) -> Shell:
    made = shell(tmp_path, DOCKER_HOST=NOWHERE)
    (made.cwd / "app.py").write_text("print('hello')\n")
    return made


def test_a_dry_run_shows_what_would_be_done_and_contacts_nothing(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1", "-e", "A=1", "--build-env", "B=secret", "--dry-run")
    assert done == Ran(
        status=0,
        stdout="fetch     .\nbuilder   b:1\nstays     A\nhands on  B\ntag       app:1\n"
        "engine    docker, as S2ICTL_ENGINE says\n",
        stderr="",
    )


def test_positionals_and_flags_mean_the_same(typed: Shell) -> None:
    words = ("build", "--source", ".", "--builder", "b:1", "--tag", "app:1", "--dry-run")
    assert typed.run(*words) == typed.run("build", ".", "b:1", "app:1", "--dry-run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build", "a", "--source", "b"), "two values for the source: a and b"),
        (("build", ".", "b:1", "--builder", "c:1"), "two values for the builder: b:1 and c:1"),
        (("build", "-E", "missing.env"), "--environment-file missing.env is not readable"),
        (("build", "-e", "NOVALUE"), "--env 'NOVALUE' is not NAME=VALUE"),
        (("build", "-e", "1A=x"), "--env '1A' is not NAME=VALUE"),
        (("build", "--build-env", "NOT_SET"), "--build-env NOT_SET names a variable that is not set here"),
        (("build", "--label", "=x"), "--label '' is not NAME=VALUE"),
        (("build", ".", "./pages"), "the builder ./pages is a directory, and its image is meant"),
        (("build", "--push"), "a push needs a name for the image"),
        (("build", "--timeout", "soon"), "'soon' is not a duration"),
        (("build", "-t", f"a@sha256:{'a' * 64}"), "names a digest, which cannot be chosen"),
        (("build", "--git-username", "me"), "--git-username needs its password"),
        (("build", "--pull-policy", "sometimes"), "sometimes"),
        (("build", "--ca-bundle", "missing.pem", ".", "b:1"), "could not read the CA bundle"),
        (("build", "--cache", "downloads"), "'downloads' is not the path of a directory in an image"),
        (
            ("build", "--check-reproducible", "--as-dockerfile", "Dockerfile"),
            "--as-dockerfile makes no image, so --check-reproducible has nothing to do",
        ),
    ],
)
def test_a_wrong_word_is_exit_2_with_one_clear_line(typed: Shell, words: tuple[str, ...], message: str) -> None:
    done = typed.run(*words)
    assert (done.status, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("build", ".", "./pages"), "s2ictl builders build ./pages, which answers the name of its image"),
        (("build", "--memory"), "s2ictl build --help"),
        (("build", "-t", "Team/Shop:1"), "the path in lower case; team/shop:1 would be one"),
    ],
)
def test_a_wrong_word_comes_with_the_right_one(typed: Shell, words: tuple[str, ...], hint: str) -> None:
    assert typed.run(*words).stderr.splitlines()[-1].endswith(hint)


def test_a_push_without_a_registry_is_refused_before_anything_runs(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1", "--push")
    assert done.status == 12
    assert "app:1 names no registry to push to" in done.stderr


def test_without_an_engine_the_build_says_what_to_do(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "app:1")
    assert done.status == 10
    assert done.stderr.splitlines()[0] == (
        "error: could not reach the container engine: its socket does not exist (Unreachable)"
    )
    assert "DOCKER_HOST" in done.stderr


def test_a_variable_that_sounds_secret_is_pointed_out(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "-e", "DB_PASSWORD=x", "--dry-run")
    assert (
        "DB_PASSWORD stays in the image, readable for everybody who has it; --secret and --build-env do not"
        in done.stderr
    )


def test_the_user_s_mirrors_reach_assemble_and_are_not_shown(typed: Shell, tmp_path: Path) -> None:
    mirrored = shell(tmp_path, DOCKER_HOST=NOWHERE, PIP_INDEX_URL="https://u:canary@mirror/simple")
    done = mirrored.run("build", ".", "b:1", "--dry-run")
    assert "hands on  PIP_INDEX_URL" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def test_the_environment_file_is_read_and_the_flag_counts_more(typed: Shell) -> None:
    (typed.cwd / "vars").write_text("A=file\nB=file\n")
    done = typed.run("build", ".", "b:1", "-E", "vars", "-e", "A=flag", "--dry-run")
    assert [line for line in done.stdout.splitlines() if line.startswith("stays")] == ["stays     A", "stays     B"]


# -------------------------------------------------------------------------------------------------- how it ends


def test_a_build_that_fails_is_remembered_and_told_of(typed: Shell) -> None:
    with receiving() as receiver:
        done = typed.run("build", ".", "b:1", "r.io/team/app:1", "--callback-url", f"http://{receiver.host}/done")
    (said,) = (json.loads(told.body) for told in receiver.told)
    assert (done.status, said["success"], said["reason"], said["exit"]) == (10, False, "Unreachable", 10)
    (record,) = json.loads(typed.run("builds", "list", "-o", "json").stdout)
    found = {name: record[name] for name in ("app", "kind", "state", "source", "builder", "tags")}
    assert found == {
        "app": "app",
        "kind": "build",
        "state": "failed",
        "source": ".",
        "builder": "b:1",
        "tags": ["r.io/team/app:1"],
    }


def test_a_login_in_the_address_is_shown_and_kept_nowhere(typed: Shell) -> None:
    address = "https://somebody:canary@127.0.0.1:1/shop.git"
    for words in (("--dry-run",), ("-vv",)):
        done = typed.run("build", address, "b:1", "app:1", *words)
        assert "canary" not in done.stdout + done.stderr
    assert "https://127.0.0.1:1/shop.git" in typed.run("builds", "list", "-o", "json").stdout
    kept = [path for path in typed.home.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert kept == []


def test_a_dry_run_is_not_remembered(typed: Shell) -> None:
    typed.run("build", ".", "b:1", "app:1", "--dry-run")
    assert json.loads(typed.run("builds", "list", "-o", "json").stdout) == []


def test_a_git_secret_is_asked_of_the_cluster_before_anything_is_built(tmp_path: Path) -> None:
    secret = Said(body={"kind": "Secret", "metadata": {}, "type": "kubernetes.io/ssh-auth", "data": {}})
    with answering(secret) as server:
        (tmp_path / "kubeconfig").write_text(kubeconfig(server.url))
        typed = shell(tmp_path, DOCKER_HOST=NOWHERE, KUBECONFIG=str(tmp_path / "kubeconfig"))
        done = typed.run("build", "ssh://git.example.com/x", "b:1", "--git-secret", "prod/forge")
    assert (done.status, done.stdout) == (4, "")
    assert "the secret prod/forge has nothing at its key ssh-privatekey" in done.stderr


# ------------------------------------------------------------------------------------------- the older tool's words

OLDER = (  # every long option of the older tool's `build`, with a value where it takes one
    "--allowed-uids=1-",
    "--application-name=Shop",
    "--as-dockerfile=Dockerfile",
    "--assemble-runtime-user=1001",
    "--assemble-user=1001",
    "--callback-url=https://ci.example.com/done",
    "--cap-drop=NET_RAW",
    "--cap-drop=KILL,CHOWN",
    "--context-dir=app",
    "--copy",
    "--description=A shop",
    "--destination=/opt/s2i",
    "--dockercfg-path=config.json",
    "--env=A=1",
    "--environment-file=vars",
    "--exclude=[.]log$",
    "--ignore-submodules",
    "--image-scripts-url=image:///usr/libexec/s2i",
    "--incremental",
    "--incremental=true",
    "--incremental=false",
    "--incremental-pull-policy=never",
    "--inject=vars:/opt/vars;vars:/srv",
    "--keep-symlinks",
    "--location=/opt/s2i",
    "--loglevel=5",
    "--network=none",
    "--add-host=db:192.0.2.7",
    "--pull-policy=never",
    "--quiet",
    "--quiet=true",
    "--ref=main",
    "--rm",
    "--rm=true",
    "--run",
    "--runtime-image=r:1",
    "--runtime-image=r:1 --runtime-artifact=/opt/app:app;/opt/lib",
    "--runtime-pull-policy=always",
    "--save-temp-dir",
    "--scripts=image:///usr/libexec/s2i",
    "--scripts-url=https://example.com/scripts",
    "--use-config",
    "--volume=/srv:/data:ro",
    "--volume=/srv:/data:z",
    "-a /opt/app:app --runtime-image=r:1",
    "-c",
    "-d /opt/s2i",
    "-E vars",
    "-e A=1",
    "-i vars:/opt/vars",
    "-l /opt/s2i",
    "-p always",
    "-q",
    "-r main",
    "-s image:///usr/libexec/s2i",
    "-u 1000-1999",
)


@pytest.mark.parametrize("option", OLDER)
def test_an_option_of_the_older_tool_is_taken(option: str, typed: Shell) -> None:
    for name in ("vars", "config.json"):
        (typed.cwd / name).write_text("")
    words = option.split(" --") if " --" in option else [option]
    spelled = [words[0], *(f"--{word}" for word in words[1:])]
    typed_words = [part for word in spelled for part in (word.split(" ") if word[1] != "-" else [word])]
    done = typed.run("build", ".", "b:1", "app:1", "--dry-run", *typed_words)
    assert (done.status, "builder   b:1" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--save-temp-dir", "--save-temp-dir is not needed: nothing is laid down on disk that could be kept"),
        ("--use-config", "--use-config is not needed: flags are not stored"),
        ("--keep-symlinks", "--keep-symlinks is not needed: links are always kept as links"),
        ("--image-scripts-url=x", "--image-scripts-url is not needed: where scripts lie is read from the labels"),
        ("--loglevel=5", "--loglevel is not needed: -v and -vv say more"),
        ("--scripts=image:///x", "warning: --scripts is the older name of --scripts-url"),
        ("--location=/x", "warning: --location is the older name of --destination"),
    ],
)
def test_an_option_that_means_nothing_here_says_why(words: str, said: str, typed: Shell) -> None:
    assert said in typed.run("build", ".", "b:1", "--dry-run", words).stderr


def test_a_dry_run_shows_every_decision_and_no_value_that_could_be_a_secret(typed: Shell) -> None:
    (typed.cwd / "token").write_text("canary")
    words = (
        *("-e", "A=canary", "--label", "L=1", "--build-env", "B=canary"),
        *("--secret", "id=tok,src=token", "-i", "token:/opt/app"),
        *("-s", "image:///x", "-d", "/opt/s2i", "--assemble-user", "1001", "-u", "1000-", "--exclude", "x$"),
        *("--volume", "cache:/data", "--volume", "/srv:/srv:ro,z", "--network", "none", "--add-host", "db:192.0.2.7"),
        *("--cap-drop", "cap_net_raw,KILL", "--memory", "64m", "--cpus", "0.5", "--timeout", "5m"),
        *(
            "--runtime-image",
            "r:1",
            "-a",
            "/opt/app",
            "-p",
            "never",
            "--callback-url",
            "https://u:canary@ci/x",
            "--run",
        ),
    )
    done = typed.run("build", ".", "b:1", "app:1", "--dry-run", *words)
    assert (done.status, done.stdout) == (0, PLAN.format(here=typed.cwd))
    assert "canary" not in done.stdout + done.stderr


PLAN = """\
fetch     .
leave out x$
builder   b:1
pull      never
scripts   image:///x
below     /opt/s2i
as user   1001
uids      1000-
stays     A
label     L
hands on  B
secret    tok
inject    {here}/token to /opt/app
volume    cache at /data
volume    /srv at /srv, read only, SELinux z
network   none
host      db:192.0.2.7
without   NET_RAW
without   KILL
memory    67108864 bytes
cpus      0.5
timeout   300 s
onto      r:1
take      /opt/app to .
tag       app:1
engine    docker, as S2ICTL_ENGINE says
tell      the --callback-url
run       it
"""


# ------------------------------------------------------------------------------------------------------- s2i.yaml


FILE = """
name: shop
image: r.io/team/shop
build: {builder: b:1, env: {A: file, B: file}, context-dir: app}
deploy: {namespace: prod, port: 8080}
"""


def lines_of(done: Ran) -> dict[str, str]:
    """The lines of a dry run by their first word."""
    assert done.status == 0, done.stderr
    return {line[:10].strip(): line[10:] for line in done.stdout.splitlines()}


def test_what_the_flags_do_not_say_stands_in_s2i_yaml(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text(FILE)
    assert lines_of(typed.run("build", "--deploy", "--dry-run")) == {
        "fetch": ". app",
        "builder": "b:1",
        "named": "shop",
        "stays": "B",
        "push": "r.io/team/shop:latest",
        "engine": "docker, as S2ICTL_ENGINE says",
        "deploy": "prod/deployment/shop",
    }


def test_a_flag_beats_the_file(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text(FILE)
    words = ("--context-dir", "other", "-b", "c:1", "-t", "r.io/x:2", "-e", "A=flag", "--name", "front", "-n", "test")
    done = typed.run("build", *words, "--deploy", "--dry-run", "-o", "json")
    answer = json.loads(done.stdout)
    assert {name: answer[name] for name in ("context-dir", "builder", "tags", "deploy")} == {
        "context-dir": "other",
        "builder": "c:1",
        "tags": ["r.io/x:2"],
        "deploy": "test/deployment/front",
    }


def test_another_source_keeps_the_file_but_for_what_belongs_to_its_own_source(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text(
        "source: https://git.example.com/x.git#main:app\n" + FILE.replace(", context-dir: app", "")
    )
    assert lines_of(typed.run("build", "--dry-run"))["fetch"] == "https://git.example.com/x.git at main app"
    assert lines_of(typed.run("build", "elsewhere", "--dry-run"))["fetch"] == "elsewhere"
    assert lines_of(typed.run("build", "elsewhere", "--dry-run"))["builder"] == "b:1"


def test_a_relative_source_starts_from_its_file(typed: Shell) -> None:
    inner = typed.cwd / "inner"
    (inner / "src").mkdir(parents=True)
    (inner / "s2i.yaml").write_text("name: shop\nsource: ./src\nbuild: {builder: b:1}\n")
    done = typed.run("build", "-f", "inner/s2i.yaml")
    assert done.status == 10, done.stderr  # as far as the engine: ./src of the current directory is not there
    assert lines_of(typed.run("build", "-f", "inner/s2i.yaml", "--dry-run"))["fetch"] == "./src"


def test_of_several_apps_none_is_taken_for_a_source_as_typed(typed: Shell) -> None:
    (typed.cwd / "s2i.yaml").write_text("apps:\n  - {name: a, image: r.io/a}\n  - {name: b, image: r.io/b}\n")
    done = typed.run("build", ".", "b:1", "--dry-run")
    assert done.stdout == "fetch     .\nbuilder   b:1\nengine    docker, as S2ICTL_ENGINE says\n"
    assert "s2i.yaml has several apps (a, b): none of them is taken for a source as typed" in done.stderr
    refused = typed.run("build")
    assert (refused.status, "it has a, b" in refused.stderr) == (2, True)


# ------------------------------------------------------------------------------------------------------- where it goes


def test_a_secret_that_does_not_know_the_registry_stops_the_build(tmp_path: Path) -> None:
    content = base64.b64encode(json.dumps({"auths": {"r.io": {"auth": "dTpw"}}}).encode()).decode()
    kind = "kubernetes.io/dockerconfigjson"
    secret = Said(body={"kind": "Secret", "metadata": {}, "type": kind, "data": {".dockerconfigjson": content}})
    with answering(secret) as server:
        (tmp_path / "kubeconfig").write_text(kubeconfig(server.url))
        typed = shell(tmp_path, DOCKER_HOST=NOWHERE, KUBECONFIG=str(tmp_path / "kubeconfig"))
        done = typed.run("build", ".", "b:1", "other.io/app", "--push", "--registry-secret", "prod/hub")
    assert (done.status, done.stdout) == (4, "")
    assert "error: the secret prod/hub has no login for other.io/app (Unauthorized)" in done.stderr
    assert "it has one for r.io" in done.stderr


def kubeconfig(server: str) -> str:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
    }
    return json.dumps(document)


def test_the_app_is_called_as_the_last_part_of_its_image(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "r.io/team/shop:1", "--deploy", "--dry-run")
    assert lines_of(done)["deploy"] == "default/deployment/shop"


def test_a_dry_run_leaves_the_registry_to_a_secret_that_it_does_not_ask(typed: Shell) -> None:
    done = typed.run("build", ".", "b:1", "shop:1", "--deploy", "--registry-secret", "prod/hub", "--dry-run")
    assert lines_of(done)["push"] == "shop:1"


@pytest.mark.parametrize(
    ("links", "passed"),
    [
        ("https://u:p@mirror/wheels", "https://u:p@mirror/wheels"),
        ("/opt/wheels file:///opt/wheels ./wheels", ""),
        ("/opt/wheels http://mirror/wheels", "http://mirror/wheels"),
    ],
)
def test_of_the_places_of_wheels_only_addresses_reach_assemble(links: str, passed: str) -> None:
    given = {"PIP_FIND_LINKS": links, "PIP_NO_INDEX": "1", "PIP_DEFAULT_TIMEOUT": "9", "HOME": "/root"}
    found = {name: secret.reveal() for name, secret in package_sources(given)}
    assert found == {"PIP_NO_INDEX": "1", "PIP_DEFAULT_TIMEOUT": "9"} | ({"PIP_FIND_LINKS": passed} if passed else {})


def test_the_file_says_what_a_flag_would_say(typed: Shell) -> None:
    said = "incremental: true, submodules: false, lfs: true"
    (typed.cwd / "s2i.yaml").write_text(f"name: shop\nimage: shop:1\nbuild: {{builder: b:1, {said}}}\n")
    assert lines_of(typed.run("build", "--dry-run"))["after"] == "shop:1"
    (typed.cwd / "s2i.yaml").write_text(
        "name: shop\nbuild: {builder: b:1, runtime-image: r:1, runtime-artifacts: [/opt/app]}\n"
    )
    assert lines_of(typed.run("build", "--dry-run"))["take"] == "/opt/app to ."
    assert lines_of(typed.run("build", "--dry-run", "-a", "/srv:x"))["take"] == "/srv to x"


@pytest.mark.parametrize(
    ("said", "words", "shown"),
    [
        ("", (), {}),
        ("cache: false", (), {"use": "nothing of earlier builds"}),
        ("cache: [/opt/a]", (), {"cache": "/opt/a"}),
        ("cache: false", ("--cache", "/opt/b"), {"cache": "/opt/b"}),
        ("cache: [/opt/a]", ("--no-cache",), {"use": "nothing of earlier builds"}),
        ("", ("--force",), {"build": "even if nothing has changed"}),
        ("", ("--check-reproducible",), {"compare": "it with a second build"}),
    ],
)
def test_the_file_and_the_flags_say_what_counts_of_earlier_builds(
    said: str, words: tuple[str, ...], shown: dict[str, str], typed: Shell
) -> None:
    (typed.cwd / "s2i.yaml").write_text(f"name: shop\nbuild: {{builder: b:1, {said}}}\n")
    lines = lines_of(typed.run("build", "--dry-run", *words))
    assert {word: lines[word] for word in ("use", "build", "cache", "compare") if word in lines} == shown


@pytest.mark.parametrize(("text", "status"), [("1700000000", 0), ("", 0), ("yesterday", 2), ("-1", 2), ("1" * 11, 2)])
def test_the_time_of_what_is_made_is_a_number_of_seconds(text: str, status: int, tmp_path: Path) -> None:
    made = shell(tmp_path, DOCKER_HOST=NOWHERE, SOURCE_DATE_EPOCH=text)
    done = made.run("build", ".", "b:1", "--dry-run")
    assert (done.status, "SOURCE_DATE_EPOCH is" in done.stderr) == (status, status == 2)


@pytest.fixture
def world(tmp_path: Path) -> World:
    streams = {name: io.StringIO() for name in ("stdin", "stdout", "stderr")}
    return World(arguments=(), environ={"S2ICTL_GIT_TOKEN": "canary"}, cwd=tmp_path, home=tmp_path, **streams)


def test_the_token_of_the_environment_is_for_a_host_that_the_user_typed(world: World) -> None:
    login = Login(host="git.io", username="oauth2", password=Secret("canary"), origin="S2ICTL_GIT_TOKEN")
    assert git_logins(world)("git.io") == login
    assert git_logins(world, typed=False)("git.io") is None
    assert git_logins(world, "me", Secret("p"), typed=False)("git.io") is not None


@pytest.mark.parametrize(
    ("stop", "reason", "status"),
    [(KeyboardInterrupt(), "Interrupted", 130), (Stopped(), "Terminated", 143), (OSError(), "S2IError", 1)],
)
def test_whoever_waits_is_told_of_an_interrupted_build_too(
    stop: BaseException, reason: str, status: int, world: World, emit: Emit
) -> None:
    session = Session(world=world, general=General(), emit=emit)
    with receiving() as receiver:
        callback = check_url(f"http://{receiver.host}/done", allow_http=False)
        with pytest.raises(type(stop)), telling(callback, session, ca_bundle=None):
            raise stop
    (said,) = (json.loads(told.body) for told in receiver.told)
    assert (said["success"], said["reason"], said["exit"]) == (False, reason, status)


@pytest.mark.parametrize(
    ("content", "said"), [(b"x" * 65537, "has more than 65536 bytes"), (b"canary\xff", "is no text in UTF-8")]
)
def test_a_password_that_cannot_be_one_is_refused_and_not_shown(content: bytes, said: str, typed: Shell) -> None:
    (typed.cwd / "password").write_bytes(content)
    done = typed.run("build", "https://git.io/a", "b:1", "--git-password-file", "password", "--debug")
    assert (done.status, said in done.stderr.splitlines()[-1]) == (2, True), done.stderr
    assert "canary" not in done.stderr


def test_only_those_builders_are_read_that_a_name_may_mean(world: World) -> None:
    everybody = our_builders(world, "")

    def found(word: str) -> set[str]:
        return {folder.name for folder in our_builders(world, "", word)}

    for folder in everybody:
        assert found(folder.name) == found(f"{folder.image}") == {folder.name}
        assert all(folder.name in found(alias.repository) for _, alias in folder.known_as)
    assert found("kubesphere/golang:1") == {"go"}
    assert found("registry.example.com/somebody/java:1") == found("somebody/builder") == set()
