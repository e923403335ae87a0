"""Sound file readers, acoustic features and feature masking."""

from lslm_lightning.audio.features import deltas, normalized, read_frames
from lslm_lightning.audio.log_mel import LogMel
from lslm_lightning.audio.spec_augment import SpecAugment
from lslm_lightning.audio.waveform import Waveform, read_audio

__all__ = ["LogMel", "SpecAugment", "Waveform", "deltas", "normalized", "read_audio", "read_frames"]
