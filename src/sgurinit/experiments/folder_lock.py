"""Checks of a comparison's folder before it is written to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sgurinit.errors import InputError
from sgurinit.files import claim, explain_write_errors, read_json, write_json


def claim_settings(
    path: Path, settings: Mapping[str, Any], exchanging: Collection[str] = ()
) -> None:
    """Save the settings of a comparison, or check that those in the file can be extended to them.

    Models, arms and seeds may have been added. Finished runs are kept.

    Parameters
    ----------
    path : Path
        The file.
    settings : mapping
        Settings of the comparison, with the fingerprint of its data.
    exchanging : collection of str, default ()
        Arms that try one another's settings. Such an arm cannot be added: it would change what the
        others choose.

    Raises
    ------
    InputError
        The file has other settings; the message names the first difference.
    """
    if path.is_file():
        found = _read_settings(path)
        _refuse_missing(path, settings, found)
        if new := [arm for arm in exchanging if arm not in found["arms"]]:
            raise InputError(
                f"{path}: arms has {', '.join(new)} now and not there, and the arms of a search "
                "with exchange depend on one another; choose another folder, or leave new arms out"
            )
        same = {**settings, "models": _entries_in_both(settings, found, "models")}
        same["arms"] = _entries_in_both(settings, found, "arms")
        if settings["search"] is not None:
            spaces = _entries_in_both(settings["search"], found.get("search") or {}, "spaces")
            same["search"] = {**settings["search"], "spaces": spaces}
        if settings["seeds"] > found["seeds"] > 0:
            same["seeds"] = found["seeds"]
        claim(path, same)
    write_json(path, settings)


def _read_settings(path: Path) -> dict[str, Any]:
    """Read the settings of the comparison in a folder, and check the kinds of what is compared."""
    found = read_json(path)
    kinds = {"models": dict, "arms": dict, "seeds": int, "search": dict | None}
    for field, kind in kinds.items():
        if not isinstance(found.get(field), kind):
            raise InputError(f"{path}: {field} is damaged; choose another folder")
    if not isinstance((found.get("search") or {}).get("spaces", {}), dict):
        raise InputError(f"{path}: search.spaces is damaged; choose another folder")
    return found


def _refuse_missing(path: Path, settings: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse settings that lack a model or an arm of the comparison in the folder."""
    for field in ("models", "arms"):
        missing = [name for name in found[field] if name not in settings[field]]
        if missing:
            raise InputError(
                f"{path}: {field} has {', '.join(missing)} there and not now; choose another "
                f"folder, or name all of {', '.join(found[field])}"
            )


def _entries_in_both(
    settings: Mapping[str, Any], found: Mapping[str, Any], field: str
) -> dict[str, Any]:
    return {name: own for name, own in settings[field].items() if name in found.get(field, {})}


def refuse_data_folder(folder: Path, source: str | Path | None) -> None:
    """Check that `folder` is neither the folder of the data, `source`, nor of another data set.

    Raises
    ------
    InputError
        It is. Nothing was written.
    """
    place = folder.resolve()  # "data/new/.." is "data" before "new" exists
    if source is not None and place.is_dir() and place == Path(source).resolve():
        raise InputError(f"out is {str(folder)!r}, the folder of the data; choose another folder")
    refuse_folder_with(place / "dataset.json", "a data set")


def refuse_other_folder(folder: Path, source: str | Path | None) -> None:
    """Check that a comparison can begin or resume in `folder`, before anything is written.

    Parameters
    ----------
    folder : Path
        Folder of the comparison.
    source : str, Path or None
        Path or name that the data were loaded from.

    Raises
    ------
    InputError
        The folder has the data, a data set, a single run, or files but no comparison.
    """
    with explain_write_errors(folder):
        is_comparison = (folder / "settings.json").exists()
    refuse_data_folder(folder, None if is_comparison else source)
    refuse_folder_with(folder / "config.json", "a single run")
    if is_comparison or not folder.is_dir():
        return
    # Hidden files do not matter. Callbacks may already have written their folder.
    if any(
        not path.name.startswith(".") and path.name != "tensorboard" for path in folder.iterdir()
    ):
        raise InputError(
            f"{folder}: contains files but no comparison; choose a new or an empty folder"
        )


def refuse_folder_with(path: Path, content: str) -> None:
    """Raise an error if `path` exists, which shows that its folder has other `content`."""
    if path.exists():
        raise InputError(f"{path.parent}: contains {content}; choose another folder")
