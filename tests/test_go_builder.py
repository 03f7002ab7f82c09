"""The scripts of builders/go, run as they are on this machine; what they ask of go is answered from a table."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl.cli.workshop import package_sources
from s2ictl.models import Secret
from tests.scripted import Ended, provide, run, write

BUILDER = Path(__file__).parent.parent / "builders" / "go"
SCRIPTS = BUILDER / "s2i" / "bin"

# What `go list` finds is what lies in main packages; a build writes the flags that it was given into the binary.
GO = """#!/bin/sh
mains() {
    grep -rl --include='*.go' '^package main' . | xargs -r -n 1 dirname | LC_ALL=C sort -u
}
case "$*" in
    "env GOVERSION")
        case $GOTOOLCHAIN$REFUSED in
            local*) echo go1.24.4 ;;
            '') echo "${GO_MOD:-go1.24.4}" ;;
            *) exit 1 ;;
        esac
        ;;
    "list -m"*) echo "$(pwd -P)/..." ;;
    "list -e -find -f {{if"*) mains | sed "s|^[.]|$(pwd -P)|" ;;
    "list -e -find"*)
        for path do :; done
        case $path in
            example.com/*) echo main ;;
            *) mains | grep -qxF "$path" && echo main || echo library ;;
        esac
        ;;
    "mod init "*) echo "module $3" >go.mod ;;
    "list -deps"*)
        case $NETWORK in
            stalls) echo "GET $4" >&2 && exit 124 ;;
            hiccups) echo "GET $4: 502 Bad Gateway" >&2 && exit 1 ;;
            unknown) echo 'x.go:3:8: no required module provides package x; to add it:' >&2 && exit 1 ;;
        esac
        ;;
    build*)
        echo "$GOFLAGS|CGO_ENABLED=$CGO_ENABLED|$HOME|$*" >>"$CALLS"
        mkdir -p "$GOMODCACHE/chi" "$GOCACHE/00" && touch "$GOMODCACHE/chi/chi.go" "$GOCACHE/00/x" "$HOME/counter"
        chmod a-w "$GOMODCACHE/chi" # as a Go that was fetched
        while [ "$1" != -o ]; do shift; done
        echo "made of $3" >"$2" && chmod 700 "$2"
        ;;
    *) echo "what is go $*" >&2 && exit 9 ;;
esac
"""
NOT_A_MOUNT = '#!/bin/sh\n[ "$2" = "$VOLUME" ]\n'
BECOMES = '#!/bin/sh\nshift 2\nexec "$@"\n'

MAIN = "package main\n"
MODULE = {"go.mod": "module example.com/shop\n\ngo 1.24\n"}
ROOT = {**MODULE, "main.go": MAIN}
FLAGS = "-trimpath -buildvcs=false -modcacherw '-ldflags=-s -w -buildid='"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container: its programs, its upload and its application."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "src"

    @property
    def application(self) -> Path:
        return self.root / "root" / "app"

    @property
    def cache(self) -> Path:
        return self.root / "root" / "cache"

    def has(self, **programs: str) -> Host:
        provide(self.root / "programs", programs)
        return self

    def run(self, name: str, *arguments: str, **environ: str) -> Ended:
        return run(SCRIPTS / name, *arguments, root=self.root, cwd=self.root, environ={**self._environ(), **environ})

    def assemble(self, files: Mapping[str, str], **environ: str) -> Ended:
        write(self.source, files)
        return self.run("assemble", **environ)

    def _environ(self) -> Mapping[str, str]:
        return {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "TMPDIR": str(self.root / "tmp"),
            "HOME": str(self.root / "root"),
            "S2I_DESTINATION": str(self.root),
            "APP_ROOT": str(self.root / "root"),
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine with a Go of its own and nothing mounted."""
    for directory in ("programs", "tmp", "src", "root/app", "root/cache/build", "root/cache/mod"):
        (tmp_path / directory).mkdir(parents=True)
    return Host(root=tmp_path).has(go=GO, mountpoint=NOT_A_MOUNT, tini=BECOMES)


def left(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


# ---------------------------------------------------------------------------------------------------- what is built


@pytest.mark.parametrize(
    ("files", "environ", "package"),
    [
        pytest.param(ROOT, {}, ".", id="the root"),
        pytest.param({**ROOT, "cmd/tool/main.go": MAIN}, {}, ".", id="the root before cmd"),
        pytest.param({**MODULE, "cmd/api/main.go": MAIN}, {}, "./cmd/api", id="the only one below cmd"),
        pytest.param(
            {**MODULE, "cmd/api/main.go": MAIN, "tools/gen.go": MAIN}, {}, "./cmd/api", id="cmd before others"
        ),
        pytest.param({**MODULE, "server/main.go": MAIN}, {}, "./server", id="the only one anywhere"),
        pytest.param({**ROOT, "cmd/b/x.go": MAIN}, {"GO_MAIN": "cmd/b"}, "./cmd/b", id="a directory that is named"),
        pytest.param({**ROOT, "cmd/b/x.go": MAIN}, {"GO_MAIN": "./cmd/b/"}, "./cmd/b", id="as a shell completes it"),
        pytest.param({**ROOT, "cmd/b/x.go": MAIN}, {"GO_MAIN": "cmd/b/x.go"}, "./cmd/b", id="a file that is named"),
        pytest.param(ROOT, {"GO_MAIN": "example.com/shop"}, "example.com/shop", id="a path of import"),
        pytest.param(ROOT, {"INSTALL_URL": "example.com/shop"}, "example.com/shop", id="the other name of it"),
        pytest.param({"go.work": "", "api/go.mod": "", "api/x.go": MAIN}, {}, "./api", id="a workspace"),
        pytest.param({"back/go.mod": "", "back/x.go": MAIN}, {"APP_PATH": "back"}, ".", id="a module below"),
        pytest.param({"main.go": MAIN}, {}, ".", id="a program without a module"),
    ],
)
def test_the_main_package_is_found(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], package: str
) -> None:
    ended = host.assemble(files, **environ)
    assert (ended.status, ended.stderr) == (0, "")
    assert (host.application / "main").read_text() == f"made of {package}\n"


@pytest.mark.parametrize(
    ("files", "environ", "said"),
    [
        ({}, {}, ("the source is empty",)),
        ({"README": ""}, {}, ("there is no go.mod here", "name the directory where it lies with --build-env APP_PATH")),
        (ROOT, {"APP_PATH": "nowhere"}, ("APP_PATH names nowhere, which is no directory of the source",)),
        ({**MODULE, "shop.go": "package shop"}, {}, ("there is no main package here, only a library",)),
        (
            {**MODULE, "cmd/a/x.go": MAIN, "cmd/b/x.go": MAIN, "tools/x.go": MAIN},
            {},
            ("there are several main packages: ./cmd/a ./cmd/b", "GO_MAIN=./cmd/a"),
        ),
        (
            ROOT,
            {"GO_MAIN": "cmd/gone"},
            ("GO_MAIN names cmd/gone, which is no main package", "those that are here: ."),
        ),
        (ROOT, {"INSTALL_URL": "cmd/gone"}, ("INSTALL_URL names cmd/gone, which is no main package",)),
        (
            ROOT,
            {"CGO_ENABLED": "1", "CC": "no-such-cc"},
            ("CGO_ENABLED=1 needs a C compiler, and this builder has none",),
        ),
        (
            ROOT,
            {"REFUSED": "1"},
            ("the Go that go.mod asks for is not to be had; this builder has go1.24.4", 'write "go 1.24.4" in go.mod'),
        ),
        (ROOT, {"GO_ASSETS": "gone"}, ("GO_ASSETS names gone, and there is no such file or directory",)),
        (ROOT, {"GO_ASSETS": "../etc"}, ("GO_ASSETS names ../etc, which is not below the module",)),
        (ROOT, {"GO_ASSETS": "/etc"}, ("GO_ASSETS names /etc, which is not below the module",)),
        ({**ROOT, "main/x": ""}, {"GO_ASSETS": "./main"}, ("an asset may not be called main, as the program is",)),
    ],
)
def test_what_cannot_be_built_is_said_and_what_to_do_about_it(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], said: tuple[str, ...]
) -> None:
    ended = host.assemble(files, **environ)
    assert (ended.status, ended.stderr.splitlines()[0]) == (1, f"error: {said[0]}")
    assert all(text in ended.stderr for text in said)
    assert (left(host.root / "tmp"), ended.calls) == ([], ())


@pytest.mark.parametrize(
    ("environ", "call"),
    [
        ({}, f"{FLAGS}|CGO_ENABLED=0|/scratch|build -o /root/app/main ."),
        ({"GOFLAGS": "-tags=prod"}, f"{FLAGS} -tags=prod|CGO_ENABLED=0|/scratch|build -o /root/app/main ."),
        (
            {"GO_LDFLAGS": "-X main.version=1.2"},
            f"{FLAGS}|CGO_ENABLED=0|/scratch|build -ldflags=-s -w -buildid= -X main.version=1.2 -o /root/app/main .",
        ),
    ],
)
def test_it_is_built_without_a_trace_of_place_and_time_and_the_project_s_flags_come_last(
    host: Host, environ: Mapping[str, str], call: str
) -> None:
    assert host.assemble(ROOT, **environ).calls == (call,)


def test_another_go_is_said_aloud(host: Host) -> None:
    ended = host.assemble(ROOT, GO_MOD="go1.25.1")
    assert ended.stdout.splitlines() == [
        "---> go.mod asks for go1.25.1, which comes through GOPROXY: this builder has go1.24.4",
        "---> Building . with go1.25.1",
    ]


def test_a_source_without_a_module_is_called_as_the_user_says(host: Host) -> None:
    host.assemble({"main.go": MAIN}, IMPORT_URL="example.com/old")
    assert (host.source / "go.mod").read_text() == "module example.com/old\n"


# ------------------------------------------------------------------------------------------------------ the network


STALLED = "go has taken more than {} seconds, and is asked again: what has come is kept"
ONCE_MORE = "The network may have been at fault: go is asked again"


@pytest.mark.parametrize(
    ("network", "status", "said"),
    [
        ("stalls", 124, [f"---> {STALLED.format(60)}", f"---> {STALLED.format(180)}"]),
        ("hiccups", 1, [f"---> {ONCE_MORE}", f"---> {ONCE_MORE}"]),
        (
            "unknown",
            1,
            ["error: go.mod and go.sum do not name all that is imported", "       complete them with: go mod tidy"],
        ),
    ],
)
def test_a_network_that_fails_is_tried_again_and_a_source_is_not(
    host: Host, network: str, status: int, said: list[str]
) -> None:
    ended = host.assemble(ROOT, NETWORK=network)
    of_ours = [line for line in ended.stderr.splitlines() if not line.startswith(("GET", "x.go"))]
    assert (ended.status, of_ours, ended.calls) == (status, said, ())


def test_a_failing_build_ends_with_its_own_status(host: Host) -> None:
    host.has(go=GO.replace("    build*)", "    build*) exit 3 ;;\n    never)"))
    assert host.assemble(ROOT).status == 3
    assert left(host.root / "tmp") == []


# ----------------------------------------------------------------------------------------------- what lies beside it


@pytest.mark.parametrize(
    ("environ", "taken"),
    [
        ({}, ["main", "static", "static/a b.css", "templates", "templates/x.html"]),
        ({"GO_ASSETS": ""}, ["main"]),
        ({"GO_ASSETS": "web/dist *.yaml"}, ["config.yaml", "main", "web", "web/dist", "web/dist/x.js"]),
    ],
)
def test_the_files_that_a_program_reads_lie_beside_it(host: Host, environ: Mapping[str, str], taken: list[str]) -> None:
    assets = ("static/a b.css", "templates/x.html", "web/dist/x.js", "web/x.ts", "config.yaml", "README")
    assert host.assemble({**ROOT, **dict.fromkeys(assets, "")}, **environ).status == 0
    assert left(host.application) == taken


def test_any_user_of_group_0_may_do_what_the_owner_may(host: Host) -> None:
    write(host.source, {**ROOT, "static/x": "", "static/locked": ""})
    (host.source / "static" / "locked").chmod(0o400)
    host.assemble({})
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in host.application.rglob("*")}
    assert modes == {"main": "0o770", "static": "0o775", "x": "0o664", "locked": "0o440"}


@pytest.mark.parametrize(
    ("environ", "times"),
    [
        ({}, {"main": 0, "old": 1, "new": 1_800_000_000}),
        ({"SOURCE_DATE_EPOCH": "1700000000"}, {"main": 1_700_000_000, "old": 1, "new": 1_700_000_000}),
    ],
)
def test_the_binary_has_the_date_of_the_source_or_none(
    host: Host, environ: Mapping[str, str], times: Mapping[str, int]
) -> None:
    write(host.source, {**ROOT, "static/old": "", "static/new": ""})
    os.utime(host.source / "static" / "old", (1, 1))
    os.utime(host.source / "static" / "new", (1_800_000_000, 1_800_000_000))
    host.assemble({}, **environ)
    assert {path.name: int(path.stat().st_mtime) for path in host.application.rglob("*") if path.is_file()} == times


# ------------------------------------------------------------------------------------------------------- the caches


def test_neither_caches_nor_what_go_keeps_at_home_are_left(host: Host) -> None:
    host.assemble(ROOT)
    assert left(host.root / "root") == ["app", "app/main", "cache", "cache/build", "cache/mod"]
    assert left(host.root / "tmp") == []


@pytest.mark.parametrize("volume", ["", "/build"])
def test_what_a_volume_keeps_stays_in_it(host: Host, volume: str) -> None:
    host.assemble(ROOT, VOLUME=f"{host.cache}{volume}")
    kept = ["build", "build/00", "build/00/x", "mod"]
    assert left(host.cache) == kept + ([] if volume else ["mod/chi", "mod/chi/chi.go"])


def saved(host: Host) -> None:
    """Give the next build what the last one left, as s2ictl does."""
    done = subprocess.run(
        [str(SCRIPTS / "save-artifacts")],
        env={"PATH": os.environ["PATH"], "APP_ROOT": str(host.root / "root")},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    for place in ("root", "src"):
        shutil.rmtree(host.root / place)
    for place in ("artifacts", "root/app", "root/cache/build", "root/cache/mod"):
        (host.root / place).mkdir(parents=True)
    subprocess.run(["tar", "-C", str(host.root / "artifacts"), "-xf", "-"], input=done.stdout, check=True)


def test_the_next_build_begins_with_the_caches_of_the_last_where_those_were_kept(host: Host) -> None:
    host.assemble(ROOT, GO_KEEP_CACHE="1")
    saved(host)
    host.has(go=GO.replace("build*)", 'build*) find "$GOMODCACHE" "$GOCACHE" -type f >>"$CALLS"'))
    calls = host.assemble(ROOT).calls
    assert calls[:2] == ("/scratch/mod/chi/chi.go", "/scratch/build/00/x")
    assert left(host.cache) == ["build", "mod"]


def test_what_was_saved_does_not_take_the_place_of_a_volume(host: Host) -> None:
    host.assemble(ROOT, GO_KEEP_CACHE="1")
    saved(host)
    write(host.cache, {"build/kept": ""})
    host.assemble(ROOT, VOLUME=str(host.cache))
    assert (host.cache / "build" / "kept").exists()


def test_an_image_without_caches_says_how_to_keep_them(host: Host) -> None:
    host.assemble(ROOT)
    ended = host.run("save-artifacts")
    assert (ended.status, ended.stderr) == (
        0,
        "this image was built without GO_KEEP_CACHE=1, and has nothing for the next build\n",
    )
    assert set(ended.stdout) == {"\0"}


# ------------------------------------------------------------------------------------------------------------- run


def test_the_program_is_started_among_its_files_with_a_port(host: Host) -> None:
    host.has(**{"../root/app/main": '#!/bin/sh\necho "$PWD $PORT $*"\n'})
    ended = host.run("run", "--verbose")
    assert (ended.status, ended.stderr, ended.stdout.splitlines()) == (
        0,
        "",
        ["---> Starting the program on port 8080", f"{host.application} 8080 --verbose"],
    )


def test_a_builder_that_is_run_says_what_it_is(host: Host) -> None:
    ended = host.run("run")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: there is no program in this image: it is a builder")


def test_the_usage_names_every_variable_and_directory_that_assemble_knows() -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    assemble = (SCRIPTS / "assemble").read_text()
    asked = set(re.findall(r"\$\{?((?:APP_PATH|GO_[A-Z]+|GOFLAGS|GOTOOLCHAIN|IMPORT_URL|INSTALL_URL))\b", assemble))
    (assets,) = re.findall(r"ASSETS='(.*)'", assemble)
    assert {name for name in (*asked, assets) if name not in usage} == set()


def test_what_leads_to_modules_reaches_assemble() -> None:
    settings = {"GOPROXY": "p", "GOPRIVATE": "q", "GONOPROXY": "r", "GONOSUMDB": "s", "GOSUMDB": "t", "GOINSECURE": "u"}
    assert dict(package_sources({**settings, "GOPATH": "/root/go"})) == {
        name: Secret(value) for name, value in settings.items()
    }
