"""The Kubernetes API as six verbs on plain dictionaries; the only importer of kubernetes.

Server-side apply alone writes: it says who owns which field, so nobody's work is overwritten unseen, and it may be
repeated when an answer was lost. The dynamic client is used without its discovery, which costs several questions and
keeps what it learned under a guessable name in a directory that everybody may write: the kinds we use are known.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from s2ictl import refusals
from s2ictl.errors import (
    Conflict,
    LimitReached,
    RecordNotFound,
    Refused,
    S2IError,
    Unauthorized,
    Unreachable,
)
from s2ictl.events import Emit, Notice
from s2ictl.expressions import expression
from s2ictl.models import ClusterAccess, Manifest
from s2ictl.refusals import Attempt
from s2ictl.transport import retry_after
from s2ictl.troubles import unreachable
from s2ictl.values import dataclass

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient

MANAGER = "s2ictl"

Query = Sequence[tuple[str, str]]

_PATHS = {
    "Namespace": "/api/v1{}/namespaces",
    "Secret": "/api/v1{}/secrets",
    "Service": "/api/v1{}/services",
    "Pod": "/api/v1{}/pods",
    "Event": "/api/v1{}/events",
    "Deployment": "/apis/apps/v1{}/deployments",
    "ReplicaSet": "/apis/apps/v1{}/replicasets",
}
_CONNECT = 5.0
_ANSWER = 30.0
_OUTAGE = 60.0  # an API server that has answered and is gone is restarting: it is waited for this long
_PAUSES = (0.5, 1.0, 2.0, 4.0)
_LARGEST = 32 << 20
_LONGEST = 1000
_PAGE = "500"


class Cluster(Protocol):
    """What the stories ask of a cluster. Objects are dictionaries as the API writes them."""

    def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        """Make the fields of this object ours and so, and answer the whole object; `force` takes others' fields."""

    def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        """The object, or None."""

    def find(
        self, kind: str, *, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        """All objects that bear these labels; of every namespace where none is named."""

    def delete(self, kind: str, name: str, *, namespace: str) -> bool:
        """Have the object removed once all that it owns is gone; whether it was there."""

    def watch(self, kind: str, name: str, *, namespace: str, seconds: int) -> Iterator[Manifest]:
        """The object as it is now, and after each change; ends after the seconds, or earlier: ask again then."""

    def logs(self, pod: str, *, namespace: str, container: str, lines: int) -> tuple[str, ...]:
        """What a container said before it ended last; nothing where it cannot be had."""


def read_secret(cluster: Cluster, namespace: str, name: str) -> tuple[str, Mapping[str, bytes]]:
    """The type of a Secret and its data: what `logins` is handed, so that it needs to know no cluster."""
    secret = cluster.get("Secret", name, namespace=namespace)
    if secret is None:
        raise RecordNotFound(
            f"there is no Secret {name} in namespace {namespace}", hint=f"kubectl -n {namespace} get secrets"
        )
    data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
    return str(secret.get("type") or "Opaque"), data


# ---------------------------------------------------------------------------------------------------------- log in

_POD_FILES = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@contextmanager
def open_cluster(
    access: ClusterAccess,
    *,
    environ: Mapping[str, str],
    emit: Emit,
    allow_unverified: bool = False,
    pod: Path = _POD_FILES,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Cluster]:
    """Log in, and talk to the API until the context ends."""
    if not access.verified and not allow_unverified:
        raise Refused(
            f"the kubeconfig switches off the check of the certificate of {access.server}",
            detail="whoever answers at that address would be given your login",
            hint="put certificate-authority-data there, or allow it with --insecure-skip-tls-verify",
        )
    for file in access.exposed:
        emit(Notice(text=f"{file} holds a login and can be read by others: chmod 600 {file}", level="warning"))
    emit(Notice(text=f"cluster {access.context} at {access.server}"))
    from kubernetes.client import ApiClient
    from kubernetes.dynamic import DynamicClient

    untyped: Any = DynamicClient
    with ApiClient(_configuration(access, environ, pod)) as client:
        yield Kubernetes(untyped(client, discoverer=_known_kinds), server=access.server, emit=emit, sleep=sleep)


def _known_kinds(_client: object, _cache: object) -> None:
    """In place of the library's discovery."""


def _configuration(access: ClusterAccess, environ: Mapping[str, str], pod: Path) -> Any:
    from kubernetes.client import Configuration

    configuration = Configuration()
    configuration.proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy") or ""
    configuration.no_proxy = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    configuration.retries = False
    said: list[str] = []
    try:
        with _listening_to_the_log(said):
            _load_login(access, environ, pod, configuration)
    except Exception as reason:
        # The library takes the shape of every file for granted: what is wrong with one comes out as any exception.
        raise Unauthorized(
            f"the kubeconfig holds no login for {access.server} that can be used",
            detail=str(reason)[:_LONGEST],
            hint="kubectl auth whoami shows whether kubectl gets in",
        ) from reason
    if access.plugin and not configuration.api_key and not configuration.cert_file:
        raise Unauthorized(
            f"{access.plugin} gave no login for {access.server}",
            detail="\n".join(said)[:_LONGEST],
            hint=f"run {access.plugin} by hand; the kubeconfig names it under `exec`",
        )
    return configuration


def _load_login(access: ClusterAccess, environ: Mapping[str, str], pod: Path, configuration: Any) -> None:
    from kubernetes.config import incluster_config, kube_config

    untyped: Any = kube_config if access.kubeconfig else incluster_config
    if access.kubeconfig:
        untyped.load_kube_config(
            access.kubeconfig, access.context, client_configuration=configuration, persist_config=False
        )
    else:
        untyped.InClusterConfigLoader(pod / "token", pod / "ca.crt", environ=environ).load_and_set(configuration)


@contextmanager
def _listening_to_the_log(said: list[str]) -> Iterator[None]:
    """Why an exec plugin failed is told by the library to nobody but the root logger, which would print it."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(listener)


# --------------------------------------------------------------------------------------------------------- the verbs


class Kubernetes:
    """The real API, by the dynamic client."""

    def __init__(
        self,
        client: DynamicClient,
        *,
        server: str,
        emit: Emit,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._server = server
        self._emit = emit
        self._now = now
        self._sleep = sleep
        self._answered = False

    def apply(
        self, manifest: Manifest, *, manager: str = MANAGER, force: bool = False, dry_run: bool = False
    ) -> Manifest:
        metadata = manifest["metadata"]
        attempt = Attempt(
            verb="apply", kind=manifest["kind"], name=metadata["name"], namespace=metadata.get("namespace", "")
        )
        query = [("fieldManager", manager), ("force", str(force).lower()), *([("dryRun", "All")] if dry_run else [])]
        try:
            answer = self._ask("patch", attempt, query, body=manifest, content_type="application/apply-patch+yaml")
        except Conflict as conflict:
            if force or not _among_ourselves(conflict, manager):
                raise
            return self.apply(manifest, manager=manager, force=True, dry_run=dry_run)
        for warning in answer.warnings if not dry_run else ():
            self._emit(Notice(text=f"{attempt.subject}: {warning}", level="warning"))
        return answer.document

    def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        answer = self._ask("get", Attempt(verb="get", kind=kind, name=name, namespace=namespace))
        return answer.document if answer.found else None

    def find(
        self, kind: str, *, namespace: str, labels: Mapping[str, str], fields: Mapping[str, str] | None = None
    ) -> tuple[Manifest, ...]:
        attempt = Attempt(verb="list", kind=kind, namespace=namespace)
        query = [("labelSelector", _selector(labels)), ("fieldSelector", _selector(fields or {})), ("limit", _PAGE)]
        found: list[Manifest] = []
        token = ""
        while True:
            page = self._ask("get", attempt, [*query, ("continue", token)]).document
            found += _items(page, kind)
            token = page["metadata"].get("continue", "")
            if not token:
                return tuple(found)

    def delete(self, kind: str, name: str, *, namespace: str) -> bool:
        attempt = Attempt(verb="delete", kind=kind, name=name, namespace=namespace)
        return self._ask("delete", attempt, [("propagationPolicy", "Foreground")]).found

    def watch(self, kind: str, name: str, *, namespace: str, seconds: int) -> Iterator[Manifest]:
        only = ("fieldSelector", f"metadata.name={name}")
        # From the version of the list, since that of an object that has long been at rest is too old to begin from.
        page = self._ask("get", Attempt(verb="list", kind=kind, namespace=namespace), [only]).document
        current = _items(page, kind)
        yield from current
        if not current:
            return
        attempt = Attempt(verb="watch", kind=kind, namespace=namespace)
        since = ("resourceVersion", page["metadata"]["resourceVersion"])
        query = [only, since, ("watch", "true"), ("timeoutSeconds", str(max(1, seconds)))]
        try:
            yield from self._changes(attempt, query, seconds)
        except Exception as reason:
            # A watch that breaks off or has grown old loses nothing: whoever asks again sees the object as it is then.
            failure = self._judge(reason, attempt)
            if not failure.passing and failure.code != 410:
                raise failure.error from reason

    def logs(self, pod: str, *, namespace: str, container: str, lines: int) -> tuple[str, ...]:
        attempt = Attempt(verb="read the log of", kind="Pod", name=pod, namespace=namespace)
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", "65536"), ("previous", "true")]
        try:
            answer = self._ask("get", attempt, query, suffix="/log")
        except S2IError:
            # The log explains a failure; that it may not or can no longer be read must not stand in its access.
            return ()
        return tuple(answer.body.decode(errors="replace").splitlines()) if answer.found else ()

    def _changes(self, attempt: Attempt, query: Query, seconds: int) -> Iterator[Manifest]:
        patience = (_CONNECT, seconds + _ANSWER)
        path = _path(attempt)
        response = self._client.request("get", path, query_params=[*query], serialize=False, _request_timeout=patience)
        with closing(response):
            for line in _lines(response.stream(1 << 16)):
                event = json.loads(line)
                if event["type"] not in ("ADDED", "MODIFIED"):
                    return
                yield event["object"]

    def _ask(self, method: str, attempt: Attempt, query: Query = (), *, suffix: str = "", **parameters: Any) -> _Answer:
        """Ask until there is an answer, or it is plain that there will be none."""
        give_up = self._now() + _OUTAGE
        for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
            try:
                answer = self._exchange(method, _path(attempt) + suffix, [*query], parameters)
            except Exception as reason:
                failure = self._judge(reason, attempt)
                if failure.code == 404 and method != "patch":
                    return _Answer(found=False)
                pause = pause if failure.again is None else failure.again
                if not failure.passing or self._now() + pause > give_up:
                    raise failure.error from reason
                self._sleep(pause)
            else:
                self._answered = True
                return answer
        raise AssertionError("the pauses have no end")

    def _exchange(self, method: str, path: str, query: list[tuple[str, str]], parameters: Mapping[str, Any]) -> _Answer:
        response = self._client.request(
            method, path, query_params=query, serialize=False, _request_timeout=(_CONNECT, _ANSWER), **parameters
        )
        try:
            body = response.read(_LARGEST + 1)
            if len(body) > _LARGEST:
                raise LimitReached(f"the answer of {self._server} is larger than {_LARGEST >> 20} MiB")
        except BaseException:
            response.close()
            raise
        response.release_conn()
        said = ", ".join(response.headers.getlist("warning"))
        return _Answer(found=True, body=body, warnings=tuple(_unquoted(text) for text in _WARNING.findall(said)))

    def _judge(self, reason: Exception, attempt: Attempt) -> _Failure:
        """Whether a failure is the API's own word or the way to it, and whether it is likely to pass."""
        code = getattr(reason, "status", 0) or 0
        if code:
            refusal = refusals.parse(code, getattr(reason, "body", None))
            said = (getattr(reason, "headers", None) or {}).get("retry-after", "")
            error = refusals.error_of(refusal, attempt)
            return _Failure(code=code, error=error, passing=refusal.passing, again=retry_after(said, now=time.time()))
        lost = unreachable(reason, subject=self._server)
        if lost is None:
            raise reason
        lost.hint = "check the server and the certificates in the kubeconfig; kubectl cluster-info asks it too"
        # What never answered is a wrong address; what has answered and is gone is restarting.
        return _Failure(code=0, error=lost, passing=self._answered, again=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    code: int
    error: S2IError
    passing: bool
    again: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    found: bool
    body: bytes = b""
    warnings: tuple[str, ...] = ()

    @property
    def document(self) -> Manifest:
        try:
            document = json.loads(self.body)
        except ValueError as reason:
            raise Unreachable("what answers is not a Kubernetes API", detail="it sent no JSON", hint=_CHECK) from reason
        # The answer itself is not shown: it may hold what a Secret does.
        if not isinstance(document, dict) or "metadata" not in document:
            raise Unreachable("what answers is not a Kubernetes API", detail="it sent no object", hint=_CHECK)
        return document


_CHECK = "check the server in the kubeconfig; kubectl cluster-info asks it too"
_WARNING = expression(r'299 \S+ "((?:[^"\\]|\\.)*)"')


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)[:_LONGEST]


def _path(attempt: Attempt) -> str:
    base = _PATHS[attempt.kind]
    place = f"/namespaces/{quote(attempt.namespace, safe='')}" if attempt.namespace else ""
    return base.format(place) + (f"/{quote(attempt.name, safe='')}" if attempt.name else "")


def _items(page: Manifest, kind: str) -> list[Manifest]:
    """The objects of a list, which leaves out of each what it says of all."""
    head = {"apiVersion": page.get("apiVersion", "v1"), "kind": kind}
    return [head | item for item in page.get("items") or ()]


def _selector(wanted: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in wanted.items())


def _among_ourselves(conflict: Conflict, manager: str) -> bool:
    """Whether only our own managers are in each other's way: what we once patched is ours to apply over."""
    owners = [owner for _, owner in refusals.parse(409, getattr(conflict.__cause__, "body", None)).owned]
    return bool(owners) and all(name.partition("-")[0] == MANAGER for name in (manager, *owners))


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LARGEST:
            raise LimitReached(f"one change of a watched object is larger than {_LARGEST >> 20} MiB")
        yield from filter(None, lines)
