"""A certification authority for one test run, by the `openssl` command."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def _openssl(directory: Path, *arguments: str) -> None:
    command = shutil.which("openssl")
    assert command, "these tests make their certificates with the `openssl` command, which this machine does not have"
    subprocess.run([command, *arguments], cwd=directory, check=True, capture_output=True)


@dataclass(frozen=True)
class Authority:
    """An authority that nobody but the tests trusts; `certificate` is its own."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def server(self, name: str) -> ssl.SSLContext:
        """What a server needs that is called `name` (a DNS name, or `IP:` and an address)."""
        stem = "".join(letter if letter.isalnum() else "-" for letter in name)
        alternative = name if name.startswith("IP:") else f"DNS:{name}"
        (self.directory / f"{stem}.ext").write_text(
            f"subjectAltName={alternative}\nbasicConstraints=critical,CA:FALSE\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        request = ["req", *_KEY, "-subj", "/CN=test server", "-keyout", f"{stem}.key", "-out", f"{stem}.csr"]
        _openssl(self.directory, *request)
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{stem}.ext"]
        _openssl(self.directory, "x509", "-req", "-in", f"{stem}.csr", "-out", f"{stem}.pem", *signing)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{stem}.pem", self.directory / f"{stem}.key")
        context.set_alpn_protocols(["http/1.1"])
        return context


def make_authority(directory: Path) -> Authority:
    """A new authority, whose files are in `directory`."""
    extensions = [
        "basicConstraints=critical,CA:TRUE",
        "keyUsage=critical,keyCertSign,cRLSign",
        "subjectKeyIdentifier=hash",
    ]
    added = [part for extension in extensions for part in ("-addext", extension)]
    subject = ["-subj", "/CN=test authority", "-days", "2"]
    _openssl(directory, "req", "-x509", *_KEY, *subject, "-keyout", "ca.key", "-out", "ca.pem", *added)
    return Authority(directory)
