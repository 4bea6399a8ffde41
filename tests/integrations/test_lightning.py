"""The Lightning callback fills a module's tables once and records how they change."""

from __future__ import annotations

import lightning
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sgurinit.errors import InputError
from sgurinit.integrations.lightning import StartCallback


class Module(lightning.LightningModule):
    def __init__(self, n_users, n_items):
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, 8), nn.Embedding(n_items, 8)

    def training_step(self, batch):
        users, items = batch
        return -(self.users(users) * self.items(items)).sum(1).sigmoid().log().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def fit(module, data, callback, epochs=2, ckpt_path=None, **settings):
    pairs = TensorDataset(torch.tensor(data.train.users), torch.tensor(data.train.items))
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback], **settings,
    )  # fmt: skip
    trainer.fit(module, DataLoader(pairs, batch_size=256), ckpt_path=ckpt_path)
    return trainer


def test_a_fit_begins_with_the_start_and_is_recorded(data, start):
    torch.manual_seed(0)
    callback = StartCallback(start)
    trainer = fit(Module(data.n_users, data.n_items), data, callback)
    (report,) = callback.reports
    assert report.table == "users.weight"
    first, *epochs = callback.history
    assert len(epochs) == 2
    assert first["start/users.weight/user_norm"] == pytest.approx(report.norm_after, rel=1e-5)
    assert first["start/users.weight/moved"] == pytest.approx(1)
    assert epochs[0]["start/users.weight/moved"] < 1
    names = {"user_norm", "moved", "item_norm", "alignment", "centroid_distance"}
    assert set(first) == {f"start/users.weight/{name}" for name in names}
    # Users begin near their own items; random rows do not.
    assert first["start/users.weight/alignment"] > 0.3
    for name, value in epochs[-1].items():
        assert float(trainer.logged_metrics[name]) == pytest.approx(value)


def test_a_second_fit_and_a_resumed_one_keep_their_weights(data, start, tmp_path):
    module, callback = Module(data.n_users, data.n_items), StartCallback(start)
    trainer = fit(module, data, callback, epochs=1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    trained = module.users.weight.detach().clone()
    fit(module, data, callback, epochs=0)
    assert torch.equal(trained, module.users.weight)
    again = Module(data.n_users, data.n_items)
    late = StartCallback(start)
    fit(again, data, late, epochs=1, ckpt_path=tmp_path / "one.ckpt")
    assert torch.equal(trained, again.users.weight)
    assert late.reports == ()


def test_a_module_without_such_a_table_is_an_error(data, start):
    with pytest.raises(InputError, match="no table has 90 rows"):
        fit(Module(7, data.n_items), data, StartCallback(start))
