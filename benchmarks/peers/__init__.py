"""One adapter a peer: the same five words (`benchmarks.adapter`), whatever the library.

An adapter runs in its peer's own environment. Of ours it imports `adapter` and `job` alone, which need only
the standard library.
"""
