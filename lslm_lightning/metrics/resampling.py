"""Numbers of times that examples are resampled. A module of its own, so that commands can show them
before anything slow is imported.
"""

INTERVAL_RESAMPLES = 1000  # for an interval of a score
TEST_RESAMPLES = 10_000  # for the p-values of paired tests, which resolve 1/10,000
