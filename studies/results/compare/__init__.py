"""Compare studies: their best values so far, their winners, what they cost, and how their definitions differ."""
