"""`make bench`: what a request costs, measured beside nginx and Envoy in one run, on one machine.

One module a concern: `wire` (the request and the answer), `backend` and `load` (the two ends,
each a process of its own on the second core), `processes` and `cpu` (starting, pinning and
metering what stands between them), `subjects` (Tiltyard, nginx and Envoy as things to measure),
`findings` and `table` (from rounds to verdicts), `rows` (one module a row of the table). Only
127.0.0.1, every run bounded in time, every process ended by its id.
"""
