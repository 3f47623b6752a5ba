"""Caviar as a library: one function for each command. `import caviar` gives them all; see src/caviar/__init__.py."""
