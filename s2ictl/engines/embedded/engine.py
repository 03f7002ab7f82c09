"""The Engine without a daemon: an assembly performed, from the first mount to the layer that is left."""

from __future__ import annotations
