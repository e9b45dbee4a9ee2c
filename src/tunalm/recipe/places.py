"""Where the model of an engine answers: what a table of prices knows it by."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

IN_PROCESS = "in-process"
LOOPBACK = "loopback"


@dataclass(frozen=True)
class Place:
    """Where a model answers."""

    host: str
    """With its port, if the address names one; `in-process` for a model without a server."""
    model: str
    kind: str
    """Of the engine: `endpoint`, `batch` ..."""

    def __str__(self) -> str:
        return f"{self.model} at {self.host}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a table may call the host."""
        bare = urlsplit(f"//{self.host}").hostname or self.host
        return (self.host, bare, LOOPBACK) if is_loopback(bare) else (self.host, bare)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
