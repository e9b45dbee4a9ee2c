"""One call to a server: bytes out, bytes in, bounded in time and in memory whatever the other side does.

Nothing of the environment but a proxy's address gets into a call: no key, no cookie, no password of a .netrc file.
Redirects are not followed. The body of an answer is unpacked here, piece by piece, so that the limit on its size holds
for what comes out of a compressed body and not for what goes in.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from tunalm.engines.base import Request
from tunalm.engines.endpoint.faults import Fault, ReplyError
from tunalm.engines.endpoint.retries import LostError, NotSentError
from tunalm.recipe.places import is_loopback
from tunalm.redaction import without_secret_bytes

LONGEST_CONNECT = 10.0
"""Seconds in which a server must accept a connection."""
KEEP_ALIVE = 4.0
"""Seconds that an idle connection is used again; some servers close theirs after five, and a call that meets the
closing door is lost."""
READ_AHEAD = 1 << 20
"""Bytes of a reply that are taken from the socket before somebody reads them; long replies come in fewer pieces."""
REST = 30.0
"""Seconds for which an address that could not be reached is left alone, if there are others."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS + 32


@dataclass(frozen=True)
class Answer:
    """What a server sent back."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Unpacked."""

    @property
    def succeeded(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300


class Wire:
    """Connections to one address, used again from call to call.

    Args:
        url: base address, already checked (see `addresses`).
        key: goes with every call; None sends none.
        timeout: seconds for one call, from the first byte out to the last byte in.
    """

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Content-Type": "application/json",
            "User-Agent": f"tunalm/{version('tunalm')}",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }
        parts = urlsplit(url)
        direct = is_loopback(parts.hostname or "") or proxy_bypass(parts.hostname or "")
        self._proxy = None if direct else getproxies().get(parts.scheme)
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep connections until the block is left."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE)
        timeout = aiohttp.ClientTimeout(
            total=self._timeout, sock_connect=min(LONGEST_CONNECT, self._timeout / 2), ceil_threshold=self._timeout + 1
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=READ_AHEAD,
            trust_env=False,
        ) as self._session:
            yield

    async def exchange(
        self, method: str, path: str, read: Callable[[aiohttp.ClientResponse], Awaitable[bytes]], **options: Any
    ) -> Answer:
        """Send a request, with further options of `aiohttp`, and return the answer, whatever its status.

        Raises:
            NotSentError: there was no connection.
            LostError: no whole answer came back in time.
            ReplyError: as `read`, which reads the body of the answer (see `read_body`).
        """
        assert self._session is not None, "only inside connected()"
        begun = False
        try:
            async with self._session.request(
                method, f"{self._url}{path}", proxy=self._proxy, allow_redirects=False, **options
            ) as response:
                begun = True
                return Answer(response.status, response.headers, await read(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            raise NotSentError(f"{Fault.NO_CONNECTION}: {_reason(error)}") from None
        except TimeoutError:
            fault, what = (Fault.TOO_SLOW, "no whole reply") if begun else (Fault.TIMEOUT, "no reply")
            raise LostError(f"{fault}: {what} within {self._timeout:g} seconds", overload=True) from None
        except aiohttp.ClientPayloadError as error:
            raise LostError(f"{Fault.TRUNCATED}: the connection ended before the reply did") from error
        except aiohttp.ClientResponseError as error:
            raise LostError(f"{Fault.NOT_HTTP}: {type(error).__name__}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise LostError(f"{Fault.RESET}: the connection broke ({type(error).__name__})") from error


class Fleet:
    """Addresses that serve the same model. Requests with the same prompt go to the same one, which keeps what it read.

    Args:
        wires: at least one.
    """

    def __init__(self, wires: Sequence[Wire]) -> None:
        self._wires = wires
        self._rests_until = [-math.inf] * len(wires)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep connections until the block is left."""
        async with AsyncExitStack() as opened:
            for wire in self._wires:
                await opened.enter_async_context(wire.connected())
            yield

    async def post(self, request: Request, path: str, body: bytes, limit: int) -> Answer:
        """As `Wire.exchange`, with the address of the request's prompt or, if that is down, the next that is not."""
        read = partial(read_body, limit=limit)
        now = asyncio.get_running_loop().time()
        first = _place(request, len(self._wires))
        order = [(first + step) % len(self._wires) for step in range(len(self._wires))]
        order.sort(key=lambda place: self._rests_until[place] > now)
        for place in order[:-1]:
            try:
                return await self._wires[place].exchange("POST", path, read, data=body)
            except NotSentError:
                self._rests_until[place] = now + REST
        return await self._wires[order[-1]].exchange("POST", path, read, data=body)


def _place(request: Request, count: int) -> int:
    text = "\0".join(f"{message.role}\0{message.text}" for message in request.prompt)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) % count


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Body of a response, unpacked.

    Raises:
        ReplyError: it is larger than `limit` bytes, or cannot be unpacked.
    """
    body = bytearray()
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise ReplyError(Fault.BAD_ENCODING, "packed in a way that was not asked for")
    packed = zlib.decompressobj(_ZLIB_OR_GZIP) if encoding in ("gzip", "deflate") else None
    async for piece in response.content.iter_any():
        while piece and len(body) <= limit:
            if packed is None:
                body += piece
                break
            if packed.eof:  # a packed body may be several, one behind the other
                packed = zlib.decompressobj(_ZLIB_OR_GZIP)
            try:
                body += packed.decompress(piece, limit + 1 - len(body))
            except zlib.error:
                raise ReplyError(Fault.BAD_ENCODING, "it cannot be unpacked") from None
            piece = packed.unused_data
        if len(body) > limit:
            raise ReplyError(Fault.TOO_LARGE, f"more than {limit} bytes")
    if packed and body and not packed.eof:
        raise ReplyError(Fault.BAD_ENCODING, "the packed reply has no end")
    return without_secret_bytes(bytes(body))


def _reason(error: aiohttp.ClientError) -> str:
    """Why there is no connection, without the address (it may hold a proxy's password)."""
    cause = getattr(error, "os_error", None) or error.__cause__
    return getattr(cause, "strerror", None) or type(error).__name__
