"""What a study found, for other programs."""
