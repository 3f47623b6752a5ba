"""Try a study's training before it is searched: whether it resumes exactly, what breaks it, and what it costs."""
