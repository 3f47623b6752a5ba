"""Hyperparameter search for deep networks, tier by tier, on a shared PostgreSQL."""
