"""An engine without a daemon: overlayfs, an OCI runtime and our own client of registries.

An image's layers lie unpacked on this machine, below each other they are mounted as a container's root, and what the
container changed is the upper directory of that mount: walked once, it is the layer. All that needs a right, a mount or
a process id of its own is done by one helper process, the warden, in namespaces that end with it; it knows no login and
reaches no registry, and when whoever started it dies, in whatever way, it takes away all that there was.

    engine                the Engine: an assembly performed, from the first mount to the layer
      performing          one container: filled, run, cleared, judged
      networks  spec      what the container may reach; the runtime's document, as data
      runtimes            which OCI runtime starts here
      machine             what this machine lacks, and what would mend that
      wardens             this side of the helper process, and the calls as values
      warden/             that side
        unpacking  layering     a tar → files, below one directory; what was changed there → a tar
"""
