"""Measurements: against other ways to do the same, of the fit, of growth and of precision."""
