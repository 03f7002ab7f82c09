"""How things look: events, answers and errors become a live terminal, plain lines, JSON lines or CI groups.

The code below emits values and knows of no terminal; the commands above hand over values and know of no format. What
other programs printed is untrusted: it is shown without control characters, and can neither move the cursor, nor open
a group in a CI log, nor give the CI a command. Every command pays for what is imported here, `--help` too, so each
look is imported when it is chosen, and rich, whose home is `terminal`, with the first thing that is painted there.
"""

from s2ictl.ui.answers import Answer, Output, print_answer, table
from s2ictl.ui.failures import print_error
from s2ictl.ui.looks import Appearance, Looks, showing
from s2ictl.ui.text import printable, seconds, size

__all__ = [
    "Answer",
    "Appearance",
    "Looks",
    "Output",
    "print_answer",
    "print_error",
    "printable",
    "seconds",
    "showing",
    "size",
    "table",
]
