"""The one request and the one answer that every subject carries, and the least parsing that can
check them.

The same bytes go through everything measured: a request body of 130 bytes and a small Open
Inference Protocol answer, so that a comparison of the two answers is a real one. Framing here is
by Content-Length alone, because that is what every subject forwards for these bodies; anything
else is an error and is counted, never guessed at.
"""

from __future__ import annotations

REQUEST_BODY = (
    b'{"inputs":[{"name":"features","datatype":"FP32","shape":[1,8],'
    b'"data":[0.1250,1.5000,-0.7500,3.2500,-1.0000,12.0000,7.500,1.000]}]}'
)
ANSWER_BODY = (
    b'{"model_name":"bench","model_version":"1","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[1]}]}'
)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER_BODY),
    ANSWER_BODY,
)
HEAD_END = b"\r\n\r\n"


def infer_path(model: str = "bench") -> str:
    """The path an inference client posts to."""
    return f"/v2/models/{model}/infer"


def request(path: str, body: bytes = REQUEST_BODY) -> bytes:
    """One POST as an ordinary keep-alive client writes it."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: bench/1\r\naccept: */*\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def message_length(data: bytes | bytearray) -> int | None:
    """How long the message at the start of `data` is, or None while its head is not whole.

    A message without a Content-Length has no body here: that is true of every GET and HEAD probe.
    """
    end = data.find(HEAD_END)
    if end < 0:
        return None
    head = bytes(data[:end]).lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return end + len(HEAD_END)
    stop = head.find(b"\r\n", at + 2)
    value = head[at + 17 : stop if stop >= 0 else len(head)]
    return end + len(HEAD_END) + int(value)


def is_expected(answer: bytes | bytearray, body: bytes) -> bool:
    """Whether a whole answer is a 200 whose body is `body`, byte for byte."""
    return (
        answer.startswith(b"HTTP/1.1 200 ")
        and answer.endswith(body)
        and answer.find(HEAD_END) + len(HEAD_END) + len(body) == len(answer)
    )
