"""The control plane: reads and validates the configuration, answers operators, shows what was
counted.

Runs in a process of its own. Nothing on the inference path waits for it, and it reaches stores
through ports only.
"""
