"""Load tests and benchmarks: they drive the real product from outside, over sockets, as its users
do.

Nothing here is imported by `gateway`, and nothing here runs in `make test`: a benchmark is never
a timed test.
"""
