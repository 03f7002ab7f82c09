"""Whether somebody whom the user named has signed the commit that is built.

Only signatures by ssh keys are asked about: a file names who may sign, and no keyring of this machine has a say.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2ictl.errors import Refused
from s2ictl.models import Tree
from s2ictl.sources.program import Git
from s2ictl.sources.words import last_words

_HINT = "--allowed-signers FILE says who may sign: a line for each, NAME KEYTYPE KEY"


def verify(git: Git, commit: str, signers: Path) -> None:
    """Refuse a commit that none of these has signed."""
    settings = (
        "gpg.format=ssh",
        f"gpg.ssh.allowedSignersFile={signers.absolute()}",
        "gpg.minTrustLevel=fully",
        "gpg.openpgp.program=false",
        "gpg.x509.program=false",
    )
    asking = replace(git, settings=(*git.settings, *settings), explain=lambda said: _unsigned(commit, signers, said))
    asking.answer("verify-commit", commit)


def refuse_unsigned(tree: Tree) -> None:
    """What is no commit cannot have been signed."""
    if tree.commit is None:
        raise Refused(f"{tree.location} is no commit, so nobody has signed it", hint=_HINT)


def _unsigned(commit: str, signers: Path, said: str) -> Refused:
    detail = last_words(said) or "it has no signature"
    return Refused(f"the commit {commit[:12]} is not signed by anybody in {signers}", detail=detail, hint=_HINT)
