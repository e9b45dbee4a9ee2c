"""Which addresses may be spoken to, and which key belongs to which: a key never goes where it was not named for."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from tunalm.errors import EngineError
from tunalm.recipe.places import is_loopback
from tunalm.redaction import names_variable, remember

OPENAI_HOST = "api.openai.com"
OPENAI_KEY = "OPENAI_API_KEY"
ALLOW_HTTP = "TUNALM_ALLOW_HTTP"
"""Environment variable that `--allow-http` on the command line sets."""


def checked_host(url: str) -> str:
    """Host of a base address.

    Raises:
        EngineError: it is no web address, carries a password or a query, or is plain http to another machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.username or parts.password or parts.query:
        raise EngineError(
            "engine.base_url",
            found="an address that cannot be used",
            expected="https://HOST/v1, without user name, password or query",
            fix="Keys are named with api_key_env.",
        )
    if parts.scheme == "http" and not is_loopback(host) and os.environ.get(ALLOW_HTTP) != "1":
        raise EngineError(
            "engine.base_url",
            found=f"plain http to {host}, where everything that is sent can be read on the way",
            fix="Use https or a tunnel to this machine (http://127.0.0.1:PORT/v1), or add --allow-http to the command.",
        )
    return host


def find_key(variable: str | None, host: str) -> str | None:
    """The key for a host: what the named variable holds; the OpenAI key for OpenAI alone; else none.

    From here on it is neither shown nor kept (see `tunalm.redaction`).

    Raises:
        EngineError: the variable is not set, or would send the OpenAI key to somebody else.
    """
    if variable is not None and not names_variable(variable):
        raise EngineError(
            "engine.api_key_env",
            found="what may be a key itself",
            expected="the name (A-Z, 0-9, _) of the environment variable that holds it",
            fix="Run: export MY_KEY=... and name it: api_key_env: MY_KEY.",
        )
    if variable == OPENAI_KEY and host != OPENAI_HOST:
        raise EngineError(
            "engine.api_key_env",
            found=f"{OPENAI_KEY} for {host}; that key goes to {OPENAI_HOST} only",
            fix="Put the key of this address in a variable of its own.",
        )
    if variable is None and host != OPENAI_HOST:
        return None
    name = variable or OPENAI_KEY
    key = os.environ.get(name, "").strip()
    if not key:
        raise EngineError(
            "engine.api_key_env",
            found=f"there is no environment variable {name} with the key for {host}",
            fix=f"Run: export {name}=...",
        )
    remember(key)
    return key
