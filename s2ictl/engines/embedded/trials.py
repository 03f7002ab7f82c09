"""A container that does nothing, started as every other is, to see whether one starts here at all."""

from __future__ import annotations

import os
import secrets
from contextlib import AbstractContextManager
from pathlib import Path

from s2ictl.engines.embedded import networks, spec
from s2ictl.engines.embedded.examining import Candidates, Trial
from s2ictl.engines.embedded.wardens import Chamber, Warden, warden
from s2ictl.errors import S2IError, Unreachable
from s2ictl.models import Confinement

_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix", "/gnu")  # where programs, and what they load, may lie
_NOTHING = ("/bin/sh", "-c", ":")  # there by this name everywhere; what PATH leads to may lie outside of these places
_PATIENCE = 20.0
_LONGEST = 2000


def tried(candidates: Candidates, store: Path) -> Trial:
    """What works of what is there, each with what was found to work before it."""
    refusals: list[tuple[str, str]] = []
    for overlay in candidates.overlays:
        try:
            with warden(store, rootless=candidates.rootless, overlays=(overlay,)) as helper:
                with _chamber(helper):
                    pass
                return _in_a_chamber(helper, candidates, overlay, refusals)
        except S2IError as error:
            refusals.append((overlay, error.in_passing))
    return Trial(refusals=tuple(refusals))


def _in_a_chamber(helper: Warden, candidates: Candidates, overlay: str, refusals: list[tuple[str, str]]) -> Trial:
    """The runtime, then the network in which it is to start one more."""
    runtime = next((each for each in candidates.runtimes if _worked(helper, candidates, each, "", refusals)), "")
    led = (each for each in candidates.helpers if runtime and _worked(helper, candidates, runtime, each, refusals))
    return Trial(overlay=overlay, runtime=runtime, helper=next(led, ""), refusals=tuple(refusals))


def _worked(helper: Warden, candidates: Candidates, runtime: str, led_by: str, refusals: list[tuple[str, str]]) -> bool:
    try:
        with _chamber(helper) as chamber:
            network = chamber.network(networks.leading_out(led_by)) if led_by else ""
            _run(chamber, candidates, runtime, network)
    except S2IError as error:
        refusals.append((led_by or runtime, error.in_passing))
        return False
    return True


def _chamber(helper: Warden) -> AbstractContextManager[Chamber]:
    return helper.chamber(f"trial-{secrets.token_hex(8)}", ())


def _run(chamber: Chamber, candidates: Candidates, runtime: str, network: str) -> None:
    cgroup = f"{candidates.cgroups}/{chamber.name}" if candidates.cgroups else ""
    container = spec.Container(
        root=chamber.root,
        hostname="trial",
        command=_NOTHING,
        env=(),
        workdir="/",
        uid=0,
        gid=0,
        mounts=tuple(spec.Mount(source=path, target=path, read_only=True) for path in _SYSTEM if Path(path).is_dir()),
        confinement=Confinement(),
        network=network,
        cgroup=cgroup,
        limits=candidates.limits,
        architecture=candidates.architecture,
        rootless=candidates.rootless,
    )
    with chamber.running(spec.document(container), runtime, cgroup) as process:
        ended = process.ended(_PATIENCE)
        if ended is None or ended.status:
            raise Unreachable(
                "it starts no container",
                detail=os.read(process.stderr, _LONGEST).decode(errors="replace").strip()
                if ended
                else "it did not end",
            )
