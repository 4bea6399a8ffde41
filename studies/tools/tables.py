"""Write the tables of the studies into the documents, between the marks that ask for them.

    python studies/tools/tables.py

A mark is a comment, `<!-- studies/archive/tiktok: lifts-r -->`, closed by `<!-- end -->`. The text
between the two is replaced by the table of that kind. It is made from the study's `summary.json`
or, if only validation data were read, from its `results.csv`. Several studies with one protocol can
have a common name, see `COMBINED`; Holm's adjustment then covers all of their models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import fmean, median
from typing import Any

import polars as pl
from combine import ALL, CLAIMS, read_scores

from sgurinit.experiments.summary import set_adjusted_p_values
from sgurinit.models import model_resolver

ROOT = Path(__file__).resolve().parents[2]
MARK = re.compile(
    r"(<!-- studies/((?:[\w-]+/)*)([\w-]+): ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)
# Studies that are read together, by a common name.
COMBINED: dict[str, tuple[str, ...]] = {
    "eight-models": (
        "tiktok", "projected", "contrast", "neighbors_parts", "raw_parts", "neighbors", "raw",
    ),
    "weights": ("local_weight", "local_weight_ml100k"),
    "untrained-then-trained": ("trained", "untrained"),
}  # fmt: skip
# The arm whose gains the tables by group show, and the one that it is tested against.
LEAD, RIVAL = "hybrid", "stair-users"
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
SHORT = {"recall": "R", "ndcg": "N"}
DATA = {
    "lastfm": "Last.fm", "ml-100k": "ML-100K", "tiktok": "TikTok", "xwines": "X-Wines",
    "amazon-beauty": "Amazon Beauty", "amazon-sports": "Amazon Sports", "citeulike": "citeulike-a",
}  # fmt: skip
# The models of the second study, as its protocol lists them.
MODELS = ("lightgcn", "bprmf", "vbpr", "freedom", "bm3", "mgcn")
PAIR = ("recall@20", "ndcg@20")
# The arms of the second study, each followed by its controls.
CONTROLLED = (
    "random", "sgurinit", "permuted", "random-scaled", "hybrid", "hybrid-shuffled", "collaborative",
)  # fmt: skip
NEW_ITEMS = {"cold among cold": "new items", "cold items": "new, of all", "all": "all items"}
HELD_OUT_ARMS = ("random", "permuted", "sgurinit", "hybrid-shuffled", "hybrid")
Entry = Mapping[str, Any]


def short(metric: str) -> str:
    """``R@20`` for ``recall@20``."""
    name, _, k = metric.partition("@")
    return f"{SHORT[name]}@{k}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, with numbers flush right."""
    words = {
        "arm", "model", "found", "vectors", "penalty", "settings", "filled", "how",
        "content agreement",
    }  # fmt: skip
    rule = ["---" if at == 0 or name in words else "---:" for at, name in enumerate(head)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def percent(value: float | None) -> str:
    """Return a relative gain, with a typographic minus."""
    return "" if value is None else f"{100 * value:+.1f} %".replace("-", "−")


def stars(metric: Entry) -> str:
    """Return one star each for a Holm-adjusted p below 0.05, 0.01 and 0.001."""
    p = metric.get("p_holm")
    return "" if p is None else "*" * sum(p < level for level in (0.05, 0.01, 0.001))


def title(model: str) -> str:
    """Return the name of the model's class."""
    return model_resolver.lookup(model).__name__


def by_model(results: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
    """Group entries by model and arm, in the order of the first model. Later entries win."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in results:
        found.setdefault(entry["model"], {})[entry["arm"]] = entry
    order = list(dict.fromkeys(arm for arms in found.values() for arm in arms))
    return {
        model: {arm: arms[arm] for arm in order if arm in arms} for model, arms in found.items()
    }


def arms_but_random(found: Mapping[str, Mapping[str, Entry]]) -> list[str]:
    """Return all arms but random, in the order of the study."""
    return [
        arm for arm in dict.fromkeys(a for arms in found.values() for a in arms) if arm != "random"
    ]


def scores(results: Sequence[Entry]) -> str:
    """Tabulate the mean and spread of every model and arm."""
    rows = []
    for model, arms in by_model(results).items():
        for at, (arm, entry) in enumerate(arms.items()):
            cells = [
                f"{test['mean']:.4f} ± {test['sd']:.4f}"
                for test in (entry["test"][metric] for metric in METRICS)
            ]
            rows.append([title(model) if at == 0 else "", arm, *cells])
    return markdown(["model", "arm", *map(short, METRICS)], rows)


def lifts(results: Sequence[Entry], metric: str) -> str:
    """Tabulate gains over random, the gain of `LEAD` over `RIVAL`, mean and median."""
    found = by_model(results)
    arms = arms_but_random(found)
    rows, gains = [], []
    for model, entries in found.items():
        tests = [entries[arm]["test"][metric] if arm in entries else {} for arm in arms]
        tests.append(entries[LEAD]["against"][RIVAL][metric])
        base = f"{entries['random']['test'][metric]['mean']:.4f}"
        cells = (percent(test.get("lift")) + stars(test) for test in tests)
        rows.append([title(model), base, *cells])
        gains.append([test.get("lift") for test in tests])
    for name, middle in (("mean", fmean), ("median", median)):
        over = (None if None in own else middle(own) for own in zip(*gains, strict=True))
        rows.append([f"**{name}**", "", *map(percent, over)])
    return markdown([short(metric), "random", *arms, f"{LEAD} over {RIVAL}"], rows)


def convergence(results: Sequence[Entry]) -> str:
    """Tabulate epochs and seconds until random's best validation score, relative to random."""
    found = by_model(results)
    arms = arms_but_random(found)
    rows = []
    for model, entries in found.items():
        own = entries["random"]
        epochs, seconds = own["epochs_to_random_best"], own["seconds_to_random_best"]
        base = f"{fmean(epochs):.0f} epochs, {fmean(seconds):.0f} s"
        cells = []
        for arm in arms:
            if arm not in entries:
                cells.append("")
                continue
            entry = entries[arm]
            times = [
                None if mine is None else mine / random
                for mine, random in zip(entry["seconds_to_random_best"], seconds, strict=True)
            ]
            cells.append(reached(entry["ratio_to_random_epochs"], times))
        rows.append([title(model), base, *cells])
    return markdown(["share of epochs, seconds", "random", *arms], rows)


def reached(epochs: Sequence[float | None], seconds: Sequence[float | None]) -> str:
    """Return means over the seeds that reached it, and how many did not."""
    means = [
        fmean(there)
        for values in (epochs, seconds)
        if (there := [value for value in values if value is not None])
    ]
    missed = epochs.count(None)
    if not means:
        return "never"
    middle = ", ".join(f"{mean:.2f}" for mean in means)
    return f"{middle} ({missed} of {len(epochs)} never)" if missed else middle


def groups(results: Sequence[Entry], metric: str = "recall@20") -> str:
    """Tabulate the gain of `LEAD` over random by model and group of users or items."""
    found = by_model(results)
    names = list(next(iter(found.values()))["random"]["groups"])
    rows = []
    for model, entries in found.items():
        cells = []
        for name in names:
            base = entries["random"]["groups"][name][metric]["mean"]
            own = entries[LEAD]["groups"][name][metric]
            cells.append(percent(own["lift"]) + stars(own) if base else f"0 → {own['mean']:.4f}")
        rows.append([title(model), *cells])
    return markdown([short(metric), *names], rows)


def label(arm: str) -> str:
    """Return the name of an arm; of a swept arm, the swept values."""
    return arm.partition("-")[2] if "=" in arm else arm


def arms(results: Sequence[Entry]) -> str:
    """Tabulate gains over random by arm, models next to each other."""
    found = by_model(results)
    metrics = ("recall@20", "ndcg@20")
    head = [f"{title(model)} {short(metric)}" for model in found for metric in metrics]
    rows = []
    for arm in next(iter(found.values())):
        tests = [entries[arm]["test"][metric] for entries in found.values() for metric in metrics]
        if arm == "random":
            rows.append([arm, *(f"{test['mean']:.4f}" for test in tests)])
        else:
            rows.append([label(arm), *(percent(test["lift"]) + stars(test) for test in tests)])
    return markdown(["arm", *head], rows)


def cold(results: Sequence[Entry], metric: str = "recall@20") -> str:
    """Tabulate the scores of items held out of training, and of the others."""
    names = ("cold items", "cold among cold", "tail items", "head items")
    rows = []
    for model, entries in by_model(results).items():
        for at, (arm, entry) in enumerate(entries.items()):
            cells = [
                f"{found['mean']:.4f}"
                + (
                    ""
                    if arm == "random" or not found["lift"]
                    else f" ({percent(found['lift'])}{stars(found)})"
                )
                for found in (entry["test"][metric], *(entry["groups"][n][metric] for n in names))
            ]
            rows.append([title(model) if at == 0 else "", arm, *cells])
    return markdown(["model", "arm", f"all items, {short(metric)}", *names], rows)


def frameworks(results: Sequence[Entry]) -> str:
    """Tabulate the scores of other frameworks with both arms, and the gain."""
    arms: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in results:
        arms.setdefault((entry["framework"], entry["model"]), {})[entry["arm"]] = entry
    rows = []
    for (framework, model), entries in arms.items():
        if len(entries) < 2:
            continue  # not finished
        base, own = entries["random"], entries[LEAD]
        cells = []
        for metric in ("recall@20", "ndcg@20"):
            of = [entry["test"][metric] for entry in (base, own)]
            spread = own["seeds"] > 1
            cells += [
                f"{test['mean']:.4f}" + (f" ± {test['sd']:.4f}" if spread else "") for test in of
            ]
            cells.append(percent(of[1]["mean"] / of[0]["mean"] - 1))
        epochs = f"{base['epochs']:.0f}, {own['epochs']:.0f}"
        rows.append([framework, model, *cells, epochs, str(own["seeds"])])
    head = ["framework", "model", "R@20 random", LEAD, "", "N@20 random", LEAD, ""]
    return markdown([*head, "epochs", "seeds"], rows)


def validation(studies: Sequence[Path]) -> str:
    """Tabulate validation scores by arm, models and studies next to each other."""
    columns: dict[str, dict[str, float]] = {}
    for study in studies:
        found = read(study).filter(pl.col("metric") == "recall", pl.col("k") == 20)
        means = found.group_by("model", "arm", maintain_order=True).agg(pl.col("value").mean())
        for model, arm, value in means.iter_rows():
            data = "ml-100k" if study.name.endswith("ml100k") else "tiktok"
            name = f"{DATA[data]} {title(model)}"
            columns.setdefault(name, {})[arm] = value
    arms = next(iter(columns.values()))
    rows = [[arm, *(f"{column[arm]:.4f}" for column in columns.values())] for arm in arms]
    return markdown(["arm", *columns], rows)


def untrained(studies: Sequence[Path], split: str = "valid") -> str:
    """Tabulate scores of untrained vectors by variant, data sets next to each other."""
    (study,) = studies
    found = read(study).filter(pl.col("split") == split, pl.col("group") == "all")
    names = found["data"].unique(maintain_order=True)
    metrics = ("recall@20", "ndcg@20")
    cells = {
        (row["variant"], row["data"], metric): f"{row[metric]:.4f}"
        for row in found.iter_rows(named=True)
        for metric in metrics
    }
    rows = [
        [variant, *(cells.get((variant, data, m), "") for data in names for m in metrics)]
        for variant in found["variant"].unique(maintain_order=True)
    ]
    head = [f"{DATA[data]} {short(metric)}" for data in names for metric in metrics]
    return markdown(["vectors", *head], rows)


def trained(studies: Sequence[Path]) -> str:
    """Tabulate validation scores of the same vectors after training."""
    trainings, names = (read(study) for study in studies)
    measured = ["recall@20", "ndcg@20"]
    means = trainings.group_by("data", "model", "variant").agg(pl.col(measured).mean())
    columns = means.select("data", "model").unique().sort("data", "model", descending=[True, False])
    rows = []
    for variant in names["variant"].unique(maintain_order=True):
        found = means.filter(variant=variant)
        if len(found):
            own = columns.join(found, ["data", "model"], "left", maintain_order="left")
            pairs = own.select(measured).iter_rows()
            rows.append([variant, *("" if a is None else f"{a:.4f} / {b:.4f}" for a, b in pairs)])
    heads = [f"{DATA[data]} {title(model)}" for data, model in columns.iter_rows()]
    return markdown(["R@20 / N@20", *heads], rows)


def anchor(studies: Sequence[Path]) -> str:
    """Tabulate validation scores with a penalty on the distance from the start."""
    (study,) = studies
    measured = ["recall@20", "ndcg@20"]
    key = ["arm", "strength", "half_life"]
    means = read(study).group_by("model", *key).agg(pl.col(measured).mean())
    means = means.sort(pl.col("arm") != "random", *key)
    names = means["model"].unique().sort()
    rows = []
    for arm, strength, half_life in means.select(key).unique(maintain_order=True).iter_rows():
        held = "kept" if half_life == float("inf") else f"half after {half_life:.0f} epochs"
        row = [arm, f"{strength:g}, {held}" if strength else "none"]
        for name in names:
            own = means.filter(model=name, arm=arm, strength=strength, half_life=half_life)
            row += [f"{own[column].item():.4f}" for column in measured]
        rows.append(row)
    heads = [f"{title(name)} {head}" for name in names for head in ("R@20", "N@20")]
    return markdown(["arm", "penalty", *heads], rows)


def which_tables(studies: Sequence[Path]) -> str:
    """Tabulate validation scores by the tables that were filled and the learning rate."""
    (study,) = studies
    run = ["way", "learning_rate", "seed"]
    best = read(study).sort("recall@20", descending=True).unique(run, keep="first")
    names = ("recall@20", "ndcg@20")
    rates = best["learning_rate"].unique().sort()
    rows = []
    order = best.group_by("way").agg(pl.col("recall@20").mean()).sort("recall@20")
    for way in order["way"].reverse():
        row = [way]
        for rate in rates:
            own = best.filter(way=way, learning_rate=rate)
            seeds = ", ".join(f"{value:.4f}" for value in own.sort("seed")["recall@20"])
            row += [f"{own['recall@20'].mean():.4f} ({seeds})", f"{own['ndcg@20'].mean():.4f}"]
        rows.append(row)
    heads = [f"{short(name)} at {rate:g}" for rate in rates for name in names]
    return markdown(["filled", *heads], rows)


def fold_in(studies: Sequence[Path]) -> str:
    """Tabulate the ways to serve a user who came after training."""
    (study,) = studies
    found = read(study)
    names = found["model"].unique().sort(descending=True)
    rows = []
    for way in found["way"].unique().sort():
        row = [way]
        for name in names:
            own = found.filter(way=way, model=name)
            row += [
                f"{own[metric].mean():.4f} ± {own[metric].std():.4f}"
                for metric in ("recall@20", "ndcg@20")
            ]
        rows.append(row)
    heads = [f"{title(name)} {head}" for name in names for head in ("R@20", "N@20")]
    return markdown(["how", *heads], rows)


def new_items(studies: Sequence[Path]) -> str:
    """Tabulate validation scores by where items without interactions are placed."""
    (study,) = studies
    measured = ["all", "cold", "among", "norm", "score"]
    means = read(study).group_by("model", "arm", "way").agg(pl.col(measured).mean())
    places = {"trained": "as trained", "unit": "one norm"}
    rows = []
    for model in means["model"].unique().sort(descending=True):
        for arm in sorted(means["arm"].unique(), key=lambda name: name != "random"):
            own = {row["way"]: row for row in means.filter(model=model, arm=arm).to_dicts()}
            order = [*places, *sorted(own.keys() - places.keys(), key=lambda way: (len(way), way))]
            for at, way in enumerate(order):
                row = own[way]
                known = places.get(way, way.replace("similar-", "mean of similar, "))
                rows.append(
                    [f"{title(model)}, {arm}" if at == 0 else "", known]
                    + [f"{row[name]:.4f}" for name in ("all", "cold", "among")]
                    + [f"{row[name]:.2f}" for name in ("norm", "score")]
                )
    head = ["all items, R@20", "cold items", "cold among cold", "norm", "score"]
    return markdown(["model", "how", *head], rows)


def pair(rows: pl.DataFrame, prefix: str = "") -> str:
    """Return the means of Recall@20 and NDCG@20; nothing without rows."""
    if rows.is_empty():
        return ""
    return " / ".join(f"{rows[prefix + name].mean():.4f}".removeprefix("0") for name in PAIR)


def interval(lifts: pl.DataFrame, against: str, arm: str = "hybrid", **run: str) -> str:
    """Return a lift of NDCG@20 with its interval, in percent; nothing if it was not measured."""
    found = lifts.filter(arm=arm, against=against, metric="ndcg@20", **run)
    if found.is_empty():
        return ""
    return with_interval(found.row(0, named=True))


def with_interval(row: Mapping[str, float]) -> str:
    """Return a lift with its interval, in percent."""
    low, high = (f"{100 * row[end]:+.1f}".replace("-", "−") for end in ("low", "high"))
    return f"{percent(row['lift'])} ({low}, {high})"


def hybrid_untrained(studies: Sequence[Path]) -> str:
    """Tabulate the untrained joint spaces of the hybrid and its controls."""
    (study,) = studies
    found, lifts = (pl.read_csv(study / f"{name}.csv") for name in ("untrained", "lifts"))
    arms = ("popularity", "collaborative", "hybrid-shuffled", "hybrid")
    rows = [
        [DATA[data]]
        + [pair(found.filter(data=data, arm=arm)) for arm in arms]
        + [interval(lifts, "hybrid-shuffled", data=data, model="start")]
        for data in found["data"].unique(maintain_order=True)
    ]
    return markdown(["R@20 / N@20", *arms, "N@20 over shuffled"], rows)


def hybrid_trained(studies: Sequence[Path]) -> str:
    """Tabulate what models reach from the hybrid, its control and random values."""
    (study,) = studies
    found, lifts = (pl.read_csv(study / f"{name}.csv") for name in ("trained", "lifts"))
    arms = ("random", "hybrid before", "hybrid-shuffled", "hybrid")
    # Of the searched penalties, those that the other arms were trained with.
    found = found.join(
        found.filter(arm="hybrid").select("data", "model", "reg").unique(),
        on=["data", "model", "reg"],
        nulls_equal=True,
    )
    rows = []
    for model in ("bprmf", "lightgcn", "freedom", "mgcn"):
        for data in found.filter(model=model)["data"].unique().sort():
            own = found.filter(data=data, model=model)
            cells = [pair(own.filter(arm=arm), "best ") for arm in arms]
            over = [interval(lifts, arm, data=data, model=model) for arm in arms[1:3]]
            epochs = own.filter(pl.col("arm").is_in(["random", "hybrid"]))
            times = epochs.group_by("arm").agg(pl.col("epochs").mean()).sort("arm", descending=True)
            counts = " → ".join(f"{value:.0f}" for value in times["epochs"])
            rows.append([f"{title(model)}, {DATA[data]}", *cells, *over, counts])
    head = ["R@20 / N@20", *arms, "N@20 over before", "N@20 over shuffled", "epochs"]
    return markdown(head, rows)


def hybrid_new_items(studies: Sequence[Path]) -> str:
    """Tabulate what placing new items gives to them and takes from the others."""
    (study,) = studies
    found = pl.read_csv(study / "new_items.csv").filter(content="true", seed=0)
    rows = []
    for model in ("start", "bprmf", "lightgcn"):
        for data in found.filter(model=model)["data"].unique(maintain_order=True).sort():
            own = found.filter(model=model, data=data)
            if model == "start":
                name, way = "untrained", "placed 20"  # as `hybrid` does
            else:
                name, way = title(model), "placed 10"  # as `place_new_items` does
            kept, placed = (own.filter(way=at).row(0, named=True) for at in ("kept", way))
            ranked = [f"{kept[of]:.3f} → {placed[of]:.3f}" for of in ("new", "used", "all")]
            ranked.insert(1, f"{placed['tail']:.3f}")
            alone = f"{kept['among new']:.3f} → " if model != "start" else ""
            rows.append([f"{name}, {DATA[data]}", *ranked, f"{alone}{placed['among new']:.3f}"])
    head = ["R@20", "new items", "tail items", "used items", "all items", "new among new"]
    return markdown(head, rows)


def by_arm(studies: Sequence[Path]) -> str:
    """Tabulate the test scores of every arm by data set and model, from the scores of users."""
    (study,) = studies
    rows = []
    for data, users in sorted(read_scores(study).items(), key=lambda item: [*DATA].index(item[0])):
        for model in sorted(users["model"].unique(), key=MODELS.index):
            own = users.filter(model=model)
            means = [own.filter(arm=arm)["ndcg@20"].cast(pl.Float64).mean() for arm in CONTROLLED]
            cells = (f"{mean:.4f}".lstrip("0") for mean in means)
            rows.append([f"{DATA[data]}, {title(model)}", *cells])
    return markdown(["NDCG@20", *(f"`{arm}`" for arm in CONTROLLED)], rows)


def claims(studies: Sequence[Path], arm: str) -> str:
    """Tabulate an arm's claims by data set and model, with intervals and stars."""
    (study,) = studies
    lifts = read_claims(study)
    rivals = [base for own, base in SHOWN_CLAIMS if own == arm]
    rows = []
    cells = lifts.select("data", "model").unique().rows()
    for data, model in sorted(cells, key=lambda cell: by_protocol(*cell)):
        name = "all" if model == ALL else title(model)
        found = [claim_cell(lifts, arm, base, data, model) for base in rivals]
        rows.append([f"{DATA.get(data, 'all data sets')}, {name}", *found])
    return markdown(["NDCG@20", *(f"over `{base}`" for base in rivals)], rows)


def claim_means(studies: Sequence[Path], metric: str = "ndcg@20") -> str:
    """Tabulate the claims in the mean over the data sets, and over the models of each."""
    (study,) = studies
    lifts = read_claims(study, metric).filter(model=ALL)
    found = sorted(lifts["data"].unique(), key=[ALL, *DATA].index)
    columns = [
        [stacked(claim_cell(lifts, arm, base, data, ALL)) for arm, base in SHOWN_CLAIMS]
        for data in found
    ]
    heads = []
    for data in found:
        n_data, n_models = lifts.filter(data=data).select("n_data", "n_models").row(0)
        heads.append(f"{DATA.get(data, f'{n_data} data sets')}<br>{n_models} models")
    names = [f"`{arm}` over `{base}`" for arm, base in SHOWN_CLAIMS]
    rows = [list(row) for row in zip(names, *columns, strict=True)]
    return markdown([metric.replace("ndcg", "NDCG").replace("recall", "Recall"), *heads], rows)


SHOWN_CLAIMS = [pair for pair in CLAIMS if pair != ("hybrid", "sgurinit")]


def read_claims(study: Path, metric: str = "ndcg@20") -> pl.DataFrame:
    """Read the lifts of a metric, without means over one model."""
    lifts = pl.read_csv(study / "lifts.csv").filter(metric=metric)
    return lifts.filter((pl.col("model") != ALL) | (pl.col("n_models") > 1))


def claim_cell(lifts: pl.DataFrame, arm: str, against: str, data: str, model: str) -> str:
    """Return a claim of a data set and model, with its interval and stars."""
    found = lifts.filter(arm=arm, against=against, data=data, model=model)
    row = found.row(0, named=True)
    return with_interval(row) + stars(row)


def stacked(claim: str) -> str:
    """Return a claim on two lines: the lift with its stars, and below them the interval."""
    return re.sub(r" (\(.*\))(\**)$", r"\2<br>\1", claim)


def by_protocol(data: str, model: str) -> tuple[int, int]:
    """Return the place of a data set and model in the tables: in that order, means last."""
    return [*DATA, ALL].index(data), (*MODELS, ALL).index(model)


def find_cells(study: Path) -> list[tuple[str, str, Path]]:
    """Find the finished parts of the second study: data set, model and folder of each."""
    folders = [path.parent for path in study.glob("*/*/summary.json")]
    folders.sort(key=lambda folder: by_protocol(folder.parent.name, folder.name))
    return [(DATA[folder.parent.name], title(folder.name), folder) for folder in folders]


def read_cell(folder: Path) -> dict[str, Entry]:
    """Read the results of every arm of one data set and model."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    return {entry["arm"]: entry for entry in summary["results"]}


def who(studies: Sequence[Path]) -> str:
    """Tabulate lifts of NDCG@20 over random for users with few and many items, tail and head."""
    (study,) = studies
    items = ["tail items", "head items"]
    rows = []
    for data, model, folder in find_cells(study):
        arms = read_cell(folder)
        names = [name for name in arms["random"]["groups"] if name.startswith("users with ")]
        groups = [names[0], names[-1], *items]
        for arm in ("sgurinit", "hybrid"):
            found = [arms[arm]["groups"][name]["ndcg@20"] for name in groups]
            cells = [stacked(with_interval(lift)) for lift in found]
            rows.append([f"{data}<br>{model}", f"`{arm}`", *cells])
    heads = ["users with the fewest items", "with the most", *items]
    return markdown(["data and model", "arm", *heads], rows)


def harms(studies: Sequence[Path]) -> str:
    """Tabulate losses of NDCG@20 against random beyond doubt; in groups, of the two main arms."""
    (study,) = studies
    rows = []
    for data, model, folder in find_cells(study):
        for arm, entry in read_cell(folder).items():
            found = {"all users": entry["test"]}
            if arm in ("sgurinit", "hybrid"):
                found |= entry["groups"]
            for group, metrics in found.items():
                lift = metrics["ndcg@20"]
                if (lift.get("high") or 0) < 0:
                    rows.append([data, model, f"`{arm}`", group, with_interval(lift)])
    return markdown(["data", "model", "arm", "found", "NDCG@20 over `random`"], rows)


def spread(studies: Sequence[Path]) -> str:
    """Tabulate the standard deviation over seeds, relative to the mean."""
    (study,) = studies
    rows = []
    for data, model, folder in find_cells(study):
        arms = read_cell(folder)
        tests = [arms[arm]["test"]["ndcg@20"] for arm in CONTROLLED]
        rows.append([data, model, *(f"{100 * of['sd'] / of['mean']:.1f} %" for of in tests)])
    return markdown(["data", "model", *(f"`{arm}`" for arm in CONTROLLED)], rows)


def held_out(studies: Sequence[Path]) -> str:
    """Tabulate the scores of items held out of training, with the intervals of differences."""
    (study,) = studies
    scores = pl.read_csv(study / "scores.csv").filter(metric="ndcg@20")
    lifts = pl.read_csv(study / "lifts.csv").filter(metric="ndcg@20")
    rows = []
    cells = scores.select("data", "model", "validation").unique().rows()
    for data, model, validation in sorted(cells, key=lambda cell: (by_protocol(*cell[:2]), cell)):
        own = {"data": data, "model": model, "validation": validation}
        for group, called in NEW_ITEMS.items():
            means = dict(scores.filter(group=group, **own).select("arm", "mean").iter_rows())
            found = {arm: f"{means[arm]:.4f}".lstrip("0") for arm in HELD_OUT_ARMS}
            for arm in ("sgurinit", "hybrid"):
                (of,) = lifts.filter(group=group, arm=arm, against="random", **own).to_dicts()
                ends = (f"{of[f'difference_{end}']:+.3f}" for end in ("low", "high"))
                interval = ", ".join(ends).replace("-", "−").replace("0.", ".")
                found[arm] += f"<br>({interval})"
            name = f"{DATA[data]}, {title(model)}<br>{validation}"
            rows.append([name, called, *found.values()])
    heads = [f"`{arm}`" for arm in HELD_OUT_ARMS]
    return markdown(["data, model<br>validation", "found", *heads], rows)


def patience(studies: Sequence[Path]) -> str:
    """Tabulate validation scores by the patience of the runs, with the mean of the best epochs."""
    (study,) = studies
    runs = pl.read_csv(study / "patience.csv")
    waits = runs["patience"].unique().sort().to_list()
    rows = []
    for data, model in runs.select("data", "model").unique(maintain_order=True).rows():
        own = runs.filter(data=data, model=model)
        for arm in (name for name in CONTROLLED if name in own["arm"]):
            cells = []
            for wait in waits:
                found = own.filter(arm=arm, patience=wait)
                best = found["recall@20"].cast(pl.Float64).mean()
                epoch = found["best_epoch"].cast(pl.Float64).mean()
                cells.append(f"{best:.4f}".lstrip("0") + f", epoch {epoch:.0f}")
            n_runs = own.filter(arm=arm)["seed"].n_unique()
            rows.append([f"{DATA[data]}, {title(model)}", f"`{arm}`", str(n_runs), *cells])
    return markdown(["Recall@20", "arm", "runs", *(f"patience {wait}" for wait in waits)], rows)


def ablation(studies: Sequence[Path], *models: str) -> str:
    """Tabulate every variant of the method over it, trained in `models` or untrained."""
    (study,) = studies
    lifts = pl.read_csv(study / "lifts.csv").filter(metric="ndcg@20")
    lifts = lifts.filter(pl.col("model").is_in(models or ["start"]))
    columns = sorted(
        lifts.select("data", "model").unique().rows(),
        key=lambda cell: ([*DATA].index(cell[0]), ("start", *MODELS).index(cell[1])),
    )
    rows = []
    for variant in lifts["variant"].unique(maintain_order=True):
        row = [variant]
        for data, model in columns:
            (own,) = lifts.filter(data=data, model=model, variant=variant).to_dicts()
            is_method = variant == "sgurinit"
            lift = stacked(with_interval(own))
            row.append(f"{own['mean']:.4f}".lstrip("0") if is_method else lift)
        rows.append(row)
    heads = [
        f"{DATA[data]}, {title(model)}" if models else DATA[data].removeprefix("Amazon ")
        for data, model in columns
    ]
    return markdown(["variant", *heads], rows)


def tuned(studies: Sequence[Path]) -> str:
    """Tabulate the settings and the scale of the tables that each arm chose on validation."""
    (study,) = studies
    rows = []
    for data, model, folder in find_cells(study):
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        names = list(summary["settings"]["search"]["spaces"][folder.name])
        for name in [*names, "scale"]:
            cells = []
            for arm in CONTROLLED:
                own = summary["chosen"][folder.name][arm]
                cells.append(f"{({**own['config'], **own['initializer']})[name]:g}")
            rows.append([data, model, f"`{name}`", *cells])
    return markdown(["data", "model", "setting", *(f"`{arm}`" for arm in CONTROLLED)], rows)


def exchange(studies: Sequence[Path]) -> str:
    """Tabulate what arms chose before and after they tried one another's settings."""
    (study,) = studies
    table = pl.read_csv(study / "exchange.csv")
    table = table.filter(pl.col("settings_before") != pl.col("settings_after"))
    rows = []
    for row in sorted(
        table.iter_rows(named=True), key=lambda r: by_protocol(r["data"], r["model"])
    ):
        before, after = (json.loads(row[f"settings_{when}"]) for when in ("before", "after"))
        changed = [
            f"`{name}` {before[name]:g} → {after[name]:g}"
            for name in after
            if before[name] != after[name]
        ]
        scores = [
            " → ".join(f"{row[f'{name}_{when}']:.4f}".lstrip("0") for when in ("before", "after"))
            for name in ("valid", "test")
        ]
        cells = [f"{DATA[row['data']]}<br>{title(row['model'])}", f"`{row['arm']}`"]
        cells += ["<br>".join(changed), *scores]
        rows.append([cell.replace(" → ", "\u00a0→\u00a0") for cell in cells])
    heads = ["data and model", "arm", "settings", "validation R@20", "test N@20"]
    return markdown(heads, rows)


def tuning(studies: Sequence[Path]) -> str:
    """Tabulate the gains over random of default settings and of the best trials, on validation."""
    (study,) = studies
    rows = []
    for data, cells in groupby(find_cells(study), key=itemgetter(0)):
        gains = []
        for _, model, folder in cells:
            first, best = {}, {}
            for arm in ("random", "sgurinit", "hybrid"):
                trials = pl.read_csv(folder / "trials.csv").filter(arm=arm, seed=1000)
                first[arm] = trials.filter(trial=0)["recall@20"].item()  # the defaults
                best[arm] = trials["recall@20"].max()
            own = [best["random"] / first["random"] - 1]
            for arm in ("sgurinit", "hybrid"):
                own += [found[arm] / found["random"] - 1 for found in (first, best)]
            rows.append([data, model, *map(percent, own)])
            gains.append(own)
        if len(gains) > 1:
            rows.append([data, "mean", *map(percent, map(fmean, zip(*gains, strict=True)))])
    heads = ["`random`, tuned over defaults"]
    heads += [f"`{arm}`, {how}" for arm in ("sgurinit", "hybrid") for how in ("defaults", "tuned")]
    return markdown(["data", "model", *heads], rows)


def speed(studies: Sequence[Path]) -> str:
    """Tabulate epochs and seconds to 99 % of random's best validation score, from the start's."""
    (study,) = studies
    rows = []
    for data, model, folder in find_cells(study):
        epochs = pl.read_csv(folder / "epochs.csv")
        for arm in ("random", "sgurinit", "hybrid"):
            own = epochs.filter(arm=arm)
            there = own.drop_nulls("epochs_to_99_percent")
            means = ["", ""]
            if len(there):
                kinds = ("epochs_to_99_percent", "seconds_to_99_percent")
                means = [f"{there[kind].cast(pl.Float64).mean():.0f}" for kind in kinds]
            share = f"{100 * own['start_share'].cast(pl.Float64).mean():.0f} %"
            rows.append([data, model, f"`{arm}`", share, f"{len(there)} of {len(own)}", *means])
    head = [
        "data",
        "model",
        "arm",
        "the start's share",
        "runs that reach 99 %",
        "epochs",
        "seconds",
    ]
    return markdown(head, rows)


def agreement(studies: Sequence[Path]) -> str:
    """Tabulate content agreement and what content adds to `hybrid`, untrained and trained."""
    (study,) = studies
    measured, untrained = (
        pl.read_csv(ROOT / "studies" / "hybrid" / f"{name}.csv") for name in ("agreement", "lifts")
    )
    trained = pl.read_csv(study / "lifts.csv").filter(model=ALL)
    rows = []
    for data in measured["data"].unique(maintain_order=True):
        own = measured.filter(data=data).sort("ratio", descending=True)
        ratios = ", ".join(f"{row['modality']} {row['ratio']:.1f}" for row in own.to_dicts())
        cells = [
            interval(untrained, "hybrid-shuffled", data=data, model="start"),
            interval(trained, "hybrid-shuffled", data=data),
        ]
        models = trained.filter(data=data)["n_models"]
        rows.append([DATA[data], ratios, *cells, str(models[0]) if len(models) else ""])
    head = ["data", "content agreement", "untrained", "trained", "models"]
    return markdown(head, rows)


def chosen(studies: Sequence[Path]) -> str:
    """Tabulate the settings that each arm of each model chose on validation."""
    found: dict[str, dict[str, Entry]] = {}
    spaces: dict[str, list[str]] = {}
    for study in studies:
        summary = json.loads((study / "summary.json").read_text("utf-8"))
        for model, own in summary["chosen"].items():
            found[model] = found.get(model, {}) | own
        spaces |= summary["settings"]["search"]["spaces"]
    arms = ["random", *arms_but_random(found)]
    rows = []
    for model, entries in found.items():
        of = [entries[arm]["config"] if arm in entries else {} for arm in arms]
        cells = [", ".join(f"{own[name]:g}" for name in spaces[model] if own) for own in of]
        rows.append([title(model), ", ".join(f"`{name}`" for name in spaces[model]), *cells])
    return markdown(["model", "settings", *arms], rows)


def read(study: Path) -> pl.DataFrame:
    """Read the tidy results of a study."""
    return pl.read_csv(study / "results.csv")


TABLES: dict[str, Callable[[Sequence[Entry]], str]] = {
    "scores": scores,
    "lifts-r": lambda results: lifts(results, "recall@20"),
    "lifts-n": lambda results: lifts(results, "ndcg@20"),
    "convergence": convergence,
    "groups": groups,
    "arms": arms,
    "cold": cold,
    "frameworks": frameworks,
}
TIDY: dict[str, Callable[[Sequence[Path]], str]] = {
    "validation": validation,
    "untrained": untrained,
    "trained": trained,
    "agreement": agreement,
    "anchor": anchor,
    "by-arm": by_arm,
    "chosen": chosen,
    "claim-means": claim_means,
    "claim-means-recall": lambda studies: claim_means(studies, "recall@20"),
    "claims-hybrid": lambda studies: claims(studies, "hybrid"),
    "claims-sgurinit": lambda studies: claims(studies, "sgurinit"),
    "who": who,
    "which-tables": which_tables,
    "fold-in": fold_in,
    "new-items": new_items,
    "speed": speed,
    "spread": spread,
    "held-out": held_out,
    "harms": harms,
    "patience": patience,
    "exchange": exchange,
    "ablation-untrained": ablation,
    "ablation-trained": lambda studies: ablation(studies, "bprmf", "lightgcn"),
    "ablation-projected": lambda studies: ablation(studies, "vbpr"),
    "tuned": tuned,
    "tuning": tuning,
    "hybrid-untrained": hybrid_untrained,
    "hybrid-trained": hybrid_trained,
    "hybrid-new-items": hybrid_new_items,
    "untrained-test": lambda studies: untrained(studies, "test"),
}


def entries(studies: Sequence[Path]) -> list[Entry]:
    """Read the results of one study, or of several together."""
    found: list[Entry] = []
    for study in studies:
        summary = json.loads((study / "summary.json").read_text("utf-8"))
        found += summary["results"]
    set_adjusted_p_values(found)
    return found


def documents() -> list[Path]:
    """Find the pages that ask for a table."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [page for page in pages if MARK.search(page.read_text(encoding="utf-8"))]


def filled(text: str) -> str:
    """Return a document with its tables filled from the studies."""

    def table(match: re.Match[str]) -> str:
        opening, folder, name, kind, closing = match.groups()
        studies = [ROOT / "studies" / folder / part for part in COMBINED.get(name, (name,))]
        made = TIDY[kind](studies) if kind in TIDY else TABLES[kind](entries(studies))
        return f"{opening}\n{made}\n{closing}"

    return MARK.sub(table, text)


if __name__ == "__main__":
    for document in documents():
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")
