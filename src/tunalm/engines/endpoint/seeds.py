"""Notices a server that ignores the seed, so that all responses to a prompt are the same one."""

from __future__ import annotations

from collections.abc import Sequence

from tunalm.engines.base import Completion, Request
from tunalm.progress import console
from tunalm.store import digest

ENOUGH = 5
"""Prompts with equal responses, and none with different ones, that make a suspicion."""


class SeedWatch:
    """Compares the responses to each prompt that is asked more than once at a temperature above 0.

    Args:
        units: all that is asked.
        silent: the user has been told.
    """

    def __init__(self, units: Sequence[Sequence[Request]], *, silent: bool) -> None:
        self._silent = silent
        drawn = [request for unit in units for request in unit if request.temperature > 0 and not request.given]
        self._prompts = {request.key: _asked(request) for request in drawn}
        self._texts: dict[str, str] = {}
        """First response to each prompt."""
        self._equal: set[str] = set()
        self._different = False

    def see(self, unit: Sequence[Completion]) -> None:
        """Compare what came with what came before."""
        for completion in unit:
            prompt = self._prompts.get(completion.key)
            if prompt is None or completion.failure is not None:
                continue
            if prompt not in self._texts:
                self._texts[prompt] = completion.text
            elif self._texts[prompt] == completion.text:
                self._equal.add(prompt)
            else:
                self._different = True

    def suspects(self) -> bool:
        """Whether all responses to every prompt were equal; the user is told."""
        ignored = not self._different and len(self._equal) >= ENOUGH
        if ignored and not self._silent:
            console().print(
                f"      the server seems to ignore the seed: all responses to each of {len(self._equal)} prompts are "
                "equal, so there is nothing to rank. Set max_n if it takes n, or use another server.",
                markup=False,
                soft_wrap=True,
            )
        return ignored


def _asked(request: Request) -> str:
    return digest(request.model_dump(exclude={"key", "seed"}))
