"""Run directories, configs and expectations that the last release wrote; `make.py` says how."""
