"""The scripts of builders/static, run as they are on this machine; nginx only keeps the configuration it is given."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from s2ictl.builders import load, load_all
from s2ictl.detection import detect
from tests.scripted import Ended, provide, run, write
from tests.workbench import tree

BUILDERS = Path(__file__).parent.parent / "builders"
SCRIPTS = BUILDERS / "static" / "s2i" / "bin"

NGINX = """#!/bin/sh
for configuration do :; done
cp "$configuration" "$KEPT"
exit "${STATUS:-0}"
"""
PAGE = {"index.html": "hello"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One directory that stands for the container: its upload and its application."""

    root: Path

    @property
    def application(self) -> Path:
        return self.root / "app"

    @property
    def configuration(self) -> str:
        return (self.root / "kept").read_text().replace(str(self.root), "")

    def assemble(self, files: Mapping[str, str], **environ: str) -> Ended:
        write(self.root / "src", files)
        return self.run("assemble", **environ)

    def run(self, name: str, *arguments: str, **environ: str) -> Ended:
        return run(
            SCRIPTS / name,
            *arguments,
            root=self.root,
            cwd=self.root,
            environ={
                "PATH": f"{self.root / 'programs'}:/usr/bin:/bin",
                "TMPDIR": str(self.root / "tmp"),
                "S2I_DESTINATION": str(self.root),
                "APP_ROOT": str(self.application),
                "KEPT": str(self.root / "kept"),
                **environ,
            },
        )

    def served(self) -> list[str]:
        site = self.application / "site"
        return sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for directory in ("programs", "tmp", "src", "app/src"):
        (tmp_path / directory).mkdir(parents=True)
    provide(tmp_path / "programs", {"nginx": NGINX})
    return Host(root=tmp_path)


# ----------------------------------------------------------------------------------------------------- what is served


@pytest.mark.parametrize(
    ("files", "environ", "served"),
    [
        pytest.param({**PAGE, "css/a b.css": ""}, {}, ["css/a b.css", "index.html"], id="the root"),
        pytest.param({"dist/index.html": "", **PAGE}, {}, ["index.html"], id="what was built comes before the root"),
        pytest.param({"build/index.html": "", "src/x.js": ""}, {}, ["index.html"], id="build"),
        pytest.param({"out/index.html": "", "README.md": ""}, {}, ["index.html"], id="out"),
        pytest.param({"_site/index.html": "", "_posts/x.md": ""}, {}, ["index.html"], id="Jekyll"),
        pytest.param({"public/index.html": "", "x": ""}, {}, ["index.html"], id="public"),
        pytest.param(
            {**PAGE, "dist/index.html": "", "web/start.html": ""}, {"WEB_ROOT": "web"}, ["start.html"], id="WEB_ROOT"
        ),
    ],
)
def test_of_the_source_only_the_web_site_stays(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], served: list[str]
) -> None:
    ended = host.assemble(files, **environ)
    assert (ended.status, ended.stderr, host.served()) == (0, "", served)


@pytest.mark.parametrize(
    ("files", "environ", "first_line"),
    [
        ({}, {}, "the source is empty"),
        ({"README.md": ""}, {}, "there is no index.html here, nor in dist, build, out, _site or public"),
        (PAGE, {"WEB_ROOT": "web"}, "WEB_ROOT names web, and there is no such directory in the source"),
        (
            {**PAGE, "package.json": '{"scripts": {"build": "vite build"}}'},
            {},
            "this web site has to be built first: package.json has a build script",
        ),
        (PAGE, {"STATUS": "1"}, "nginx does not take the settings in nginx-cfg and nginx-default-cfg"),
        (PAGE, {"PORT": "80; #"}, "PORT is 80; #, which is no number"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line_that_makes_sense_alone(
    host: Host, files: Mapping[str, str], environ: Mapping[str, str], first_line: str
) -> None:
    ended = host.assemble(files, **environ)
    assert (ended.status, ended.stderr.splitlines()[0]) == (1, f"error: {first_line}")


def test_a_project_with_a_build_script_is_served_when_it_was_built(host: Host) -> None:
    ended = host.assemble({"package.json": '{"scripts": {"build": "x"}}', "dist/index.html": ""})
    assert (ended.status, host.served()) == (0, ["index.html"])


def test_links_that_lead_out_are_named(host: Host) -> None:
    write(host.root / "src", PAGE)
    (host.root / "src" / "secrets").symlink_to("/etc")
    (host.root / "src" / "start.html").symlink_to("index.html")
    assert host.run("assemble").stdout.splitlines()[1:] == ["---> secrets leads out of the web site, and is not served"]


def test_what_another_builder_made_is_served_where_it_was_put(host: Host) -> None:
    write(host.application / "src" / "site", PAGE)
    ended = host.run("assemble-runtime")
    assert (ended.status, host.served()) == (0, ["index.html"])


def test_any_user_of_group_0_may_do_what_the_owner_may(host: Host) -> None:
    write(host.root / "src", PAGE)
    (host.root / "src" / "index.html").chmod(0o640)
    host.run("assemble")
    assert (host.application / "site" / "index.html").stat().st_mode & 0o777 == 0o660


def test_nothing_is_newer_than_the_date_of_the_source(host: Host) -> None:
    host.assemble({**PAGE, "css/x.css": ""}, SOURCE_DATE_EPOCH="1700000000")
    times = {path.name: int(path.lstat().st_mtime) for path in (host.application, *host.application.rglob("*"))}
    assert set(times.values()) == {1700000000}


# ------------------------------------------------------------------------------------------------- how it is served


def test_nothing_but_tmp_is_written_when_it_starts(host: Host) -> None:
    host.assemble(PAGE)
    before = sorted(os.walk(host.application))
    assert sorted(os.walk(host.root / "tmp")) == [(str(host.root / "tmp"), [], [])]
    assert host.run("run").status == 0
    assert sorted(os.walk(host.application)) == before
    kept = re.findall(r"(?:_path|pid) (\S+);", host.configuration)
    assert [path for path in kept if not path.startswith("/tmp/")] == []


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, "listen 8080;"),
        ({"PORT": "9000"}, "listen 9000;"),
        ({}, "try_files $uri $uri.html $uri/ =404;"),
        ({"SPA_FALLBACK": "true"}, "try_files $uri $uri.html $uri/ @page;"),
        ({"NGINX_WORKERS": "4"}, "worker_processes 4;"),
        ({}, "error_page 403 =404 @missing;"),
    ],
)
def test_the_server_follows_the_environment(host: Host, environ: Mapping[str, str], line: str) -> None:
    host.assemble(PAGE)
    host.run("run", **environ)
    assert line in [each.strip() for each in host.configuration.splitlines()]


def test_a_page_of_the_site_says_what_is_missing(host: Host) -> None:
    host.assemble({**PAGE, "404.html": ""})
    host.run("run")
    assert "error_page 403 404 =404 /404.html;" in host.configuration


@pytest.mark.parametrize(
    ("directory", "before"),
    [("nginx-default-cfg", "\n    }\n}\n"), ("nginx-cfg", "\n\n    server {")],
)
def test_settings_of_the_server_are_read_and_not_served(host: Host, directory: str, before: str) -> None:
    host.assemble({**PAGE, f"{directory}/old.conf": "rewrite ^/old$ /new permanent;"})
    host.run("run")
    assert f"include /app/{directory}/*.conf;{before}" in host.configuration
    assert host.served() == ["index.html"]


def test_scripts_of_the_source_run_before_the_start_and_not_for_a_check(host: Host) -> None:
    script = f'[[ $UNSET != x ]] && touch "{host.root}/started" && PORT=9000'
    host.assemble({**PAGE, "nginx-start/port.sh": script})
    assert not (host.root / "kept").exists()
    assert host.run("run").status == 0
    assert (host.root / "started").exists()


@pytest.mark.parametrize("name", ["nginx.conf", "nginx-perl/x.pm"])
def test_settings_that_do_nothing_are_named_and_not_served(host: Host, name: str) -> None:
    ended = host.assemble({**PAGE, name: ""})
    assert f"---> {name.partition('/')[0]} is not used here: " in ended.stdout
    assert host.served() == ["index.html"]


def test_what_is_served_has_an_etag_of_its_content_whatever_its_size_and_date(host: Host, tmp_path: Path) -> None:
    digests: list[str] = []
    for text in ("hello", "hullo", "hello"):
        host.assemble({"index.html": text}, SOURCE_DATE_EPOCH="1700000000")
        host.run("run")
        digests += set(re.findall("add_header ETag '\"(.*)\"';", host.configuration))
        for path in ("app/src/index.html", "app/site"):
            (tmp_path / path).unlink()
    assert (len(digests), digests[0] == digests[2], digests[0] == digests[1]) == (3, True, False)


def test_a_builder_that_is_run_says_what_it_is(host: Host) -> None:
    ended = host.run("run")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: there is no web site in this image: it is a builder")


def caching(host: Host, uri: str) -> str:
    """What the configuration says of the caching of a file, as nginx would find it: the first that matches."""
    host.assemble(PAGE)
    host.run("run")
    for pattern, value in re.findall(r'^ *"?~(\^?\S+?)"? "(.*)";', host.configuration, re.MULTILINE):
        if re.search(pattern, uri):
            return str(value)
    return "no-cache"


@pytest.mark.parametrize(
    ("uri", "for_good"),
    [
        ("/index.html", False),
        ("/assets/index-DiwrgT4a.js", True),
        ("/assets/logo-original.png", False),
        ("/static/js/main.8f2c01ab.js", True),
        ("/static/js/787.28cb0dcd.chunk.js", True),
        ("/_next/static/chunks/app.js", True),
        ("/photos/holiday.20240715.jpg", False),
        ("/app-settings.js", False),
        ("/jquery-3.7.1.min.js", False),
    ],
)
def test_only_what_carries_the_digest_of_its_content_is_cached_for_good(host: Host, uri: str, for_good: bool) -> None:
    assert ("immutable" in caching(host, uri)) is for_good


# --------------------------------------------------------------------------------------------------------- detection


@pytest.mark.parametrize(
    ("paths", "builder"),
    [
        (["index.html"], "static"),
        (["public/index.html", "README.md"], "static"),
        (["index.html", "package.json"], "nodejs"),
        (["index.html", "main.py"], "python"),
        (["docs/deep/index.html", "app.py"], "python"),
    ],
)
def test_a_page_speaks_for_a_web_site_only_where_nothing_speaks_for_a_program(paths: list[str], builder: str) -> None:
    assert detect(tree(dict.fromkeys(paths, b"")), load_all(BUILDERS)).folder.name == builder


def test_the_usage_names_every_variable_that_the_scripts_read() -> None:
    usage = subprocess.run([str(SCRIPTS / "usage")], capture_output=True, text=True, check=True).stdout
    scripts = "".join(path.read_text() for path in SCRIPTS.iterdir())
    asked = set(re.findall(r"\$\{([A-Z_]+):?[-}%+]", scripts)) - {"APP_ROOT", "S2I_DESTINATION", "SOURCE_DATE_EPOCH"}
    assert {name for name in asked if name not in usage} == set()


def test_a_hint_names_the_image_as_it_is_called() -> None:
    folder = load(BUILDERS / "static")
    assert f"--runtime-image {folder.image}" in (SCRIPTS / "assemble").read_text()
