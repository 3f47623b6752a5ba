"""Caviar as a library: one function for each command. `import caviar` gives them all.

Three arguments mean the same everywhere: `study` names a study in the database, which raises StudyNotFound if it is not
there; `database` is an address or an engine, as for `connect`; `data_dir` is the folder of the data sets, as for
`data_folder`. Errors of the connection are those of `connect`.
"""
