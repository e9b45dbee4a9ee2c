"""Taking what a run has made to a hub: a trained model as a model, lists of responses as a data set, with their card.

stage folder --> Parcel (only what the stage finished, lists as `public_rows` writes them) --> one commit on the hub

What has arrived is not sent again, so an upload that was interrupted is repeated as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunalm.engines.endpoint.addresses import checked_host
from tunalm.errors import EngineError, HubError, RecipeError, StoreError, did_you_mean
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.manifest import states, stored_recipe
from tunalm.pipeline.products import MADE
from tunalm.progress import progress
from tunalm.redaction import remember
from tunalm.reporting.cards import card_of, public_rows, write_card
from tunalm.store import CARD

_PRIVATE = re.compile(r"(^|/)(\.|checkpoint|optimizer|training_args)|\.(sqlite|partial|tmp)|ledger", re.IGNORECASE)
"""Files that have no place on a hub: hidden ones, states of a training, calls of language models."""

_REFUSALS = {
    401: ("the hub does not accept the token", "Log in again: hf auth login."),
    403: ("the token has no right to write there", "Check the name, and the rights of the token."),
    404: ("no such owner, or one that the token may not see", "Check the name before the '/'."),
}


@dataclass(frozen=True)
class Parcel:
    """Files to be sent."""

    kind: Literal["model", "dataset"]
    folder: Path
    files: dict[str, int]
    """Sizes in bytes by name."""


def pack(run_dir: Path, stage: str, room: Path) -> Parcel:
    """Gather what a stage has made.

    Args:
        run_dir: folder of a run.
        stage: that makes a model, responses or rankings.
        room: an empty folder, in which lists are written as they may be shown to anybody.

    Raises:
        RecipeError: there is no such stage, or it makes nothing of the kind.
        StoreError: the folder is no run, the stage is not finished, or a file beside the model is none of a model's.
    """
    run = RunFolder(run_dir)
    recipe = stored_recipe(run)
    sendable = [name for name, each in recipe.stages.items() if each.produces not in ("results", "instructions")]
    if stage not in sendable:
        found = f"it makes {recipe.stages[stage].produces}" if stage in recipe.stages else "no such stage"
        raise RecipeError(f"stage '{stage}'", found=found, fix=did_you_mean(stage, sendable))
    made = run.folder(stage) / MADE[recipe.stages[stage].produces]
    if not run.state(stage).done or not made.exists():
        raise StoreError(run.folder(stage), found="it has not finished", fix="Run `tunalm run` first: it resumes.")
    known = states(recipe, run)
    if made.is_dir():
        if not (made / CARD).is_file():
            write_card(recipe, stage, known, run.path)
        return Parcel("model", made, _files(made))
    with progress("copying", None) as advance, open(room / made.name, "w", encoding="utf-8") as file:
        for line in public_rows(made, recipe, run.path):
            file.write(line)
            advance(1)
    own = made.with_name(CARD)
    card = own.read_text(encoding="utf-8") if own.is_file() else card_of(recipe, stage, known, run.path)
    (room / CARD).write_text(card, encoding="utf-8")
    return Parcel("dataset", room, _files(room))


def _files(folder: Path) -> dict[str, int]:
    """Sizes of the files in a folder, all of which may be sent."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _PRIVATE.search(name) or path.is_symlink():
            raise StoreError(path, found="a file that is no part of a model", fix="Move it somewhere else.")
        if path.is_file():
            found[name] = path.stat().st_size
    return found


def send(parcel: Parcel, repo_id: str, *, private: bool = False, endpoint: str | None = None) -> str:
    """Create a repository, if there is none, and bring the files into it in one commit.

    The token is the one that huggingface_hub finds: `HF_TOKEN`, or that of `hf auth login`.

    Args:
        parcel: what `pack` returns.
        repo_id: `OWNER/NAME`, or a name for the owner of the token.
        private: only those who are invited shall see it.
        endpoint: address of the hub; `HF_ENDPOINT`, or huggingface.co, when not given.

    Returns:
        The address of the repository.

    Raises:
        HubError: there is no token, the hub refuses, or it cannot be reached.
    """
    from huggingface_hub import HfApi, constants, get_token

    address = (endpoint or constants.ENDPOINT).rstrip("/")
    try:
        host = checked_host(address)
    except EngineError as error:
        fix = "Give another --endpoint, or set HF_ENDPOINT: https, or a hub on this machine."
        raise HubError("endpoint", found=error.found, fix=fix) from error
    token = get_token()
    if token is None:
        raise HubError(host, found="there is no token", fix="Set HF_TOKEN, or log in: hf auth login.")
    remember(token)
    api = HfApi(endpoint=address, token=token)
    try:
        place = api.create_repo(repo_id, repo_type=parcel.kind, private=private or None, exist_ok=True)
        if private and not api.repo_info(place.repo_id, repo_type=parcel.kind).private:
            found = "everybody can see this repository, and --private was asked for"
            raise HubError(str(place), found=found, fix="Make it private in its settings, or choose another name.")
        api.upload_folder(
            repo_id=place.repo_id,
            repo_type=parcel.kind,
            folder_path=parcel.folder,
            allow_patterns=list(parcel.files),
            commit_message="Upload with tunalm",
        )
    except HubError:
        raise
    except Exception as error:  # what a hub and its client raise has no common base
        raise _refusal(f"{host}, {repo_id}", error) from error
    return str(place)


def _refusal(where: str, error: Exception) -> HubError:
    """An error of the hub or its client as one line."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REFUSALS:
        found, fix = _REFUSALS[status]
    elif isinstance(error, ValueError):
        found, fix = str(error), "Check the name and the card."
    else:
        found, fix = (
            f"{type(error).__name__}: {error}",
            "Run the same command again: what has arrived is not sent twice.",
        )
    if "xet-write-token" in str(error):
        fix = "For a hub without Xet storage, set HF_HUB_DISABLE_XET=1 and run the same command again."
    return HubError(where, found=f"{found:.300}", fix=fix)
