"""Networks and their training. Knows no search, no trial and no database."""
