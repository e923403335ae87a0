"""Statistical n-gram models: counting, modified Kneser-Ney estimation and storage. Words are
integer ids in this package, and numpy is its only dependency.
"""
