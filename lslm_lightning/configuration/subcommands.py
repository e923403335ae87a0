"""Commands that LightningCLI parses as its subcommands, and the batches that each reads."""

LOADERS = {  # of batches, by subcommand
    "run": ("train", "val", "test"),
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}
TRAINING = ("run", "fit")
TRAINED = ("validate", "test", "predict")  # of a model that a checkpoint has


def needed_loaders(subcommand: str) -> tuple[str, ...]:
    """Return the loaders that must have a batch; a training may leave validation out."""
    loaders = LOADERS[subcommand]
    return tuple(name for name in loaders if name != "val" or loaders == ("val",))


def split_of(loader: str) -> str:
    """Return the split of the corpus that a loader has batches of."""
    return "test" if loader == "predict" else loader
