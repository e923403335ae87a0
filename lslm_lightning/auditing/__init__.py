"""Audit of a trained run: what a person must know before the model is used or published."""
