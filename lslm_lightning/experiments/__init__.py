"""Experiments as Python functions: training, evaluation, comparison, sweeps; commands call
these.
"""
