"""Metrics: one adapter a file over the library that owns the formula, and significance."""
