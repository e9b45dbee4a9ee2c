"""Taking what a run has made to a hub: a trained model as a model, lists of responses as a data set, with their card.

Nothing but what a stage has finished is sent, and of a model nothing but the folder that it can be loaded from. Lists
are sent as `cards.public_rows` writes them. What has arrived is not sent again, so an upload that was interrupted is
repeated as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunalm.engines.endpoint.addresses import checked_host
from tunalm.errors import EngineError, HubError, RecipeError, StoreError, did_you_mean
from tunalm.pipeline.running import MADE, stored_recipe
from tunalm.progress import progress
from tunalm.redaction import remember
from tunalm.reporting.cards import card_of, public_rows, write_card
from tunalm.store import CARD, RunFolder

Kind = Literal["model", "dataset"]
KINDS: dict[str, Kind] = {"model": "model", "proxy": "model", "responses": "dataset", "rankings": "dataset"}
"""What a stage makes -> what it is on a hub."""

_PRIVATE = re.compile(r"(^|/)(\.|checkpoint|optimizer|training_args)|\.(sqlite|partial|tmp)|ledger", re.IGNORECASE)
"""Files that have no place on a hub: hidden ones, states of a training, calls of language models."""

_MEANINGS = {
    401: ("a token that the hub does not accept", "a valid token", "Log in again: hf auth login."),
    403: ("a token without the right to write there", "one with it", "Check the name, and the rights of the token."),
    404: ("no such owner, or one that the token may not see", "one that exists", "Check the name before the '/'."),
}


@dataclass(frozen=True)
class Parcel:
    """Files to be sent."""

    kind: Kind
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
        StoreError: the folder is no run, the stage is not finished, or there are files beside the model that are not
            to be sent.
    """
    run = RunFolder(run_dir)
    recipe = stored_recipe(run)
    sendable = [name for name, each in recipe.stages.items() if each.produces in KINDS]
    if stage not in sendable:
        raise RecipeError(
            f"stage '{stage}'",
            found="no such stage" if stage not in recipe.stages else f"one that makes {recipe.stages[stage].produces}",
            expected="a stage of the run that makes a model, responses or rankings",
            fix=did_you_mean(stage, sendable),
        )
    made = run.folder(stage) / MADE[recipe.stages[stage].produces]
    if run.state(stage).get("status") != "done" or not made.exists():
        raise StoreError(
            run.folder(stage),
            found="a stage that is not finished",
            expected="one that is",
            fix="Run the recipe to its end first: tunalm run goes on from here.",
        )
    states = {name: run.state(name) for name in recipe.stages}
    if made.is_dir():
        if not (made / CARD).is_file():
            write_card(recipe, stage, states, run.path)
        return Parcel("model", made, _files(made))
    with progress("copying", None) as advance, open(room / made.name, "w", encoding="utf-8") as file:
        for line in public_rows(made, recipe, run.path):
            file.write(line)
            advance(1)
    own = made.with_name(CARD)
    card = own.read_text(encoding="utf-8") if own.is_file() else card_of(recipe, stage, states, run.path)
    (room / CARD).write_text(card, encoding="utf-8")
    return Parcel("dataset", room, _files(room))


def _files(folder: Path) -> dict[str, int]:
    """Sizes of the files in a folder, all of which may be sent."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if _PRIVATE.search(name) or path.is_symlink():
            raise StoreError(
                path,
                found="a file that is no part of a model",
                expected="a folder as the training left it",
                fix="Move it somewhere else.",
            )
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
    host = _host(address)
    token = get_token()
    if token is None:
        raise HubError(host, found="no token", expected="one", fix="Set HF_TOKEN, or log in: hf auth login.")
    remember(token)
    api = HfApi(endpoint=address, token=token)
    with _explained(f"{host}, {repo_id}"), _quiet_off_terminal():
        place = api.create_repo(repo_id, repo_type=parcel.kind, private=private or None, exist_ok=True)
        seen = api.repo_info(place.repo_id, repo_type=parcel.kind)
        if private and not seen.private:
            raise HubError(
                str(place),
                found="a repository that everybody can see",
                expected="a private one, as --private says",
                fix="Make it private in its settings, or choose another name.",
            )
        api.upload_folder(
            repo_id=place.repo_id,
            repo_type=parcel.kind,
            folder_path=parcel.folder,
            allow_patterns=list(parcel.files),
            commit_message="Upload with tunalm",
        )
    return str(place)


def _host(address: str) -> str:
    try:
        return checked_host(address)
    except EngineError as error:
        fix = "Give another --endpoint, or set HF_ENDPOINT."
        raise HubError("endpoint", found=error.found, expected="https, or a hub on this machine", fix=fix) from error


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Turn whatever a hub and its client raise, which has no common base, into one line."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        status = next(filter(None, map(_status, _chain(error))), None)
        again = "Run the same command again: what has arrived is not sent twice."
        if "xet-write-token" in str(error):
            again = "For a hub without Xet storage, set HF_HUB_DISABLE_XET=1 and run the same command again."
        if status in _MEANINGS:
            found, expected, fix = _MEANINGS[status]
        elif isinstance(error, ValueError):
            found, expected, fix = str(error), "a repository that the hub can have", "Check the name and the card."
        else:
            answer = f"the answer {status}: " if status else ""
            found, expected, fix = f"{answer}{type(error).__name__}: {error}", "a hub that takes the files", again
        raise HubError(where, found=f"{found:.300}", expected=expected, fix=fix) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The status of the answer that an error is about."""
    response: Any = getattr(error, "response", None)
    return getattr(response, "status_code", None)


@contextmanager
def _quiet_off_terminal() -> Iterator[None]:
    """Let the client draw its bars on a terminal only."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silent = are_progress_bars_disabled() or sys.stderr.isatty()
    if not silent:
        disable_progress_bars()
    try:
        yield
    finally:
        if not silent:
            enable_progress_bars()
