"""An engine without a daemon: overlayfs, an OCI runtime and our own client of registries.

An image's layers lie unpacked on this machine, below each other they are mounted as a container's root, and what the
container changed is the upper directory of that mount: walked once, it is the layer. All that needs a right, a mount or
a process id of its own is done by one helper process, the warden, in namespaces that end with it; it knows no login and
reaches no registry, and when whoever started it dies, in whatever way, it takes away all that there was.

    opening               the helper process started, and then the rest
    engine                the Engine: an assembly performed, from the first mount to the layer
      performing          one container: filled, run, cleared, judged
        salvaging  downloads    what an earlier image saves; what is kept for later builds
      serving             an image at work as it says of itself
      links               where a path of a container leads
      commands  listening      a command and all that it finds in its container; what it says, and how it ends
      networks  spec  seccomp   what the container may reach; the runtime's document, as data; the calls in it
      machine             what this machine can do without a daemon, tried once and remembered
        surroundings  trials  examining   what can be read of it; a container that does nothing; what it lacks
        runtimes  mending       which OCI runtimes there are; what would bring what it lacks
      wardens             this side of the helper process: what can be asked
        starting  subordinate       from its start to its end; the ids that an ordinary user may give away
        chambers  asking            a container and its command; a call, and what its failure means here
      warden/             that side
        unpacking  layering     a tar → files, below one directory; what was changed there → a tar
"""
