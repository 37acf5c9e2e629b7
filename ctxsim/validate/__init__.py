"""Predictions against measurements: how far off they are, by what, and whether the stated bands hold."""
