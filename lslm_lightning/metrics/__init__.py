"""Metrics, each a thin adapter over the library that defines the formula, and significance
tests.
"""
