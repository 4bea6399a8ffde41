"""Compare the hybrid with what it replaced and with its control, over users and seeds.

    python studies/hybrid/lifts.py

Reads `users/`, which `trained.py` and `untrained.py` write, and writes `lifts.csv`: the relative
difference of the means on validation, with a 95 % interval by a crossed bootstrap over users and
seeds. Model `start` is the untrained joint space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from trained import METRICS, USERS, find_penalty

from sgurinit.evaluation import bootstrap_lift

OUT = Path(__file__).parent / "lifts.csv"
PAIRS = [
    ("hybrid", other) for other in ("hybrid-shuffled", "collaborative", "hybrid before", "random")
]


def read_runs() -> dict[tuple[str, str, str], dict[int, pl.DataFrame]]:
    """Read the scores of the runs with the chosen penalty by data, model and arm, then by seed."""
    runs: dict[tuple[str, str, str], dict[int, pl.DataFrame]] = {}
    for path in sorted(USERS.glob("*.parquet")):
        data, model, arm, reg, seed = path.stem.split("_")
        if reg == str(find_penalty(data, model)):
            runs.setdefault((data, model, arm), {})[int(seed)] = pl.read_parquet(path)
    return runs


def main() -> None:
    """Compare all pairs of arms that have the same seeds."""
    runs = read_runs()
    rows = []
    for data, model in dict.fromkeys(key[:2] for key in runs):
        for arm, against in PAIRS:
            own, base = (runs.get((data, model, name), {}) for name in (arm, against))
            seeds = sorted(own.keys() & base.keys())
            if not seeds:
                continue
            for metric in METRICS:
                scores = [
                    np.stack([of[seed][f"best {metric}"].to_numpy() for seed in seeds])
                    for of in (own, base)
                ]
                found = bootstrap_lift(*scores)
                pair = {"data": data, "model": model, "arm": arm, "against": against}
                interval = {"lift": found.lift, "low": found.low, "high": found.high}
                rows.append(pair | {"metric": metric, "seeds": len(seeds)} | interval)
    pl.DataFrame(rows).write_csv(OUT)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120):
        print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
