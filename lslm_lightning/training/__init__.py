"""Tasks as LightningModules: what they share in training, validation and test."""
