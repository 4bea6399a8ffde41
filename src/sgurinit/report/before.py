"""The section on what users and items are to each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from sgurinit.report import figures, wording
from sgurinit.report.embed import figure
from sgurinit.report.finished import Finished
from sgurinit.report.markup import Cell, folded, grid, note, section, table, text

_MEASURES = {
    "alignment": "alignment",
    "centroid_distance": "centroid distance",
    "separability": "separability",
}


def semantic_gap(found: Finished, colours: Mapping[str, str]) -> Iterator[str]:
    """Write the section where the comparison has the tables for it."""
    gap, points, shares = (found.starts(name) for name in ("gap", "points", "cosines"))
    if gap is None or points is None or shares is None:
        return
    arms = [arm for arm in gap["arm"].unique(maintain_order=True) if arm in colours]
    yield section(
        "gap",
        "Before training: how far users are from items",
        note(
            "Seed 0, in the space of 64 columns that an arm hands to a free user table; random is "
            "shown as normal users among the same items. Above: a sample of users and items, unit "
            "length, in the plane that shows most of them; each arm has its own plane. Below: "
            "cosines of users with one of their own items, and with one at random."
        ),
        grid(
            figure(
                figures.projection(points.filter(arm=arm), colours[arm]),
                f"points-{at}",
                f"{arm}: users and items",
            )
            for at, arm in enumerate(arms)
        ),
        grid(
            figure(
                figures.cosines(shares.filter(arm=arm), colours[arm]),
                f"cosines-{at}",
                f"{arm}: cosines of users with items",
            )
            for at, arm in enumerate(arms)
        ),
        _measures(gap.filter(pl.col("arm").is_in(arms))),
        note(
            "Alignment: mean cosine with own items minus that with random items. Centroid "
            "distance: between the mean user and the mean item, in mean lengths. Separability: how "
            "well a line tells users from items (AUC; 0.5: not at all)."
        ),
    )


def _measures(gap: pl.DataFrame) -> str:
    rows = []
    for (arm,), part in gap.group_by("arm", maintain_order=True):
        values: dict[str, float | None] = dict(part.select("measure", "value").iter_rows())
        cells = [
            Cell("" if value is None else wording.signed(value, 3), value)
            for value in (values[measure] for measure in _MEASURES)
        ]
        rows.append((str(arm), cells))
    return table("measures", "Semantic gap by arm", ["arm", *_MEASURES.values()], rows)


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
    )


def _clusters(name: str, members: pl.DataFrame) -> str:
    ordered = members.sort("size", "cluster", "rank", descending=[True, False, False])
    largest = int(members["size"].max())  # type: ignore[arg-type]
    rows = []
    for (cluster,), part in ordered.group_by("cluster", maintain_order=True):
        called = part.select(pl.coalesce("title", pl.col("item").cast(pl.String)))
        size = int(part["size"][0])
        share = f"{size / largest:.0%} of the largest"
        cells = [Cell(f"{size:,}", size, share), text(", ".join(called.to_series()))]
        rows.append((str(cluster), cells))
    return table(name, "Clusters of items", ["cluster", "items", "most central"], rows)
