"""What is searched, and how a search is run: the only place where models and storage meet."""
