"""Which cluster the user means, read from files: nothing is contacted, and no login plugin is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from s2ictl import documents
from s2ictl.errors import Unreachable
from s2ictl.models import ClusterAccess
from s2ictl.values import dataclass

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def locate(
    *, environ: Mapping[str, str], home: Path, cwd: Path, context: str = "", pod: Path = _POD_NAMESPACE
) -> ClusterAccess:
    """Find the cluster: KUBECONFIG, else ~/.kube/config, else the one around this pod."""
    named = [cwd / part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    files = [file for file in named or [home / ".kube/config"] if file.is_file()]
    if files:
        return _access(files, _merged(files), context)
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if host and not named:
        namespace = pod.read_text(encoding="utf-8").strip() if pod.is_file() else "default"
        shown = f"[{host}]" if ":" in host else host
        return ClusterAccess(kubeconfig="", context="in-cluster", server=f"https://{shown}:{port}", namespace=namespace)
    missing = ", ".join(map(str, named)) or f"KUBECONFIG is not set, and {home / '.kube/config'} does not exist"
    raise Unreachable("no cluster is configured", detail=missing, hint="set KUBECONFIG to the file that describes it")


@dataclass(slots=True)
class _Kubeconfig:
    """Several files as one: of two entries with one name the first counts, as for kubectl."""

    current: str = ""
    contexts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    clusters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    users: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def _merged(files: list[Path]) -> _Kubeconfig:
    merged = _Kubeconfig()
    for file in files:
        document = documents.load(documents.read(file), str(file))
        value = document.value if isinstance(document.value, dict) else {}
        merged.current = merged.current or str(value.get("current-context") or "")
        for part, inner in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for number, entry in enumerate(value.get(part) or ()):
                if not isinstance(entry, dict) or not isinstance(entry.get(inner) or {}, dict) or "name" not in entry:
                    raise document.wrong((part, number), f"{part}[{number}] must have a name and a mapping {inner!r}")
                getattr(merged, part).setdefault(str(entry["name"]), entry.get(inner) or {})
    return merged


def _access(files: list[Path], merged: _Kubeconfig, context: str) -> ClusterAccess:
    chosen = context or merged.current
    entry = merged.contexts.get(chosen, {})
    cluster = merged.clusters.get(str(entry.get("cluster")), {})
    joined = os.pathsep.join(map(str, files))
    if not cluster.get("server"):
        wrong = f"the kubeconfig has no context {chosen!r}" if chosen else "the kubeconfig names no current context"
        known = ", ".join(sorted(merged.contexts)) or "none"
        raise Unreachable(wrong, detail=f"{joined} has these: {known}", hint="choose one with --context NAME")
    login = merged.users.get(str(entry.get("user")), {}).get("exec")
    return ClusterAccess(
        kubeconfig=joined,
        context=chosen,
        server=str(cluster["server"]),
        namespace=str(entry.get("namespace") or "default"),
        verified=not cluster.get("insecure-skip-tls-verify"),
        plugin=str(login.get("command", "")) if isinstance(login, dict) else "",
        exposed=tuple(file for file in files if file.stat().st_mode & 0o077),
    )
