"""What the names of libraries tell of an application: its servlets, and the server that it brings along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from s2ictl.expressions import expression
from s2ictl.models import Servlet

_NAME = expression(r"([A-Za-z][A-Za-z0-9._-]*?)(?:-([0-9]+)(?:\.([0-9]+))?[^/]*)?\.jar")
_NEVER, _ALWAYS = (1 << 30, 0), (0, 0)

# The version from which on a library is for jakarta servlets. One that serves both, or needs none, says nothing.
_JAKARTA_SINCE = {
    "cxf-rt-transports-http": (4, 0),
    "flow-server": (24, 0),
    "guice-servlet": (7, 0),
    "jakarta.faces": (3, 0),
    "jakarta.servlet-api": (5, 0),
    "jakarta.servlet.jsp-api": (3, 0),
    "jakarta.servlet.jsp.jstl": (2, 0),
    "jakarta.servlet.jsp.jstl-api": (2, 0),
    "javax.faces": _NEVER,
    "javax.servlet-api": _NEVER,
    "javax.servlet.jsp-api": _NEVER,
    "jersey-container-servlet": (3, 0),
    "jersey-container-servlet-core": (3, 0),
    "jetty-ee10-servlet": _ALWAYS,
    "jetty-ee8-servlet": _NEVER,
    "jetty-ee9-servlet": _ALWAYS,
    "jetty-servlet": (11, 0),
    "jstl": _NEVER,
    "log4j-jakarta-web": _ALWAYS,
    "log4j-web": _NEVER,
    "servlet-api": _NEVER,
    "spring-boot": (3, 0),
    "spring-security-web": (6, 0),
    "spring-web": (6, 0),
    "spring-webmvc": (6, 0),
    "struts-core": _NEVER,
    "struts2-core": (7, 0),
    "tomcat-embed-core": (10, 0),
    "undertow-servlet": (2, 3),
    "vaadin-server": _NEVER,
    "wicket-core": (10, 0),
}

# The strongest first: netty is as often there for a client.
_SERVERS = {
    "tomcat-embed-core": "tomcat",
    "undertow-core": "undertow",
    "jetty-server": "jetty",
    "reactor-netty-http": "netty",
    "netty-codec-http": "netty",
    "netty-all": "netty",
    "vertx-core": "netty",
}
_SERVER_CLASSES = {
    "org/apache/catalina/startup/Tomcat.class": "tomcat",
    "io/undertow/Undertow.class": "undertow",
    "org/eclipse/jetty/server/Server.class": "jetty",
    "io/netty/handler/codec/http/HttpServerCodec.class": "netty",
}
SERVLET_CLASSES: dict[str, Servlet] = {
    "javax/servlet/Servlet.class": "javax",
    "jakarta/servlet/Servlet.class": "jakarta",
}


def servlets_of(libraries: Iterable[str]) -> Iterator[Servlet]:
    """The namespaces that libraries are for, by their file names."""
    for match in filter(None, map(_NAME.fullmatch, libraries)):
        since = _JAKARTA_SINCE.get(match[1])
        if since is not None and (match[2] or since in (_NEVER, _ALWAYS)):
            yield "jakarta" if (int((match[2] or "0")[:9]), int((match[3] or "0")[:9])) >= since else "javax"


def server_of(libraries: Iterable[str], classes: Iterable[str]) -> str:
    """The server that comes along, as a library or with its classes among the application's own."""
    there = {match[1] for match in map(_NAME.fullmatch, libraries) if match}
    known = set(_SERVER_CLASSES).intersection(classes)
    found = [server for name, server in _SERVERS.items() if name in there]
    found += [server for name, server in _SERVER_CLASSES.items() if name in known]
    return next(iter(found), "")
