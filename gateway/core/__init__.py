"""What all planes speak, and nothing that only one of them does: values, contracts, pure decisions.

It imports nothing of ours, so that a promise kept here holds for the edge, the shadow process and
the control plane alike. No sockets, no databases, no numpy; a file is read only where its name says so.
"""
