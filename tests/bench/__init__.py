"""`make bench`: what is promised of time, memory and bytes, measured against a limit or a peer in the same run.

Two commands take turns (A B A B), so that what else the machine does falls on both; the minimum and the median of each
are printed. Only ratios and differences carry over to another machine.

    goals             what is promised, and whether it is met: one table at the end
    timing  weigh     how long commands take; how much memory one takes, seen from a process of its own
    start_up          the interpreter, the words, the help
    trees             builds of four sizes, beside the older tool where it is on PATH
    push              the same into a registry, without a daemon and with one; several at once
    languages         the samples of our own builders: with caches, and what a change of one line pushes
    ground            the engine, the registry, and the builder that does nothing
"""
