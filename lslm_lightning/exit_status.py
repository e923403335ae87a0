"""Exit statuses of commands."""

DONE = 0
FAILED = 1
WRONG_ARGUMENTS = 2
