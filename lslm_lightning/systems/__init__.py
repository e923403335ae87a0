"""Systems under test, one kind a file: anything with a name that can write an answer or give the
probability of one.
"""
