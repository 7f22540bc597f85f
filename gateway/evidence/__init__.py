"""What is learnt from pairs of answers: comparison, statistics, pair files, reports.

Runs in the shadow process and offline, never on the champion's path. May import `core`, `http1` and
`upstream`; never `edge`, `stores`, `onnx_server` or `control`.
"""
