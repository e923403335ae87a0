"""Experiments as Python functions: training, evaluation, comparison and sweeps. The commands call
these functions.
"""
