"""What Caviar keeps in PostgreSQL. Knows no study definition and no network."""
