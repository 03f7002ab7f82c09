"""Real git servers for tests: `git http-backend` behind a web server of our own, and OpenSSH's sshd.

The first needs nothing but git, so the first layer uses it as well, over plain http on loopback.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from tests.fakes.loopback import served
from tests.testbed import certificates

LOOPBACK = "127.0.0.1"

GIT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TEMPLATE_DIR": "",  # a dozen examples of hooks in every repository
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_COMMITTER_DATE": "1700000000 +0100",
    "LC_ALL": "C",
}


def git(directory: Path, *words: str, **more: str) -> str:
    """Run git as a developer would, but with the same name and time everywhere."""
    done = subprocess.run(["git", *words], cwd=directory, env={**GIT, **more}, capture_output=True, check=True)
    return done.stdout.decode(errors="surrogateescape").strip()


def repository(directory: Path, files: Mapping[str, str], *, message: str = "First") -> Path:
    """A working copy with one commit on main."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    commit(directory, files, message=message)
    return directory


def commit(directory: Path, files: Mapping[str, str], *, message: str = "More") -> str:
    """Write these files, commit all there is, and answer the commit's id."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(directory, "rev-parse", "HEAD")


def submodule(directory: Path, url: str, path: str) -> None:
    """Commit another repository, which lies beside this one, as a submodule that is addressed by `url`."""
    allowed = ("-c", "protocol.file.allow=always")
    git(directory, *allowed, "submodule", "--quiet", "add", "--name", path, "--", str(directory / url), path)
    git(directory, "config", "-f", ".gitmodules", f"submodule.{path}.url", url)
    git(directory, "add", ".gitmodules")
    git(directory, "commit", "--quiet", "--message", f"With {path}")


def clone(url: str, directory: Path, **more: str) -> Path:
    """A clone with its submodules, by git itself."""
    git(directory.parent, "clone", "--quiet", "--recurse-submodules", "--", url, directory.name, **more)
    return directory


# -------------------------------------------------------------------------------------------------------------- http


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """A running server: the address of what lies below its root, and each request that came with what it carried."""

    url: str
    seen: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


Instead = Callable[[BaseHTTPRequestHandler], bool]


@contextmanager
def web(
    root: Path,
    *,
    login: tuple[str, str] | None = None,
    pair: certificates.Pair | None = None,
    instead: Instead = lambda _: False,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Web]:
    """Serve every repository below a directory; `instead` may answer a request in another way."""
    expected = _basic(login) if login else ""

    class Handler(_Backend):
        def handle_request(self) -> None:
            site.seen.append((self.command, self.path))
            site.logins.append(self.headers.get("Authorization", ""))
            if instead(self):
                return
            if expected and self.headers.get("Authorization") != expected:
                self.refuse()
            else:
                self.run_backend(root, environ or {})

    server = _Server((LOOPBACK, 0), Handler)
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    site = Web(url=f"{'https' if pair else 'http'}://{LOOPBACK}:{server.server_port}")
    with served(server):
        yield site


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what many tests are about."""


class _Backend(BaseHTTPRequestHandler):
    """CGI, as far as git http-backend needs it."""

    timeout: ClassVar[float] = 30.0

    def handle_request(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.handle_request()

    def do_POST(self) -> None:
        self.handle_request()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def refuse(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def run_backend(self, root: Path, environ: Mapping[str, str]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        command = ["git", "http-backend"]
        done = subprocess.run(command, input=body, env={**self._cgi(root), **environ}, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.decode().partition(": ")[::2] for line in head.split(b"\r\n") if line]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _cgi(self, root: Path) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return {
            **GIT,
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }


@dataclass(slots=True, kw_only=True)
class LargeFiles:
    """What a forge adds for git-lfs, by the documents of its protocol: to be handed to `web` as what it does instead.

    `elsewhere` is the address that it sends to for the objects, `cut` how many answers break off in the middle.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    elsewhere: str = ""
    cut: int = 0
    asked: list[str] = field(default_factory=list)

    def add(self, content: bytes) -> str:
        """Keep an object, and answer the pointer that stands for it."""
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"

    def __call__(self, request: BaseHTTPRequestHandler) -> bool:
        if request.path.endswith("/info/lfs/objects/batch"):
            self._answer_batch(request)
        elif request.path.startswith("/lfs-objects/"):
            self._answer_object(request)
        else:
            return False
        self.asked.append(f"{request.command} {request.path}")
        return True

    def _answer_batch(self, request: BaseHTTPRequestHandler) -> None:
        wanted = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        if self.login and request.headers.get("Authorization") != _basic(self.login):
            _answer(request, 401, b"{}")
            return
        here = self.elsewhere or f"http://{request.headers['Host']}"
        objects = [self._object(one["oid"], here) for one in wanted["objects"]]
        _answer(request, 200, json.dumps({"transfer": "basic", "objects": objects}).encode())

    def _object(self, oid: str, here: str) -> dict[str, object]:
        if oid not in self.objects:
            return {"oid": oid, "error": {"code": 404, "message": "Object does not exist"}}
        action = {"href": f"{here}/lfs-objects/{oid}", "header": {"X-Ticket": "t1"}}
        return {"oid": oid, "size": len(self.objects[oid]), "actions": {"download": action}}

    def _answer_object(self, request: BaseHTTPRequestHandler) -> None:
        content = self.objects[request.path.rpartition("/")[2]]
        if request.headers.get("X-Ticket") != "t1":
            _answer(request, 403, b"")
            return
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        if self.cut:
            self.cut -= 1
            request.send_response(200)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content[: len(content) // 2])
            request.close_connection = True
            return
        _answer(request, 206 if begin else 200, content[begin:])


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _answer(request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def authority(directory: Path) -> tuple[Path, certificates.Pair]:
    """A certificate authority of our own, and what it has signed for loopback."""
    ours = certificates.authority(directory)
    signed = ours.issue("server", subject="/CN=localhost", alternatives=(f"IP:{LOOPBACK}", "DNS:localhost"))
    return ours.own.certificate, signed


# --------------------------------------------------------------------------------------------------------------- ssh


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A running sshd: how it is addressed, the key that it lets in, and the file that knows its host key."""

    url: str
    key: Path
    known_hosts: Path
    directory: Path
    port: int


@contextmanager
def sshd(directory: Path) -> Iterator[Shell]:
    """OpenSSH on a free port, as a child of ours, with keys of its own; whoever runs it is who may log in."""
    directory.mkdir(mode=0o700)
    key, host_key = keygen(directory / "user key"), keygen(directory / "host")
    shutil.copyfile(f"{key}.pub", directory / "authorized_keys")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    config = directory / "sshd_config"
    config.write_text(
        f"ListenAddress {LOOPBACK}\nPort {port}\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    known_hosts = directory / "known hosts"
    learn(known_hosts, host_key, port)
    user = pwd.getpwuid(os.getuid()).pw_name
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=output)
    try:
        wait_for(port, process, log)
        yield Shell(
            url=f"ssh://{user}@{LOOPBACK}:{port}", key=key, known_hosts=known_hosts, directory=directory, port=port
        )
    finally:
        process.terminate()
        process.wait()


def keygen(path: Path, *, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    return path


def learn(known_hosts: Path, host_key: Path, port: int) -> None:
    public = Path(f"{host_key}.pub").read_text().split()
    known_hosts.write_text(f"[{LOOPBACK}]:{port} {public[0]} {public[1]}\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"sshd did not come up: {log.read_text(errors='replace')}")
