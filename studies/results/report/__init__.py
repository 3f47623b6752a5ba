"""Reports on a study, for people: its facts, answers to the usual questions, figures, and one HTML page."""
