"""A Node.js that answers what builders/nodejs asks of one: its version, and what its s2i/bin/manifest prints.

What that prints is known before: it is written where the program in the shell's path finds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

NODE = """#!/bin/sh
case $1 in
    --version) echo v24.21.0 ;;
    */manifest) [ -s "$SAID" ] && cat "$SAID" || { echo "error: package.json is not readable: no JSON" >&2; exit 1; } ;;
    *) echo "node $*" >>"$CALLS" ;;
esac
"""
_HOOKS = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")

MANIFESTS = (
    "{}",
    '{"name": "shop", "version": "1.0", "main": "lib/index.js", "packageManager": "pnpm@9.1.0+sha512.ab"}',
    '{"scripts": {"start": "node \'a b.js\' && echo $HOME", "prestart": "x", "build": "b", "dev": "d"}}',
    '{"scripts": {"postinstall": "x", "prepare": "husky", "other": "y"}, "devDependencies": {"husky": "9", "a": "1"}}',
    '{"name": 1, "scripts": {"start": "line\\nline \\\\ `id` $(id) \'$(id)\'"}}',
    '\ufeff{"main": "x.js"}',
    '{"scripts": {"start": "tsx x.ts"}, "devDependencies": {"a": "1", "@scope/tsx": "1"}}',
    "{",
)
"""What the real one and this one are both asked about; tests/engine/test_nodejs_builder.py compares their answers."""
INSTALLED = {"node_modules/@scope/tsx/package.json": '{"bin": "x.js"}'}


def says(files: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """What the manifest prints of these files; nothing where package.json is none."""
    try:
        said = json.loads(files.get("package.json", "{").removeprefix("\ufeff"))
    except ValueError:
        return ""
    values = _values(said, files, environ)
    return "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())


def _values(said: Mapping[str, Any], files: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Any]:
    scripts, start = said.get("scripts", {}), environ.get("NPM_RUN") or "start"
    development = said.get("devDependencies", {})
    before, command = scripts.get(f"pre{start}"), scripts.get(start)
    words = set(re.split(r"[\s;&|()]+", f"{before or ''} {command or ''}"))
    return {
        "manager": said.get("packageManager"),
        "entry": said.get("main"),
        "package_name": said.get("name"),
        "package_version": said.get("version"),
        "scripts": ", ".join(scripts),
        "before_start": before,
        "start": command,
        "develop": scripts.get("dev"),
        "build": scripts.get(environ.get("NPM_BUILD") or "build"),
        "hooks": ", ".join(name for name in _HOOKS if scripts.get(name)),
        "developed_with": " ".join(development),
        "started_by": next((name for name in development if words & set(_programs(name, files))), ""),
    }


def _programs(name: str, files: Mapping[str, str]) -> list[str]:
    programs = json.loads(files.get(f"node_modules/{name}/package.json", "{}")).get("bin", {})
    return [name.rpartition("/")[2]] if isinstance(programs, str) else list(programs)


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "'" + text.replace("'", "'\\''") + "'"
