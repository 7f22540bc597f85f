"""Where scripted backends answer, as pools are told of it."""

from gateway.core.snapshot import Target, TlsSettings


def target(port: int, *, host: str = "127.0.0.1", tls: TlsSettings | None = None, base_path: bytes = b"") -> Target:
    """A TCP address."""
    return Target(host, port, None, tls, b"%b:%d" % (host.encode(), port), base_path)


def unix_target(path: str) -> Target:
    """A Unix socket."""
    return Target("", 0, path, None, b"localhost", b"")
