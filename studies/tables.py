"""Write the studies' tables into the documents, between the marks that ask for them.

    python studies/tables.py

A mark is a comment, `<!-- studies/archive/tiktok: lifts-r -->`, closed by `<!-- end -->`. What lies
between is replaced by the table of that kind, made of the study's `summary.json` or, where only
validation data were read, of its `results.csv`. Studies of one protocol can be read together,
`studies/archive/tiktok+projected`; Holm's adjustment is then over all their models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import polars as pl

from sgurinit.experiments.tables import adjust
from sgurinit.models import models

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(
    r"(<!-- studies/((?:[\w-]+/)*)([\w+-]+): ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL
)
# The arm whose gains the tables by group show, and the one that it is tested against.
LEAD, RIVAL = "hybrid", "stair-users"
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
SHORT = {"recall": "R", "ndcg": "N"}
DATA = {"tiktok": "TikTok", "ml-100k": "ML-100K"}
Entry = Mapping[str, Any]


def short(metric: str) -> str:
    """``R@20`` for ``recall@20``."""
    name, _, k = metric.partition("@")
    return f"{SHORT[name]}@{k}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, the columns behind the text flush right."""
    words = {"arm", "model", "vectors", "penalty", "settings", "filled", "way"}
    rule = ["---" if at == 0 or name in words else "---:" for at, name in enumerate(head)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def percent(value: float | None) -> str:
    """A relative gain, with a true minus."""
    return "" if value is None else f"{100 * value:+.1f} %".replace("-", "−")


def stars(metric: Entry) -> str:
    """How sure: a star each for Holm's p over the models below 0.05, 0.01 and 0.001."""
    p = metric.get("p_holm")
    return "" if p is None else "*" * sum(p < level for level in (0.05, 0.01, 0.001))


def title(model: str) -> str:
    """The name as its paper writes it, as far as the class has it."""
    return models.lookup(model).__name__


def by_model(results: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
    """Entries by model and arm, in the first model's order; of two for one the later counts."""
    found: dict[str, dict[str, Entry]] = {}
    for entry in results:
        found.setdefault(entry["model"], {})[entry["arm"]] = entry
    order = list(dict.fromkeys(arm for arms in found.values() for arm in arms))
    return {
        model: {arm: arms[arm] for arm in order if arm in arms} for model, arms in found.items()
    }


def started(found: Mapping[str, Mapping[str, Entry]]) -> list[str]:
    """All arms but random, in the study's order; not every model has every arm."""
    return [
        arm for arm in dict.fromkeys(a for arms in found.values() for a in arms) if arm != "random"
    ]


def scores(results: Sequence[Entry]) -> str:
    """Mean and spread of every model and arm."""
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
    """Gain over random by model and arm, that of `LEAD` over `RIVAL`, mean and median."""
    found = by_model(results)
    arms = started(found)
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
    """Epochs and seconds until the random arm's best validation score, as shares of random's."""
    found = by_model(results)
    arms = started(found)
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
    """Means over the seeds that got there, and how many did not."""
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
    """Gain of `LEAD` over random by model and group of users or items."""
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
    """An arm's name; of a swept one, what is swept."""
    return arm.partition("-")[2] if "=" in arm else arm


def arms(results: Sequence[Entry]) -> str:
    """Gain over random by arm, one model beside the other."""
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
    """Scores of items held out of training, and of the others, by model and arm."""
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
    """Scores of other people's frameworks with either arm, and the gain."""
    arms: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in results:
        arms.setdefault((entry["framework"], entry["model"]), {})[entry["arm"]] = entry
    rows = []
    for (framework, model), entries in arms.items():
        if len(entries) < 2:
            continue  # under way
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
    """Scores on validation by arm, one model of one study beside the other."""
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
    """Scores of vectors that nothing has trained, by variant, one data set beside the other."""
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
    """Scores on validation of the same vectors after training, one model beside the other."""
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
    """Scores on validation of starts that training is held to, one model beside the other."""
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
    """Scores on validation at the best epoch by which tables were filled and the learning rate."""
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
    """Mean and spread of every way to serve a user who came after training, by model."""
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
    return markdown(["way", *heads], rows)


def new_items(studies: Sequence[Path]) -> str:
    """Scores on validation by where items without interactions are put after training."""
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
    return markdown(["model", "way", *head], rows)


def chosen(studies: Sequence[Path]) -> str:
    """The settings that each arm of each model chose on validation, of those searched."""
    found: dict[str, dict[str, Entry]] = {}
    spaces: dict[str, list[str]] = {}
    for study in studies:
        summary = json.loads((study / "summary.json").read_text("utf-8"))
        for model, own in summary["chosen"].items():
            found[model] = found.get(model, {}) | own
        spaces |= summary["settings"]["search"]["spaces"]
    arms = ["random", *started(found)]
    rows = []
    for model, entries in found.items():
        of = [entries[arm]["config"] if arm in entries else {} for arm in arms]
        cells = [", ".join(f"{own[name]:g}" for name in spaces[model] if own) for own in of]
        rows.append([title(model), ", ".join(f"`{name}`" for name in spaces[model]), *cells])
    return markdown(["model", "settings", *arms], rows)


def read(study: Path) -> pl.DataFrame:
    """The tidy results of a study."""
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
    "anchor": anchor,
    "chosen": chosen,
    "which-tables": which_tables,
    "fold-in": fold_in,
    "new-items": new_items,
    "untrained-test": lambda studies: untrained(studies, "test"),
}


def entries(studies: Sequence[Path]) -> list[Entry]:
    """Results of one study, or of several together."""
    found: list[Entry] = []
    for study in studies:
        summary = json.loads((study / "summary.json").read_text("utf-8"))
        found += summary["results"]
    adjust(found)
    return found


def documents() -> list[Path]:
    """Pages that ask for a table."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [page for page in pages if MARK.search(page.read_text(encoding="utf-8"))]


def filled(text: str) -> str:
    """A document with its tables as the studies say."""

    def table(match: re.Match[str]) -> str:
        opening, folder, names, kind, closing = match.groups()
        studies = [ROOT / "studies" / folder / name for name in names.split("+")]
        made = TIDY[kind](studies) if kind in TIDY else TABLES[kind](entries(studies))
        return f"{opening}\n{made}\n{closing}"

    return MARK.sub(table, text)


if __name__ == "__main__":
    for document in documents():
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")
