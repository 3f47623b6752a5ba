"""The networks of this project."""
