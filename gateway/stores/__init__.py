"""Engines behind the ports of `gateway.core.ports`: each keeps data in one way and knows `core` only.

`pair_files` says where pairs are and imports no engine, so that a process which only writes the journal stays small.
"""
