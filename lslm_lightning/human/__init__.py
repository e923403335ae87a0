"""Human evaluation: blinded sheets for annotators, and scores, agreement and tests of what comes
back.
"""
