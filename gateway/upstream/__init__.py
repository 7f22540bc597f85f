"""Calling backends: pools of connections, one per replica, with their bounds; used by the edge and by the shadow."""
