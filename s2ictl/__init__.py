"""s2ictl: source code or a finished artifact becomes a running service, without a Dockerfile.

    cli/                                    words and flags; words.py is their table, main.py the place of exit codes
    ui/                                     events, answers, errors → terminal, lines, JSON, CI groups
    serve  demo  doctor                     STORIES over stories: a push, a sample, a look around
      jobs  listener  workers                 what serve is made of
    build  rebuild  b2i  push  deploy       STORIES: source → image, once more, artifact → image, → registry, → address
      planning  roads                         what is decided of an artifact, and which of two ways it goes
      footing  fittings                       what it is put on where nothing runs for it, and how it sits there
      reproducible                            the same source twice, and in what the two images differ
      unchanged  recipes                      whether it is needed at all; what decides that, as one digest
      choosing  foundry  workshop             which images it stands on; a builder's own; what a build works with
      dependencies  caches                    what a build leaves for the next: an image, directories
      assemblies  runtimes  workloads         one container described; what a result runs on; what the cluster says
      uploads  detection                      what it is sent before it starts; which builder fits its source
    sources/  archives/  artifacts/         where things come from: git, directory, tar, a finished file
    builders  aliases  labels  bases        our builders, and their other names; what an image promises; a base
    scripts  environments  uids             what a build brings: scripts, variables; who may run them
    dockerfiles/  callbacks  scaffold       the same as a Dockerfile; who is told of it; a new builder's folder
    engines/  leases  turns                 one container from start to image; what the dead left; who waits for whom
    sending  targets                        a layer on its way, and one image in several places
    images/  shelf                          images kept here: those of the engine without a daemon; bases of Docker's
    saved  tarballs                         engines' form of one, and ours
    registry/  access  oci/  layouts  logins/  names    where images go, who may, what they are called
    cluster  kubeconfig  refusals  manifests           the Kubernetes API on one side, pure objects on the other
    hooks/                                  what senders say
    ledger  ledgerfile  journal             what is remembered, in which tables, and what was said meanwhile
    config  documents                       s2i.yaml and YAML
    transport  connections  tunnels         HTTP: what may be repeated; who is called, by proxies, TLS inside of TLS
    pools  dialling  wire                   connections kept for the next exchange; how one is made; HTTP on it
    troubles  addresses                     why nobody answers; what an address says
    files  compression                      what is there whole or not at all; layers, packed
    events  models  errors  values          what is said, the nouns, the failures; how nouns are made
    expressions                             regular ones, compiled late

Imports run downwards only, and each library has one home: `make check` holds both (`[tool.importlinter]`).
"""

__version__ = "0.1.0"
