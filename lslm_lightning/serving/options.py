"""Options of `lslm serve` that set limits, as its help has them."""

OPTIONS = {  # option, and the letter and meaning of its value
    "--max-tokens": ("N", "new tokens of an answer"),
    "--beams": ("N", "hypotheses of a beam search"),
    "--answers": ("N", "answers to a text"),
    "--texts": ("N", "texts of a request"),
    "--characters": ("N", "characters of a request"),
    "--body-mb": ("X", "megabytes of a request"),
    "--sound-mb": ("X", "megabytes of a request with sound"),
    "--requests": ("N", "requests at the same time"),
    "--requests-per-key": ("N", "of these, with the same key"),
    "--queue": ("N", "texts that wait for the models"),
    "--seconds": ("X", "time for the answer to a request"),
    "--rate": ("N", "requests a minute of a key; 0: any"),
}
