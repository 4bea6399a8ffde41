"""The plan of a comparison: names and fields are resolved to complete, checked settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from sgurinit.arguments import check_fields, check_list
from sgurinit.arms import METHOD, Initializer, MethodInitializer, arm_names
from sgurinit.errors import InputError
from sgurinit.experiments.settings import KIND, ComparisonSettings, Fields, SearchSettings
from sgurinit.models import Recommender, model_resolver
from sgurinit.models.resolver import register_model
from sgurinit.resolve import (
    build,
    resolve_config,
    resolve_initializer,
    resolve_model,
)
from sgurinit.training import TrainSettings
from sgurinit.training.settings import resolve_settings

# Names of arms are names of folders.
_ARM_NAME = r"[A-Za-z0-9][A-Za-z0-9._+=-]*"


def comparison_settings(
    models: Sequence[str | type[Recommender]],
    arms: Sequence[str] | Mapping[str, Mapping[str, Any]],
    seeds: int,
    *,
    train: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    mask_valid: bool = False,
    search: Mapping[str, Any] | None = None,
) -> ComparisonSettings:
    """Resolve names and fields to complete settings.

    Parameters
    ----------
    models : sequence of str or type
        Names of models, or classes derived from `Recommender`. Such a class is registered, so that
        it is known by its name from then on.
    arms : sequence of str or mapping of str to mapping
        Names of arms. Or the fields of each arm by a name of your choice, among them ``kind``, the
        name of the initializer, if that is not the name of the arm.
    seeds : int in [1, 1000]
        Number of seeds. They are 0, 1, ...
    train : TrainSettings or None, default None
        Settings of the training loop. None: those common in the literature.
    overrides : mapping of str to mapping or None, default None
        Fields that differ from the defaults, by the name of a model or an arm. Fields of
        ``"sgurinit"`` and ``"hybrid"`` also apply to the arms that control them, except for fields
        that such an arm fixes.
    mask_valid : bool, default False
        Exclude validation items from the test ranking.
    search : mapping or None, default None
        The fields of `SearchSettings`, among them ``trials``, the number of trials per model and
        arm, and ``spaces``, values to choose from by the name of a model or an arm and by field. By
        default, a model has the search space of its config. A control has that of the arm that it
        controls, except for fields that it fixes. Other arms have none. None: no search.

    Returns
    -------
    ComparisonSettings

    Raises
    ------
    InputError
        A name or a field does not exist, is out of range or is given twice, or an argument is of
        another type.

    See Also
    --------
    shared_fields : Give the same fields to several arms.
    compare : Run a comparison.

    Examples
    --------
    >>> from sgurinit.experiments import comparison_settings
    >>> settings = comparison_settings(
    ...     ["lightgcn"],
    ...     {"random": {}, "four": {"kind": "sgurinit", "n_clusters": 4}},
    ...     seeds=2,
    ...     overrides={"lightgcn": {"n_layers": 3}},
    ... )
    >>> settings.models["lightgcn"]["n_layers"], settings.arms["four"]["n_clusters"]
    (3, 4)
    """
    custom = [_check_folder_name(name) for name in arms] if isinstance(arms, Mapping) else []
    given = {} if overrides is None else check_fields(overrides, "overrides")
    overrides = {}
    for name, own in given.items():
        canonical = _canonical_name(name, custom)
        if canonical in overrides:
            raise InputError(f"{canonical} is set twice, once as {name!r}; set it in one place")
        overrides[canonical] = check_fields(own, f"overrides.{name}")
    configs = {}
    classes = [resolve_model(model) for model in check_list(models, "models")]
    for name in _unique([register_model(model) for model in classes], "models"):
        config = resolve_config(resolve_model(name), overrides.pop(name, None))
        configs[name] = config.model_dump(mode="json")
    arm_fields = _resolve_arms(arms, overrides)
    for name in arm_fields:
        if name in configs:
            raise InputError(f"arms: {name} is the name of a compared model; choose another")
    if overrides:
        raise InputError(
            f"{next(iter(overrides))!r} is set but not compared; compared are models "
            f"{', '.join(configs)} and arms {', '.join(arm_fields)}"
        )
    fields = {"models": configs, "arms": arm_fields, "seeds": seeds, "mask_valid": mask_valid}
    fields["train"] = resolve_settings(train)
    if search is not None:
        fields["search"] = _resolve_search(search, configs, arm_fields)
    return build(ComparisonSettings, fields, prefix="comparison")


def _resolve_arms(
    arms: Sequence[str] | Mapping[str, Mapping[str, Any]], overrides: dict[str, Mapping[str, Any]]
) -> dict[str, Fields]:
    """Resolve the kind and fields of every arm, and remove the used `overrides`."""
    given: dict[str, Fields]
    if isinstance(arms, Mapping):
        given = {
            name: {KIND: name, **check_fields(own, f"arms.{name}")} for name, own in arms.items()
        }
    else:
        names = [_arm_name(arm) for arm in check_list(arms, "arms")]
        given = {name: {KIND: name} for name in _unique(names, "arms")}
    kinds = {name: _kind(own.pop(KIND)) for name, own in given.items()}
    shared: dict[str, Fields] = {}
    for lead in {kind.controls for kind in kinds.values() if kind.controls is not None}:
        shared[lead] = {**given.get(lead, {}), **overrides.get(lead, {})}
        resolve_initializer(lead, shared[lead])
    used: set[str | None] = set()
    resolved = {}
    for name, own in given.items():
        kind = kinds[name]
        inherited = _inherited(name, kind, shared)
        if inherited:
            used.add(kind.controls)
        used.add(name)
        arm = resolve_initializer(kind, {**inherited, **own, **overrides.get(name, {})})
        resolved[name] = {KIND: kind.name, **arm.model_dump(mode="json")}
        _check_arm_name(name, arm)
    for name in set(overrides) & used:
        del overrides[name]
    return resolved


def _check_arm_name(name: str, arm: Initializer) -> None:
    """Refuse the name of a built-in arm for a different arm."""
    if name in arm_names() and name != arm.name:
        raise InputError(
            f"arms.{name} is of kind {arm.name}, but {name} is a built-in arm; choose another name"
        )
    if name == METHOD and isinstance(arm, MethodInitializer) and arm.collaborative:
        raise InputError(
            f"{METHOD}.collaborative is {arm.collaborative}: {METHOD} only uses content; "
            "for a collaborative joint space use the arm hybrid, or an arm with a name of your "
            "choice"
        )


def _canonical_name(name: str, custom: Sequence[str]) -> str:
    """Name of an arm or a model in the plan, whatever its case and dashes."""
    if name in custom:
        return name
    try:
        return _arm_name(name)
    except InputError:
        return model_resolver.normalize(name)


def _inherited(arm: str, kind: type[Initializer], shared: Mapping[str, Fields]) -> Fields:
    """Fields that a built-in control inherits. An arm with a custom name inherits none."""
    if arm != kind.name or kind.controls is None:
        return {}
    own = shared.get(kind.controls, {})
    return {field: value for field, value in own.items() if is_free(kind, field)}


def _resolve_search(
    search: Mapping[str, Any], configs: Mapping[str, Fields], arms: Mapping[str, Fields]
) -> SearchSettings:
    """Complete the search spaces and check each value."""
    search = check_fields(search, "search")
    given = dict(check_fields(search.get("spaces") or {}, "search.spaces"))
    unused = set(given)
    spaces: dict[str, dict[str, tuple[Any, ...]]] = {}
    for name, fields in {**configs, **arms}.items():
        if name in given:
            own = check_fields(given[name], f"search.spaces.{name}")
        elif name in configs:
            own = resolve_model(name).Config.search_space
        else:
            kind = _kind(fields[KIND])
            own = _inherited(name, kind, given)
            if own:
                unused.discard(kind.controls)
        unused.discard(name)
        for field, values in own.items():
            if not check_list(values, f"search.spaces.{name}.{field}"):
                raise InputError(
                    f"search.spaces.{name}.{field} is empty, expected at least one value"
                )
            if field == KIND:
                raise InputError(
                    f"search.spaces.{name}: kind cannot be searched; compare two arms instead"
                )
        spaces[name] = {
            field: _resolve_values(name, fields, field, values, is_model=name in configs)
            for field, values in own.items()
        }
    if unused:
        raise InputError(
            f"search.spaces.{min(unused)} is not compared; compared are {', '.join(spaces)}"
        )
    return build(SearchSettings, {**search, "spaces": spaces}, prefix="search")


def _resolve_values(
    name: str, fields: Fields, field: str, values: Sequence[Any], *, is_model: bool
) -> tuple[Any, ...]:
    """Convert values of a field to its type, each once: YAML reads ``1e-4`` as a string."""
    found = []
    for value in values:
        tried = {**fields, field: value}
        resolved: BaseModel = (
            resolve_config(resolve_model(name), tried)
            if is_model
            else resolve_initializer(tried.pop(KIND), tried)
        )
        if (held := resolved.model_dump(mode="json")[field]) not in found:
            found.append(held)
    return tuple(found)


def _check_folder_name(name: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(_ARM_NAME, name):
        raise InputError(
            f"arms: {name!r} cannot be the name of a folder; use letters, digits and . _ + = -"
        )
    return name


def _arm_name(arm: str | type[Initializer]) -> str:
    """Name of a built-in arm in its canonical spelling."""
    return _kind(arm).name


def shared_fields(arms: Sequence[str], fields: Mapping[str, Any]) -> dict[str, Fields]:
    """Give the same fields to every arm that has them and does not fix them.

    The arms ``"local"`` and ``"global"``, for example, fix `local_weight`.

    Parameters
    ----------
    arms : sequence of str
        Names of arms.
    fields : mapping of str to Any
        Values by field.

    Returns
    -------
    dict
        Fields by the name of an arm, as `compare` takes them for `overrides`. Arms that take none
        of the fields are left out.

    Raises
    ------
    InputError
        No arm takes one of the fields, or an argument is of another type.

    See Also
    --------
    comparison_settings : Resolve names and fields to complete settings.

    Examples
    --------
    >>> from sgurinit.experiments import shared_fields
    >>> shared_fields(["random", "sgurinit", "local"], {"n_clusters": 4, "local_weight": 0.6})
    {'sgurinit': {'n_clusters': 4, 'local_weight': 0.6}, 'local': {'n_clusters': 4}}
    """
    arms = check_list(arms, "arms")
    fields = check_fields(fields, "fields")
    taken = {
        arm: {name: value for name, value in fields.items() if is_free(_kind(arm), name)}
        for arm in arms
    }
    for name in fields:
        if not any(name in found for found in taken.values()):
            raise InputError(f"{name} is set, but none of the arms {', '.join(arms)} takes it")
    return {_arm_name(arm): found for arm, found in taken.items() if found}


def _kind(arm: str | type[Initializer]) -> type[Initializer]:
    return type(resolve_initializer(arm))


def is_free(kind: type[Initializer], name: str) -> bool:
    """Whether an initializer has a field and does not fix it."""
    return name in kind.model_fields and name not in kind.fixed


def _unique(names: list[str], what: str) -> list[str]:
    if not names:
        raise InputError(f"{what}: none given, expected at least one")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{what}: {name} is given twice; name each once")
    return names
