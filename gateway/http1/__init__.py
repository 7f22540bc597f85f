"""HTTP/1.1 on the wire, both sides, with no policy: framing, states, limits, deadlines (RFC 9110, RFC 9112).

`server` faces clients, `client` faces backends, `head` holds the rules for header sections, `deadlines` the one sweep
that keeps all time limits. Parsing is httptools (llhttp); what llhttp leaves open or gets wrong is decided here.
"""
