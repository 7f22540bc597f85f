"""Wiring: the only package that knows every plane.

The supervisor holds sockets and processes and speaks to each child over its own line; a child
becomes a worker, the shadow, the control plane or a model server by the role it is started with.
No request passes through here.
"""
