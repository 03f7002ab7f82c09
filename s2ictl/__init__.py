"""s2ictl: source code or a finished artifact becomes a running service, without a Dockerfile.

    cli/                                    words and flags; words.py is their table, main.py the place of exit codes
    ui/                                     events, answers, errors → terminal, lines, JSON, CI groups
    serve  demo  doctor                     STORIES over stories: a push, a sample, a look around
      jobs  listener  workers                 what serve is made of
    build  rebuild  b2i  deploy             STORIES: source → image, once more, artifact → image, image → address
      reproducible                            the same source twice, and in what the two images differ
      unchanged  recipes                      whether it is needed at all; what decides that, as one digest
      choosing  foundry  workshop             which images it stands on; a builder's own; what a build works with
      dependencies  caches                    what a build leaves for the next: an image, directories
      assemblies  runtimes  workloads         one container described; what a result runs on; what the cluster says
      uploads                                 what it is sent before it starts
    sources/  archives/  artifacts/         where things come from: git, directory, tar, a finished file
    builders  aliases  labels  bases        which builder fits, and its other names; what an image promises; a base
    scripts  environments  uids             what a build brings: scripts, variables; who may run them
    dockerfiles/  callbacks  scaffold       the same as a Dockerfile; who is told of it; a new builder's folder
    engines/  leases  turns                 one container from start to image; what the dead left; who waits for whom
    registry  access  oci  layouts  logins/  names     where images go, who may, what they are called
    cluster  kubeconfig  refusals  manifests           the Kubernetes API on one side, pure objects on the other
    hooks/                                  what senders say
    ledger  ledgerfile  journal             what is remembered, in which tables, and what was said meanwhile
    config  documents                       s2i.yaml and YAML
    transport  addresses                    HTTP
    files                                   what is there whole or not at all
    events  models  errors                  what is said, the nouns, the failures

Imports run downwards only, and each library has one home: `make check` holds both (`[tool.importlinter]`).
"""

__version__ = "0.1.0"
