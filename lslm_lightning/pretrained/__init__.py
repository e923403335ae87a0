"""Networks of Hugging Face's `transformers` behind the contract of backbones."""
