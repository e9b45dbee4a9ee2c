"""What other installed packages bring: an object behind a name, by Python's entry points.

A package declares it, for instance in its pyproject.toml:

    [project.entry-points."tunalm.rankers"]
    shortest = "my_package.rankers:ShortestRanker"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tunalm.errors import RecipeError, did_you_mean
from tunalm.recipe import Extension
from tunalm.store import digest


def load_extension(group: str, name: str) -> Any:
    """Import the object that an installed package offers under a name.

    Args:
        group: `tunalm.rankers`, `tunalm.engines` or `tunalm.benchmarks`.
        name: of the entry point.

    Raises:
        RecipeError: no installed package offers it, or it cannot be imported.
    """
    found = _find(group, name)
    try:
        return found.load()
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            f"{group}: {name}",
            found=f"{found.value}, which cannot be imported ({error})",
            expected="an object that can",
            fix="Install the package again, or ask its makers.",
        ) from error


def extension_identity(group: str, settings: Extension) -> str:
    """Names an extension with the version of its package and its options, without importing it.

    Raises:
        RecipeError: no installed package offers it.
    """
    found = _find(group, settings.name)
    package = f"{found.dist.name}@{found.dist.version}" if found.dist else found.value
    return f"custom {settings.name} {package} {digest(settings.options)[:16]}"


def _find(group: str, name: str) -> EntryPoint:
    offered = entry_points(group=group)
    if name not in offered.names:
        raise RecipeError(
            f"{group}: {name}",
            found="no installed package that offers it",
            expected=f"an entry point in the group {group}",
            fix=did_you_mean(name, offered.names),
        )
    return offered[name]
