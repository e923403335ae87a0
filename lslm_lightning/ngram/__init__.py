"""Statistical n-gram models: counting, modified Kneser-Ney, storage. Words are numbers here; numpy
is all it takes.
"""
