"""Training data made from corpora: batching, packing, streams of documents, prepared token ids."""
