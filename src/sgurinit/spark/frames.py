"""Input data frames: checks of interactions and items, and helpers for ids and vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - the usual alias
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, NumericType, StringType

from sgurinit.core.inputs.features import RESERVED_NAMES
from sgurinit.errors import InputError
from sgurinit.spark.batches.items import find_bad_vectors

_FLOAT_TYPES = (FloatType, DoubleType)


def check_interactions(frame: DataFrame) -> DataFrame:
    """Check interactions.

    Parameters
    ----------
    frame : DataFrame
        Columns user, item and optionally weight.

    Returns
    -------
    DataFrame
        Columns user and item. Where the weight is zero, item is null: the user exists, but has no
        interaction with this item.

    Raises
    ------
    InputError
        When a column is missing or has an unusable type, an id is missing, a weight is missing,
        negative or not finite, or there are no interactions.
    """
    _require_columns(frame, "interactions", ("user", "item"))
    item, bad_weight = F.col("item"), F.lit(False)
    if "weight" in frame.columns:
        if not isinstance(frame.schema["weight"].dataType, NumericType):
            raise InputError(
                "interactions: column 'weight' holds "
                f"{frame.schema['weight'].dataType.simpleString()}, expected numbers"
            )
        weight = F.col("weight").cast("double")
        bad_weight = weight.isNull() | F.isnan(weight) | (weight < 0) | (weight == float("inf"))
        item = F.when(weight != 0, item)
    facts = frame.agg(
        F.count(F.when(F.col("user").isNull(), 1)).alias("user"),
        F.count(F.when(F.col("item").isNull(), 1)).alias("item"),
        F.count(F.when(bad_weight, 1)).alias("weight"),
        F.count(item).alias("interactions"),
    ).first()
    assert facts is not None  # noqa: S101 - an aggregate has one row
    for column in ("user", "item"):
        if facts[column]:
            raise InputError(
                f"interactions: {facts[column]} rows have no {column}; drop these rows"
            )
    if facts["weight"]:
        raise InputError(
            f"interactions: {facts['weight']} rows have a weight that is missing, negative or not "
            "finite: weights must be >= 0; zero means no interaction"
        )
    if not facts["interactions"]:
        raise InputError("there are no training interactions: at least one is needed")
    return frame.select("user", item.alias("item"))


def check_features(features: Any, item_type: DataType) -> dict[str, DataFrame]:
    """Check the items of every modality.

    Parameters
    ----------
    features : mapping of str to DataFrame
        Items by modality: columns item and vector.
    item_type : DataType
        Type of the item ids in the interactions.

    Returns
    -------
    dict of str to DataFrame
        Columns item and vector, an array of numbers. Items whose vector is null are dropped.

    Raises
    ------
    InputError
        When a modality is unusable; the message names the modality and the problem.
    """
    if not isinstance(features, Mapping) or not features:
        raise InputError(
            "features must be a non-empty mapping from modality name to a DataFrame with columns "
            f"item and vector, got {'an empty one' if features == {} else type(features).__name__}"
        )
    return {name: _check_modality(name, frame, item_type) for name, frame in features.items()}


def _check_modality(name: object, frame: Any, item_type: DataType) -> DataFrame:
    if not isinstance(name, str) or not name or "/" in name or name in RESERVED_NAMES:
        raise InputError(
            f"modality name {name!r} cannot be used: names are non-empty strings without '/', "
            f"other than {', '.join(sorted(RESERVED_NAMES))}"
        )
    place = f"features[{name!r}]"
    _require_columns(frame, place, ("item", "vector"))
    if frame.schema["item"].dataType != item_type:
        raise InputError(
            f"{place}: column 'item' holds {frame.schema['item'].dataType.simpleString()}, that of "
            f"the interactions {item_type.simpleString()}: cast one of them"
        )
    vector, kind = F.col("vector"), frame.schema["vector"].dataType
    if kind.typeName() in {"vectorudt", "udt"}:
        vector = vector_to_array(vector)
    elif not (isinstance(kind, ArrayType) and isinstance(kind.elementType, _FLOAT_TYPES)):
        raise InputError(
            f"{place}: column 'vector' holds {kind.simpleString()}, expected array<float>, "
            "array<double> or an ML vector"
        )
    table: DataFrame = frame.where("vector IS NOT NULL").select("item", vector.alias("vector"))
    _check_rows(place, table)
    return table


def _check_rows(place: str, table: DataFrame) -> None:
    first = table.select(F.size("vector").alias("width")).first()
    if first is None:
        raise InputError(f"{place}: no item has a row: leave the modality out")
    if first["width"] == 0:
        raise InputError(f"{place}: vectors are empty, expected at least one number")
    find = partial(find_bad_vectors, width=first["width"])
    bad = table.mapInArrow(find, "item string, why string").first()
    if bad is not None:
        raise InputError(
            f"{place}: the vector of item {bad['item']} {bad['why']}: repair it, or drop the row"
        )
    twice = table.groupBy("item").count().where("item IS NULL OR count > 1").first()
    if twice is not None:
        raise InputError(
            f"{place}: item {twice['item']} has {twice['count']} rows, expected one per item, and "
            "an id in each"
        )


def _require_columns(frame: Any, place: str, columns: tuple[str, ...]) -> None:
    if not hasattr(frame, "mapInArrow"):
        raise InputError(f"{place}: expected a Spark DataFrame, got {type(frame).__name__}")
    for column in columns:
        if column not in frame.columns:
            raise InputError(
                f"{place}: there is no column {column!r}, only {', '.join(frame.columns)}; "
                f"{' and '.join(columns)} are needed"
            )
        if frame.schema[column].dataType.typeName() in {"map", "variant", "void"}:
            raise InputError(f"{place}: column {column!r} cannot be an id; use strings or integers")


def id_type(kind: DataType) -> str:
    """Return the name of an id's type, for a schema."""
    return "string" if isinstance(kind, StringType) else kind.simpleString()


def hash_quantile(share: float) -> Column:
    """Return the value below which this share of all 64-bit hashes lies."""
    return F.lit(int(-(2**63) + share * 2**64))
