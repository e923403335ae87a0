"""Speech recognition: the transcript of a recording."""
