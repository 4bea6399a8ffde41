"""The tables of the documents are those of the studies, and the studies fit today's library."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import shutil
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import torch
import typer
import yaml
from polars.testing import assert_frame_equal
from scipy import optimize, stats

from sgurinit import SGURInit, load_dataset, train
from sgurinit.cli import app
from sgurinit.data import planted, write_native
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.experiments.plan import comparison_settings
from sgurinit.experiments.study import Study
from sgurinit.report.page import write_report
from sgurinit.report.page.side_by_side import write_side_by_side
from sgurinit.training import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ROOT / "studies"
RESULTS = ROOT / "docs" / "study" / "results.md"


sys.path.insert(0, str(STUDIES / "tools"))  # the tools import one another


def tool(name: str) -> ModuleType:
    """A script of ``studies/tools``."""
    return importlib.import_module(name)


tables = tool("tables")


def folder_name(path: Path) -> str:
    return path.parent.relative_to(STUDIES).as_posix()


def has_old_hybrid(kept: Path) -> bool:
    """Whether `collaborative` is a share of columns in a study, and not a bool as today."""
    arms = json.loads(kept.read_text(encoding="utf-8"))["arms"]
    values = [fields.get("collaborative", False) for fields in arms.values()]
    return any(value and not isinstance(value, bool) for value in values)


def study_file(kept: Path) -> Path:
    """The file that describes a study. The parts of the second study have one together."""
    own = kept.parent.with_suffix(".yaml")
    return own if own.is_file() else kept.parents[2] / "study.yaml"


SETTINGS = sorted(STUDIES.rglob("settings.json"))
OLD = [kept for kept in SETTINGS if has_old_hybrid(kept)]
TODAYS = [kept for kept in SETTINGS if not has_old_hybrid(kept)]


@pytest.mark.parametrize(
    "document", tables.documents(), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_tables_are_those_of_the_studies(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "run: python studies/tools/tables.py"


def test_a_figure_changed_by_hand_is_noticed() -> None:
    text = RESULTS.read_text(encoding="utf-8")
    table = tables.MARK.search(text)[0]
    forged = text.replace(table, table.replace(" .2", " .3", 1))
    assert forged != text
    assert tables.filled(forged) == text


@pytest.mark.parametrize("kept", TODAYS, ids=folder_name)
def test_a_file_still_describes_its_results(kept: Path) -> None:
    found = json.loads(kept.read_text(encoding="utf-8"))
    # Fields that were added since have their defaults.
    completed = comparison_settings(
        list(found["models"]),
        found["arms"],
        found["seeds"],
        train=TrainSettings(**found["train"]),
        overrides=found["models"],
        mask_valid=found["mask_valid"],
        search=found["search"],
    )
    # Some name their data on the command line.
    described = Study.read(study_file(kept), data="planted").plan
    if described.search is not None and completed.search is not None:
        # In some parts of the second study, the exchange of settings is yet to follow.
        own = {"exchange": completed.search.exchange}
        described = described.model_copy(update={"search": described.search.model_copy(update=own)})
    assert described == completed


@pytest.mark.parametrize("kept", OLD, ids=folder_name)
def test_a_study_of_the_old_hybrid_is_not_resumed_with_the_new_one(kept: Path) -> None:
    found = json.loads(kept.read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=r"^\w+\.collaborative is [01]\.[05]: "):
        comparison_settings(list(found["models"]), found["arms"], found["seeds"])


STUDY_FILES = sorted(path for path in STUDIES.rglob("*.yaml") if path.name != "data.yaml")


@pytest.mark.parametrize("file", STUDY_FILES, ids=lambda file: file.stem)
def test_the_data_of_every_study_can_be_fetched_by_name(file: Path) -> None:
    sources = tool("get_data").sources()
    folders = [(ROOT / source["folder"]).resolve() for source in sources.values()]
    data = yaml.safe_load(file.read_text(encoding="utf-8")).get("data")
    if data is None:  # given on the command line
        assert Study.read(file, ROOT / "data" / "lastfm").plan.search is not None
    else:
        assert (file.parent / data["path"]).resolve() in folders


def test_the_commands_that_fetch_data_exist() -> None:
    group = typer.main.get_command(app)
    for source in tool("get_data").sources().values():
        for line in source["commands"]:
            program, name, *words = line.split()
            assert program == "sgurinit"
            command = group.commands[name]
            if hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            command.make_context(name, words)  # parsed, not run


def copied(name: str, folder: Path) -> Path:
    """A finished study where a page may be written."""
    return Path(shutil.copytree(STUDIES / "archive" / name, folder / name))


def test_a_study_of_an_earlier_version_is_not_shown(tmp_path: Path) -> None:
    one, two = copied("tiktok", tmp_path), copied("projected", tmp_path)
    message = r"summary\.json: .* is damaged or from an earlier version"
    with pytest.raises(InputError, match=message):
        write_report(one)
    with pytest.raises(InputError, match=message):
        write_side_by_side(one, two, tmp_path / "both")


def users_of(lift: float, seed: int) -> pl.DataFrame:
    """Scores of two models from three arms, with a true lift of `sgurinit` over the others."""
    rng = np.random.default_rng(seed)
    base = rng.random(300)
    parts = []
    for model, arm, run in itertools.product("ab", ("random", "permuted", "sgurinit"), range(3)):
        scores = base * (1 + lift * (arm == "sgurinit")) + rng.normal(0, 0.05, 300)
        columns = {"user": np.arange(300), "recall@20": scores, "ndcg@20": scores / 2}
        names = {"model": [model] * 300, "arm": [arm] * 300, "seed": [run] * 300}
        parts.append(pl.DataFrame(names | columns))
    return pl.concat(parts)


def test_the_mean_over_data_sets_is_that_of_random_effects() -> None:
    lifts = {"one": 0.05, "two": 0.2, "three": 0.1}
    users = {name: users_of(lift, seed) for seed, (name, lift) in enumerate(lifts.items())}
    table = tool("combine").combine(users).filter(arm="sgurinit", against="random")
    table = table.filter(metric="ndcg@20")
    for name, lift in lifts.items():
        (row,) = table.filter(data=name, model="all").to_dicts()
        assert row["low"] < lift < row["high"]
        assert set(table.filter(data=name)["model"]) == {"a", "b", "all"}
    # Paule and Mandel's variance between data sets, and the interval of Hartung and Knapp.
    own = table.filter(pl.col("data") != "all", model="all")
    effects = np.log1p(own["lift"].to_numpy())
    width = np.log1p(own["high"].to_numpy()) - np.log1p(own["low"].to_numpy())
    within = (width / 2 / 1.959964) ** 2

    def spread(between: float) -> tuple[float, float, float]:
        weights = 1 / (within + between)
        mean = (weights * effects).sum() / weights.sum()
        return mean, (weights * (effects - mean) ** 2).sum(), weights.sum()

    between = optimize.brentq(lambda value: spread(value)[1] - 2, 0, 1, xtol=1e-12)
    mean, _, weight = spread(between)
    half = stats.t.ppf(0.975, 2) / np.sqrt(weight)
    (found,) = table.filter(data="all", model="all").to_dicts()
    assert (found["n_data"], found["n_models"]) == (3, 2)
    for name, value in (("lift", mean), ("low", mean - half), ("high", mean + half)):
        assert found[name] == pytest.approx(np.expm1(value), rel=1e-6), name


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_data_sets_that_agree_by_chance_do_not_narrow_the_interval_of_their_mean() -> None:
    users = dict.fromkeys(("one", "two", "three"), users_of(0.1, 0))
    table = tool("combine").combine(users).filter(arm="sgurinit", against="random")
    table = table.filter(metric="ndcg@20", model="all")
    (one,) = table.filter(data="one").to_dicts()
    (mean,) = table.filter(data="all").to_dicts()
    assert mean["lift"] == pytest.approx(one["lift"])
    half = np.log1p(one["high"]) - np.log1p(one["low"])
    half *= stats.t.ppf(0.975, 2) / (2 * 1.959964 * np.sqrt(3))
    middle = np.log1p(one["lift"])
    assert np.log1p([mean["low"], mean["high"]]) == pytest.approx([middle - half, middle + half])


def test_the_mean_over_data_sets_is_of_the_models_that_all_have() -> None:
    users = {name: users_of(0.1, seed) for seed, name in enumerate(("one", "two", "three"))}
    users["three"] = users["three"].filter(model="a")
    table = tool("combine").combine(users).filter(arm="sgurinit", against="random")
    means = table.filter(data="all", metric="ndcg@20")
    assert means["model"].to_list() == ["a", "all"]
    assert means["n_models"].to_list() == [1, 1]
    for name in ("lift", "low", "high"):
        assert means[name][0] == pytest.approx(means[name][1], rel=1e-6)
    assert table.filter(data="one", model="all", metric="ndcg@20")["n_models"].item() == 2


def test_two_data_sets_have_no_mean() -> None:
    users = {name: users_of(0.1, seed) for seed, name in enumerate(("one", "two"))}
    assert set(tool("combine").combine(users)["data"]) == {"one", "two"}


def test_the_models_of_a_data_set_are_read_together(tmp_path: Path) -> None:
    users = users_of(0.1, 0).with_columns(pl.col("model", "arm").cast(pl.Categorical))
    for model in "ab":
        (tmp_path / "one" / model).mkdir(parents=True)
        users.filter(model=model).write_parquet(tmp_path / "one" / model / "users.parquet")
    tools = tool("combine")
    found = tools.read_scores(tmp_path)
    assert set(found) == {"one"}
    rows, wanted = (tools.compare_arms("one", own) for own in (found["one"], users))
    for row, other in zip(rows, wanted, strict=True):
        assert row == other | {
            "low": pytest.approx(other["low"]),
            "high": pytest.approx(other["high"]),
        }


def test_the_mean_of_a_folder_can_include_the_data_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {name: users_of(0.1, seed) for seed, name in enumerate(("one", "two", "three"))}
    for name, scores in users.items():
        folder = tmp_path / ("own" if name == "three" else "other") / name / "models"
        folder.mkdir(parents=True)
        scores.write_parquet(folder / "users.parquet")
    folders = [str(tmp_path / "own"), str(tmp_path / "other")]
    monkeypatch.setattr(sys, "argv", ["combine.py", *folders])
    tools = tool("combine")
    tools.main()
    found = pl.read_csv(tmp_path / "own" / "lifts.csv")
    assert set(found["data"]) == {"three", "all"}
    assert not (tmp_path / "other" / "lifts.csv").exists()
    order = ("data", "model", "arm", "against", "metric")
    wanted = tools.combine(users).filter(pl.col("data").is_in(["three", "all"]))
    assert_frame_equal(found.sort(order), wanted.sort(order), check_dtypes=False)


@pytest.mark.slow
def test_variants_of_the_method_differ_in_what_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.path.insert(0, str(STUDIES / "ablation"))
    ablation = tool("ablation")
    monkeypatch.setattr(ablation, "USERS", tmp_path / "users")
    monkeypatch.setattr(ablation, "OUT", tmp_path / "ablation.csv")
    data = planted(100, 60, seed=1)
    write_native(data, tmp_path / "small")
    few = {name: ablation.VARIANTS[name] for name in ("sgurinit", "items only", "2 clusters")}
    monkeypatch.setattr(ablation, "VARIANTS", few)
    paths = {"small": str(tmp_path / "small")}
    rows = [
        row
        for seed in range(2)
        for variant in few
        for row in ablation.measure(paths, None, "small", "start", variant, seed)
    ]
    joint = SGURInit(local_weight=1.0, random_state=0).fit(data).start_.joint(64)
    users, items = torch.from_numpy(joint.users), torch.from_numpy(joint.items)
    expected = FullRanking(data, "valid").evaluate(lambda own: users[own] @ items.T)
    assert rows[1]["variant"] == "items only"
    assert rows[1]["ndcg@20"] == pytest.approx(expected["ndcg@20"].mean(), rel=1e-4)
    pl.DataFrame(rows).write_csv(tmp_path / "ablation.csv")
    lifts = {(row["variant"], row["metric"]): row for row in ablation.compare_variants()}
    assert lifts["sgurinit", "ndcg@20"]["lift"] == 0
    means = [np.mean([row["ndcg@20"] for row in rows[at::3]]) for at in range(3)]
    assert lifts["2 clusters", "ndcg@20"]["lift"] == pytest.approx(means[2] / means[0] - 1)


@pytest.mark.slow
def test_held_out_items_are_scored_by_arm_with_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.path.insert(0, str(STUDIES / "held_out"))
    held_out = tool("held_out")
    monkeypatch.setattr(held_out, "HERE", tmp_path)
    chosen = json.loads((STUDIES / "main/lastfm/bprmf/summary.json").read_text("utf-8"))["chosen"]
    for own in chosen["bprmf"].values():
        own["config"] |= {"width": 8, "learning_rate": 0.05}  # it overfits soon
    monkeypatch.setattr(held_out, "SEEDS", 2)
    (tmp_path / "bprmf").mkdir()
    (tmp_path / "bprmf/summary.json").write_text(json.dumps({"chosen": chosen}))
    write_native(planted(100, 60, seed=1), tmp_path / "small")
    words = ["held_out.py", str(tmp_path / "small"), str(tmp_path), "--models", "bprmf"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "runs")])
    for new in (False, True):
        data = held_out.hold_out(planted(100, 60, seed=1), new_in_validation=new)
        assert (data.popularity()[data.valid.items] == 0).any() == new
        assert (data.popularity()[data.test.items] == 0).any()
    for _ in range(2):  # the second time, finished runs are kept and rows replaced
        held_out.main()
    scores = pl.read_csv(tmp_path / "scores.csv")
    lifts = pl.read_csv(tmp_path / "lifts.csv")
    assert set(scores["arm"]) == set(held_out.ARMS)
    assert len(scores) == len(held_out.ARMS) * 5 * 2
    assert len(lifts) == len(held_out.PAIRS) * 5 * 2
    config = json.loads(
        (tmp_path / "runs/bprmf/sgurinit/runs/bprmf/sgurinit/seed-1/config.json").read_text()
    )["run"]
    expected = chosen["bprmf"]["sgurinit"]
    assert (config["config"], config["initializer"]) == (
        expected["config"],
        expected["initializer"],
    )
    cold = scores.filter(group="cold among cold", metric="ndcg@20")
    means = dict(cold.select("arm", "mean").iter_rows())
    for arm, against, difference in (
        lifts.filter(group="cold among cold", metric="ndcg@20")
        .select("arm", "against", "mean_difference")
        .iter_rows()
    ):
        assert difference == pytest.approx(means[arm] - means[against])


def test_what_the_exchange_changed_is_read_from_both_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the kept results: in one cell an arm changed, in the other nothing is exchanged."""
    kept = STUDIES / "main"
    now, before = tmp_path / "now", tmp_path / "before"
    for cell in ("tiktok/bprmf", "lastfm/mgcn"):
        for name in ("summary.json", "trials.csv"):
            for folder in (now / cell, before / cell):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(kept / cell / name, folder / name)
    path = now / "lastfm/mgcn/summary.json"
    found = json.loads(path.read_text())
    found["settings"]["search"]["exchange"] = False
    path.write_text(json.dumps(found))
    path = before / "tiktok/bprmf/summary.json"
    found = json.loads(path.read_text())
    found["chosen"]["bprmf"]["sgurinit"]["config"] |= {"reg": 0.001, "learning_rate": 0.004}
    found["chosen"]["bprmf"]["sgurinit"]["initializer"]["scale"] = 1.0
    (entry,) = [entry for entry in found["results"] if entry["arm"] == "sgurinit"]
    entry["test"]["ndcg@20"]["mean"] = 0.02
    path.write_text(json.dumps(found))
    monkeypatch.setattr(sys, "argv", ["exchange.py", str(now), str(before)])
    tool("exchange").main()
    table = pl.read_csv(now / "exchange.csv")
    assert table.select("data", "model", "arm").rows() == [
        ("tiktok", "bprmf", arm) for arm in ("random", "sgurinit", "hybrid")
    ]
    (row,) = table.filter(pl.col("settings_before") != pl.col("settings_after")).to_dicts()
    assert row["arm"] == "sgurinit"
    assert row["test_before"] == 0.02
    trials = pl.read_csv(now / "tiktok/bprmf/trials.csv").filter(arm="sgurinit")
    scores = {
        when: trials.filter(settings=json.dumps({
            **{k: v for k, v in json.loads(row[f"settings_{when}"]).items() if k != "scale"},
            "sgurinit.scale": json.loads(row[f"settings_{when}"])["scale"],
        }))["recall@20"].mean()
        for when in ("before", "after")
    }  # fmt: skip
    assert row["valid_before"] == pytest.approx(scores["before"], abs=1e-5)
    assert row["valid_after"] == pytest.approx(scores["after"], abs=1e-5)


@pytest.mark.slow
def test_claims_are_confirmed_with_the_best_settings_from_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.path.insert(0, str(STUDIES / "confirm"))
    confirm = tool("confirm")
    monkeypatch.setattr(confirm, "HERE", tmp_path)
    monkeypatch.setattr(confirm, "SEEDS", 2)
    for source, rate in (("slow", 1e-7), ("quick", 0.05)):
        chosen = tool("chosen").read_chosen(STUDIES / "main/lastfm/bprmf")
        found = {arm: chosen[arm] for arm in ("random", "hybrid", "hybrid-shuffled")}
        for own in found.values():
            own["config"] |= {"width": 8, "learning_rate": rate}
        folder = tmp_path / "main" / source / "bprmf"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"chosen": {"bprmf": found}}))
    data = planted(100, 60, seed=1)
    write_native(data, tmp_path / "small")
    words = ["confirm.py", str(tmp_path / "small"), str(tmp_path / "main"), "--models", "bprmf"]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "runs")])
    for _ in range(2):  # the second time, what is finished is kept
        confirm.main()
    trials = pl.read_csv(tmp_path / "trials.csv")
    assert len(trials) == 2 * len(found)
    random = {
        row["source"]: row["recall@20"] for row in trials.filter(arm="random").iter_rows(named=True)
    }
    assert random["quick"] > random["slow"]
    run = json.loads(
        (tmp_path / "runs/bprmf/random/runs/bprmf/random/seed-1/config.json").read_text()
    )
    assert run["run"]["config"]["learning_rate"] == 0.05
    scores = tool("combine").read_scores(tmp_path)["small"]
    assert set(scores["arm"]) == set(found)
    assert len(scores) == len(found) * 2 * scores["user"].n_unique()
    lifts = tool("combine").combine({"small": scores})
    means = dict(scores.group_by("arm").agg(pl.col("ndcg@20").cast(pl.Float64).mean()).iter_rows())
    (lift,) = lifts.filter(model="bprmf", arm="hybrid", against="random", metric="ndcg@20")["lift"]
    assert lift == pytest.approx(means["hybrid"] / means["random"] - 1)


def test_a_search_continues_from_its_restored_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
    models: {bprmf: {width: 8}}
    arms: {random: , sgurinit: {n_clusters: 4}}
    seeds: 1
    train: {max_epochs: 8, patience: 3}
    search:
      trials: 4
      halving: {epochs: [2, 4], keep: 0.5}
      finalists: 2
      extend: true
      exchange: true
      spaces: {bprmf: {learning_rate: [0.005, 0.05]}, random: {scale: [0.5, 1.0, 2.0]}}
    """
    file = tmp_path / "study.yaml"
    file.write_text(textwrap.dedent(text))
    write_native(planted(100, 60, seed=1), data := tmp_path / "small")
    study = Study.read(file, data)
    study.run(whole := tmp_path / "bprmf")
    tools = tool("restore_trials")

    def restore(name: str) -> Path:
        words = file, data, whole, tmp_path / name
        monkeypatch.setattr(sys, "argv", ["restore_trials.py", *map(str, words)])
        tools.main()
        return tmp_path / name

    restored = restore("restored")
    n_restored = len(list(restored.rglob("result.json")))
    study.run(restored)
    columns = ["model", "arm", "trial", "seed", "settings", "recall@20", "epochs", "stopped_at"]
    trials = [pl.read_csv(folder / "trials.csv")[columns] for folder in (whole, restored)]
    assert_frame_equal(*trials)
    assert 2 * 4 < n_restored < len(trials[0])

    file.write_text(file.read_text().replace("0.05]", "0.04]"))
    with pytest.raises(SystemExit, match="not among the trials"):
        restore("of-another-search")


def test_less_patience_is_the_beginning_of_the_same_run() -> None:
    sys.path.insert(0, str(STUDIES / "confirm"))
    find_best = tool("patience").find_best
    scores = [0.1, 0.3, 0.2, 0.2, 0.2, 0.4, 0.1, 0.1]
    assert [find_best(scores, patience) for patience in (1, 3, 4, 20)] == [1, 1, 5, 5]
    dataset = planted(100, 60, seed=1)
    runs = {
        patience: train(
            dataset,
            "bprmf",
            "random",
            config={"width": 8, "learning_rate": 0.05},
            settings=TrainSettings(max_epochs=60, patience=patience),
        )
        for patience in (2, 20)
    }
    scores = [row["recall@20"] for row in runs[20].history]
    assert find_best(scores, 2) == runs[2].best_epoch < find_best(scores, 20)


def test_untrained_content_scores_what_is_reported(tiktok_path: Path) -> None:
    dataset = load_dataset(tiktok_path)
    joint = SGURInit(local_weight=0.9, random_state=0).fit(dataset).start_.joint(64)
    users, items = (torch.from_numpy(np.asarray(rows)) for rows in (joint.users, joint.items))
    with (STUDIES / "archive" / "untrained" / "results.csv").open(encoding="utf-8") as file:
        reported = {
            row["split"]: float(row["recall@20"])
            for row in csv.DictReader(file)
            if (row["data"], row["variant"], row["group"]) == ("tiktok", "collaborative 0.0", "all")
        }
    for split, recall in reported.items():
        found = FullRanking(dataset, split).evaluate(lambda chosen: users[chosen] @ items.T)
        # A hit or two, where two scores are equal but for rounding.
        assert found["recall@20"].mean() == pytest.approx(recall, abs=2 / len(found["recall@20"]))
    assert reported
