"""The classifiers of this project."""
