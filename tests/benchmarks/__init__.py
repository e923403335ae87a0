"""Quality and speed against thresholds and peers: `python -m tests.benchmarks --list`. Not part of
the test suite.
"""
