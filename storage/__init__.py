"""Storage in PostgreSQL: studies, slots, trials, checkpoints and events. Knows no study definition and no network."""
