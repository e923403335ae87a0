"""Check of the wheel in a fresh environment: `python -m tests.wheel`, or `make wheel`."""
