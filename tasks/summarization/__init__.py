"""Summarization: a shorter text that says the same."""
