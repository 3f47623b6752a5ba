"""Networks, data sets and training. Knows no search, no trial and no database."""
