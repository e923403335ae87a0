"""Speech recognition: what is said in a recording, in words."""
