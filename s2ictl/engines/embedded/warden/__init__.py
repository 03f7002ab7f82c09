"""The helper process of the engine without a daemon: root where its caller may be nobody, and without his secrets.

It starts in a moment, so nothing here imports what the rest of s2ictl is made of, but for a few small modules.
"""
