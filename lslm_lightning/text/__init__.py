"""Text before and after the models: tokenizers, normalization, sentences, Chinese."""
