"""Bad inputs, each met before anything is contacted or made: its code, its one clear line, and nothing left behind.

The numbers are those of the table of bad inputs that the project is held to. The engine's socket does not exist, so a
command that asks it first ends with 10 and not with the code that it should have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli import Shell, shell

FIFO = None
LONG = "x" * 4000
DIGEST = "a" * 64
FORM = "is not an image name (InvalidUsage)"
NO_REF = "is not the name of a branch, a tag or a commit (InvalidUsage)"
NO_APP = "cannot be the name of an app (InvalidUsage)"
NO_PORT = "is not a port (InvalidUsage)"
NO_DEPLOY = "says how the image is deployed, and --deploy is not given (InvalidUsage)"
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in ("ab", "bc", "cd", "de")
)
KUBECONFIG = "contexts: [{name: here, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: https://c}}]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """What is typed, the files that lie there, and what is said of it; HERE is the current directory."""

    row: str
    words: tuple[str, ...]
    status: int
    says: str
    files: Mapping[str, str | bytes | Path | None] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)


def bad(row: str, *words: str, status: int, says: str, **environ: str) -> Bad:
    return Bad(row=row, words=words, status=status, says=says, environ=environ)


def broken(row: str, content: str | bytes | None, says: str, *words: str, status: int = 3) -> Bad:
    """A command in a directory whose s2i.yaml has this content."""
    return Bad(row=row, words=words or ("build",), status=status, says=says, files={"s2i.yaml": content})


def artifact(row: str, content: str | bytes | None, says: str, status: int = 5) -> Bad:
    return Bad(row=row, words=("b2i", "app", "--to", "oci:out"), status=status, says=says, files={"app": content})


WORDS = [
    bad("B1", status=2, says="Missing command. (InvalidUsage)"),
    bad("B1", "builds", status=2, says="Missing command. (InvalidUsage)"),
    bad(
        "B1",
        "bild",
        status=2,
        says="No such command 'bild'. Did you mean 'build', 'builds', 'rebuild'? (InvalidUsage)",
    ),
    bad("B1", "detect", "--reff", "x", status=2, says="No such option: --reff. Did you mean '--ref'? (InvalidUsage)"),
    bad("B1", "build", "--ref", "x", "--ref", "y", status=2, says="--ref is given twice: x and y (InvalidUsage)"),
    bad("B1", "build", "-v", "/a:/b", status=2, says="-v /a:/b is no volume here: -v is --verbose (InvalidUsage)"),
    bad(
        "B1", "b2i", "app", "-v/a:/b:ro", status=2, says="-v /a:/b:ro is no volume here: -v is --verbose (InvalidUsage)"
    ),
    bad("B1", "build", "--copy=maybe", status=2, says="Option '--copy' does not take a value. (InvalidUsage)"),
    bad("B2", "build", "--timeout", "abc", status=2, says="'abc' is not a duration (InvalidUsage)"),
    bad("B2", "build", "--timeout=-5", status=2, says="'-5' is not a duration (InvalidUsage)"),
    bad("B2", "deploy", "a", "--timeout", "1e999", status=2, says="'1e999' is not a duration (InvalidUsage)"),
    bad("B2", "build", "--timeout", "0", status=2, says="--timeout 0 leaves no time at all (InvalidUsage)"),
    bad("B3", "build", "", status=2, says="an argument is empty (InvalidUsage)"),
    bad("B3", "deploy", "a", "--name", "", status=2, says="an argument is empty (InvalidUsage)"),
    bad("B3", "detect", " ", status=2, says="the source is empty (InvalidUsage)"),
    bad("B4", "build", "a\0b", status=2, says="'a'… has a control character at position 2 (InvalidUsage)"),
    bad("B4", "b2i", "a\x1b[2J", status=2, says="'a'… has a control character at position 2 (InvalidUsage)"),
    bad("B4", "delete", "a\x7f", status=2, says="'a'… has a control character at position 2 (InvalidUsage)"),
    bad("B5", "build", "a\udcff", status=2, says="'a'… has a byte that is not UTF-8 at position 2 (InvalidUsage)"),
    bad(
        "B6",
        "build",
        "x" * 1_000_000,
        status=2,
        says="an argument has 1000000 characters; the limit is 65536 (InvalidUsage)",
    ),
]

NO_PLACE = "is not the path of a directory in an image (InvalidUsage)"
NO_SHELF = "is no place in a registry where builders could lie (InvalidUsage)"
NO_CACHE = "cannot be a cache: it is a whole branch of the system (InvalidUsage)"

KEEPING = [
    bad("B3", "build", "--cache", "", status=2, says="an argument is empty (InvalidUsage)"),
    bad("B4", "build", "--cache", "/a\nb", status=2, says="'/a'… has a control character at position 3 (InvalidUsage)"),
    bad(
        "B5",
        "build",
        "--cache",
        "/\udcff",
        status=2,
        says="'/'… has a byte that is not UTF-8 at position 2 (InvalidUsage)",
    ),
    bad("B7", "build", "--cache", "-x", status=2, says=f"'-x' {NO_PLACE}"),
    bad("B26", "build", "--cache", "/", status=2, says=f"'/' {NO_PLACE}"),
    bad("B26", "build", "--cache", "/a/../etc", status=2, says=f"'/a/../etc' {NO_PLACE}"),
    bad("B26", "build", "--cache", "/a b", status=2, says=f"'/a b' {NO_PLACE}"),
    bad("B26", "build", "--cache", "/*a*a", status=2, says=f"'/*a*a' {NO_PLACE}"),
    bad("B26", "build", "--cache", f"/{LONG}", status=2, says=f"'/{LONG[:199]}' {NO_PLACE}"),
    *(
        bad("B26", "build", "--cache", place, status=2, says=f"{place} {NO_CACHE}")
        for place in ("/etc", "/tmp", "/proc")
    ),
    bad(
        "B26",
        "build",
        "--cache",
        "/run/secrets",
        status=2,
        says="/run/secrets cannot be a cache: what lies at /run/secrets is for one build alone (InvalidUsage)",
    ),
    broken(
        "B56",
        "name: a\nbuild: {cache: [/a b]}\n",
        "HERE/s2i.yaml:2:17: '/a b' is not the path of a directory in an image (InvalidConfiguration)",
    ),
    broken(
        "B47",
        "name: a\nbuilders: {prefix: a}\n",
        "HERE/s2i.yaml:2:20: 'a' is no place in a registry where builders could lie (InvalidConfiguration)",
    ),
    *(
        bad("B2", "build", status=2, says=f"SOURCE_DATE_EPOCH is {text!r} (InvalidUsage)", SOURCE_DATE_EPOCH=text)
        for text in ("garbage", "-1", "1e3", " 5", "٣", "1.5", "\udcff")
    ),
    bad("B2", "build", status=2, says=f"SOURCE_DATE_EPOCH is '{'9' * 20}' (InvalidUsage)", SOURCE_DATE_EPOCH="9" * 400),
    *(
        bad("B47", "builders", "list", status=2, says=f"{place!r} {NO_SHELF}", S2ICTL_BUILDERS=place)
        for place in (
            "r.io/a:1",
            f"r.io/a@sha256:{DIGEST}",
            "r.io/a b",
            "R.io/Team",
            "https://r.io",
            "a",
            "/",
            "r.io:99999",
        )
    ),
    bad(
        "B1",
        "build",
        "--check-reproducible",
        "--as-dockerfile",
        "f",
        status=2,
        says="--as-dockerfile makes no image, so --check-reproducible has nothing to do (InvalidUsage)",
    ),
    bad("B2", "cache", "prune", "--older-than=-1", status=2, says="'-1' is not a duration (InvalidUsage)"),
    bad("B1", "cache", "prune", "--all", "--app", "a", status=2, says="--all leaves nothing to choose (InvalidUsage)"),
]

SOURCES = [
    bad("B7", "build", "--", "-x", status=2, says="'-x' looks like a flag, not like a source (InvalidUsage)"),
    bad(
        "B8",
        "detect",
        "ext::sh -c id",
        status=12,
        says="ext:: runs a program of this machine, and is never a source (Refused)",
    ),
    bad(
        "B10",
        "build",
        "http://git.example.com/x",
        status=12,
        says="http://git.example.com/x is plain http: anybody between could change the source (Refused)",
    ),
    bad("B11", "build", "git://h/x", status=2, says="git:// is not a scheme for sources (InvalidUsage)"),
    bad("B11", "detect", "ftp://h/x", status=2, says="ftp:// is not a scheme for sources (InvalidUsage)"),
    bad(
        "B11",
        "build",
        "javascript:alert(1)",
        status=2,
        says="'javascript:alert(1)' is not an address of a source (InvalidUsage)",
    ),
    bad(
        "B13",
        "build",
        "https://h/x?private_token=canary",
        status=12,
        says="https://h/x has a query: a secret in query would be kept in image and logs (Refused)",
    ),
    bad("B15", "build", "https://h:99999/x", status=2, says="https://h:99999/x names port 99999 (InvalidUsage)"),
    bad("B15", "build", "https://[::1/x", status=2, says="https://[::1/x does not name a host (InvalidUsage)"),
    bad(
        "B15",
        "build",
        "https://a b/x",
        status=2,
        says="https://a b/x has a space, a backslash or a line end in it (InvalidUsage)",
    ),
    bad("B17", "build", "ssh://-oP=x/r", status=2, says="ssh://-oP=x/r does not name a host (InvalidUsage)"),
    bad("B17", "build", "user@-host:x", status=2, says="user@-host:x does not name a host (InvalidUsage)"),
    bad("B18", "build", "host:22:/x", status=2, says="'host:22:/x' has two colons (InvalidUsage)"),
    bad("B18", "build", "C:\\x", status=2, says="'C:\\\\x' is a path of Windows (InvalidUsage)"),
    bad("B22", "build", "--ref", "--orphan=x", status=2, says=f"'--orphan=x' {NO_REF}"),
    bad("B22", "build", "--ref", "@{-1}", status=2, says=f"'@{{-1}}' {NO_REF}"),
    bad("B22", "detect", "--ref", "a..b", status=2, says=f"'a..b' {NO_REF}"),
    bad("B22", "detect", "--ref", "x" * 300, status=2, says=f"'{'x' * 80}' {NO_REF}"),
    bad(
        "B26",
        "build",
        "--context-dir",
        "../..",
        status=2,
        says="--context-dir ../.. leads out of the source (InvalidUsage)",
    ),
    bad(
        "B26",
        "build",
        "--context-dir",
        ".git",
        status=5,
        says="the context directory .git belongs to git and is never part of the source (InvalidContextDirectory)",
    ),
    bad(
        "B26",
        "detect",
        "--context-dir",
        "missing",
        status=5,
        says="the context directory missing is no directory of HERE (InvalidContextDirectory)",
    ),
    bad("B9", "detect", "../x", status=5, says="the source HERE/../x could not be read (FetchSourceFailed)"),
]

VALUES = [
    bad("B44", "build", "-e", "A", status=2, says="--env 'A' is not NAME=VALUE (InvalidUsage)"),
    bad(
        "B5",
        "build",
        "-e",
        "A=\udcff",
        status=2,
        says="'A='… has a byte that is not UTF-8 at position 3 (InvalidUsage)",
    ),
    bad(
        "B44",
        "build",
        "--label",
        "io.s2ictl.recipe=x",
        status=2,
        says="the label io.s2ictl.recipe is not for anybody to choose: by such labels s2ictl knows what an image is"
        " (InvalidUsage)",
    ),
    bad("B44", "b2i", "app", "-e", "=x", status=2, says="--env '' is not NAME=VALUE (InvalidUsage)"),
    bad("B44", "build", "-e", "1A=x", status=2, says="--env '1A' is not NAME=VALUE (InvalidUsage)"),
    bad("B44", "deploy", "r.io/a", "-e", "A", status=2, says="--env 'A' is not NAME=VALUE (InvalidUsage)"),
    bad(
        "B44",
        "build",
        "-e",
        "A=line\nbreak",
        status=2,
        says="'A=line'… has a control character at position 7 (InvalidUsage)",
    ),
    bad("B47", "build", "-t", "Upper", status=2, says=f"'Upper' {FORM}"),
    bad("B47", "build", "-t", "a//b", status=2, says=f"'a//b' {FORM}"),
    bad("B47", "b2i", "app", "-t", "a:", "--to", "oci:x", status=2, says=f"'a:' {FORM}"),
    bad("B47", "build", "-t", f"a:{'x' * 129}", status=2, says=f"'a:{'x' * 129}' {FORM}"),
    bad("B47", "build", "-t", "a@sha256:short", status=2, says=f"'a@sha256:short' {FORM}"),
    bad(
        "B47",
        "build",
        "-t",
        f"a@sha256:{DIGEST}",
        status=2,
        says=f"a@sha256:{DIGEST} names a digest, which cannot be chosen: it follows from the content (InvalidUsage)",
    ),
    bad("B48", "deploy", "http://reg/x", status=2, says=f"'http://reg/x' {FORM}"),
    bad("B48", "build", ".", "b", "r.io/x:1/y", status=2, says=f"'r.io/x:1/y' {FORM}"),
    bad("B48", "build", "-t", "r.io:70000/x", status=2, says="'r.io:70000/x' names port 70000 (InvalidUsage)"),
    bad("B49", "build", ".", "b:1", "b:1", status=12, says="the result would replace its own builder b:1 (Refused)"),
    bad(
        "B49",
        "build",
        ".",
        "team/b",
        "docker.io/team/b:latest",
        status=12,
        says="the result would replace its own builder team/b (Refused)",
    ),
    bad("B50", "build", ".", "b", "a", "--push", status=12, says="a:latest names no registry to push to (Refused)"),
    bad("B50", "build", ".", "b", "a", "--deploy", status=12, says="a:latest names no registry to push to (Refused)"),
    bad("B50", "b2i", "app", "-t", "a", "--deploy", status=12, says="a:latest names no registry to push to (Refused)"),
    bad("B50", "b2i", "app", "--deploy", status=2, says="--deploy needs a name for the image (InvalidUsage)"),
    bad("B50", "build", "--push", status=2, says="a push needs a name for the image (InvalidUsage)"),
    bad(
        "B59",
        "build",
        "--ca-bundle",
        "no.pem",
        status=2,
        says="could not read the CA bundle HERE/no.pem: No such file or directory (InvalidUsage)",
    ),
]

APPS = [
    bad("B51", "deploy", "r.io/a", "--port", "0", status=2, says=f"'0' {NO_PORT}"),
    bad("B51", "deploy", "r.io/a", "--port", "65536", status=2, says=f"65536 {NO_PORT}"),
    bad("B51", "deploy", "r.io/a", "--port", "80/icmp", status=2, says=f"'80/icmp' {NO_PORT}"),
    bad("B51", "deploy", "r.io/a", "--port", "08080", status=2, says=f"'08080' {NO_PORT}"),
    bad("B51", "build", "-t", "r.io/a", "--deploy", "--port", "80:1", status=2, says=f"'80:1' {NO_PORT}"),
    bad(
        "B51",
        "deploy",
        "r.io/a",
        *("--port", "80", "--port", "80"),
        status=2,
        says="two ports have the same container: 80 (InvalidUsage)",
    ),
    bad(
        "B51",
        "b2i",
        "app",
        *("--to", "oci:x", "--port", "80/icmp"),
        status=2,
        says="--port 80/icmp is no port (InvalidUsage)",
    ),
    bad("B52", "deploy", "r.io/a", "--name", "My_App", status=2, says=f"'My_App' {NO_APP}"),
    bad("B52", "deploy", "r.io/a", "--name", "a" * 64, status=2, says=f"'{'a' * 64}' {NO_APP}"),
    bad("B52", "deploy", "r.io/a", "--name=-a", status=2, says=f"'-a' {NO_APP}"),
    bad("B52", "deploy", "r.io/a.b", status=2, says=f"'a.b' {NO_APP}"),
    bad("B52", "build", "-t", "r.io/a_b", "--deploy", status=2, says=f"'a_b' {NO_APP}"),
    bad("B52", "deploy", "r.io/a", "--name", "default", status=2, says=f"'default' {NO_APP}"),
    bad("B52", "delete", "My_App", "--yes", status=2, says=f"'My_App' {NO_APP}"),
    bad(
        "B53",
        "delete",
        "a",
        *("--yes", "-n", "kube-system"),
        status=12,
        says="namespace kube-system belongs to the cluster itself (Refused)",
    ),
    bad("B53", "deploy", "r.io/a", "-n", "*", status=2, says="'*' cannot be a namespace (InvalidUsage)"),
    bad("B54", "deploy", "r.io/a", "--replicas", "-1", status=2, says="-1 replicas cannot be (InvalidUsage)"),
    bad(
        "B54",
        "b2i",
        "app",
        *("-t", "r.io/a", "--deploy", "--replicas", "1000000000"),
        status=2,
        says="1000000000 replicas cannot be (InvalidUsage)",
    ),
    bad("B2", "build", "--memory", "1Gigs", status=2, says="'1Gigs' is not a size (InvalidUsage)"),
    bad("B2", "build", "--memory", "0", status=2, says="--memory 0 leaves no memory at all (InvalidUsage)"),
    bad("B2", "build", "--memory=-1", status=2, says="'-1' is not a size (InvalidUsage)"),
    *(
        bad(
            "B2", "build", f"--cpus={text}", status=2, says=f"--cpus {text!r} is no number of processors (InvalidUsage)"
        )
        for text in ("0", "-1", "nan", "inf", "1k", "1e3", "two")
    ),
    bad("B55", "build", "--label", "=x", status=2, says="--label '' is not NAME=VALUE (InvalidUsage)"),
    bad("B1", "build", "-n", "prod", status=2, says=f"--namespace {NO_DEPLOY}"),
    bad("B1", "b2i", "app", "--no-wait", status=2, says=f"--no-wait {NO_DEPLOY}"),
    bad("B61", "deploy", "r.io/a", status=10, says="no cluster is configured (Unreachable)", KUBECONFIG="missing"),
    Bad(
        row="B61",
        words=("deploy", "r.io/a", "--context", "there"),
        status=10,
        says="the kubeconfig has no context 'there' (Unreachable)",
        files={"kubeconfig": KUBECONFIG},
        environ={"KUBECONFIG": "kubeconfig"},
    ),
]

VOLUME = "is not SOURCE:TARGET[:ro] (InvalidUsage)"
INJECT = "is not PATH[:PLACE] (InvalidUsage)"
ARTIFACT = "is nothing that could be put into the runtime image (InvalidUsage)"
SECRET = "a --secret is not id=ID with src=FILE or env=NAME (InvalidUsage)"

CONTRACT = [
    *(
        bad("B2", "build", "--volume", text, status=2, says=f"--volume {text!r} {VOLUME}")
        for text in (
            "/a",
            "a/b:/c",
            "./a:/b",
            "/a:b",
            "/a:/b:rx",
            "/a:/b:ro,rw",
            "/a:/b:z,Z",
            "/a:/",
            "/a/../b:/c",
            "/a:/b/../c",
            ":/b",
        )
    ),
    *(
        bad(
            "B2",
            "build",
            "--network",
            text,
            status=2,
            says=f"--network {text!r} is not the name of a network (InvalidUsage)",
        )
        for text in ("-x", "a b", "netns:/x", "container:")
    ),
    *(
        bad("B2", "build", "--add-host", text, status=2, says=f"--add-host {text!r} is not NAME:ADDRESS (InvalidUsage)")
        for text in ("db", "db:", ":192.0.2.7", "db:300.1.1.1", "db:other.host", "d b:::1")
    ),
    *(
        bad("B2", "build", "--cap-drop", text, status=2, says=f"--cap-drop {text!r} is not a capability (InvalidUsage)")
        for text in ("NET-RAW", "1", "CAP_", "NET RAW")
    ),
    *(
        bad("B2", "build", "--inject", text, status=2, says=f"--inject {text!r} {INJECT}")
        for text in (":/b", "s2i.yaml:/b:/c", "x:../b")
    ),
    bad(
        "B2",
        "build",
        "-i",
        "gone:/b",
        status=2,
        says="--inject names gone, which is no file and no directory (InvalidUsage)",
    ),
    *(
        bad("B2", "build", "--runtime-image", "r", "-a", text, status=2, says=f"{text!r} {ARTIFACT}")
        for text in ("a:b", "/a:/b", "/a/../b", "/a:../b", "/a:b:c")
    ),
    bad(
        "B2",
        *("build", "-a", "/a"),
        status=2,
        says="--runtime-artifact says nothing without --runtime-image (InvalidUsage)",
    ),
    bad("B2", "build", "-u", "1-x", status=2, says="'1-x' is not a list of numbers of users (InvalidUsage)"),
    bad("B69", "build", "-d", "opt", status=2, says="'opt' is not the path of a directory in an image (InvalidUsage)"),
    bad("B69", "build", "-s", "ftp://h/x", status=2, says="'ftp://h/x' is no place of scripts (InvalidUsage)"),
    bad(
        "B10",
        *("build", "-s", "http://h/x"),
        status=12,
        says="http://h/x is plain http: anybody between could change a script (Refused)",
    ),
    *(
        bad("B2", "build", "--secret", text, status=2, says=SECRET, T="canary")
        for text in ("canary", "id=", "id=../x,env=T", "id=a,src=x,env=T", "id=a,env=T,env=T", "id=a,mode=1")
    ),
    bad(
        "B2",
        "build",
        "--secret",
        "id=a,src=gone",
        status=2,
        says="--secret a is to come from HERE/gone, which is no file (InvalidUsage)",
    ),
    bad(
        "B2",
        *("build", "--secret", "id=a"),
        status=2,
        says="--secret a is to come from the variable a, which is not set here (InvalidUsage)",
    ),
    bad(
        "B2",
        *("build", "--secret", "id=a,env=T", "--secret", "id=a,env=T"),
        status=2,
        says="--secret a is given twice (InvalidUsage)",
        T="canary",
    ),
    bad(
        "B10",
        "build",
        "--callback-url",
        "http://h/x",
        status=12,
        says="the callback to h would go without TLS (Refused)",
    ),
    bad(
        "B11",
        "build",
        "--callback-url",
        "h/x",
        status=2,
        says="--callback-url is no address that could be told (InvalidUsage)",
    ),
    bad(
        "B59",
        *("build", "--dockercfg-path", "gone"),
        status=4,
        says="--dockercfg-path names gone, which is no file (Unauthorized)",
    ),
    bad("B62", "build", "--ssh-key", "gone", status=4, says="there is no ssh key HERE/gone (FetchSourceUnauthorized)"),
    bad("B62", "detect", "--ssh-key", "gone", status=4, says="there is no ssh key HERE/gone (FetchSourceUnauthorized)"),
    bad(
        "B25",
        "build",
        "--allowed-signers",
        "gone",
        status=2,
        says="--allowed-signers names HERE/gone, which is no file (InvalidUsage)",
    ),
    *(
        bad(
            "B1",
            *("build", "-t", "r.io/a", "--as-dockerfile", "Dockerfile", *words),
            status=2,
            says=f"--as-dockerfile makes no image, so {words[0]} has nothing to do (InvalidUsage)",
        )
        for words in (("--push",), ("--run",), ("--callback-url", "https://h/x"), ("--result-file", "x"))
    ),
    bad(
        "B61",
        "build",
        "--git-secret",
        "prod/forge",
        status=10,
        says="no cluster is configured (Unreachable)",
        KUBECONFIG="x",
    ),
    bad("B47", "rebuild", "Upper", status=2, says=f"'Upper' {FORM}"),
    bad("B2", "rebuild", "a", "--timeout", "0", status=2, says="--timeout 0 leaves no time at all (InvalidUsage)"),
    bad(
        "B61",
        *("rebuild", "a"),
        status=10,
        says="could not reach the container engine: its socket does not exist (Unreachable)",
    ),
]

FILES = [
    bad("B56", "build", "-f", "x", status=3, says="HERE/x:1:1: No such file or directory (InvalidConfiguration)"),
    bad("B56", "build", "-f", ".", status=3, says="HERE:1:1: Is a directory (InvalidConfiguration)"),
    broken("B56", FIFO, "HERE/s2i.yaml:1:1: not a regular file (InvalidConfiguration)"),
    broken("B56", "", "HERE/s2i.yaml:1:1: the document must be a mapping, not empty (InvalidConfiguration)"),
    broken("B56", b"\0\1", "HERE/s2i.yaml:1:1: a control character (U+0000) (InvalidConfiguration)"),
    broken("B56", b"\xff\xfea", "HERE/s2i.yaml:1:1: this is UTF-16 (InvalidConfiguration)", "deploy", "shop"),
    broken(
        "B56",
        b"\xef\xbb\xbfname: a",
        "HERE/s2i.yaml:1:1: the file begins with a byte order mark (InvalidConfiguration)",
    ),
    broken("B57", BOMB, "HERE/s2i.yaml:5:8: more than 20000 values, aliases followed (InvalidConfiguration)"),
    broken("B57", "name: " + "[" * 10_000, "HERE/s2i.yaml:1:71: nested deeper than 64 levels (InvalidConfiguration)"),
    broken(
        "B57",
        "name: !!python/object:os.system {}",
        "HERE/s2i.yaml:1:7: the tag 'tag:yaml.org,2002:python/object:os.system' is not understood"
        " (InvalidConfiguration)",
    ),
    broken(
        "B57",
        "name: a\nname: b\n",
        "HERE/s2i.yaml:2:1: the key 'name' stands here a second time (InvalidConfiguration)",
    ),
    broken("B57", "name: a\nimag: b\n", "HERE/s2i.yaml:2:1: unknown key 'imag' (InvalidConfiguration)", "b2i", "app"),
    broken("B57", "name: a\n---\nname: b\n", "HERE/s2i.yaml:2:1: a second document begins (InvalidConfiguration)"),
    broken("B58", "name: a\nref: 1.10\n", "HERE/s2i.yaml:2:6: ref must be a text, not a number (InvalidConfiguration)"),
    broken(
        "B58",
        "name: a\ndeploy: {port: 0o17}\n",
        "HERE/s2i.yaml:2:16: readers of YAML disagree about 0o17 (InvalidConfiguration)",
    ),
    broken("B57", "name: a\n", "HERE/s2i.yaml:1:1: the app a names no image (InvalidConfiguration)", "deploy", "a"),
    broken(
        "B1",
        "apps: [{name: a}, {name: b}]\n",
        "several apps stand in s2i.yaml, and none of them is named (InvalidUsage)",
        status=2,
    ),
    bad("B63", "b2i", "gone", "--to", "oci:out", status=5, says="there is no artifact HERE/gone (InvalidArtifact)"),
    bad("B63", "b2i", ".", "--to", "oci:out", status=5, says="HERE holds nothing finished (InvalidArtifact)"),
    artifact("B63", FIFO, "HERE/app is not a regular file (InvalidArtifact)"),
    artifact("B63", "", "HERE/app is empty (InvalidArtifact)"),
    artifact(
        "B64",
        "<!doctype html><p>not found",
        "HERE/app is no jar, war or program: it is an HTML or XML page, as a failed download leaves it "
        "(InvalidArtifact)",
    ),
    artifact(
        "B64",
        b"\x7fELF",
        "HERE/app is cut short: it ends after 4 bytes, and its own header speaks of more (InvalidArtifact)",
    ),
    bad(
        "B59", "build", "-E", ".", status=2, says="--environment-file . is not readable: Is a directory (InvalidUsage)"
    ),
]

OTHERS = [
    bad("B1", "serve", status=2, says="Missing option '--apps'. (InvalidUsage)"),
    bad("B56", "serve", "--apps", "gone", status=3, says="HERE/gone is no directory (InvalidConfiguration)"),
    bad(
        "B15", "serve", "--apps", ".", "--listen", "80", status=2, says="--listen '80' is not HOST:PORT (InvalidUsage)"
    ),
    bad(
        "B50",
        "serve",
        *("--apps", ".", "--listen", "0.0.0.0:8088"),
        status=12,
        says="listening on 0.0.0.0:8088 without TLS would let others read deliveries (Refused)",
    ),
    bad("B2", "serve", "--apps", ".", "--max-body", "lots", status=2, says="'lots' is not a size (InvalidUsage)"),
    bad("B81", "builds", "show", "../../etc", status=5, says="no build '../../etc' (RecordNotFound)"),
    bad("B81", "builds", "logs", "nope", status=5, says="no build 'nope' (RecordNotFound)"),
    bad("B68", "builders", "build", "nope", status=2, says="there is no builder 'nope' (InvalidUsage)"),
    bad("B84", "completion", "show", status=2, says="SHELL names no shell (InvalidUsage)"),
    bad(
        "B84",
        "completion",
        "show",
        "tcsh",
        status=2,
        says="Invalid value for 'shell': 'tcsh' is not one of 'bash', 'zsh', 'fish'. (InvalidUsage)",
    ),
]


@pytest.mark.parametrize(
    "given",
    [*WORDS, *KEEPING, *SOURCES, *VALUES, *APPS, *CONTRACT, *FILES, *OTHERS],
    ids=lambda given: f"{given.row} {ascii(' '.join(given.words))[1:60]}",
)
def test_a_bad_input_has_its_code_and_one_clear_line_and_leaves_nothing(given: Bad, tmp_path: Path) -> None:
    check(given, tmp_path)


def check(given: Bad, tmp_path: Path) -> None:
    here = shell(tmp_path, DOCKER_HOST=f"unix://{tmp_path}/no.sock", **given.environ)
    for name, content in given.files.items():
        put(here.cwd / name, content)
    before = everything_below(tmp_path)
    ran = here.run(*given.words)
    errors = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert [line.replace(str(here.cwd), "HERE") for line in errors] == [f"error: {given.says}"]
    assert (ran.status, ran.stdout, len(errors[0]) <= 300) == (given.status, "", True)
    assert without_records(everything_below(tmp_path), here, begun=given.status in (5, 10)) == before
    assert "canary" not in ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("build", f"http://git.example.com/{LONG}"),
        ("build", f"user@-{LONG}:x"),
        ("build", LONG, "--source", "y"),
        ("build", "--ref", LONG, "--ref", "y"),
        ("build", "-t", LONG, "--push"),
        ("deploy", f"r.io/{LONG}", "--name", LONG),
        ("b2i", "app", "--to", LONG),
        ("builds", "show", LONG),
    ],
    ids=lambda words: words[0],
)
def test_a_long_value_does_not_make_a_long_line(words: tuple[str, ...], tmp_path: Path) -> None:
    ran = shell(tmp_path).run(*words)
    assert (ran.status in (2, 5, 12), len(ran.stderr.splitlines()[0]) <= 300) == (True, True), ran.stderr[:400]


def put(path: Path, content: str | bytes | Path | None) -> None:
    """A file, a fifo, or a link to a path."""
    if content is FIFO:
        os.mkfifo(path)
    elif isinstance(content, Path):
        path.symlink_to(content)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def without_records(found: dict[str, bytes], here: Shell, *, begun: bool) -> dict[str, bytes]:
    """What was found, but for the record of a build: by then it had begun to ask, or to read its artifact."""
    place = str(here.home / ".local")
    return {name: content for name, content in found.items() if not (begun and name.startswith(place))}


def everything_below(directory: Path) -> dict[str, bytes]:
    """Every name, and the bytes of every file."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(directory.rglob("*"))}
