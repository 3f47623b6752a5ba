"""Callbacks and adapters for frameworks that have the training loop: Lightning, Transformers, Accelerate."""
