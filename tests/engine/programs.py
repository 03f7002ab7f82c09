"""Real programs for Linux, by the compilers of this machine: what people hold in their hands when it is not Java.

All of them serve HTTP on PORT, or 8080, and answer with what they are and what they were told. They are kept as those
of `javas` are, and are nobody's to change either.

    static_c(), static_go()       one file that asks for nothing
    dynamic_c(), dynamic_musl()   that asks for a loader, of the one C library or of the other
    dynamic_cpp()                 that asks for more than that; asking_for_a_library(): for what nobody has
    foreign()                     for a machine that this one is not
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from tests.engine.javas import kept
from tests.parts import need

FOREIGN = "amd64" if platform.machine() == "aarch64" else "arm64"

_C = r"""
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words) {
    char told[512] = "", body[800], answer[1024], asked[4096];
    for (int each = 1; each < count; each++) {
        strncat(told, words[each], sizeof told - strlen(told) - 2);
        strcat(told, "|");
    }
    const char *port = getenv("PORT");
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 8080)};
    int listening = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listening, (struct sockaddr *)&place, sizeof place) || listen(listening, 16)) {
        perror("cannot listen");
        return 1;
    }
    snprintf(body, sizeof body, "hello from KIND, told %s as %u", told, getuid());
    int size = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                        strlen(body), body);
    for (;;) {
        int connection = accept(listening, NULL, NULL);
        if (connection < 0) continue;
        if (read(connection, asked, sizeof asked) > 0 && write(connection, answer, size) < 0) perror("cannot answer");
        shutdown(connection, SHUT_WR);
        close(connection);
    }
}
"""
_CPP = r"""
#include <arpa/inet.h>
#include <cstdlib>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

int main() {
    const char *port = std::getenv("PORT");
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(port ? std::stoi(port) : 8080);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, reinterpret_cast<sockaddr *>(&place), sizeof place) || listen(listening, 16)) return 1;
    const std::string body = "hello from C++";
    const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                               "\r\nConnection: close\r\n\r\n" + body;
    for (;;) {
        char asked[4096];
        int connection = accept(listening, nullptr, nullptr);
        if (read(connection, asked, sizeof asked) > 0 && write(connection, answer.data(), answer.size()) < 0) return 1;
        close(connection);
    }
}
"""
_GO = """
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(answer, "hello from Go, told %v", os.Args[1:])
	})
	if err := http.ListenAndServe(":"+port, nil); err != nil {
		panic(err)
	}
}
"""


def static_c() -> Path:
    return _by_c("static", "C alone", "gcc", "-static")


def dynamic_c() -> Path:
    return _by_c("dynamic", "C", "gcc")


def dynamic_musl() -> Path:
    """By the other C library, whose loader no Debian has."""
    if shutil.which("musl-gcc") is None:
        need("musl-tools")
    return _by_c("musl", "C with musl", "musl-gcc")


def dynamic_cpp() -> Path:
    if shutil.which("g++") is None:
        need("g++")
    return _compiled("cpp", _CPP, "shop.cc", "g++", "-O1", "-s")


def asking_for_a_library() -> Path:
    def make(directory: Path) -> None:
        (directory / "words.c").write_text("int words(void) { return 0; }\n")
        (directory / "shop.c").write_text("int words(void);\nint main(void) { return words(); }\n")
        for command in (
            ("gcc", "-shared", "-fPIC", "-Wl,-soname,libshop.so", "-o", "libshop.so", "words.c"),
            ("gcc", "-o", "shop", "shop.c", "-L.", "-lshop"),
        ):
            subprocess.run(command, cwd=directory, check=True, timeout=120)

    _have_gcc()
    return kept("asking", "shop", make)


def static_go() -> Path:
    return _by_go(platform.machine().replace("x86_64", "amd64").replace("aarch64", "arm64"))


def foreign() -> Path:
    """A program for FOREIGN."""
    return _by_go(FOREIGN)


def _have_gcc() -> None:
    if shutil.which("gcc") is None:
        need("gcc", "libc6-dev")


def _by_c(name: str, kind: str, compiler: str, *flags: str) -> Path:
    _have_gcc()
    return _compiled(name, _C.replace("KIND", kind), "shop.c", compiler, "-O1", "-s", *flags)


def _compiled(name: str, source: str, file: str, compiler: str, *flags: str) -> Path:
    def make(directory: Path) -> None:
        (directory / file).write_text(source)
        subprocess.run([compiler, *flags, "-o", "shop", file], cwd=directory, check=True, timeout=120)

    return kept(name, "shop", make, source, compiler, flags)


def _by_go(machine: str) -> Path:
    if shutil.which("go") is None:
        need("golang-go")

    def make(directory: Path) -> None:
        (directory / "main.go").write_text(_GO)
        environ = {**os.environ, "CGO_ENABLED": "0", "GOARCH": machine, "GOFLAGS": "-buildvcs=false"}
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", "shop", "main.go"]
        subprocess.run(command, cwd=directory, env=environ, check=True, timeout=300)

    return kept(f"go-{machine}", "shop", make, _GO, machine)
