"""Jars and wars, made of bytes: classes with a level and a pool of constants, and what lies beside them."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

WEB_XML = {
    "javax": b'<?xml version="1.0"?><web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="4.0"/>',
    "jakarta": b'<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>',
    "newest": b"<web-app xmlns='https://jakarta.ee/xml/ns/jakartaee'\n  version='6.1'/>",
    "oldest": b'<!DOCTYPE web-app PUBLIC "x" "http://java.sun.com/dtd/web-app_2_3.dtd"><web-app/>',
}


def klass(level: int, *names: str) -> bytes:
    """A class of a level of Java that names these types."""
    pool = b"".join(struct.pack(">BH", 1, len(name)) + name.encode() for name in names)
    return struct.pack(">LHHH", 0xCAFEBABE, 0, 44 + level, len(names) + 1) + pool + bytes(14)


def manifest(**attributes: str) -> bytes:
    """A manifest of these attributes, its lines folded as Java folds them."""
    lines = [f"{name.replace('_', '-')}: {value}".encode() for name, value in attributes.items()]
    folded = [line[:70] + b"".join(b"\r\n " + line[at : at + 69] for at in range(70, len(line), 69)) for line in lines]
    return b"\r\n".join([b"Manifest-Version: 1.0", *folded, b"", b""])


def packed(files: Mapping[str, bytes], *, stored: bool = False) -> bytes:
    """A zip of files in this order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return buffer.getvalue()


def streamed(files: Mapping[str, bytes]) -> bytes:
    """The same as a program writes it that cannot go back: each size stands behind its content."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise OSError

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return pipe.getvalue()


def laid(directory: Path, files: Mapping[str, bytes]) -> Path:
    """The same files, unpacked."""
    for name, content in files.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return directory


def runnable(level: int = 17, **attributes: str) -> dict[str, bytes]:
    """The files of a jar that starts."""
    return {
        "META-INF/MANIFEST.MF": manifest(Main_Class="com.example.Shop", **attributes),
        "com/example/Shop.class": klass(level),
    }


def boot(**more: bytes) -> dict[str, bytes]:
    """The files of a jar of Spring Boot."""
    launcher = "org.springframework.boot.loader.launch.JarLauncher"
    return {
        "META-INF/MANIFEST.MF": manifest(
            Main_Class=launcher,
            Start_Class="com.example.ShopApplication",
            Spring_Boot_Version="3.4.1",
            Spring_Boot_Layers_Index="BOOT-INF/layers.idx",
        ),
        f"{launcher.replace('.', '/')}.class": klass(17),
        "BOOT-INF/classes/com/example/ShopApplication.class": klass(21),
        "BOOT-INF/layers.idx": b'- "dependencies":\n  - "BOOT-INF/lib/"\n- "application":\n  - "META-INF/"\n',
        "BOOT-INF/lib/spring-boot-3.4.1.jar": packed({"org/A.class": klass(17)}),
        "BOOT-INF/lib/tomcat-embed-core-10.1.34.jar": packed({"org/B.class": klass(11)}),
        **more,
    }


def war(servlet: str = "jakarta", level: int = 17) -> dict[str, bytes]:
    """The files of a war whose one class is a servlet."""
    return {
        "WEB-INF/web.xml": WEB_XML[servlet],
        "WEB-INF/classes/com/example/Shop.class": klass(level, f"L{servlet}/servlet/http/HttpServlet;"),
    }
