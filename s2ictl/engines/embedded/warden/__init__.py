"""The helper process that holds the mounts: what runs in it, and nothing else.

It has to answer within a few hundredths of a second, so it is exec'd with the standard library alone. These modules are
a package of its own there: they import each other relatively, and nothing else of ours.

    process                 from the exec to the end: namespaces, who is served, what goes when nobody listens any more
      calls                   what may be asked of it
        chambers  leases        a container's mounts; directories with an owner, and those whose owner is dead
          running  reaping        the runtime's document at work; who waits for its orphans
          networking              a network of its own
        unpacking               a tar → files, below one directory
          members  sparse         what a tar says, in forty years' ways of saying it
          rooted                  where a path truly leads
        layering                what was changed in a container → a tar
          beneath                 what the trees below have at a path
          headers                 what stands before a member
        attributes              those that belong to an image
      trees  cgroups          removed, with whatever modes they have
      kernel  lines  failures   what the standard library lacks; questions and answers; what went wrong, as data
"""
