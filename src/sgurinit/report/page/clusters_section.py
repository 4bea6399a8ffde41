"""The section on the clusters of items, with examples of users and their nearest items."""

from __future__ import annotations

import polars as pl

from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.report.page.markup import Cell, Section, fold, note, sortable_table, text_cell


def make_clusters_section(found: ComparisonFolder) -> Section | None:
    """Show the clusters of items; None if the comparison has no starts."""
    clusters, nearest = found.start_table("clusters"), found.start_table("nearest")
    if clusters is None:
        return None
    parts = [
        note(
            f"Clusters of the arm {clusters['arm'][0]} with seed 0, largest first, each with the "
            "items nearest to its centroid. Items are shown by title, or by id if they have none."
        )
    ]
    spaces = clusters.group_by("space", maintain_order=True)
    for at, ((space,), part) in enumerate(spaces):
        label = "all modalities together" if space == "joint" else space
        title = f"{label}: {part['cluster'].n_unique()} clusters"
        parts.append(fold(title, _clusters_table(f"clusters-{at}", part), is_open=at == 0))
    if nearest is not None and not nearest.is_empty():
        parts += [
            note(
                "Some random users: items they have interacted with in training (at most five), "
                "and the other items nearest to them in the joint space, before any training."
            ),
            _nearest_table(nearest),
        ]
    return Section("clusters", "Clusters of items", tuple(parts), "Clusters")


def _clusters_table(name: str, clusters: pl.DataFrame) -> str:
    ordered = clusters.sort("size", "cluster", "rank", descending=[True, False, False])
    largest = int(clusters["size"].max())  # type: ignore[arg-type]
    rows = []
    for (cluster,), part in ordered.group_by("cluster", maintain_order=True):
        size = int(part["size"][0])
        cells = [Cell(f"{size:,}", size, part=size / largest), text_cell(_list_items(part))]
        rows.append((str(cluster), cells))
    heads = ["cluster", "items", "nearest to the centroid"]
    return sortable_table(name, "Clusters of items", heads, rows, wrap=True)


def _nearest_table(nearest: pl.DataFrame) -> str:
    rows = []
    for (user,), part in nearest.group_by("user", maintain_order=True):
        lists = [_list_items(part.filter(kind=kind)) for kind in ("own", "nearest")]
        rows.append((str(user), [text_cell(items) for items in lists]))
    heads = ["user", "own items", "nearest other items"]
    return sortable_table("nearest", "Nearest items of some users", heads, rows, wrap=True)


def _list_items(rows: pl.DataFrame) -> str:
    names = rows.select(pl.coalesce("title", pl.col("item").cast(pl.String)))
    return ", ".join(names.to_series())
