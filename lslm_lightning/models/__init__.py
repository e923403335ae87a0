"""Neural networks, torch only: backbones from vectors to vectors, and what stands between them and
words.
"""
