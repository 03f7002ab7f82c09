"""The scripts of builders/nodejs, run as they are on this machine; what they call is written down instead of done."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s2ictl.cli.workshop import package_sources
from tests.fakes.node import INSTALLED, MANIFESTS, NODE, says
from tests.scripted import Ended, provide, run, write

BUILDER = Path(__file__).parent.parent / "builders" / "nodejs"
SCRIPTS = BUILDER / "s2i" / "bin"

# Installing lays one package down, as the real ones do; what is said of the mirror is said in the environment.
MANAGER = """#!/bin/sh
[ "$*" != --version ] || { echo "${YARN_VERSION:-1.22.22}" && exit; }
[ "${1:-}" != pack ] || { printf tarball >"$4/x.tgz" && exit; }
echo "${0##*/} $*${npm_config_registry:+ from $npm_config_registry}" >>"$CALLS"
case "$*" in
    *--global*) ;;
    ci* | install*) mkdir -p node_modules/left && touch node_modules/left/pad.js node_modules/.package-lock.json ;;
    *"run build"*) mkdir -p ${BUILT:-built} && touch "${BUILT:-built}/index.html" ;;
esac
[ ! -f yarn.lock ] || cp yarn.lock "$CALLS.lock"
[ ! -f "$HOME/.npmrc" ] || cp "$HOME/.npmrc" "$CALLS.npmrc"
"""
MOUNTED, NOT_MOUNTED = "#!/bin/sh\n", "#!/bin/sh\nexit 1\n"
BECOMES = """#!/bin/sh
shift 3
exec "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container: its programs, its upload and its application."""

    root: Path

    @property
    def source(self) -> Path:
        return self.root / "src"

    @property
    def application(self) -> Path:
        return self.root / "app" / "src"

    def has(self, **programs: str) -> Host:
        provide(self.root / "programs", programs)
        return self

    def assemble(self, files: Mapping[str, str], **environ: str) -> Ended:
        write(self.source, files)
        return self.run("assemble", **environ)

    def run(self, name: str, *arguments: str, **environ: str) -> Ended:
        said = self.root / "said"
        lies = self.source if (self.source / "package.json").exists() else self.application
        said.write_text(says(_package_files(lies), environ))
        return run(
            SCRIPTS / name,
            *arguments,
            root=self.root,
            cwd=self.application,
            environ={**self._environ(), "SAID": str(said), **environ},
        )

    def told(self, what: str) -> str:
        """What a package manager found in a file when it was called last."""
        return (self.root / f"calls.{what}").read_text()

    def _environ(self) -> Mapping[str, str]:
        return {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "TMPDIR": str(self.root / "tmp"),
            "HOME": str(self.root / "app"),
            "S2I_DESTINATION": str(self.root),
            "APP_ROOT": str(self.root / "app"),
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for directory in ("programs", "tmp", "src", "app/src"):
        (tmp_path / directory).mkdir(parents=True)
    compiler = "#!/bin/sh\n"
    return Host(root=tmp_path).has(
        **{"node": NODE, "npm": MANAGER, "yarn": MANAGER, "pnpm": MANAGER, "tini": BECOMES, "c++": compiler},
        mountpoint=NOT_MOUNTED,
    )


def _package_files(directory: Path) -> Mapping[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("package.json")}


def package(**said: Any) -> str:
    return json.dumps({"name": "shop", "version": "1.0", **said})


SERVER = {"server.js": ""}
PAD = "node_modules/left/pad.js"
START = package(scripts={"start": "node app.js"})
BUILD = package(scripts={"start": "node app.js", "build": "tsc"}, devDependencies={"typescript": "5"})


# ------------------------------------------------------------------------------------------------ what is to be run


@pytest.mark.parametrize(
    ("files", "environ", "plan"),
    [
        pytest.param({"package.json": START}, {}, "script node app.js", id="the start script"),
        pytest.param({"package.json": START, "Procfile": "web: node x.js"}, {}, "script node x.js", id="Procfile"),
        pytest.param({"package.json": package(), **SERVER}, {}, "node server.js", id="server.js as npm has it"),
        pytest.param({"package.json": package(main="lib/x.js"), "lib/x.js": ""}, {}, "node lib/x.js", id="main"),
        pytest.param({"package.json": package(main="x.js"), "app.js": ""}, {}, "node app.js", id="main that is not"),
        pytest.param(SERVER, {}, "node server.js", id="no package.json"),
        pytest.param({".output/server/index.mjs": ""}, {}, "node .output/server/index.mjs", id="Nuxt"),
        pytest.param({"build/handler.js": "", "build/index.js": ""}, {}, "node build/index.js", id="SvelteKit"),
        pytest.param({"dist/index.html": ""}, {}, "files dist", id="Vite"),
        pytest.param({"dist/shop/browser/index.html": ""}, {}, "files dist/shop/browser", id="Angular"),
        pytest.param(
            {"package.json": package(scripts={"start": "react-scripts start"}), "build/index.html": ""},
            {},
            "files build",
            id="a start script for developers",
        ),
        pytest.param(
            {"package.json": package(scripts={"start": "vite preview"}), "dist/index.html": ""},
            {},
            "script vite preview",
            id="a start script for everybody",
        ),
        pytest.param(
            {"package.json": package(scripts={"start": "a", "serve": "b"})},
            {"NPM_RUN": "serve"},
            "script b",
            id="NPM_RUN",
        ),
        pytest.param(
            {"package.json": package(scripts={"start": "a", "dev": "b"})},
            {"DEV_MODE": "true"},
            "script b",
            id="DEV_MODE",
        ),
        pytest.param(
            {"package.json": START, **SERVER},
            {"NODE_CMD": "node server.js -v"},
            "script node server.js -v",
            id="NODE_CMD",
        ),
        pytest.param(SERVER, {"DEV_MODE": "true"}, "watched server.js", id="DEV_MODE without a script"),
    ],
)
def test_what_is_run_follows_from_the_files(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], plan: str
) -> None:
    write(host.application, files)
    assert host.run("run", "--plan", **environ) == Ended(status=0, stdout=f"{plan}\n", stderr="", calls=())


@pytest.mark.parametrize(
    ("files", "environ", "first_line"),
    [
        (
            {},
            {},
            "nothing here can be run: no start script in package.json, no Procfile, server.js, index.js or app.js",
        ),
        ({"package.json": START}, {"NPM_RUN": "x"}, "NPM_RUN names x, which is no script of package.json"),
        (
            {"package.json": package(scripts={"start": "yarn workspace api start"})},
            {},
            "what starts the application calls yarn, and no package manager but npm is in the image: yarn",
        ),
        ({"package.json": "{"}, {}, "package.json is not readable: "),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line_that_makes_sense_alone(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], first_line: str
) -> None:
    write(host.application, files)
    ended = host.run("run", **environ)
    assert (ended.status, ended.stdout, ended.calls) == (1, "", ())
    assert ended.stderr.splitlines()[0].startswith("error: " + first_line)


@pytest.mark.parametrize(
    ("files", "environ", "calls"),
    [
        ({"package.json": START}, {}, ("node app.js",)),
        (SERVER, {}, ("node server.js",)),
        (
            {"package.json": package(scripts={"prestart": "node a.js", "start": "NODE_ENV=x node $PORT"})},
            {"PORT": "9000"},
            ("node a.js", "node 9000"),
        ),
        (SERVER, {"DEV_MODE": "true"}, ("node --watch --inspect=127.0.0.1:5858 server.js",)),
        ({"dist/index.html": ""}, {}, ("sirv dist --host 0.0.0.0 --port 8080 --etag --maxage 0 --no-clear --single",)),
        (
            {"dist/index.html": ""},
            {"SPA_FALLBACK": "false", "PORT": "1"},
            ("sirv dist --host 0.0.0.0 --port 1 --etag --maxage 0 --no-clear",),
        ),
    ],
)
def test_the_application_is_started(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], calls: tuple[str, ...]
) -> None:
    write(host.application, files)
    ended = host.has(sirv=MANAGER).run("run", **environ)
    assert (ended.status, ended.calls, ended.stderr) == (0, calls, "")


def test_programs_of_packages_are_found_and_the_variables_of_npm_are_there(host: Host) -> None:
    shows = '#!/bin/sh\necho "$NODE_ENV $HOST $npm_package_name $npm_package_version $npm_lifecycle_event" >>"$CALLS"\n'
    write(host.application, {"package.json": package(scripts={"start": "serve"}), "node_modules/.bin/serve": shows})
    (host.application / "node_modules/.bin/serve").chmod(0o755)
    assert host.run("run").calls == ("production 0.0.0.0 shop 1.0 start",)


# ------------------------------------------------------------------------------------------------ what is installed

MIRROR = "https://mirror.invalid/npm/"
GLOBAL = "npm install --global --prefix /scratch/tool --no-audit --no-fund --loglevel=error"
PNPM = "--reporter=append-only --config.store-dir=/scratch/kept/pnpm --config.confirm-modules-purge=false"
YARN = "--frozen-lockfile --non-interactive --no-progress"
BERRY = "__metadata:\n  version: 10\n\n"


@pytest.mark.parametrize(
    ("files", "environ", "calls"),
    [
        pytest.param(
            {"package.json": START, "package-lock.json": ""}, {}, ("npm ci --omit=dev --no-audit --no-fund",), id="npm"
        ),
        pytest.param(
            {"package.json": START, "package-lock.json": ""},
            {"NPM_MIRROR": "https://mirror.invalid/npm"},
            (f"npm ci --omit=dev --no-audit --no-fund from {MIRROR}",),
            id="npm from a mirror",
        ),
        pytest.param(
            {"package.json": START},
            {},
            ("npm install --no-package-lock --omit=dev --no-audit --no-fund",),
            id="npm without a lock",
        ),
        pytest.param(
            {"package.json": START, "package-lock.json": ""},
            {"NODE_ENV": "development"},
            ("npm ci --include=dev --no-audit --no-fund",),
            id="for developers",
        ),
        pytest.param(
            {"package.json": package(scripts={"start": "node x", "prepare": "husky"}), "package-lock.json": ""},
            {},
            ("npm ci --include=dev --no-audit --no-fund",),
            id="with a script that npm calls",
        ),
        pytest.param(
            {"package.json": BUILD, "package-lock.json": ""},
            {},
            (
                "npm ci --include=dev --no-audit --no-fund",
                "npm run build",
                "npm prune --omit=dev --ignore-scripts --no-save --no-audit --no-fund",
            ),
            id="with a build",
        ),
        pytest.param(
            {"package.json": START, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n", "package-lock.json": ""},
            {},
            (f"{GLOBAL} pnpm@10.34.8", f"pnpm install --prod --frozen-lockfile {PNPM}"),
            id="pnpm",
        ),
        pytest.param(
            {"package.json": START, "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"},
            {},
            (f"{GLOBAL} pnpm@8.15.9", f"pnpm install --prod --frozen-lockfile {PNPM}"),
            id="an older pnpm",
        ),
        pytest.param(
            {"package.json": START, "yarn.lock": "# yarn lockfile v1\n"},
            {"YARN_ARGS": "--flat"},
            (f"{GLOBAL} yarn@1.22.22", f"yarn install --production=true {YARN} --flat"),
            id="Yarn 1",
        ),
        pytest.param(
            {"package.json": START},
            {"YARN_ENABLED": "true"},
            (
                f"{GLOBAL} yarn@1.22.22",
                "yarn install --production=true --no-lockfile --non-interactive --no-progress",
            ),
            id="Yarn because it is said",
        ),
        pytest.param(
            {"package.json": START, "yarn.lock": BERRY},
            {"YARN_VERSION": "4.18.1"},
            (f"{GLOBAL} @yarnpkg/cli-dist@4.18.1", "yarn install --immutable"),
            id="Yarn 4",
        ),
        pytest.param(
            {"package.json": START, "yarn.lock": BERRY.replace("10", "8")},
            {"YARN_VERSION": "4.13.0"},
            (f"{GLOBAL} @yarnpkg/cli-dist@4.13.0", "yarn install --immutable"),
            id="an older Yarn 4",
        ),
        pytest.param(
            {"package.json": package(packageManager="yarn@3.6.1", scripts={"start": "x"}), "yarn.lock": BERRY},
            {"YARN_VERSION": "3.6.1"},
            (f"{GLOBAL} @yarnpkg/cli-dist@3.6.1", "yarn install --immutable"),
            id="the Yarn that is pinned",
        ),
    ],
)
def test_packages_come_by_the_manager_that_wrote_them_down(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], calls: tuple[str, ...]
) -> None:
    ended = host.assemble({**files, "app.js": ""}, **environ)
    assert (ended.status, ended.calls, ended.stderr) == (0, calls, "")


@pytest.mark.parametrize(
    "name", ["NPM_CONFIG_LOGLEVEL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "NPM_TOKEN"]
)
def test_npm_is_given_what_it_reads_from_its_environment(host: Host, name: str) -> None:
    host.has(npm=f'#!/bin/sh\necho "${name}" >>"$CALLS"\n')
    assert host.assemble({"package.json": START, "app.js": ""}, **{name: "said"}).calls == ("said",)


def test_the_script_that_builds_is_the_one_that_is_named(host: Host) -> None:
    manifest = package(scripts={"start": "node app.js", "bundle": "b"})
    assert "npm run bundle" in host.assemble({"package.json": manifest, "app.js": ""}, NPM_BUILD="bundle").calls


def test_a_project_without_packages_is_taken_as_it_is(host: Host) -> None:
    assert (host.assemble(SERVER).status, host.assemble(SERVER).calls) == (0, ())


def test_the_yarn_that_lies_in_the_source_is_used(host: Host) -> None:
    files = {"package.json": START, "yarn.lock": BERRY, ".yarnrc.yml": "yarnPath: .yarn/releases/yarn-4.cjs\n"}
    ended = host.assemble({**files, ".yarn/releases/yarn-4.cjs": ""})
    release = "node /app/src/.yarn/releases/yarn-4.cjs"
    assert ended.calls == (f"{release} --version", f"{release} install --immutable")


@pytest.mark.parametrize(
    ("digest", "status", "said"),
    [
        (f"sha512.{hashlib.sha512(b'tarball').hexdigest()}", 0, ""),
        (f"sha1.{hashlib.sha1(b'tarball', usedforsecurity=False).hexdigest()}", 0, ""),
        (f"sha512.{hashlib.sha512(b'another').hexdigest()}", 1, "error: what came as pnpm@9.1.0 is not what"),
        ("rm.0", 1, "error: package.json pins pnpm@9.1.0 by rm, which is no digest that is known here"),
    ],
)
def test_a_manager_that_is_pinned_by_digest_must_have_it(host: Host, digest: str, status: int, said: str) -> None:
    manifest = package(packageManager=f"pnpm@9.1.0+{digest}", scripts={"start": "x"})
    ended = host.assemble({"package.json": manifest, "pnpm-lock.yaml": ""})
    assert (ended.status, ended.stderr.startswith(said)) == (status, True)


def test_development_packages_stay_where_what_is_started_is_one_of_them(host: Host) -> None:
    manifest = package(scripts={"start": "tsx app.ts", "build": "b"}, devDependencies={"tsx": "4"})
    tool = {"node_modules/tsx/package.json": '{"bin": {"tsx": "x"}}'}
    ended = host.assemble({"package.json": manifest, **tool})
    assert [call for call in ended.calls if "prune" in call] == []
    assert "needs tsx, which is a development dependency" in ended.stdout


def test_an_unknown_build_script_fails_with_the_names_of_those_there_are(host: Host) -> None:
    ended = host.assemble({"package.json": START}, NPM_BUILD="bundle")
    assert (ended.status, ended.stderr.splitlines()) == (
        1,
        ["error: NPM_BUILD names bundle, which is no script of package.json", "       its scripts are start"],
    )


def test_files_that_were_built_are_kept_without_the_packages_that_built_them(host: Host) -> None:
    manifest = package(scripts={"build": "vite build"}, devDependencies={"vite": "7"})
    ended = host.assemble({"package.json": manifest, "index.html": "the source of it"}, BUILT="dist")
    assert (ended.status, left(host.root / "app" / "site")) == (0, ["index.html"])
    assert left(host.application) == ["index.html", "package.json"]
    assert host.run("run", "--plan").stdout == f"files {host.root}/app/site\n"


@pytest.mark.parametrize(("name", "status"), [("README", 1), ("scripts", 0)])
def test_a_source_that_cannot_be_run_fails_when_it_is_built_unless_it_brings_a_run_script(
    host: Host, name: str, status: int
) -> None:
    if name == "scripts":
        write(host.root, {"scripts/run": "#!/bin/sh\n"})
    assert host.assemble({"README": "nothing"}).status == status


def test_an_empty_source_is_refused(host: Host) -> None:
    ended = host.assemble({})
    assert (ended.status, ended.stderr) == (1, "error: the source is empty\n")


def test_a_failing_installation_fails_the_build_with_its_own_status(host: Host) -> None:
    host.has(npm="#!/bin/sh\nexit 3\n")
    assert host.assemble({"package.json": START}).status == 3
    assert left(host.root / "tmp") == []


# -------------------------------------------------------------------------------------------------------- the mirror

LOCK = """# yarn lockfile v1

"@scope/pad@^1.0.0":
  version "1.0.0"
  resolved "https://old.invalid/a/b/@scope/pad/-/pad-1.0.0.tgz#00"

left-pad@^1.3.0:
  version "1.3.0"
  resolved "https://old.invalid/left-pad/-/left-pad-1.3.0.tgz#00"

forked@1:
  resolved "https://git.invalid/forked/archive/1.tar.gz#00"
"""


def test_a_yarn_lock_is_followed_at_the_mirror_and_stays_as_it_was(host: Host) -> None:
    host.assemble({"package.json": START, "yarn.lock": LOCK}, YARN_REGISTRY=MIRROR)
    assert re.findall('resolved "(.*)"', host.told("lock")) == [
        f"{MIRROR}@scope/pad/-/pad-1.0.0.tgz#00",
        f"{MIRROR}left-pad/-/left-pad-1.3.0.tgz#00",
        "https://git.invalid/forked/archive/1.tar.gz#00",
    ]
    assert (host.application / "yarn.lock").read_text() == LOCK


def test_the_login_of_a_mirror_is_where_npm_looks_for_it_and_nowhere_else(host: Host) -> None:
    ended = host.assemble(
        {"package.json": START, "package-lock.json": ""}, NPM_CONFIG_REGISTRY="https://me:canary@mirror.invalid/npm"
    )
    assert ended.calls == (f"npm ci --omit=dev --no-audit --no-fund from {MIRROR}",)
    assert host.told("npmrc") == "//mirror.invalid/npm/:_auth=bWU6Y2FuYXJ5\n"
    kept = [path for path in (host.root / "app").rglob("*") if path.is_file()]
    assert [path for path in kept if re.search("canary|mirror", path.read_text())] == []


def test_every_name_of_a_mirror_that_assemble_knows_reaches_it_from_the_environment_of_the_user() -> None:
    known = "".join(re.findall(r"mirror=(\$\{.*:-.*)", (SCRIPTS / "packages").read_text()))
    names = set(re.findall(r"[A-Za-z_]{4,}", known)) - {"mirror"}
    environ = dict.fromkeys(names, "https://mirror.invalid")
    assert {name for name, _ in package_sources(environ)} == names


# -------------------------------------------------------------------------------------------------- what is left


def left(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_the_source_is_moved_whole_and_what_the_tools_noted_is_gone(host: Host) -> None:
    host.assemble({"server.js": "", ".env.example": "", "a b/c.txt": "", "-n": "", "package.json": package()})
    assert [path for path in left(host.application) if "node_modules" not in path] == [
        *("-n", ".env.example", "a b", "a b/c.txt", "package.json", "server.js")
    ]
    assert "node_modules/.package-lock.json" not in left(host.application)
    assert (left(host.source), left(host.root / "tmp")) == ([], [])


def test_any_user_of_group_0_may_do_what_the_owner_may(host: Host) -> None:
    write(host.source, {"server.js": "", "data/x": ""})
    (host.source / "data").chmod(0o700)
    host.run("assemble")
    assert oct((host.application / "data").stat().st_mode & 0o777) == "0o770"


def test_all_that_a_build_brings_has_the_date_of_the_source(host: Host) -> None:
    write(host.source, {"server.js": "", "data/old.txt": "", "package.json": package()})
    os.utime(host.source / "data/old.txt", (1, 1))
    host.run("assemble", SOURCE_DATE_EPOCH="1700000000")
    assert {int(path.stat().st_mtime) for path in (host.root / "app").rglob("*")} == {1700000000}


def test_what_was_there_before_keeps_its_date(host: Host) -> None:
    from_locks(host, LOCKED, SOURCE_DATE_EPOCH="1")
    time.sleep(0.02)
    host.assemble(LOCKED, SOURCE_DATE_EPOCH="1700000000")
    times = {path.name: int(path.stat().st_mtime) for path in (host.root / "app").rglob("*") if path.is_file()}
    assert times == {**dict.fromkeys(LOCKED, 1700000000), "pad.js": 1, ".decided-by": 1}


# ------------------------------------------------------------------------------------------- packages, on their own


def from_locks(host: Host, files: Mapping[str, str], **environ: str) -> Ended:
    """Run the script `dependencies` as a build does, where nothing but the files that decide is."""
    write(host.source, {name: text for name, text in files.items() if name != "app.js"})
    ended = host.run("dependencies", **environ)
    shutil.rmtree(host.source)
    return ended


LOCKED = {"package.json": START, "package-lock.json": "{}", "app.js": ""}
NPM = "--no-audit --no-fund"


def test_packages_are_installed_without_the_source_and_found_installed_with_it(host: Host) -> None:
    ended = from_locks(host, LOCKED)
    assert (ended.status, ended.calls) == (0, (f"npm ci --omit=dev {NPM}",))
    assert left(host.application) == [*("node_modules", "node_modules/.decided-by", "node_modules/left"), PAD]
    ended = host.assemble({**LOCKED, "node_modules/of/another.js": ""})
    assert (ended.status, ended.calls) == (0, ())
    assert {PAD, "app.js"} <= set(left(host.application))
    assert "node_modules/of" not in left(host.application)


def test_packages_that_were_installed_of_other_files_are_installed_again(host: Host) -> None:
    from_locks(host, LOCKED)
    assert host.assemble({**LOCKED, "package-lock.json": "{ }"}).calls == (f"npm ci --omit=dev {NPM}",)


def test_what_only_a_build_needs_is_added_for_it_and_taken_away_again(host: Host) -> None:
    files = {**LOCKED, "package.json": BUILD}
    assert from_locks(host, files).calls == (f"npm ci --omit=dev {NPM}",)
    assert host.assemble(files).calls == (
        f"npm install --include=dev --no-save {NPM}",
        "npm run build",
        f"npm prune --omit=dev --ignore-scripts --no-save {NPM}",
    )


def test_packages_below_files_that_were_built_stay_for_no_mark_to_hide_them(host: Host) -> None:
    files = {**LOCKED, "package.json": package(scripts={"start": "vite", "build": "vite build"})}
    from_locks(host, files)
    assert host.assemble(files, BUILT="dist").status == 0
    assert PAD in left(host.application)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"package.json": START}, "there is no lock file"),
        (
            {"package.json": package(scripts={"start": "x", "prepare": "husky"}), "package-lock.json": ""},
            "package.json has scripts that take part in it (prepare)",
        ),
        (
            {"package.json": package(dependencies={"core": "file:core"}), "package-lock.json": ""},
            "some of them lie in the source",
        ),
        (
            {"package.json": package(workspaces=["packages/*"]), "package-lock.json": ""},
            "some of them lie in the source",
        ),
        (
            {"package.json": START, "pnpm-lock.yaml": "", "pnpm-workspace.yaml": "packages:\n  - core\n"},
            "some of them lie in the source",
        ),
        (
            {"package.json": START, "yarn.lock": BERRY, ".yarnrc.yml": "yarnPath: .yarn/releases/yarn-4.cjs\n"},
            "Yarn itself lies in the source",
        ),
        (
            {"package.json": BUILD, "pnpm-lock.yaml": ""},
            "there is a build script, and pnpm would write all of them anew to take away what only that needs",
        ),
        (
            {"package.json": package(scripts={"build": "vite build"}), "package-lock.json": ""},
            "there is a build script and no start script, so what is built may need none of them",
        ),
    ],
)
def test_packages_that_need_the_source_are_left_to_assemble_with_the_reason_in_one_line(
    host: Host, files: Mapping[str, str], why: str
) -> None:
    ended = from_locks(host, files)
    assert (ended.status, ended.stdout, ended.stderr) == (
        0,
        f"---> The packages are installed with the source: {why}\n",
        "",
    )
    assert (ended.calls, left(host.root / "app")) == ((), ["src"])


def test_locks_of_nothing_are_left_alone(host: Host) -> None:
    ended = from_locks(host, {"yarn.lock": ""})
    assert (ended.status, ended.stdout, left(host.root / "app")) == (0, "---> There is no package.json\n", ["src"])


# ---------------------------------------------------------------------------------------------------------- caches

SHOWS_CACHES = """#!/bin/sh
case $* in
    --version) echo 1.22.22 ;;
    *--global*) ;;
    *) echo "$npm_config_cache $YARN_GLOBAL_FOLDER ${YARN_CACHE_FOLDER:-} $*" >>"$CALLS" ;;
esac
"""


@pytest.mark.parametrize(("mounted", "kept"), [(MOUNTED, "/var/cache/s2i"), (NOT_MOUNTED, "/scratch/kept")])
@pytest.mark.parametrize(
    ("lock", "arguments"),
    [
        ({"package-lock.json": ""}, "{kept}/npm {kept}/yarn  ci --omit=dev --no-audit --no-fund"),
        ({"yarn.lock": ""}, "{kept}/npm {kept}/yarn {kept}/yarn-classic install --production=true " + YARN),
        (
            {"pnpm-lock.yaml": ""},
            "{kept}/npm {kept}/yarn  install --prod --frozen-lockfile " + PNPM.replace("/scratch/kept", "{kept}"),
        ),
    ],
)
def test_downloads_are_kept_where_a_cache_is_mounted_and_nowhere_else(
    host: Host, mounted: str, kept: str, lock: Mapping[str, str], arguments: str
) -> None:
    host.has(npm=SHOWS_CACHES, yarn=SHOWS_CACHES, pnpm=SHOWS_CACHES, mountpoint=mounted)
    ended = host.assemble({"package.json": START, "app.js": "", **lock})
    assert (ended.calls[0].rstrip(), left(host.root / "tmp")) == (arguments.format(kept=kept), [])


def test_what_yarn_1_has_downloaded_is_not_fetched_again_to_take_the_development_dependencies_away(host: Host) -> None:
    host.has(npm=SHOWS_CACHES, yarn=SHOWS_CACHES + "mkdir -p node_modules\n", mountpoint=MOUNTED)
    ended = host.assemble({"package.json": BUILD, "app.js": "", "yarn.lock": ""})
    caches = [call.split()[2:5] for call in ended.calls]
    classic = "/var/cache/s2i/yarn-classic"
    assert caches == [
        [classic, "install", "--production=false"],
        [classic, "run", "build"],
        [classic, "install", "--production=true"],
    ]


# ------------------------------------------------------------------------------------------------------ incremental


def built_once(host: Host, files: Mapping[str, str]) -> None:
    """Build, and lay what save-artifacts gives where the next build finds it."""
    assert host.assemble(files).status == 0
    saved = subprocess.run(
        [str(SCRIPTS / "save-artifacts")],
        env={"PATH": os.environ["PATH"], "APP_ROOT": str(host.root / "app")},
        capture_output=True,
        check=True,
    )
    shutil.rmtree(host.application)
    for place in (host.application, host.root / "artifacts"):
        place.mkdir()
    if saved.stdout:
        subprocess.run(["tar", "-C", str(host.root / "artifacts"), "-xf", "-"], input=saved.stdout, check=True)


def test_the_packages_of_the_last_build_are_taken_where_nothing_that_decides_them_changed(host: Host) -> None:
    built_once(host, LOCKED)
    ended = host.assemble({**LOCKED, "app.js": "changed"})
    assert (ended.status, ended.calls) == (0, ())
    assert "node_modules/left/pad.js" in left(host.application)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({**LOCKED, "package-lock.json": "{ }"}, id="another lock"),
        pytest.param({**LOCKED, ".npmrc": "legacy-peer-deps=true"}, id="other settings"),
        pytest.param({**LOCKED, "package.json": BUILD}, id="packages were removed after the build"),
    ],
)
def test_the_packages_are_fetched_anew_where_they_may_have_changed(host: Host, changed: Mapping[str, str]) -> None:
    built_once(host, changed if changed["package.json"] == BUILD else LOCKED)
    assert host.assemble(changed).calls[0].startswith("npm ci")


# ----------------------------------------------------------------------------------------------------------- usage


def test_the_usage_names_every_variable_that_the_scripts_read() -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    scripts = "".join((SCRIPTS / name).read_text() for name in ("assemble", "packages", "run"))
    asked = set(re.findall(r"\$\{((?:NPM|YARN|NODE|DEV|DEBUG|SPA|PORT)[A-Z_]*):?[-}%+]", scripts)) - {
        "PNPM_OF_LOCK_5",
        *("YARN_OF_LOCK_6", "YARN_OF_LOCK_8", "YARN_OF_LOCK_9"),
    }
    assert {name for name in asked if name not in usage} == set()
    assert "INIT_WRAPPER" in usage.partition("without effect:")[2]


@pytest.mark.parametrize("manifest", MANIFESTS[:-1])
def test_nothing_in_package_json_is_run_by_being_read(host: Host, manifest: str) -> None:
    write(host.application, {**INSTALLED, "package.json": manifest, "server.js": "", "x.js": ""})
    ended = host.run("run", "--plan")
    assert (ended.status, "uid=" in ended.stdout + ended.stderr) == (0, False)
