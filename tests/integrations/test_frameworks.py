"""The real frameworks: tables are filled, training continues from them, evaluation runs."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sgurinit.core import SGURInit
from sgurinit.data.layouts.recbole import write_user_vectors
from sgurinit.errors import InputError
from sgurinit.integrations._alignment import align_features
from sgurinit.integrations.compat import legacy_compat
from sgurinit.integrations.torch import attach

WIDTH = 8
ABSENT = "is not installed; `make frameworks` has it"


def needs(name):
    return pytest.importorskip(name, reason=f"{name} {ABSENT}")


def assert_proportional(table, rows):
    """Compare a table with rows, up to one common factor."""
    table = np.asarray(table)
    factor = np.linalg.norm(table) / np.linalg.norm(rows)
    np.testing.assert_allclose(table, factor * rows, atol=1e-4 * np.abs(table).max())


def shuffled(data):
    """Return the items' features in another order, and their ids."""
    order = np.random.default_rng(5).permutation(data.n_items)
    features = {name: table.values[order] for name, table in data.features.items()}
    return features, data.item_ids[order]


def test_features_are_aligned_by_id(data):
    features, ids = shuffled(data)
    found = align_features(features, ids, ["none", *data.item_ids])
    for name, table in found.items():
        assert not table.mask()[0]
        np.testing.assert_array_equal(table.values[1:], data.features[name].values)


def test_features_of_other_ids_are_refused(data):
    features, ids = shuffled(data)
    with pytest.raises(InputError, match="no item has features"):
        align_features(features, ids, ["a", "b"])
    with pytest.raises(InputError, match="item_ids: an id occurs twice"):
        align_features(features, [ids[0], *ids[:-1]], ids)
    with pytest.raises(InputError, match="60 rows for 59 item ids"):
        align_features(features, ids[:-1], ids)


def test_legacy_compat_is_undone_at_the_end():
    load = torch.load
    with legacy_compat():
        assert np.float64 is np.float64
        matrix = sp.dok_matrix((2, 2))
        matrix._update({(0, 1): 3.0})
        assert matrix[0, 1] == 3
        assert torch.load is not load
    assert not hasattr(np, "float_")
    assert torch.load is load


# RecBole


@pytest.fixture(params=["BPR", "LightGCN"])
def recbole_run(request, data, tmp_path, monkeypatch):
    """A RecBole model on planted data, built but not trained."""
    needs("recbole")
    monkeypatch.chdir(tmp_path)  # it writes logs where it runs
    with legacy_compat():
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import get_model, get_trainer, init_seed

        folder = tmp_path / "toy"
        folder.mkdir()
        split = data.train
        lines = [
            f"{data.user_ids[u]}\t{data.item_ids[i]}"
            for u, i in zip(split.users, split.items, strict=True)
        ]
        text = "\n".join(["user_id:token\titem_id:token", *lines]) + "\n"
        (folder / "toy.inter").write_text(text)
        start = SGURInit(joint_dim=WIDTH, random_state=0).fit(data).start_
        write_user_vectors(start, folder / "toy.useremb", "joint")
        config = Config(
            model=request.param, dataset="toy",
            config_dict={
                "data_path": str(tmp_path), "epochs": 2, "embedding_size": WIDTH, "topk": [20],
                "load_col": {"inter": ["user_id", "item_id"], "useremb": ["uid", "user_emb"]},
                "additional_feat_suffix": ["useremb"], "alias_of_user_id": ["uid"],
                "preload_weight": {"uid": "user_emb"}, "metrics": ["Recall", "NDCG"],
                "valid_metric": "NDCG@20", "checkpoint_dir": str(tmp_path), "use_gpu": False,
                "show_progress": False,
            },
        )  # fmt: skip
        init_seed(0, True)
        dataset = create_dataset(config)
        parts = data_preparation(config, dataset)
        model = get_model(request.param)(config, parts[0]._dataset)
        trainer = get_trainer(config["MODEL_TYPE"], request.param)(config, model)
        yield parts, model, trainer, start


def test_recbole_trains_from_the_start_and_evaluates(recbole_run, data):
    from sgurinit.integrations.recbole import fit_start

    (train, valid, test), model, trainer, _ = recbole_run
    start = fit_start(train, *shuffled(data))
    (report,) = attach(model, start)
    assert report.table == "user_embedding.weight"
    assert report.items_filled
    assert_proportional(model.user_embedding.weight.detach(), start.joint(WIDTH).users)
    # Row by row: RecBole's internal ids are those of its tokens.
    tokens = train.dataset.field2id_token["item_id"]
    assert start.n_items == len(tokens)
    first = model.user_embedding.weight.detach().clone()
    trainer.fit(train, valid, show_progress=False)
    moved = torch.nn.functional.cosine_similarity(model.user_embedding.weight.detach(), first)
    assert 0.9 < float(moved[1:].mean()) < 1  # two epochs from there, not from elsewhere
    result = trainer.evaluate(test, load_best_model=True, show_progress=False)
    assert 0 < result["recall@20"] <= 1


def test_recbole_reads_the_exported_users_and_a_stock_model_takes_them(recbole_run, data):
    from sgurinit.integrations.recbole import copy_preloaded_

    (train, *_), model, _, start = recbole_run
    copy_preloaded_(model, train.dataset)
    tokens = train.dataset.field2id_token["user_id"]
    rows = dict(zip(data.user_ids, start.joint(WIDTH).users, strict=True))
    for at, token in enumerate(tokens[1:], 1):
        np.testing.assert_allclose(model.user_embedding.weight[at].detach(), rows[token], atol=1e-5)
    with pytest.raises(InputError, match="loaded no vectors of 'other'"):
        copy_preloaded_(model, train.dataset, "other")


# Cornac


@pytest.fixture
def ratio_split(data):
    cornac = needs("cornac")
    features, ids = shuffled(data)
    triples = [
        (data.user_ids[u], data.item_ids[i], 1.0)
        for u, i in zip(data.train.users, data.train.items, strict=True)
    ]
    return cornac.eval_methods.RatioSplit(
        triples, test_size=0.2, rating_threshold=0.5, exclude_unknowns=True, seed=0,
        item_image=cornac.data.ImageModality(features=features["image"], ids=list(ids)),
        item_feature=cornac.data.FeatureModality(features=features["text"], ids=list(ids)),
    )  # fmt: skip


def cornac_model(name, **settings):
    models = needs("cornac").models
    epochs = {"n_epochs": 2} if name == "VBPR" else {"max_iter": 2}
    widths = {"k": WIDTH, "k2": WIDTH} if name == "VBPR" else {"k": WIDTH}
    return getattr(models, name)(seed=1, verbose=False, **epochs, **widths, **settings)


@pytest.mark.parametrize("name", ["BPR", "WBPR", "MF", "SVD", "VBPR", "WMF"])
def test_cornac_trains_from_the_start_and_evaluates(name, ratio_split, data):
    cornac = needs("cornac")
    from sgurinit.integrations.cornac import FACTORS, fit_start, init_params

    model, train = cornac_model(name), ratio_split.train_set
    start = fit_start(train)
    # The modality's rows lie where the set has the items, whatever the order they came in.
    at = train.iid_map[data.item_ids[7]]
    np.testing.assert_allclose(
        start.fit.features["image"].values[at], data.features["image"].values[7], rtol=1e-5
    )
    params = init_params(model, train, start=start)
    names = FACTORS[name]
    assert_proportional(params[names.users], start.joint(WIDTH).users)
    if name == "VBPR":
        items = start.fit.features["image"].values @ params["E"]
        assert_proportional(params["Tu"], start.on(items))
    begun = model.clone({"init_params": params})
    if name == "WMF" and find_spec("tensorflow") is None:  # takes them, but cannot train
        begun.trainable = model.trainable = False
    begun.fit(train)
    rows = torch.tensor(np.asarray(getattr(begun, names.user_rows)))
    cosines = torch.nn.functional.cosine_similarity(rows, torch.tensor(params[names.users]))
    assert 0.8 < float(cosines.mean()) <= 1
    again = model.clone({"init_params": params})
    result, _ = ratio_split.evaluate(
        again, [cornac.metrics.Recall(k=20), cornac.metrics.NDCG(k=20)], user_based=True
    )
    assert 0 < result.metric_avg_results["Recall@20"] <= 1


def test_cornac_models_without_user_factors_are_refused(ratio_split):
    cornac = needs("cornac")
    from sgurinit.integrations.cornac import init_params

    with pytest.raises(InputError, match="MostPop has no user factors; models with"):
        init_params(cornac.models.MostPop(), ratio_split.train_set)


def test_cornac_needs_features_with_ids(data):
    cornac = needs("cornac")
    from sgurinit.integrations.cornac import fit_start

    bare = cornac.data.Dataset.from_uir([("a", "b", 1.0), ("c", "d", 1.0)])
    with pytest.raises(InputError, match="no item features"):
        fit_start(bare)


# implicit, LensKit, PyTorch Geometric


@pytest.fixture
def narrow(data):
    """Make matrices of a split with the 32-bit indices that implicit needs."""

    def make(split):
        matrix = sp.csr_matrix(split.matrix(data.n_users, data.n_items))
        matrix.indices, matrix.indptr = matrix.indices.astype("i4"), matrix.indptr.astype("i4")
        return matrix

    return make


@pytest.mark.parametrize("name", ["als", "bpr"])
def test_implicit_continues_from_the_start(name, data, narrow, start):
    implicit = needs("implicit")
    from implicit.evaluation import ranking_metrics_at_k

    from sgurinit.integrations.implicit import set_factors

    kinds = {
        "als": implicit.als.AlternatingLeastSquares,
        "bpr": implicit.bpr.BayesianPersonalizedRanking,
    }
    matrix = narrow(data.train)
    model = kinds[name](factors=WIDTH, iterations=2, random_state=0)
    set_factors(model, matrix, start)
    assert_proportional(model.user_factors[:, :WIDTH], start.joint(WIDTH).users)
    assert_proportional(model.item_factors[:, :WIDTH], start.joint(WIDTH).items)
    first = np.array(model.item_factors)
    random = kinds[name](factors=WIDTH, iterations=2, random_state=0)
    model.fit(matrix, show_progress=False)
    random.fit(matrix, show_progress=False)
    assert not np.allclose(model.item_factors, first)
    assert not np.allclose(model.item_factors, random.item_factors)
    test = narrow(data.test)
    result = ranking_metrics_at_k(model, matrix, test, K=20, show_progress=False)
    assert 0 < result["ndcg"] <= 1
    with pytest.raises(InputError, match="has factors already"):
        set_factors(model, matrix, start)


@pytest.mark.parametrize("name", ["als", "flexmf"])
def test_lenskit_trains_from_the_start(name, data, monkeypatch):
    needs("lenskit")
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.batch import recommend
    from lenskit.data import ItemListCollection, from_interactions_df
    from lenskit.flexmf import FlexMFImplicitScorer
    from lenskit.metrics import NDCG, Recall, RunAnalysis
    from lenskit.pipeline import topn_pipeline
    from lenskit.training import TrainingOptions

    from sgurinit.integrations.lenskit import attach_to_scorer

    def frame(split):
        ids = {"user_id": data.user_ids[split.users], "item_id": data.item_ids[split.items]}
        return pd.DataFrame(ids)

    train = from_interactions_df(frame(data.train))
    kinds = {"als": ImplicitMFScorer, "flexmf": FlexMFImplicitScorer}
    scorer = kinds[name](embedding_size=WIDTH, epochs=2)
    attach_to_scorer(scorer, *shuffled(data))
    trainer = scorer.create_trainer(train, TrainingOptions(rng=1))
    users, items = (
        np.searchsorted(ours, theirs.ids())
        for ours, theirs in ((data.user_ids, train.users), (data.item_ids, train.items))
    )
    features = {name: table.values[items] for name, table in data.features.items()}
    matrix = data.train_matrix()[users][:, items]
    start = SGURInit(random_state=0).fit(matrix, features).start_
    users = (
        trainer.get_parameters()["user_embeddings"]
        if name == "als"
        else trainer.model.u_embed.weight.detach().numpy()
    )
    assert_proportional(users, start.joint(WIDTH).users)
    pipe = topn_pipeline(scorer)
    pipe.train(train, TrainingOptions(rng=1))
    truth = ItemListCollection.from_df(frame(data.test), ["user_id"])
    analysis = RunAnalysis()
    analysis.add_metric(Recall(20))
    analysis.add_metric(NDCG(20))
    result = analysis.measure(recommend(pipe, list(truth.keys()), 20, n_jobs=1), truth)
    assert 0 < result.list_summary().loc["NDCG@20", "mean"] <= 1


def test_pyg_trains_from_the_start(data, start):
    needs("torch_geometric")
    from torch_geometric.nn import LightGCN

    from sgurinit.integrations.pyg import initialize_nodes_

    model = LightGCN(data.n_users + data.n_items, WIDTH, num_layers=2)
    report = initialize_nodes_(model.embedding, start)
    assert report.items_filled
    assert_proportional(model.embedding.weight[: data.n_users].detach(), start.joint(WIDTH).users)
    assert_proportional(model.embedding.weight[data.n_users :].detach(), start.joint(WIDTH).items)
    pairs = torch.tensor(np.stack([data.train.users, data.train.items + data.n_users]))
    edges = torch.cat([pairs, pairs.flip(0)], dim=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    first = model.embedding.weight.detach().clone()
    fakes = torch.stack([pairs[0], torch.randint(data.n_users, len(first), pairs[0].shape)])
    ranks = model(edges, torch.cat([pairs, fakes], dim=1)).chunk(2)
    model.recommendation_loss(*ranks, node_id=torch.cat([pairs, fakes], 1).unique()).backward()
    optimizer.step()
    assert 0 < float((model.embedding.weight - first).abs().max()) <= 1.01e-3
    users, items = torch.arange(5), torch.arange(data.n_users, len(first))
    assert model.recommend(edges, src_index=users, dst_index=items, k=20).shape == (5, 20)
    with pytest.raises(InputError, match="149 nodes"):
        initialize_nodes_(torch.nn.Embedding(149, WIDTH), start)
