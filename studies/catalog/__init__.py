"""Studies that are ready to run: one file each, with a `STUDY` in it."""
