"""Metrics, each a thin adapter over the library that defines its formula, and significance
tests.
"""
