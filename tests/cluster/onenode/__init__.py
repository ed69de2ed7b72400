"""A real Kubernetes of one node, from parts that package registries carry, for tests on a machine without one.

It lives in network, mount and process namespaces of its own: nothing of it is seen outside, and when its first
process ends, all of it ends. Needs root.

- `parts`: the programs: Debian's packages, and Kubernetes's own, built once and kept in the user's cache.
- `layout`: folders, addresses and names.
- `pki`: keys and certificates, made anew for each cluster.
- `components`: each program's configuration and command line.
- `supervisor`: the first process inside: sets up, starts, watches, ends.
- `cluster`: what tests use.
"""
