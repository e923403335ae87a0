"""Text processing: tokenizers, normalization, sentence splitting, languages and scripts."""
