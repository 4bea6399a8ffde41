"""The callback for Hugging Face's Trainer fills tables once and records how they change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("accelerate", reason="accelerate is not installed; `make frameworks` has it")
from transformers import Trainer, TrainingArguments

from sgurinit.integrations.transformers import StartTrainerCallback


class Matching(nn.Module):
    def __init__(self, n_users, n_items):
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, 8), nn.Embedding(n_items, 8)

    def forward(self, user, item):
        scores = self.users(user) @ self.items.weight.T
        return {"loss": nn.functional.cross_entropy(scores, item)}


def train_model(model, data, callback, tmp_path, epochs=2, resume=None):
    rows = [
        {"user": int(u), "item": int(i)}
        for u, i in zip(data.train.users, data.train.items, strict=True)
    ]
    settings = TrainingArguments(
        str(tmp_path), num_train_epochs=epochs, per_device_train_batch_size=256, use_cpu=True,
        learning_rate=0.01,
        report_to=[], save_strategy="epoch", logging_strategy="no", disable_tqdm=True,
        remove_unused_columns=False,
    )  # fmt: skip
    trainer = Trainer(model, settings, train_dataset=rows, callbacks=[callback])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_training_begins_with_the_start_and_is_recorded(data, start, tmp_path):
    torch.manual_seed(0)
    model, callback = Matching(data.n_users, data.n_items), StartTrainerCallback(start)
    trainer = train_model(model, data, callback, tmp_path)
    (report,) = callback.reports
    first, *epochs = callback.history
    assert first["start/users.weight/user_norm"] == pytest.approx(report.norm_after, rel=1e-5)
    assert first["start/users.weight/alignment"] > 0.3
    assert [0.9 < row["start/users.weight/moved"] < 1 for row in epochs] == [True, True]
    logged = [row for row in trainer.state.log_history if "start/users.weight/moved" in row]
    assert [row["epoch"] for row in logged] == [1, 2]
    assert epochs[-1].items() <= logged[-1].items()


def test_resumed_training_keeps_its_weights(data, start, tmp_path):
    model, callback = Matching(data.n_users, data.n_items), StartTrainerCallback(start)
    train_model(model, data, callback, tmp_path, epochs=1)
    weights = model.users.weight.detach().clone()
    (checkpoint,) = tmp_path.glob("checkpoint-*")
    again, late = Matching(data.n_users, data.n_items), StartTrainerCallback(start)
    train_model(again, data, late, tmp_path, epochs=1, resume=str(checkpoint))
    assert late.reports == ()
    assert torch.equal(weights, again.users.weight)
