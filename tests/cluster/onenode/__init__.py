"""A Kubernetes cluster of one node for tests, built from Debian packages and published Go modules.

The cluster has its own network, mount and process namespaces: it is not visible outside, and it ends with its first
process. It needs root.

- `parts`: the programs, from Debian packages, and those of Kubernetes, built once and cached for the user.
- `layout`: folders, addresses and names.
- `pki`: keys and certificates, created for each cluster.
- `components`: configuration and command line of each program.
- `supervisor`: the first process inside, which sets up, starts, watches and stops the programs.
- `cluster`: the interface for tests.
"""
