"""Statistics, one method a module: pure functions over plain numbers, nothing at run time but Python.

Each names its source and is held to the reference numbers in the tests. Nothing here knows of pairs,
models or files; `gateway.cli.stats` gives every method to the command line.
"""
