"""The commands to start with: `tunalm recipes`, `tunalm init` and `tunalm schema`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tunalm.cli.completion import complete_inputs, complete_recipe


def recipes() -> None:
    """List the recipes that come with tunalm; `run`, `plan` and `init` take their names."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from tunalm.recipe.loading import read_recipe
    from tunalm.recipe.shipped import description, missing_inputs, recipes_folder, shipped

    table = Table("recipe", "what", "needs", box=SIMPLE, pad_edge=False)
    for name, path in shipped().items():
        table.add_row(name, description(path), " ".join(missing_inputs(read_recipe(path)[0])) or "nothing")
    screen = Console(highlight=False)
    screen.print(table)
    screen.print(f"They lie in {recipes_folder()}.", markup=False, soft_wrap=True)


def init(
    recipe: Annotated[
        str, typer.Argument(help="A shipped recipe (`tunalm recipes`), or a file.", autocompletion=complete_recipe)
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT=VALUE",
            help="Its inputs, for instance base=FOLDER judge.base_url=URL.",
            autocompletion=complete_inputs,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The new file; NAME.yaml here by default.")] = None,
) -> None:
    """Copy a recipe, with its comments, to start from. On a terminal it asks for inputs that are not given."""
    from tunalm.recipe.copying import Draft

    draft = Draft(recipe, inputs or [])
    target = out or Path(f"{draft.path.stem}.yaml")
    draft.check_target(target)
    if sys.stdin.isatty() and sys.stdout.isatty():
        for name in list(draft.missing):
            _ask(draft, name)
    draft.write(target)
    print(f"{target}: a copy of the recipe {draft.path.stem}")
    if draft.missing:
        print(f"Give these before it runs, in the file or as NAME=... after it: {', '.join(draft.missing)}")
    print(f"What it takes: tunalm plan {target}")
    print(f"Run it: tunalm run {target}")


def _ask(draft: Any, name: str) -> None:
    """Ask for one input until what is typed can be read; an empty answer leaves it for later."""
    from tunalm.errors import RecipeError

    while text := typer.prompt(f"{name} ({draft.comment(name)})", default="", show_default=False).strip():
        try:
            draft.give(f"{name}={text}")
            return
        except RecipeError as error:
            print(f"  {error}")


def schema(
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file; else it is printed.")] = None,
) -> None:
    """Print the JSON schema of recipes, by which editors complete and check them."""
    import json

    from tunalm.recipe.schema import recipe_schema
    from tunalm.store import write_json

    if out is None:
        print(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
    else:
        write_json(out, recipe_schema())
