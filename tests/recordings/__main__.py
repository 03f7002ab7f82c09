"""Write the recordings anew; what changed is for `git diff` to say."""

from __future__ import annotations

from tests.recordings import HERE, STORIES, recordings

for name, story in STORIES.items():
    for look, record in recordings().items():
        (HERE / f"{name}.{look}.txt").write_text(record(story), encoding="utf-8")
