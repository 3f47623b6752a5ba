"""Does a sequence hold more ones than twos? Transformers' Trainer learns it from generated rows."""

import torch
from caviar.integrations.transformers import TrialCallback  # Caviar
from transformers import Trainer, TrainingArguments

from models.net import classifier


def rows(count, seed):
    tokens = torch.randint(0, 8, (count, 12), generator=torch.Generator().manual_seed(seed))
    labels = ((tokens == 1).sum(1) > (tokens == 2).sum(1)).long()
    return [{"input_ids": each, "labels": label} for each, label in zip(tokens, labels, strict=True)]


def accuracy(predicted):
    return {"accuracy": float((predicted.predictions.argmax(1) == predicted.label_ids).mean())}


def train(trial):
    arguments = TrainingArguments(
        "out", learning_rate=trial["lr"], per_device_train_batch_size=32, per_device_eval_batch_size=256,
        eval_strategy="epoch", logging_strategy="epoch", save_strategy="no", report_to="none", disable_tqdm=True,
        num_train_epochs=trial.last_epoch,  # Caviar
    )  # fmt: skip
    model = classifier(trial["hidden"], trial["layers"])
    parts = {"train_dataset": rows(400, 0), "eval_dataset": rows(200, 1), "compute_metrics": accuracy}
    trainer = Trainer(model, arguments, callbacks=[callback := TrialCallback(trial)], **parts)  # Caviar
    trainer.train(resume_from_checkpoint=callback.checkpoint)  # Caviar
