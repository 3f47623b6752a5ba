"""Caviar's own pages, live: the list of studies, and each study with its workers, running curves and events."""
