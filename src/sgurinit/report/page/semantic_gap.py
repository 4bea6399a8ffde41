"""The sections on how far users are from items, before training and after it, and on clusters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from sgurinit.experiments.folder import Finished
from sgurinit.report import formatting
from sgurinit.report.page import gap_figures as figures
from sgurinit.report.page.embed import figure
from sgurinit.report.page.markup import Cell, folded, grid, heading, note, section, table, text

_MEASURES = {
    "alignment": "alignment",
    "centroid_distance": "centroid distance",
    "separability": "separability",
}
_STAGES = {"start": "started", "trained": "trained"}


def semantic_gap(found: Finished, colours: Mapping[str, str]) -> Iterator[str]:
    """Write the section where the comparison has the tables for it."""
    parts = [*_as_started(found, colours), *_in_models(found, colours)]
    if parts:
        meaning = note(
            "Alignment: mean cosine of users with their own items minus that with random items. "
            "Centroid distance: between the mean user and the mean item, in mean lengths. "
            "Separability: how well a line tells users from items (AUC; 0.5: not at all)."
        )
        yield section("gap", "How far users are from items", *parts, meaning)


def _as_started(found: Finished, colours: Mapping[str, str]) -> Iterator[str]:
    gap, points, shares = (found.starts(name) for name in ("gap", "points", "cosines"))
    if gap is None or points is None or shares is None:
        return
    arms = [arm for arm in gap["arm"].unique(maintain_order=True) if arm in colours]
    shares = shares.filter(pl.col("arm").is_in(arms))
    highest = float(shares["share"].max())  # type: ignore[arg-type]
    yield heading("As each arm starts them")
    yield note(
        "Seed 0, in the space of 64 columns that an arm hands to a free user table; random is "
        "shown as normal users among the same items. Above: a sample of users and items, unit "
        "length, in the plane that shows most of them; each arm has its own plane. Below: "
        "cosines of users with one of their own items, and with one at random."
    )
    yield grid(
        (
            figure(
                figures.projection(points.filter(arm=arm), colours[arm]),
                f"points-{at}",
                f"{arm}: users and items",
            )
            for at, arm in enumerate(arms)
        ),
        small=True,
    )
    yield grid(
        (
            figure(
                figures.cosines(shares.filter(arm=arm), colours[arm], highest),
                f"cosines-{at}",
                f"{arm}: cosines",
            )
            for at, arm in enumerate(arms)
        ),
        small=True,
    )
    rows = [
        (
            str(arm),
            [_measured(dict(part.select("measure", "value").iter_rows()), m) for m in _MEASURES],
        )
        for (arm,), part in gap.filter(pl.col("arm").is_in(arms)).group_by(
            "arm", maintain_order=True
        )
    ]
    yield table("measures", "Semantic gap by arm", ["arm", *_MEASURES.values()], rows)


def _in_models(found: Finished, colours: Mapping[str, str]) -> Iterator[str]:
    gaps = found.gaps()
    if gaps is None:
        return
    gaps = gaps.filter(pl.col("arm").is_in(list(colours)))
    yield heading("In each model, before training and after it")
    yield note(
        "Seed 0, between the vectors whose product is the model’s score: as the arm starts the "
        "model, and with the weights that were tested."
    )
    yield figure(
        figures.closing(gaps, colours),
        "closing",
        "Alignment of users with their own items; hollow: as started, filled: as trained",
        wide=True,
    )
    rows = []
    for (model, arm), part in gaps.group_by("model", "arm", maintain_order=True):
        values = {(m, s): v for m, s, v in part.select("measure", "stage", "value").iter_rows()}
        cells = [_measured(values, (m, stage)) for m in _MEASURES for stage in _STAGES]
        rows.append((str(model), [text(str(arm), colours[str(arm)]), *cells]))
    heads = [f"{name}, {stage}" for name in _MEASURES.values() for stage in _STAGES.values()]
    yield folded(
        "As a table",
        table("trained", "Semantic gap by model and arm", ["model", "arm", *heads], rows),
    )


def _measured(values: Mapping[Any, float | None], key: Any) -> Cell:
    value = values[key]
    return Cell("" if value is None else formatting.signed(value, 3), value)


def clusters(found: Finished) -> Iterator[str]:
    """Write the section on the items' clusters where the comparison has their table."""
    members = found.starts("clusters")
    if members is None:
        return
    arm = members["arm"][0]
    parts = [
        folded(
            f"{'all modalities together' if space == 'joint' else space}: "
            f"{part['cluster'].n_unique()} clusters",
            _clusters(f"clusters-{at}", part),
            is_open=at == 0,
        )
        for at, ((space,), part) in enumerate(members.group_by("space", maintain_order=True))
    ]
    yield section(
        "clusters",
        "Clusters of items",
        note(
            f"As {arm} computes them, seed 0: the largest first, each with the items nearest to "
            "its centre, by title where the data has them and by id otherwise."
        ),
        *parts,
        *_nearest(found.starts("nearest")),
    )


def _nearest(members: pl.DataFrame | None) -> Iterator[str]:
    """Write some users' items and the unseen items nearest to them, before any training."""
    if members is None or members.is_empty():
        return
    rows = []
    for (user,), part in members.group_by("user", maintain_order=True):
        lists = [
            ", ".join(
                part.filter(kind=kind)
                .select(pl.coalesce("title", pl.col("item").cast(pl.String)))
                .to_series()
            )
            for kind in ("own", "nearest")
        ]
        rows.append((str(user), [text(items) for items in lists]))
    yield note(
        "Some users drawn at random: items of their training interactions (five at most), and the "
        "other items nearest to their start in the joint space. Nothing is trained."
    )
    heads = ["user", "has", "nearest other items"]
    yield table("nearest", "Nearest items of some users", heads, rows, wrap=True)


def _clusters(name: str, members: pl.DataFrame) -> str:
    ordered = members.sort("size", "cluster", "rank", descending=[True, False, False])
    largest = int(members["size"].max())  # type: ignore[arg-type]
    rows = []
    for (cluster,), part in ordered.group_by("cluster", maintain_order=True):
        called = part.select(pl.coalesce("title", pl.col("item").cast(pl.String)))
        size = int(part["size"][0])
        cells = [Cell(f"{size:,}", size, part=size / largest), text(", ".join(called.to_series()))]
        rows.append((str(cluster), cells))
    heads = ["cluster", "items", "most central"]
    return table(name, "Clusters of items", heads, rows, wrap=True)
