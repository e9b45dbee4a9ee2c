"""Code of the user's own, behind a name: `FILE.py:NAME` or `package.module:NAME`.

Rankers, engines, benchmarks and checkers of one's own are named so in a recipe. Code is run because the user names it,
and nothing else of its module is looked at. Before a run begins the source is read, not run, so that a misspelt name
shows then and not after hours of sampling.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import symtable
import sys
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from tunalm.errors import RecipeError
from tunalm.store import digest, file_digest, local_path

OBJECT = r"^.+\.py:[A-Za-z_]\w*$|^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
"""What such a name looks like."""
MOST_CHARACTERS = 200
"""Of an exception's message in an error."""


def is_object(name: str) -> bool:
    """Whether a name in a recipe stands for code of the user's own, and not for a row of one of our tables."""
    return re.match(OBJECT, name) is not None


def object_identity(spec: str, where: object) -> str:
    """Name an object together with the content of its module, which is not run.

    Args:
        spec: `FILE.py:NAME` or `package.module:NAME`.
        where: who names it, for errors.

    Raises:
        RecipeError: there is no such module, it is not Python, or it defines no such name.
    """
    source, name = _checked(spec, where)
    return digest([name, file_digest(source), _package_version(spec)])


def _checked(spec: str, where: object) -> tuple[Path, str]:
    """The file that defines an object, and its name, once it is known that it does."""
    source, name = _located(spec, where)
    try:
        text = source.read_text(encoding="utf-8")
        table = symtable.symtable(text, str(source), "exec")
    except SyntaxError as error:
        raise RecipeError(f"{source}:{error.lineno}", found=str(error.msg), fix="Correct the line.") from error
    except (OSError, ValueError) as error:
        found = str(getattr(error, "strerror", None) or error)
        fix = "Check the path; it is relative to the folder that tunalm runs in."
        raise RecipeError(source, found=found, fix=fix) from error
    known = {*table.get_identifiers()}
    if name not in known and "import *" not in text and "__getattr__" not in known:
        raise RecipeError(source, found=f"no '{name}' in it", fix=f"Define it there, or correct the name in '{spec}'.")
    return source, name


def load_object(spec: str, where: object) -> Any:
    """Run the module of an object and return the object.

    Args:
        spec: `FILE.py:NAME` or `package.module:NAME`.
        where: who names it, for errors.

    Raises:
        RecipeError: as `object_identity`; or the module raises an error.
    """
    _checked(spec, where)
    place, _, name = spec.rpartition(":")
    try:
        module = _run(local_path(place)) if place.endswith(".py") else importlib.import_module(place)
        return getattr(module, name)
    except (Exception, SystemExit) as error:
        raise RecipeError(place, found=said(error), fix="Run the module by itself to see where.") from error


def said(error: BaseException) -> str:
    """An exception on one line."""
    message = " ".join(str(error).split())[:MOST_CHARACTERS]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _located(spec: str, where: object) -> tuple[Path, str]:
    """The file that defines an object, and its name; nothing is imported."""
    place, _, name = spec.rpartition(":")
    if not is_object(spec):
        fix = "Give FILE.py:NAME or package.module:NAME, for instance checks.py:is_short."
        raise RecipeError(where, found=f"'{spec}' names no object of a module", fix=fix)
    if place.endswith(".py"):
        return local_path(place), name
    first, *rest = place.split(".")
    module = importlib.util.find_spec(first)
    if module is None:
        raise RecipeError(where, found=f"no module '{first}' is installed", fix="Install it, or give FILE.py:NAME.")
    for part in rest:
        module = module and PathFinder.find_spec(part, module.submodule_search_locations or [])
    if module is None or not module.has_location or module.origin is None:
        raise RecipeError(where, found=f"no module '{place}'", fix=f"Correct the name; '{first}' is installed.")
    return Path(module.origin), name


def _package_version(spec: str) -> str:
    """Version of the package that a module belongs to; nothing for a file."""
    first = spec.partition(":")[0].partition(".")[0]
    packages = [] if spec.rpartition(":")[0].endswith(".py") else packages_distributions().get(first, [])
    return ", ".join(f"{package}@{version(package)}" for package in packages)


def _run(path: Path) -> ModuleType:
    """A module from a file, under a name that no other module has; a file that did not change is run once."""
    name = f"tunalm_user_{digest([str(path.resolve()), file_digest(path)])[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
