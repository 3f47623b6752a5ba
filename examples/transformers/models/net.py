"""A tiny transformer with random weights."""

from transformers import BertConfig, BertForSequenceClassification


def classifier(hidden: int, layers: int) -> BertForSequenceClassification:
    """Return a classifier of sequences of 12 tokens."""
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=8, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=2,
            intermediate_size=2 * hidden, max_position_embeddings=12, num_labels=2,
        )
    )  # fmt: skip
