"""The command line of every child process: `python -m gateway.runtime NAME ASSIGNMENT`. Not for
people.
"""

from gateway.runtime.session import main

main()
