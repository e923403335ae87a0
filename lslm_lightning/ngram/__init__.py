"""Statistical n-gram models: counting, modified Kneser-Ney, storage. Words are numbers here, and
numpy is the only dependency.
"""
