"""Trainings of the user's own: a function, an Optuna objective, a command, a group of processes."""
