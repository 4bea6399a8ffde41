"""MMRec and MRLib: user tables are found where their models keep them, each in its own space."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sgurinit.core import SGURInit, UserStart
from sgurinit.data import load_dataset, planted
from sgurinit.errors import InputError
from sgurinit.integrations.compat import legacy_compat
from sgurinit.integrations.mmrec import attach, find_tables, fit_start, patch_quick_start

WIDTH = 16


class Loader:
    def __init__(self, data):
        self.matrix = data.train_matrix()

    def inter_matrix(self, form):
        return self.matrix.tocoo() if form == "coo" else self.matrix


class Model(nn.Module):
    """A model with the conventions of MMRec; `kind` says which items lie below the users."""

    def __init__(self, data, kind):
        super().__init__()
        n, m = data.n_users, data.n_items
        self.kind = kind
        self.t_feat, self.v_feat = (
            torch.tensor(data.features[name].values).float() for name in ("text", "image")
        )
        self.item_id = nn.Embedding(m, WIDTH)
        self.project = nn.Linear(self.v_feat.shape[1], WIDTH)
        raw = self.v_feat.shape[1]
        width = {"raw": raw, "raw and free": raw, "columns": 2 * WIDTH}.get(kind, WIDTH)
        self.user = nn.Parameter(torch.randn(n, width))
        self.other = nn.Parameter(torch.randn(n, WIDTH))
        self.image = nn.Embedding.from_pretrained(self.v_feat.clone(), freeze=False)
        self.nodes = nn.Parameter(torch.randn(n + m, WIDTH))
        self.narrow = nn.Parameter(torch.randn(n + m, 2))
        self.result = None

    def pre_epoch_processing(self):
        self.noise = torch.rand(1), np.random.random(), random.random()  # noqa: NPY002, S311

    def forward(self):
        image, ids = self.project(self.image.weight), self.item_id.weight
        kinds = {
            "free": lambda: torch.cat([self.user, ids]),
            "dot": lambda: self.user @ ids.T,
            "raw": lambda: torch.cat((functional.normalize(self.user), self.v_feat)),
            "raw and free": lambda: torch.cat(
                (torch.cat([self.user, self.v_feat]), torch.cat([self.other, ids])), dim=1
            ),
            "projected": lambda: torch.cat((self.user, functional.leaky_relu(image)), dim=0),
            "both": lambda: torch.cat([self.user, image]) + torch.cat([self.user, ids]),
            "twice": lambda: torch.cat([self.user, ids]) + torch.cat([self.other, ids]),
            "columns": lambda: self.user @ torch.cat([ids, image], -1).T,
            "nodes": lambda: self.nodes * self.narrow.sum(),
        }
        return kinds[self.kind]()

    def calculate_loss(self, batch):
        assert batch.shape[0] == 3
        assert self.training
        self.result = self.forward()
        with torch.no_grad():
            self.project.bias += 1
        return self.result[batch[0]].sum(), self.result.mean()


def spaces(tables):
    return {table.name: (table.space, table.modality) for table in tables}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("free", {"user": ("free", None)}),
        ("dot", {"user": ("free", None)}),
        ("both", {"user": ("free", None)}),
        ("twice", {"user": ("free", None), "other": ("free", None)}),
        ("raw", {"user": ("raw", "image")}),
        ("projected", {"user": ("projected", "image")}),
        ("columns", {"user[:, 0:16]": ("free", None), "user[:, 16:32]": ("projected", "image")}),
        ("nodes", {"nodes": ("free", None)}),
    ],
)
def test_each_table_is_found_in_its_space_and_filled_there(kind, expected, data, start):
    model = Model(data, kind)
    tables = find_tables(model, start, Loader(data))
    assert spaces(tables) == expected
    reports = attach(model, start, Loader(data), scale=None)
    filled = [r.items_filled for r in reports]
    assert filled == [t.space == "free" and t.name != "other" for t in tables]
    joint = start.joint(WIDTH)
    if kind == "nodes":
        np.testing.assert_array_equal(model.nodes.detach()[: data.n_users], joint.users)
    elif kind == "raw":
        np.testing.assert_array_equal(model.user.detach(), start.users["image"])
    elif kind == "projected":
        items = functional.leaky_relu(model.project(model.image.weight)).detach().numpy()
        np.testing.assert_allclose(model.user.detach(), start.on(items), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(model.user.detach()[:, :WIDTH], joint.users)
    if kind == "columns":
        items = model.project(model.image.weight).detach().numpy()
        own = start.on(items)
        np.testing.assert_allclose(model.user.detach()[:, WIDTH:], own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["raw", "projected"])
def test_a_collaborative_start_is_carried_into_a_space_of_content(kind, data):
    hybrid = SGURInit.from_preset("hybrid", n_clusters=4, random_state=0).fit(data).start_
    model = Model(data, kind)
    attach(model, hybrid, Loader(data), scale=None)
    items = functional.leaky_relu(model.project(model.image.weight)).detach().numpy()
    expected = hybrid.carry_to(hybrid.features("image") if kind == "raw" else items)
    np.testing.assert_allclose(model.user.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_collaborative_start_is_carried_from_a_space_of_the_narrowest_table(data):
    hybrid = SGURInit.from_preset("hybrid", n_clusters=4, random_state=0).fit(data).start_
    model = Model(data, "raw and free")
    attach(model, hybrid, Loader(data), scale=None)
    expected = hybrid.carry_to(hybrid.features("image"), width=WIDTH)
    np.testing.assert_allclose(model.user.detach(), expected, rtol=1e-4, atol=1e-5)


def test_a_projected_table_has_the_stacked_items_and_no_projection(data, start):
    model = Model(data, "projected")
    (table,) = find_tables(model, start, Loader(data))
    items = functional.leaky_relu(model.project(model.image.weight))
    assert table.project is None
    torch.testing.assert_close(table.features, items.detach())


def test_preprocessing_without_effect_is_an_error(data):
    start = SGURInit(n_clusters=4, preprocess=("unit",), random_state=0).fit(data).start_
    model = Model(data, "projected")
    before = model.user.detach().clone()
    with pytest.raises(InputError, match=r"preprocess=\('unit',\) has no effect"):
        attach(model, start, Loader(data))
    assert torch.equal(model.user, before)
    raw = Model(data, "raw")
    attach(raw, start, Loader(data), scale=None)
    np.testing.assert_array_equal(raw.user.detach(), start.users["image"])


def test_a_loaded_start_says_what_it_lacks(data, start, tmp_path):
    start.save(tmp_path / "start.safetensors")
    loaded = UserStart.load(tmp_path / "start.safetensors")
    with pytest.raises(InputError, match=r"a loaded start has no features.*: fit SGURInit on"):
        attach(Model(data, "free"), loaded, Loader(data))


def test_the_traced_step_is_undone(data, start):
    model = Model(data, "projected").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random(), float(torch.rand(1))  # noqa: NPY002, S311
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    find_tables(model, start, Loader(data))
    found = random.random(), np.random.random(), float(torch.rand(1))  # noqa: NPY002, S311
    assert found == expected
    assert model.result is None
    assert not hasattr(model, "noise")
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_ambiguous_tables_are_an_error(data, start):
    other = planted(91, 60, seed=1)
    with pytest.raises(InputError, match="Model trains no table with 90 rows"):
        attach(Model(other, "free"), start, Loader(other))
    even = planted(60, 60, seed=1)
    same = SGURInit(n_clusters=4, random_state=0).fit(even).start_
    with pytest.raises(InputError, match="as many users as items"):
        attach(Model(even, "free"), same, Loader(even))


# Checkouts of MMRec and MRLib, where named. Each model with the spaces of its user tables.

ID, IMAGE, TEXT = ("free", None), ("projected", "image"), ("projected", "text")
PREFERENCES = {"v_gcn.preference": IMAGE, "t_gcn.preference": TEXT}
HALVES = {"u_embedding[:, 0:64]": ID, "u_embedding[:, 64:128]": IMAGE}
PLAIN = {"user_embedding.weight": ID}
BOTH = {
    "VBPR": HALVES,
    "MMGCN": {"v_gcn.preference": IMAGE, "t_gcn.preference": ("raw", "text"), "id_embedding": ID},
    "GRCN": {**PREFERENCES, "id_gcn.id_embedding": ID},
    "DualGNN": PREFERENCES,
    "DRAGON": PREFERENCES,
    "LATTICE": PLAIN,
    "BM3": PLAIN,
    "FREEDOM": PLAIN,
    "MGCN": PLAIN,
    "LGMRec": PLAIN,
    "SMORE": PLAIN,
    "SLMRec": {"embedding_user.weight": ID},
    "PGL": {"user_image.weight": IMAGE, "user_text.weight": TEXT},
}
TREES = {
    "MMREC": BOTH
    | {
        "BPR": PLAIN,
        "LightGCN": {"embedding_dict.user_emb": ID},
        "SELFCFED_LGN": {"online_encoder.embedding_dict.user_emb": ID},
        "MMGCF": PLAIN,
        "MVGAE": {**PREFERENCES, "c_gcn.preference": IMAGE},
    },
    "MRLIB": BOTH
    | {
        "MMSSL": {"user_id_embedding.weight": ID},
        "DiffMM": {"uEmbeds": ID},
        "HPMRec": {
            f"{part}_gcn.{table}": ID if table == "prompt_emb" else space
            for part, space in (("id", IMAGE), ("v", IMAGE), ("t", TEXT))
            for table in ("emb_s", "emb_x.0", "prompt_emb")
        },
        "LOBSTER": {"user_embds": IMAGE},
        "COHESION": {**PREFERENCES, "id_gcn.preference": IMAGE},
        "MENTOR": {
            **PREFERENCES,
            "id_gcn.preference": IMAGE,
            **{f"v_gcn_n{n}.preference": IMAGE for n in (1, 2)},
            **{f"t_gcn_n{n}.preference": TEXT for n in (1, 2)},
        },
    },
}


@pytest.fixture
def tree(request, data, tmp_path, monkeypatch):
    """A checkout's modules on the path, and planted data in its layout."""
    variable = f"SGURINIT_{request.param}"
    if variable not in os.environ:
        pytest.skip(f"{variable} names no checkout")
    pytest.importorskip("torch_geometric", reason="torch_geometric is not installed")
    sources = Path(os.environ[variable]).resolve() / "src"
    write(data, tmp_path / "toy")
    monkeypatch.chdir(sources)
    monkeypatch.syspath_prepend(str(sources))
    known = set(sys.modules)
    with legacy_compat():
        yield str(tmp_path)
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in {"common", "models", "utils"}:
            del sys.modules[name]


def write(data, folder):
    """Write the layout that both projects read, with the user graph that some models load."""
    folder.mkdir()
    lines = [
        f"{u}\t{i}\t{label}\n"
        for label, part in enumerate((data.train, data.valid, data.test))
        for u, i in zip(part.users, part.items, strict=True)
    ]
    (folder / "toy.inter").write_text("".join(["userID\titemID\tx_label\n", *lines]))
    for name, table in data.features.items():
        np.save(folder / f"{name}_feat.npy", table.values)
    shared = (data.train_matrix() @ data.train_matrix().T).toarray()
    order = np.argsort(-shared, axis=1)
    graph = {u: [order[u].tolist(), shared[u][order[u]].tolist()] for u in range(data.n_users)}
    np.save(folder / "user_graph.npy", np.array(graph, dtype=object), allow_pickle=True)


CASES = [(name, model) for name, models in TREES.items() for model in models]


@pytest.mark.parametrize(("tree", "model"), CASES, indirect=["tree"])
def test_a_model_of_an_unmodified_tree_trains_from_the_start(tree, model, request, monkeypatch):
    from utils import quick_start as quick

    if (request.node.callspec.params["tree"], model) == ("MMREC", "PGL"):
        pytest.importorskip("sparsesvd", reason="MMRec's PGL asks for sparsesvd")
    trainers = []
    kind = quick.get_trainer()

    def get_trainer():
        def build(config, module, *rest):
            trainers.append(kind(config, module, *rest))
            trainers[0].begun = [table.parameter.clone() for table in found]
            return trainers[0]

        return build

    def record_tables(*args):
        found[:] = find_tables(*args)
        return found

    found = []
    monkeypatch.setattr(quick, "get_trainer", get_trainer)
    monkeypatch.setattr("sgurinit.integrations.mmrec.find_tables", record_tables)
    # One of all settings that the tree would search; GRCN's learning rates begin with 1.
    monkeypatch.setattr(quick, "product", lambda *lists: [tuple(map(min, lists))])
    settings = {
        "data_path": f"{tree}/", "inter_file_name": "toy.inter", "USER_ID_FIELD": "userID",
        "ITEM_ID_FIELD": "itemID", "vision_feature_file": "image_feat.npy",
        "text_feature_file": "text_feat.npy", "user_graph_dict_file": "user_graph.npy",
        "use_gpu": False, "epochs": 2, "enable_visualization": False,
    }  # fmt: skip
    with patch_quick_start() as reports:
        quick.quick_start(model, "toy", settings, save_model=False)
    expected = TREES[request.node.callspec.params["tree"]][model]
    assert {report.table: (report.space, report.modality) for report in reports} == expected
    (trainer,) = trainers
    for report, begun, table in zip(reports, trainer.begun, found, strict=True):
        assert report.norm_after > 0
        assert float(begun.norm(dim=1).mean()) == pytest.approx(report.norm_after, rel=1e-4)
        moved = functional.cosine_similarity(table.parameter, begun).mean()
        assert 0.8 < float(moved) <= 1.0001  # two epochs from there, not from elsewhere
    assert 0 < trainer.best_test_upon_valid["recall@20"] <= 1


@pytest.mark.parametrize("tree", sorted(TREES), indirect=True)
def test_a_start_is_fitted_on_the_checkouts_own_folder(tree, data):
    start = fit_start({"data_path": f"{tree}/", "dataset": "toy"})
    ours = SGURInit(random_state=0).fit(load_dataset(f"{tree}/toy")).start_
    np.testing.assert_array_equal(start.joint(8).users, ours.joint(8).users)
    assert start.n_users == data.n_users
