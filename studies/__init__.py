"""Hyperparameter searches, their workers and their results: the only part where models and storage meet."""
