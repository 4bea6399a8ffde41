"""Data frames of interactions and items, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, NumericType, StringType

from sgurinit.core.inputs.features import RESERVED_NAMES
from sgurinit.errors import InputError
from sgurinit.spark import batches

KINDS = (FloatType, DoubleType)


def checked_interactions(frame: DataFrame) -> DataFrame:
    """Columns user and item, null for a weight of zero: that user is there, without this item.

    Raises
    ------
    InputError
        A column is missing or of no use, an id is missing, a weight is negative or not finite, or
        there is no interaction.
    """
    _need(frame, "interactions", ("user", "item"))
    item, weighted = F.col("item"), "weight" in frame.columns
    no_weight = F.lit(False)
    if weighted:
        if not isinstance(frame.schema["weight"].dataType, NumericType):
            raise InputError(
                "interactions: column 'weight' holds "
                f"{frame.schema['weight'].dataType.simpleString()}, expected numbers"
            )
        weight = F.col("weight").cast("double")
        no_weight = weight.isNull() | F.isnan(weight) | (weight < 0) | (weight == float("inf"))
        item = F.when(weight != 0, item)
    facts = frame.agg(
        F.count(F.when(F.col("user").isNull(), 1)).alias("user"),
        F.count(F.when(F.col("item").isNull(), 1)).alias("item"),
        F.count(F.when(no_weight, 1)).alias("weight"),
        F.count(item).alias("interactions"),
    ).first()
    assert facts is not None  # noqa: S101 - an aggregate has one row
    for column in ("user", "item"):
        if facts[column]:
            raise InputError(f"interactions: {facts[column]} rows have no {column}; drop such rows")
    if facts["weight"]:
        raise InputError(
            f"interactions: {facts['weight']} rows have a weight that is missing, negative or not "
            "finite: weights must be >= 0; zero means no interaction"
        )
    if not facts["interactions"]:
        raise InputError("there are no training interactions: at least one is needed")
    return frame.select("user", item.alias("item"))


def checked_features(features: Any, of_items: DataType) -> dict[str, DataFrame]:
    """Columns item and vector, an array of numbers, of every modality; rows without are dropped.

    Raises
    ------
    InputError
        Naming the modality that cannot be used, and what of it.
    """
    if not isinstance(features, Mapping) or not features:
        raise InputError(
            "features must be a non-empty mapping from modality name to a DataFrame with columns "
            f"item and vector, got {'an empty one' if features == {} else type(features).__name__}"
        )
    return {name: _checked_table(name, frame, of_items) for name, frame in features.items()}


def width(frame: DataFrame) -> int:
    """Length of a frame's first vector."""
    first = frame.select(F.size("vector").alias("width")).first()
    assert first is not None  # noqa: S101 - checked at the door
    return int(first["width"])


def _checked_table(name: object, frame: Any, of_items: DataType) -> DataFrame:
    if not isinstance(name, str) or not name or "/" in name or name in RESERVED_NAMES:
        raise InputError(
            f"modality name {name!r} cannot be used: names are non-empty strings without '/', "
            f"other than {', '.join(sorted(RESERVED_NAMES))}"
        )
    place = f"features[{name!r}]"
    if not hasattr(frame, "mapInArrow"):
        raise InputError(f"{place}: expected a Spark DataFrame, got {type(frame).__name__}")
    _need(frame, place, ("item", "vector"))
    if frame.schema["item"].dataType != of_items:
        raise InputError(
            f"{place}: column 'item' holds {frame.schema['item'].dataType.simpleString()}, that of "
            f"the interactions {of_items.simpleString()}: cast one of them"
        )
    vector, kind = F.col("vector"), frame.schema["vector"].dataType
    if kind.typeName() in {"vectorudt", "udt"}:
        vector = vector_to_array(vector)
    elif not (isinstance(kind, ArrayType) and isinstance(kind.elementType, KINDS)):
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
    check = partial(batches.faults, width=first["width"])
    fault = table.mapInArrow(check, "item string, why string").first()
    if fault is not None:
        raise InputError(
            f"{place}: the vector of item {fault['item']} {fault['why']}: repair it, or drop the "
            "row"
        )
    twice = table.groupBy("item").count().where("item IS NULL OR count > 1").first()
    if twice is not None:
        raise InputError(
            f"{place}: item {twice['item']} has {twice['count']} rows, expected one per item, and "
            "an id in each"
        )


def _need(frame: Any, place: str, columns: tuple[str, ...]) -> None:
    if not hasattr(frame, "mapInArrow"):
        raise InputError(f"{place}: expected a Spark DataFrame, got {type(frame).__name__}")
    for column in columns:
        if column not in frame.columns:
            raise InputError(
                f"{place}: there is no column {column!r}, only {', '.join(frame.columns)}; it "
                f"needs {' and '.join(columns)}"
            )
        if frame.schema[column].dataType.typeName() in {"map", "variant", "void"}:
            raise InputError(f"{place}: column {column!r} cannot be an id; use strings or integers")


def id_text(kind: DataType) -> str:
    """Name of an id's type in a schema."""
    return "string" if isinstance(kind, StringType) else kind.simpleString()


def hash_quantile(share: float) -> Column:
    """The hash that this share of all hashes is below."""
    return F.lit(int(-(2**63) + share * 2**64))
