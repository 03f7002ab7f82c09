"""The scripts of builders/python, run as they are on this machine; what they call is written down instead of done."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scripted import Ended, provide, run, write

BUILDER = Path(__file__).parent.parent / "builders" / "python"
SCRIPTS = BUILDER / "s2i" / "bin"

WRITES_DOWN = """#!/bin/sh
echo "${0##*/} $*${PIP_INDEX_URL:+ from $PIP_INDEX_URL}" >>"$CALLS"
"""
# The interpreter reads the lock files, as the real one; what else it is asked for is written down.
READS = f"""#!/bin/sh
case $1 in */locks) exec {sys.executable} "$@" ;; esac
""" + WRITES_DOWN.partition("\n")[2]
MOUNTED, NOT_MOUNTED = "#!/bin/sh\n", "#!/bin/sh\nexit 1\n"
BECOMES = """#!/bin/sh
shift 2
exec "$@"
"""
NO_DJANGO = """#!/bin/sh
[ "$*" != "-c import django" ] || exit 1
echo "python $*" >>"$CALLS"
"""

FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"
FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"
GATHERED = "from shop import create_app\n\napp = create_app()\n"
MANAGE = "import os\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"


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

    @property
    def venv(self) -> Path:
        return self.root / "app" / "venv"

    @property
    def packages(self) -> Path:
        return self.venv / "lib" / "python3.13" / "site-packages"

    def has(self, **programs: str) -> Host:
        provide(self.root / "programs", programs)
        return self

    def run(self, name: str, *arguments: str, cwd: Path, **environ: str) -> Ended:
        return run(SCRIPTS / name, *arguments, root=self.root, cwd=cwd, environ={**self._environ(), **environ})

    def _environ(self) -> Mapping[str, str]:
        return {
            "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
            "TMPDIR": str(self.root / "tmp"),
            "S2I_DESTINATION": str(self.root),
            "APP_ROOT": str(self.root / "app"),
            "VIRTUAL_ENV": str(self.venv),
        }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine with Python and pip, and without Django or any web server."""
    for directory in ("programs", "tmp", "src", "app/src", "app/venv/bin"):
        (tmp_path / directory).mkdir(parents=True)
    return Host(root=tmp_path).has(
        python=NO_DJANGO,
        python3=READS,
        pip=WRITES_DOWN,
        uv=WRITES_DOWN,
        poetry=WRITES_DOWN,
        tini=BECOMES,
        mountpoint=NOT_MOUNTED,
    )


# ------------------------------------------------------------------------------------------------ what is to be run


@pytest.mark.parametrize(
    ("files", "installed", "environ", "plan"),
    [
        pytest.param({"app.py": FLASK}, "gunicorn", {}, "gunicorn app:app", id="Flask"),
        pytest.param({"main.py": FASTAPI}, "uvicorn", {}, "uvicorn main:app", id="FastAPI"),
        pytest.param({"app.py": FLASK}, "", {}, "gunicorn app:app", id="gunicorn where there is no server"),
        pytest.param({"app.py": FASTAPI}, "", {}, "uvicorn app:app", id="uvicorn where there is no server"),
        pytest.param({"app.py": FLASK}, "waitress-serve", {}, "waitress app:app", id="the project's own WSGI server"),
        pytest.param({"app.py": FASTAPI}, "hypercorn", {}, "hypercorn app:app", id="the project's own ASGI server"),
        pytest.param({"app/main.py": FASTAPI}, "", {}, "uvicorn app.main:app", id="a package with a main module"),
        pytest.param({"app/__init__.py": FLASK}, "", {}, "gunicorn app:app", id="a package that is the application"),
        pytest.param({"wsgi.py": "application = object()"}, "", {}, "gunicorn wsgi:application", id="wsgi.py"),
        pytest.param({"asgi.py": "application = object()"}, "", {}, "uvicorn asgi:application", id="asgi.py"),
        pytest.param({"app.py": "def app(environ, start):\n  pass"}, "", {}, "gunicorn app:app", id="plain WSGI"),
        pytest.param({"app.py": "async def app(scope, r, s):\n  pass"}, "", {}, "uvicorn app:app", id="plain ASGI"),
        pytest.param(
            {"app.py": "import flask\ndef create_app():\n  pass"}, "", {}, "gunicorn app:create_app()", id="factory"
        ),
        pytest.param({"main.py": GATHERED}, "uvicorn", {}, "uvicorn main:app", id="gathered, served by uvicorn"),
        pytest.param({"main.py": GATHERED}, "gunicorn", {}, "gunicorn main:app", id="gathered, served by gunicorn"),
        pytest.param(
            {"main.py": "from aiohttp import web\napp = web.Application()"}, "", {}, "python main.py", id="aiohttp"
        ),
        pytest.param({"main.py": "import aiohttp\n" + FASTAPI}, "", {}, "uvicorn main:app", id="aiohttp as a client"),
        pytest.param({"app.py": "print('hello')"}, "", {}, "python app.py", id="a program"),
        pytest.param({"__main__.py": "print('hello')"}, "", {}, "python __main__.py", id="a program by its directory"),
        pytest.param({"app.py": FLASK, "app.sh": "exec x"}, "", {}, "script app.sh", id="a script comes first"),
        pytest.param(
            {"app.py": FLASK, "Procfile": "release: x\nweb: gunicorn --threads 2 app:app\n"},
            "",
            {},
            "shell gunicorn --threads 2 app:app",
            id="Procfile",
        ),
        pytest.param(
            {"app.py": FLASK, "Procfile": "worker: x\n"}, "", {}, "gunicorn app:app", id="Procfile without web"
        ),
        pytest.param(
            {"manage.py": MANAGE, "shop/wsgi.py": "", "shop/asgi.py": "", "other/wsgi.py": ""},
            "",
            {},
            "gunicorn shop.wsgi:application",
            id="Django",
        ),
        pytest.param(
            {"manage.py": MANAGE, "shop/wsgi.py": "", "shop/asgi.py": ""},
            "uvicorn",
            {},
            "uvicorn shop.asgi:application",
            id="Django on the ASGI server that the project chose",
        ),
        pytest.param(
            {"manage.py": MANAGE.replace("shop.settings", "shop.settings.production"), "shop/wsgi.py": ""},
            "",
            {},
            "gunicorn shop.wsgi:application",
            id="Django with a package of settings",
        ),
        pytest.param(
            {"manage.py": "import flask", "app.py": FLASK}, "", {}, "gunicorn app:app", id="another manage.py"
        ),
        pytest.param({"x/y.py": FASTAPI}, "", {"APP_MODULE": "x.y:app"}, "uvicorn x.y:app", id="APP_MODULE"),
        pytest.param(
            {"app.py": FLASK}, "", {"APP_MODULE": "flask_x:app"}, "gunicorn flask_x:app", id="APP_MODULE afar"
        ),
        pytest.param({"app.py": FLASK, "x.py": ""}, "", {"APP_FILE": "x.py"}, "python x.py", id="APP_FILE"),
        pytest.param({"app.py": FLASK, "x.sh": ""}, "", {"APP_SCRIPT": "x.sh"}, "script x.sh", id="APP_SCRIPT"),
        pytest.param({"web/app.py": FLASK}, "", {"APP_HOME": "web"}, "gunicorn app:app", id="APP_HOME"),
    ],
)
def test_what_is_run_follows_from_the_files_and_from_what_is_installed(
    host: Host, files: Mapping[str, str], installed: str, environ: Mapping[str, str], plan: str
) -> None:
    write(host.application, files)
    if installed:
        host.has(**{installed: WRITES_DOWN})
    assert host.run("run", "--plan", cwd=host.application, **environ) == Ended(
        status=0, stdout=f"{plan}\n", stderr="", calls=()
    )


@pytest.mark.parametrize(
    ("environ", "first_line"),
    [
        ({}, "nothing here can be run: no app.sh, Procfile, manage.py, wsgi.py, asgi.py, app.py or main.py"),
        ({"APP_HOME": "nowhere"}, "APP_HOME names nowhere, which is no directory of this application"),
        ({"APP_FILE": "x.py"}, "APP_FILE names x.py, and there is no such file in {cwd}"),
        ({"APP_SCRIPT": "x.sh"}, "APP_SCRIPT names x.sh, and there is no such file in {cwd}"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line_that_makes_sense_alone(
    host: Host, environ: Mapping[str, str], first_line: str
) -> None:
    ended = host.run("run", cwd=host.application, **environ)
    assert (ended.status, ended.stdout, ended.calls) == (1, "", ())
    assert ended.stderr.splitlines()[0] == "error: " + first_line.format(cwd=host.application)


@pytest.mark.parametrize(
    ("files", "environ", "call"),
    [
        ({"app.py": FLASK}, {}, "gunicorn app:app"),
        ({"app.py": FLASK}, {"APP_CONFIG": "my.py"}, "gunicorn --config my.py app:app"),
        ({"app.py": FASTAPI}, {}, "uvicorn --host 0.0.0.0 --port 8080 app:app"),
        ({"app.py": FASTAPI}, {"PORT": "9000"}, "uvicorn --host 0.0.0.0 --port 9000 app:app"),
        (
            {"app.py": "import fastapi\ndef create_app():\n  pass"},
            {},
            "uvicorn --host 0.0.0.0 --port 8080 --factory app:create_app",
        ),
        ({"app.py": "print('hello')"}, {}, "python app.py"),
        ({"Procfile": "web: gunicorn --bind :$PORT 'my app:app'"}, {}, "gunicorn --bind :8080 my app:app"),
        ({"app.sh": "exec gunicorn $PORT"}, {}, "gunicorn 8080"),
    ],
)
def test_the_application_is_started_so_that_it_listens_to_everybody(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], call: str
) -> None:
    write(host.application, files)
    host.has(gunicorn=WRITES_DOWN, uvicorn=WRITES_DOWN)
    ended = host.run("run", cwd=host.application, **environ)
    assert (ended.status, ended.calls, ended.stderr) == (0, (call,), "")


def test_waitress_is_told_the_address_and_the_factory(host: Host) -> None:
    write(host.application, {"app.py": "import flask\ndef create_app():\n  pass"})
    host.has(**{"waitress-serve": WRITES_DOWN})
    assert host.run("run", cwd=host.application).calls == (
        "waitress-serve --listen=0.0.0.0:8080 --call app:create_app",
    )


@pytest.mark.parametrize(
    ("environ", "calls"),
    [
        ({}, ("python -c import django", "python manage.py migrate --noinput", "gunicorn shop.wsgi:application")),
        ({"DISABLE_MIGRATE": "1"}, ("gunicorn shop.wsgi:application",)),
    ],
)
def test_a_django_database_is_migrated_before_the_start_unless_it_is_switched_off(
    host: Host, environ: Mapping[str, str], calls: tuple[str, ...]
) -> None:
    write(host.application, {"manage.py": MANAGE, "shop/wsgi.py": ""})
    host.has(python=WRITES_DOWN, gunicorn=WRITES_DOWN)
    assert host.run("run", cwd=host.application, **environ).calls == calls


def test_a_database_that_cannot_be_migrated_is_said_to_need_a_place(host: Host) -> None:
    write(host.application, {"manage.py": MANAGE, "shop/wsgi.py": ""})
    host.has(python="#!/bin/sh\n[ $1 = -c ] || exit 3\n", gunicorn=WRITES_DOWN)
    ended = host.run("run", cwd=host.application)
    assert (ended.status, ended.calls, ended.stderr.splitlines()) == (
        1,
        (),
        [
            "error: the database could not be migrated; why is said above",
            "       a database in a file needs a directory that can be written to, such as a volume",
        ],
    )


@pytest.mark.parametrize(
    ("environ", "place"), [({}, "/dev/shm"), ({"XDG_RUNTIME_DIR": "/run/user/1001"}, "/run/user/1001")]
)
def test_gunicorn_keeps_its_socket_where_a_read_only_container_has_a_place(
    host: Host, environ: Mapping[str, str], place: str
) -> None:
    write(host.application, {"app.py": FLASK})
    host.has(gunicorn='#!/bin/sh\necho "$XDG_RUNTIME_DIR" >>"$CALLS"\n')
    assert host.run("run", cwd=host.application, **environ).calls == (place,)


# ------------------------------------------------------------------------------------------------ what is installed

MIRROR = "https://someone:canary@mirror.invalid/simple"
PACKAGE = "[project]\nname = 'shop'\n[build-system]\n"


def installing(calls: tuple[str, ...]) -> tuple[str, ...]:
    """The calls that fetch or install."""
    return tuple(call for call in calls if call.startswith(("pip install", "uv ", "poetry ")))


PIPFILE_LOCK = json.dumps(
    {
        "default": {
            "flask": {"version": "==3.1.3", "hashes": ["sha256:aa", "sha256:bb"], "markers": "python_version >= '3.9'"},
            "celery": {"version": "==5.5", "extras": ["redis", "sqs"], "index": "pypi"},
            "forked": {"git": "https://git.invalid/forked", "ref": "c0ffee"},
        },
        "develop": {"pytest": {"version": "==8.4"}},
    }
)
INSTALL = "pip install --no-compile --progress-bar off"
EXPORT = "poetry export --quiet --no-interaction --only main --with-credentials"


@pytest.mark.parametrize(
    ("files", "environ", "calls"),
    [
        pytest.param(
            {"requirements.txt": "flask"}, {}, (f"{INSTALL} --requirement requirements.txt",), id="requirements.txt"
        ),
        pytest.param(
            {"requirements.txt": "flask", "pyproject.toml": PACKAGE},
            {"PIP_INDEX_URL": MIRROR},
            (f"{INSTALL} --requirement requirements.txt from {MIRROR}",),
            id="requirements.txt from a mirror",
        ),
        pytest.param({"pyproject.toml": PACKAGE}, {}, (f"{INSTALL} --editable .",), id="a package"),
        pytest.param({"setup.py": ""}, {}, (f"{INSTALL} --editable .",), id="an old package"),
        pytest.param(
            {"pyproject.toml": "[project]\nname = 'shop'\n"},
            {},
            (f"{INSTALL} --requirement /scratch/requirements.txt",),
            id="pyproject.toml that is no package",
        ),
        pytest.param(
            {"pyproject.toml": "[project]\n", "uv.lock": "", "requirements.txt": "flask"},
            {},
            (f"{INSTALL} --quiet uv>=0.9,<1", "uv sync --frozen --no-dev --no-install-project --no-progress"),
            id="uv.lock",
        ),
        pytest.param(
            {"pyproject.toml": "[project]\n", "uv.lock": ""},
            {"UV_INDEX_URL": MIRROR},
            (
                f"{INSTALL} --quiet uv>=0.9,<1 from {MIRROR}",
                f"uv export --quiet --frozen --no-dev --no-emit-project from {MIRROR}",
                f"uv pip install --no-progress --requirement /scratch/locked.txt from {MIRROR}",
            ),
            id="uv.lock from a mirror",
        ),
        pytest.param(
            {"pyproject.toml": PACKAGE, "poetry.lock": ""},
            {},
            (
                f"{INSTALL} --quiet poetry>=2.1,<3 poetry-plugin-export>=1.9,<2",
                f"{EXPORT} --output /scratch/locked.txt",
                f"{INSTALL} --requirement /scratch/locked.txt",
                f"{INSTALL} --quiet --no-deps --editable .",
            ),
            id="poetry.lock",
        ),
        pytest.param(
            {
                "pyproject.toml": "[tool.poetry]\npackage-mode = false\n[build-system]\n",
                "poetry.lock": 'type = "git"\n',
            },
            {"PIP_INDEX_URL": MIRROR},
            (
                f"{INSTALL} --quiet poetry>=2.1,<3 poetry-plugin-export>=1.9,<2 from {MIRROR}",
                f"{EXPORT} --without-urls --without-hashes --output /scratch/locked.txt from {MIRROR}",
                f"{INSTALL} --requirement /scratch/locked.txt from {MIRROR}",
            ),
            id="poetry.lock from a mirror",
        ),
        pytest.param(
            {"Pipfile.lock": PIPFILE_LOCK},
            {},
            (f"{INSTALL} --requirement /scratch/requirements.txt",),
            id="Pipfile.lock",
        ),
        pytest.param(
            {"Pipfile.lock": PIPFILE_LOCK, "requirements.txt": "flask"},
            {},
            (f"{INSTALL} --requirement requirements.txt",),
            id="requirements.txt beside Pipfile.lock",
        ),
        pytest.param({}, {}, (), id="no dependencies"),
    ],
)
def test_dependencies_come_by_the_tool_that_wrote_them_down(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], calls: tuple[str, ...]
) -> None:
    write(host.source, {**files, "app.py": "print('hello')"})
    ended = host.run("assemble", cwd=host.application, **environ)
    assert (ended.status, installing(ended.calls), ended.stderr) == (0, calls, "")


@pytest.mark.parametrize(
    ("files", "installed", "added"),
    [
        ({"app.py": FLASK}, "", "gunicorn==27.0.1"),
        ({"app.py": FASTAPI}, "", "uvicorn==0.54.0"),
        ({"app.py": FLASK}, "gunicorn", ""),
        ({"app.py": "print('hello')"}, "", ""),
    ],
)
def test_a_web_server_is_added_where_the_project_names_none(
    host: Host, files: Mapping[str, str], installed: str, added: str
) -> None:
    write(host.source, files)
    if installed:
        host.has(**{installed: WRITES_DOWN})
    ended = host.run("assemble", cwd=host.application)
    assert installing(ended.calls) == ((f"{INSTALL} {added}",) if added else ())


def test_a_source_that_cannot_be_run_fails_when_it_is_built_not_when_it_is_started(host: Host) -> None:
    write(host.source, {"README": "nothing"})
    ended = host.run("assemble", cwd=host.application)
    assert (ended.status, ended.stderr.splitlines()[0]) == (
        1,
        "error: nothing here can be run: no app.sh, Procfile, manage.py, wsgi.py, asgi.py, app.py or main.py",
    )


def test_a_source_with_a_run_script_of_its_own_is_not_judged(host: Host) -> None:
    write(host.source, {"README": "nothing"})
    write(host.root, {"scripts/run": "#!/bin/sh\n"})
    assert host.run("assemble", cwd=host.application).status == 0


def test_an_empty_source_is_refused(host: Host) -> None:
    ended = host.run("assemble", cwd=host.application)
    assert (ended.status, ended.stderr) == (1, "error: the source is empty\n")


def test_a_failing_installation_fails_the_build_with_its_own_status(host: Host) -> None:
    write(host.source, {"requirements.txt": "no-such-thing", "app.py": FLASK})
    host.has(pip="#!/bin/sh\nexit 3\n")
    assert host.run("assemble", cwd=host.application).status == 3


@pytest.mark.parametrize(
    ("files", "environ", "calls"),
    [
        pytest.param({"setup.py": ""}, {"DISABLE_SETUP_PY_PROCESSING": "1"}, (), id="DISABLE_SETUP_PY_PROCESSING"),
        pytest.param(
            {"pyproject.toml": PACKAGE},
            {"DISABLE_PYPROJECT_TOML_PROCESSING": "1"},
            (f"{INSTALL} --requirement /scratch/requirements.txt",),
            id="DISABLE_PYPROJECT_TOML_PROCESSING",
        ),
        pytest.param(
            {"Pipfile.lock": PIPFILE_LOCK, "requirements.txt": "flask"},
            {"ENABLE_PIPENV": "true"},
            (f"{INSTALL} --requirement /scratch/requirements.txt",),
            id="ENABLE_PIPENV",
        ),
        pytest.param(
            {"Pipfile.lock": PIPFILE_LOCK, "requirements.txt": "flask"},
            {"ENABLE_MICROPIPENV": "1"},
            (f"{INSTALL} --requirement /scratch/requirements.txt",),
            id="ENABLE_MICROPIPENV",
        ),
        pytest.param(
            {"requirements.txt": "flask"},
            {"ENABLE_MICROPIPENV": "1"},
            (f"{INSTALL} --requirement requirements.txt",),
            id="ENABLE_MICROPIPENV without a Pipfile.lock",
        ),
        pytest.param(
            {"requirements.txt": "flask"},
            {"UV_DEFAULT_INDEX": MIRROR},
            (f"{INSTALL} --requirement requirements.txt from {MIRROR}",),
            id="UV_DEFAULT_INDEX",
        ),
    ],
)
def test_names_that_other_builders_have_for_their_settings_have_the_same_effect(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], calls: tuple[str, ...]
) -> None:
    write(host.source, {**files, "app.py": "print('hello')"})
    assert installing(host.run("assemble", cwd=host.application, **environ).calls) == calls


def test_pipenv_without_its_lock_is_refused(host: Host) -> None:
    write(host.source, {"Pipfile": "", "requirements.txt": "flask", "app.py": ""})
    ended = host.run("assemble", cwd=host.application, ENABLE_PIPENV="1")
    assert (ended.status, ended.stderr.splitlines()) == (
        1,
        ["error: ENABLE_PIPENV is set, and there is no Pipfile.lock", "       make one with: pipenv lock"],
    )


def test_a_pipfile_lock_is_followed_without_its_development_packages(host: Host) -> None:
    write(host.application, {"Pipfile.lock": PIPFILE_LOCK})
    assert host.run("locks", "--list", cwd=host.application).stdout.splitlines() == [
        "flask==3.1.3 ; python_version >= '3.9'",
        "celery[redis,sqs]==5.5",
        "forked @ git+https://git.invalid/forked@c0ffee",
    ]


def test_a_pipfile_lock_in_which_every_package_has_hashes_is_followed_by_them(host: Host) -> None:
    lock = {"default": {"flask": {"version": "==3.1.3", "hashes": ["sha256:aa", "sha256:bb"], "markers": "extra"}}}
    write(host.application, {"Pipfile.lock": json.dumps(lock)})
    assert host.run("locks", "--list", cwd=host.application).stdout == (
        "flask==3.1.3 ; extra --hash=sha256:aa --hash=sha256:bb\n"
    )


@pytest.mark.parametrize(
    ("environ", "calls"),
    [
        ({}, ["python manage.py diffsettings --all", "python manage.py collectstatic --noinput"]),
        ({"DISABLE_COLLECTSTATIC": "1"}, []),
    ],
)
def test_static_files_of_django_are_collected_unless_it_is_switched_off(
    host: Host, environ: Mapping[str, str], calls: list[str]
) -> None:
    settings = "[ \"$3\" != --all ] || printf '\nSTATIC_ROOT = 1\n'\n"
    host.has(python=WRITES_DOWN + settings, gunicorn=WRITES_DOWN)
    write(host.source, {"manage.py": MANAGE, "shop/wsgi.py": ""})
    ended = host.run("assemble", cwd=host.application, **environ)
    assert [call for call in ended.calls if "manage.py" in call] == calls


@pytest.mark.parametrize("name", ["GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT"])
def test_gunicorn_is_given_what_it_reads_from_its_environment(host: Host, name: str) -> None:
    write(host.application, {"app.py": FLASK})
    host.has(gunicorn=f'#!/bin/sh\necho "${name}" >>"$CALLS"\n')
    assert host.run("run", cwd=host.application, **{name: "--threads 5"}).calls == ("--threads 5",)


# -------------------------------------------------------------------------------------------------- what is left


def left(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_the_source_is_moved_whole_and_the_scratch_directory_is_gone(host: Host) -> None:
    write(host.source, {"app.py": FLASK, ".env.example": "", "static/a b.txt": "", "-n": ""})
    host.run("assemble", cwd=host.application)
    assert left(host.application) == ["-n", ".env.example", "app.py", "static", "static/a b.txt"]
    assert left(host.source) == []
    assert left(host.root / "tmp") == []


def test_the_scratch_directory_is_gone_after_a_failure_too(host: Host) -> None:
    write(host.source, {"pyproject.toml": "[project]", "uv.lock": "", "app.py": FLASK})
    host.has(uv="#!/bin/sh\nexit 2\n")
    assert host.run("assemble", cwd=host.application).status == 2
    assert left(host.root / "tmp") == []


def test_any_user_of_group_0_may_do_what_the_owner_may(host: Host) -> None:
    write(host.source, {"app.py": FLASK, "bin/tool": "", "data/x": ""})
    (host.source / "bin/tool").chmod(0o755)
    (host.source / "app.py").chmod(0o444)
    (host.source / "data").chmod(0o700)
    host.run("assemble", cwd=host.application)
    modes = {name: oct((host.application / name).stat().st_mode & 0o7777) for name in ("app.py", "bin/tool", "data")}
    assert modes == {"app.py": "0o444", "bin/tool": "0o775", "data": "0o770"}


def test_all_that_a_build_brings_has_the_date_of_the_source_and_what_was_there_before_keeps_its_own(host: Host) -> None:
    write(host.packages, {"flask.py": ""})
    write(host.source, {"app.py": FLASK, "static/old.txt": "", "static/new.txt": ""})
    for path in (host.source / "static/old.txt", host.packages / "flask.py"):
        os.utime(path, (1, 1))
    host.run("assemble", cwd=host.application, SOURCE_DATE_EPOCH="1700000000")
    times = {path.name: int(path.stat().st_mtime) for path in (host.root / "app").rglob("*") if path.is_file()}
    assert times == {"app.py": 1700000000, "old.txt": 1700000000, "new.txt": 1700000000, "flask.py": 1}
    assert int(host.application.stat().st_mtime) == 1700000000


def test_a_mirror_is_written_down_nowhere(host: Host) -> None:
    write(host.source, {"pyproject.toml": PACKAGE, "uv.lock": "", "app.py": FLASK})
    host.run("assemble", cwd=host.application, PIP_INDEX_URL=MIRROR)
    kept = [path for place in ("app", "src") for path in (host.root / place).rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if "canary" in path.read_text()] == []


# ------------------------------------------------------------------------------------------------------ incremental


def built_once(host: Host, requirements: str) -> None:
    """Build, and lay what save-artifacts gives where the next build finds it."""
    write(host.source, {"app.py": "print('hello')", "requirements.txt": requirements})
    write(host.venv, {"lib/dependency.py": "", "bin/python3": "", "bin/tool": ""})
    assert host.run("assemble", cwd=host.application).status == 0
    saved = subprocess.run(
        [str(SCRIPTS / "save-artifacts")],
        env={"PATH": os.environ["PATH"], "VIRTUAL_ENV": str(host.venv)},
        capture_output=True,
        check=True,
    )
    shutil.rmtree(host.root / "app")
    for place in ("app/venv/bin", "app/src", "artifacts"):
        (host.root / place).mkdir(parents=True)
    subprocess.run(["tar", "-C", str(host.root / "artifacts"), "-xf", "-"], input=saved.stdout, check=True)


def test_the_dependencies_of_the_last_build_are_taken_where_nothing_that_decides_them_changed(host: Host) -> None:
    built_once(host, "flask==3.1.3\n")
    write(host.source, {"app.py": "print('goodbye')", "requirements.txt": "flask==3.1.3\n"})
    ended = host.run("assemble", cwd=host.application)
    assert installing(ended.calls) == ()
    assert left(host.venv) == [".decided-by", "bin", "bin/tool", "lib", "lib/dependency.py"]


# -------------------------------------------------------------------------------------- dependencies, on their own


def from_locks(host: Host, files: Mapping[str, str], **environ: str) -> Ended:
    """Run the script `dependencies` as a build does, where nothing but these files is."""
    write(host.source, files)
    ended = host.run("dependencies", cwd=host.application, **environ)
    shutil.rmtree(host.source)
    return ended


@pytest.mark.parametrize(
    ("files", "calls"),
    [
        ({"requirements.txt": "flask\n"}, (f"{INSTALL} --requirement requirements.txt",)),
        (
            {
                "requirements.txt": "-r more-requirements.txt\n-c constraints.txt\n--index-url https://i.invalid\n",
                "more-requirements.txt": "flask[async] >= 3 ; python_version > '3'  # as ever\nx @ https://x.invalid/x.whl\n",
                "constraints.txt": "werkzeug<4 \\\n  --hash=sha256:aa\n",
            },
            (f"{INSTALL} --requirement requirements.txt",),
        ),
        (
            {"pyproject.toml": PACKAGE, "uv.lock": "[[package]]\nname = 'shop'\nsource = { editable = '.' }\n"},
            (f"{INSTALL} --quiet uv>=0.9,<1", "uv sync --frozen --no-dev --no-install-project --no-progress"),
        ),
        ({"Pipfile.lock": PIPFILE_LOCK}, (f"{INSTALL} --requirement /scratch/requirements.txt",)),
    ],
)
def test_dependencies_are_installed_without_the_source_and_found_installed_with_it(
    host: Host, files: Mapping[str, str], calls: tuple[str, ...]
) -> None:
    assert installing(from_locks(host, files).calls) == calls
    assert left(host.application) == []
    write(host.source, {**files, "app.py": "print('hello')"})
    project = (f"{INSTALL} --quiet --no-deps --editable .",) if "uv.lock" in files else ()
    assert installing(host.run("assemble", cwd=host.application).calls) == project


def test_what_was_compiled_with_the_dependencies_is_not_compiled_again(host: Host) -> None:
    write(host.packages, {"flask.py": ""})
    time.sleep(0.02)
    write(host.source, {"app.sh": ""})
    assert [call for call in host.run("assemble", cwd=host.application).calls if "compileall" in call] == []


def test_dependencies_that_were_installed_of_other_files_are_installed_again(host: Host) -> None:
    from_locks(host, {"requirements.txt": "flask==3.1.2\n"})
    write(host.source, {"requirements.txt": "flask==3.1.3\n", "app.py": "print('hello')"})
    ended = host.run("assemble", cwd=host.application)
    assert installing(ended.calls) == (f"{INSTALL} --requirement requirements.txt",)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"requirements.txt": "flask\n-e .\n"}, "requirements.txt names ., which lies in the source"),
        ({"requirements.txt": "./vendor/shop\n"}, "requirements.txt names ./vendor/shop, which lies in the source"),
        ({"requirements.txt": "wheels/x.whl\n"}, "requirements.txt names wheels/x.whl, which lies in the source"),
        (
            {"requirements.txt": "shop @ file:wheels\n"},
            "requirements.txt names shop @ file:wheels, which lies in the source",
        ),
        ({"requirements.txt": "-f wheels/\nshop\n"}, "requirements.txt names wheels/, which lies in the source"),
        (
            {"requirements.txt": "-r requirements/base.txt\n"},
            "requirements.txt leads to requirements/base.txt, which is not beside it",
        ),
        ({"requirements.txt": "-rbase.txt\n"}, "requirements.txt leads to base.txt, which is not beside it"),
        ({"pyproject.toml": PACKAGE}, "the project is a package that names them itself"),
        (
            {"pyproject.toml": PACKAGE, "uv.lock": "[[package]]\nname = 'core'\nsource = { editable = 'core' }\n"},
            "core of uv.lock lies in the source, at core",
        ),
        (
            {
                "pyproject.toml": PACKAGE,
                "poetry.lock": "[[package]]\nname = 'core'\n[package.source]\ntype = 'directory'\nurl = 'core'\n",
            },
            "core of poetry.lock lies in the source, at core",
        ),
        ({"Pipfile.lock": '{"default": {"core": {"path": "./core"}}}'}, "core of Pipfile.lock lies in the source"),
        ({"dev-requirements.txt": "pytest\n"}, "no file names them"),
    ],
)
def test_dependencies_that_need_the_source_are_left_to_assemble_with_the_reason_in_one_line(
    host: Host, files: Mapping[str, str], why: str
) -> None:
    ended = from_locks(host, files)
    assert (ended.status, ended.stdout, ended.stderr, ended.calls) == (
        0,
        f"---> The dependencies are installed with the source: {why}\n",
        "",
        (),
    )
    assert left(host.root / "app") == ["src", "venv", "venv/bin"]


@pytest.mark.parametrize(
    ("framework", "added"),
    [
        ("starlette", ("uvicorn==0.54.0",)),
        ("flask", ("gunicorn==27.0.1",)),
        ("bottle.py", ("gunicorn==27.0.1",)),
        ("celery", ()),
    ],
)
def test_the_server_that_a_framework_needs_is_installed_with_it(
    host: Host, framework: str, added: tuple[str, ...]
) -> None:
    write(host.packages, {f"{framework}/__init__.py" if "." not in framework else framework: ""})
    ended = from_locks(host, {"requirements.txt": "x\n"})
    assert installing(ended.calls)[1:] == tuple(f"{INSTALL} {each}" for each in added)


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pyproject.toml", "Pipfile.lock"])
@pytest.mark.parametrize("script", ["dependencies", "assemble"])
def test_a_lock_that_is_not_readable_fails_the_build_by_its_name(host: Host, name: str, script: str) -> None:
    write(
        host.source,
        {"pyproject.toml": "", "app.py": "", name: "{"} if name != "Pipfile.lock" else {name: "{", "app.py": ""},
    )
    ended = host.run(script, cwd=host.application)
    assert (ended.status, ended.stderr.startswith(f"error: {name} is not readable: ")) == (1, True)


# ---------------------------------------------------------------------------------------------------------- caches

SHOWS_CACHES = '#!/bin/sh\necho "${PIP_NO_CACHE_DIR:-} $PIP_CACHE_DIR $UV_CACHE_DIR" >>"$CALLS"\n'


@pytest.mark.parametrize("script", ["dependencies", "assemble"])
@pytest.mark.parametrize(
    ("mounted", "seen"),
    [(MOUNTED, " /var/cache/s2i/pip /var/cache/s2i/uv"), (NOT_MOUNTED, "1 /scratch/kept/pip /scratch/kept/uv")],
)
def test_downloads_are_kept_where_a_cache_is_mounted_and_nowhere_else(
    host: Host, script: str, mounted: str, seen: str
) -> None:
    host.has(pip=SHOWS_CACHES, mountpoint=mounted)
    write(host.source, {"requirements.txt": "flask\n", "app.py": "print('hello')"})
    ended = host.run(script, cwd=host.application, PIP_NO_CACHE_DIR="1")
    assert ended.calls[0] == seen
    assert left(host.root / "tmp") == []


# ----------------------------------------------------------------------------------------------------------- usage


def test_the_usage_names_every_variable_that_the_scripts_read() -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    scripts = "".join((SCRIPTS / name).read_text() for name in ("assemble", "packages", "run"))
    asked = set(re.findall(r"\$\{((?:APP|DISABLE)_[A-Z]+):?[-}%+]", scripts)) - {"APP_ROOT"}
    read = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', (SCRIPTS / "locks").read_text()))
    assert {name for name in asked | read if name not in usage} == set()
    assert {"ENABLE_PIPENV", "DISABLE_SETUP_PY_PROCESSING"} <= read


@pytest.mark.parametrize("name", ["UPGRADE_PIP_TO_LATEST", "PIN_PIPENV_VERSION", "ENABLE_INIT_WRAPPER"])
def test_the_usage_says_of_a_name_from_elsewhere_that_it_has_no_effect(name: str) -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    assert name in usage.partition("without effect:")[2]
