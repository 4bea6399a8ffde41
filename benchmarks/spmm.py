"""Milliseconds of a graph's product with a table of vectors: by entries, by rows, and the floor.

    python benchmarks/spmm.py [--device cuda|cpu] [--size tiktok|baby|million] [--width 64]

`entries` is torch's product of sparse rows (cuSPARSE on a CUDA device), `rows` an embedding bag.
Both have 32-bit indices; `entries 64` and `rows 64` have 64-bit ones. The graph is that of users
and items, its items have popularities as in the data sets of these sizes, and all are symmetric,
so one product is half of what a layer takes in a training step.

The floor is the time to copy as many bytes as the product must move: each entry's index, weight and
row of the table, and each row of the result.

Prints one line of JSON per form. Figures are medians of twenty products.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from floor import measure_rates, time_work

from sgurinit.models.blocks._csr import Csr, multiply_by_entries, multiply_by_rows, to_csr
from sgurinit.models.blocks.sparse_graph import build_bipartite_graph

SIZES = {  # users, items, training interactions
    "tiktok": (9_308, 6_710, 59_541),
    "baby": (19_445, 7_050, 118_551),
    "million": (1_000_000, 200_000, 8_000_000),
}
FORMS = {"entries": multiply_by_entries, "rows": multiply_by_rows}
EXPONENT = 0.8  # of the items' popularity by rank
REPEATS = 20
FLOAT_BYTES = 4


def make_graph(n_users: int, n_items: int, n_interactions: int) -> Csr:
    """Make the graph of users who chose items in proportion to a power of the items' rank."""
    rng = np.random.default_rng(0)
    popularity = np.arange(1, n_items + 1) ** -EXPONENT
    users = rng.integers(n_users, size=n_interactions)
    items = rng.choice(n_items, size=n_interactions, p=popularity / popularity.sum())
    ones = np.ones(n_interactions, np.float32)
    interactions = sp.csr_array((ones, (users, items)), shape=(n_users, n_items))
    interactions.data[:] = 1
    return to_csr(build_bipartite_graph(interactions).to_scipy())


def count_bytes(graph: Csr, width: int) -> int:
    """Count the bytes that a product with a table of this width must move."""
    row = FLOAT_BYTES * width
    entry = graph.columns.element_size() + graph.weights.element_size() + row
    return len(graph.columns) * entry + (len(graph.offsets) - 1) * row


def time_median(work: Callable[[], Any], device: str) -> float:
    """Compute the median seconds of some work, of which the first time does not count."""
    return median(time_work(work, device, REPEATS + 1)[1:])


def measure(size: tuple[int, int, int], width: int, device: str) -> dict[str, dict[str, float]]:
    """Measure every form of the product, in milliseconds, beside the floor."""
    graph = Csr(*(part.to(device) for part in make_graph(*size)))
    wide = graph._replace(offsets=graph.offsets.long(), columns=graph.columns.long())
    table = torch.rand(len(graph.offsets) - 1, width, device=device)
    bandwidth = measure_rates(device).bandwidth
    found = {}
    for name, multiply in FORMS.items():
        for label, matrix in ((name, graph), (f"{name} 64", wide)):
            seconds = time_median(lambda m=matrix, by=multiply: by(m, table), device)
            floor = count_bytes(matrix, width) / bandwidth
            found[label] = {"ms": 1000 * seconds, "floor_ms": 1000 * floor}
    return found


def main(words: Sequence[str] | None = None) -> None:
    """Measure the forms at one size and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiktok")
    parser.add_argument("--width", type=int, default=64)
    args = parser.parse_args(words)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device: torch finds no CUDA device here")
    for form, figures in measure(SIZES[args.size], args.width, args.device).items():
        row = {"form": form} | {name: round(value, 3) for name, value in figures.items()}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
