"""Draw the figures of the studies from their tables.

    pip install matplotlib
    python studies/tools/figures.py

Writes into `docs/images`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import polars as pl
from tables import ALL, DATA, by_protocol, find_cells, read_claims, title

from sgurinit.models import model_resolver

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "studies" / "archive"
IMAGES = ROOT / "docs" / "images"
METRIC = "recall", 20
COLUMNS = 2  # panels next to each other
CURVES = [STUDIES / name / "curves.csv" for name in ("tiktok", "projected")]
ARMS = {"random": "#767676", "hybrid": "#0072b2", "hybrid-permuted": "#d55e00"}
TUNED = {"random": "#767676", "sgurinit": "#d55e00", "hybrid": "#0072b2"}
SEARCH_TRIALS = 20  # before finalists, extension and exchange


def knobs() -> None:
    """Draw validation scores by number of clusters and local_weight, as gains over random."""
    table = pl.read_csv(STUDIES / "knobs" / "results.csv").filter(
        pl.col("metric") == METRIC[0], pl.col("k") == METRIC[1]
    )
    names = table["model"].unique(maintain_order=True).to_list()
    figure, panels = plt.subplots(
        1, len(names), figsize=(4.6 * len(names), 4), layout="constrained"
    )
    gains = {name: gain(table.filter(pl.col("model") == name)) for name in names}
    top = max(float(g["gain"].max()) for g in gains.values())
    for panel, name in zip(panels, names, strict=True):
        grid = gains[name].pivot(
            "local_weight", index="n_clusters", values="gain", sort_columns=True
        )
        cells = grid.sort("n_clusters").drop("n_clusters").to_numpy()
        shown = panel.imshow(cells, cmap="viridis", vmin=0, vmax=top, origin="lower")
        panel.set_xticks(range(cells.shape[1]), grid.columns[1:])
        panel.set_yticks(range(cells.shape[0]), grid["n_clusters"].sort().to_list())
        panel.set(xlabel="local_weight (w)", ylabel="clusters K")
        panel.set_title(model_resolver.lookup(name).__name__)
        for (row, column), value in zip(
            [(r, c) for r in range(cells.shape[0]) for c in range(cells.shape[1])],
            cells.ravel(),
            strict=True,
        ):
            dark = value < 0.6 * top
            panel.text(
                column, row, f"{value:+.0f}", ha="center", va="center", fontsize=9,
                color="white" if dark else "black",
            )  # fmt: skip
    figure.colorbar(shown, ax=panels, label="Recall@20 on validation, % above random")
    save(figure, "knobs")


def gain(table: pl.DataFrame) -> pl.DataFrame:
    """Return percent above random by K and local_weight. At a weight of 1, K has no effect."""
    base = table.filter(pl.col("arm") == "random")["value"].mean()
    swept = table.filter(pl.col("arm").str.contains("n_clusters=")).with_columns(
        n_clusters=pl.col("arm").str.extract(r"n_clusters=(\d+)").cast(pl.Int64),
        local_weight=pl.col("arm").str.extract(r"local_weight=([\d.]+)").cast(pl.Float64),
    )
    local = (
        table.filter(pl.col("arm") == "hybrid-local")
        .select("value")
        .with_columns(local_weight=pl.lit(1.0))
    )
    alone = swept.select("n_clusters").unique().join(local, how="cross")
    columns = ["n_clusters", "local_weight", "value"]
    whole = pl.concat([swept.select(columns), alone.select(columns)])
    return whole.with_columns(gain=100 * (pl.col("value") / base - 1))


def curves() -> None:
    """Draw the validation score by epoch for each seed, and mark the best."""
    panels = [
        (model, part.filter(pl.col("model") == model))
        for part in (pl.read_csv(path) for path in CURVES)
        for model in part["model"].unique(maintain_order=True)
    ]
    rows = math.ceil(len(panels) / COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(3.6 * COLUMNS, 3.0 * rows), layout="constrained", squeeze=False
    )
    for panel in axes.flat[len(panels) :]:
        panel.remove()
    for panel, (model, part) in zip(axes.flat, panels, strict=False):
        for arm, color in ARMS.items():
            for (seed,), run in part.filter(pl.col("arm") == arm).group_by(
                "seed", maintain_order=True
            ):
                best = run.row(run["recall@20"].arg_max() or 0, named=True)
                label = arm if seed == 0 else None
                panel.plot(run["epoch"], run["recall@20"], color=color, lw=0.9, label=label)
                panel.plot(best["epoch"], best["recall@20"], "o", color=color, ms=4)
        panel.set(title=model_resolver.lookup(model).__name__, xlabel="epoch", ylim=(0, None))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, loc="lower right")
    for panel in axes[:, 0]:
        panel.set_ylabel("Recall@20 on validation")
    save(figure, "curves")


def searches() -> None:
    """Draw the best validation score after each trial of the second study."""
    cells = find_cells(ROOT / "studies" / "main")
    columns = 3
    rows = math.ceil(len(cells) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.9 * columns, 2.1 * rows), layout="constrained", squeeze=False
    )
    for panel in axes.flat[len(cells) :]:
        panel.remove()
    for panel, (data, model, folder) in zip(axes.flat, cells, strict=False):
        trials = pl.read_csv(folder / "trials.csv").filter(seed=1000)
        for arm, color in TUNED.items():
            own = trials.filter(arm=arm)
            panel.step(own["trial"] + 1, own["best_so_far"], color=color, where="post", label=arm)
            panel.plot(own["trial"][-1] + 1, own["best_so_far"][-1], "o", color=color, ms=3)
        panel.axvline(SEARCH_TRIALS + 0.5, color="#bbbbbb", lw=0.8, ls=":")
        low = trials.filter(pl.col("arm").is_in(TUNED), pl.col("trial") == 4)["best_so_far"].min()
        panel.set_ylim(bottom=low)
        panel.set_title(f"{data}, {model}", fontsize=9)
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    lines = axes[0, 0].get_lines()[: 2 * len(TUNED) : 2]
    figure.legend(lines, TUNED, loc="outside upper center", ncols=len(TUNED), frameon=False)
    figure.supxlabel("trial", fontsize=9)
    figure.supylabel("best Recall@20 on validation so far", fontsize=9)
    save(figure, "searches")


def claims() -> None:
    """Draw the main claims of the second study, by data set and model and over all."""
    shown = {
        ("sgurinit", "random"): (-12, 22),
        ("hybrid", "random"): (-9, 46),
        ("hybrid", "hybrid-shuffled"): (-6, 11),
    }
    lifts = read_claims(ROOT / "studies" / "main")
    cells = sorted(lifts.select("data", "model").unique().rows(), key=lambda c: by_protocol(*c))
    cells = [cell for cell in cells if cell[1] != ALL or cell[0] == ALL]
    places, names, gap = [], [], 0.0
    for at, (data, model) in enumerate(cells):
        gap += 0.6 if at and data != cells[at - 1][0] else 0
        places.append(at + gap)
        names.append(f"{DATA.get(data, 'all')}, {'both' if model == ALL else title(model)}")
    figure, panels = plt.subplots(
        1, len(shown), figsize=(9, 0.24 * places[-1] + 0.9), layout="constrained", sharey=True
    )
    for panel, ((arm, against), limits) in zip(panels, shown.items(), strict=True):
        own = lifts.filter(arm=arm, against=against)
        panel.set_xlim(*limits)
        for place, (data, model) in zip(places, cells, strict=True):
            (row,) = own.filter(data=data, model=model).to_dicts()
            draw_lift(panel, place, row, TUNED[arm])
        panel.axvline(0, color="#bbbbbb", lw=0.8, zorder=0)
        panel.set_title(f"{arm} over {against}", fontsize=9)
        panel.xaxis.set_major_locator(plt.MultipleLocator(10 if limits[1] > 25 else 5))
        panel.xaxis.set_major_formatter(
            lambda value, _: f"{value:+.0f} %".replace("-", "−") if value else "0"
        )
        panel.tick_params(labelsize=7)
        panel.tick_params(axis="y", length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(places, names, fontsize=8)
    panels[0].invert_yaxis()
    save(figure, "claims")


def draw_lift(panel: plt.Axes, place: float, row: dict[str, Any], color: str) -> None:
    """Draw a lift and its interval in percent, filled if that excludes 0; arrows lead outside."""
    low, lift, high = (100 * row[name] for name in ("low", "lift", "high"))
    is_sure = low > 0 or high < 0
    color = color if is_sure else "#767676"
    mark = "D" if row["data"] == ALL else "o"
    panel.plot([low, high], [place, place], color=color, lw=1.4)
    panel.plot(lift, place, mark, color=color, ms=5, mfc=color if is_sure else "white")
    left, right = panel.get_xlim()
    if low < left:
        panel.plot(left, place, "<", color=color, ms=4, clip_on=False)
    if high > right:
        panel.plot(right, place, ">", color=color, ms=4, clip_on=False)


def save(figure: plt.Figure, name: str) -> None:
    """Write a figure that is the same file every time."""
    IMAGES.mkdir(exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = name
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    knobs()
    curves()
    searches()
    claims()
