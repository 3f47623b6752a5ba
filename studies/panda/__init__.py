"""Panda: one model that is babysat for days. Look at its curve, nudge a hyperparameter, go back when it got worse."""
