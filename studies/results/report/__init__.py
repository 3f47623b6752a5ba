"""What a study found, for people who look before they read: facts, the answers they give, figures, and one page."""
