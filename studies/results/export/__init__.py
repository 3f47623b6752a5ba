"""Exports of a study for other programs."""
