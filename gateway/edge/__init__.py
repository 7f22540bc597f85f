"""The data plane: a client's request in, the champion's answer out. Imports no evidence, no control, no store."""
