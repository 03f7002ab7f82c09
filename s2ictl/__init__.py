"""s2ictl: source code or a finished artifact becomes a running service, without a Dockerfile."""

__version__ = "0.1.0"
