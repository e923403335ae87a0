"""Repair of sound files whose headers state wrong or missing lengths, so that decoders can read
them.

The length of the chunk of samples is decisive. The stated size of the whole file is often wrong,
because a program wrote to a pipe, edited tags or omitted a pad byte; no sample is missing then.
"""

import math
import re
from typing import Literal, NamedTuple

STREAMED = 0x7FFFF000  # 32-bit sizes from here on are placeholders of files written to a pipe


class TruncatedError(Exception):
    """A file has fewer samples than its header states; the message gives the sizes in bytes."""


class Contents(NamedTuple):
    """Bytes of a sound file that a decoder can read to the end."""

    data: bytes
    is_exact: bool = True  # whether fewer frames than the header states mean that some are missing
    n_added: int = 0  # frames of silence at the start that the file does not have


class SoundLayout(NamedTuple):
    """Layout of the chunks in a container format; each chunk has an id, a size, contents and
    padding.
    """

    start: int  # offset of the first chunk
    n_id: int  # bytes
    n_size: int  # bytes
    order: Literal["little", "big"]
    align: int  # chunks begin at multiples of it, counted from the start of their contents
    counts_header: bool  # the size includes id and size
    samples: bytes  # beginning of the id of the chunk with the samples


RIFF = SoundLayout(12, 4, 4, "little", 2, False, b"data")
RIFX = RIFF._replace(order="big")
AIFF = SoundLayout(12, 4, 4, "big", 2, False, b"SSND")
CAF = SoundLayout(8, 4, 8, "big", 1, False, b"data")
WAVE64 = SoundLayout(40, 16, 8, "little", 8, True, b"data")
LAYOUTS = {
    b"RIFF": RIFF,
    b"RF64": RIFF,
    b"RIFX": RIFX,
    b"FORM": AIFF,
    b"caff": CAF,
    b"riff": WAVE64,
}


class Chunk(NamedTuple):
    """Header of a chunk; offsets and sizes are in bytes."""

    name: bytes
    start: int  # of the contents
    size: int  # as stated


def read_chunks(data: bytes, layout: SoundLayout) -> list[Chunk]:
    """Return the chunks up to and including the chunk of samples, or all chunks if it is
    missing.
    """
    chunks = []
    at = layout.start
    n_header = layout.n_id + layout.n_size
    while at + n_header <= len(data):
        size = int.from_bytes(data[at + layout.n_id : at + n_header], layout.order)
        size -= n_header * layout.counts_header
        chunk = Chunk(data[at : at + layout.n_id], at + n_header, size)
        chunks.append(chunk)
        if chunk.name.startswith(layout.samples) or size < 0:
            break
        end = chunk.start + size
        at = end + -size % layout.align
        if is_name(data[end : end + 4]) and not is_name(data[at : at + 4]):
            at = end  # a writer that left out the padding
    return chunks


def is_name(data: bytes) -> bool:
    """Return whether four bytes could be the id of a chunk."""
    return len(data) == 4 and data[:1].isalnum() and data.isascii() and data.decode().isprintable()


def repaired(data: bytes) -> Contents:
    """Return the bytes of a sound file with correct lengths in its header.

    Raises:
        TruncatedError: some samples are missing.
    """
    if layout := LAYOUTS.get(data[:4]):
        return Contents(_chunked(data, layout))
    if data[:4] == b"OggS":
        check_pages(data)
    elif data[:4] == b".snd":  # Sun, NeXT
        size = int.from_bytes(data[8:12], "big")
        require(data, int.from_bytes(data[4:8], "big") + (0 if size >= STREAMED else size))
    elif data[:4] == b"fLaC":
        return Contents(data, int.from_bytes(data[18:26], "big") & (1 << 36) - 1 > 0)
    elif data[:7] == b"NIST_1A":
        require(data, stated_by_nist(data))
    elif (start := mpeg_start(data)) is not None:
        return _mpeg(data, start)
    return Contents(data)


def require(data: bytes, n_byte: int) -> None:
    """Raise TruncatedError if `data` has fewer than `n_byte` bytes."""
    if len(data) < n_byte:
        raise TruncatedError(f"{len(data):,} of {n_byte:,} bytes are there")


def _chunked(data: bytes, layout: SoundLayout) -> bytes:
    """Return a file of chunks with correct lengths.

    A RIFF file is rewritten with its format and samples only; other chunks are dropped.
    """
    chunks = read_chunks(data, layout)
    if not chunks or not chunks[-1].name.startswith(layout.samples):
        size = int.from_bytes(data[4:8], layout.order)
        require(data, 8 + size if layout.n_size == 4 and size < STREAMED else 0)
        return data
    samples = chunks[-1]
    by_name = {chunk.name: chunk for chunk in chunks}
    size = samples.size
    if data[:4] == b"RF64" and b"ds64" in by_name and size == 0xFFFFFFFF:
        at = by_name[b"ds64"].start + 8
        size = int.from_bytes(data[at : at + 8], "little")
    rest = len(data) - samples.start
    streamed = size >= STREAMED if layout.n_size == 4 else size > 1 << 62
    if streamed or (size == 0 and not holds_chunks(data, samples.start, layout)):
        size = rest
    require(data, samples.start + size)
    if layout is not RIFF or b"fmt " not in by_name:
        return data
    kept = [by_name[name] for name in (b"fmt ", b"fact") if name in by_name]
    parts = [(chunk.name, data[chunk.start : chunk.start + chunk.size]) for chunk in kept]
    parts.append((b"data", data[samples.start : samples.start + size]))
    body = b""
    for name, part in parts:
        body += name + len(part).to_bytes(4, "little") + part + bytes(len(part) % 2)
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WAVE" + body


def holds_chunks(data: bytes, start: int, layout: SoundLayout) -> bool:
    """Return whether the data from offset `start` on consist of complete chunks only."""
    rest = read_chunks(data, layout._replace(start=start, samples=b"\0"))
    end = rest[-1].start + rest[-1].size if rest else start
    return all(is_name(chunk.name[:4]) for chunk in rest) and end <= len(data) < end + 8


def check_pages(data: bytes) -> None:
    """Raise TruncatedError if the last page of an Ogg file is incomplete."""
    last = data.rfind(b"OggS")
    n_segment = int.from_bytes(data[last + 26 : last + 27], "big")
    sizes = data[last + 27 : last + 27 + n_segment]
    require(data, last + 27 + n_segment + sum(sizes))


def stated_by_nist(data: bytes) -> int:
    """Return the size in bytes that the header of a NIST SPHERE file implies; 0 if the header does
    not state it or the samples are compressed.
    """
    header = data[:1024].decode("latin-1")
    stated = dict(re.findall(r"^(\w+) -\w+ (\S+)", header, re.MULTILINE))
    try:
        counts = [int(stated[name]) for name in ("sample_count", "channel_count", "sample_n_bytes")]
        n_header = int(header.split()[1])
    except (KeyError, ValueError, IndexError):
        return 0
    compressed = "," in stated.get("sample_coding", "")
    return 0 if compressed else n_header + math.prod(counts)


# MPEG audio, layer III

KBPS = {  # by whether it is MPEG-1 (else MPEG-2 and 2.5), of bit rate indices from 1 on
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES_HZ = {  # by version bits
    3: (44100, 48000, 32000),
    2: (22050, 24000, 16000),
    0: (11025, 12000, 8000),
}
DECODER_DELAY = 529  # samples, of layer III
SHORTEST_FRAME = 24  # bytes: 8 kbit/s at 24 kHz


class MpegFrame(NamedTuple):
    """Properties of an MPEG audio frame, from its header."""

    stream: bytes  # equal for all frames of one file: version, layer, rate
    n_byte: int
    tag: int  # offset in the frame of a Xing, Info or VBRI header, if it has one


def mpeg_frame(header: bytes) -> MpegFrame | None:
    """Return the properties of an MPEG audio frame from its first four bytes; None if they are not
    a frame header.
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    rate_index = header[2] >> 2 & 3
    index = header[2] >> 4
    if version not in RATES_HZ or rate_index == 3 or index in (0, 15):
        return None
    first = version == 3
    bits = (144_000 if first else 72_000) * KBPS[first][index - 1]
    n_byte = bits // RATES_HZ[version][rate_index] + (header[2] >> 1 & 1)
    mono = header[3] >> 6 == 3
    side_information = (17 if mono else 32) if first else (9 if mono else 17)
    stream = bytes([header[1] & 0xFE, header[2] & 0x0C])
    return MpegFrame(stream, n_byte, 4 + side_information)


def mpeg_start(data: bytes) -> int | None:
    """Return the offset of the first MPEG frame, after ID3 tags; None unless two consecutive frames
    are found.
    """
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) > at + 10:
        size = 0
        for byte in data[at + 6 : at + 10]:
            size = size << 7 | byte & 0x7F
        at += 10 + size + (10 if data[at + 5] & 0x10 else 0)
    first = mpeg_frame(data[at : at + 4])
    second = first and mpeg_frame(data[at + first.n_byte :][:4])
    return at if first and second and first.stream == second.stream else None


def _mpeg(data: bytes, start: int) -> Contents:
    """Return an MP3 file with a header that states its number of frames or an upper bound on it.

    Without such a header, decoders estimate the number from the size of the first frame and stop
    there. With it, they drop the decoder delay at the start, so a silent frame is prepended.

    Args:
        start: offset of the first frame.
    """
    first = mpeg_frame(data[start : start + 4])
    assert first is not None  # `start` is that of a frame
    if data[start + first.tag :][:4] in (b"Xing", b"Info") or data[start + 36 :][:4] == b"VBRI":
        return Contents(data)
    at = start
    while (frame := mpeg_frame(data[at : at + 4])) and frame.stream == first.stream:
        at += frame.n_byte
    require(data, at)
    given = data[start : start + 4]
    room = 0x90 | given[2] & 0x0D  # a bit rate whose frames have room for the tag
    header = bytes([given[0], given[1] | 1, room, given[3]])
    silent = mpeg_frame(header)
    assert silent is not None
    silence = header.ljust(silent.n_byte, b"\0")
    bound = len(data) // SHORTEST_FRAME + 2
    tag = b"Xing" + (1).to_bytes(4, "big") + bound.to_bytes(4, "big")
    stating = silence[: first.tag] + tag + silence[first.tag + len(tag) :]
    n_added = (1152 if first.stream[0] & 0x18 == 0x18 else 576) - DECODER_DELAY
    return Contents(stating + silence + data[start:], False, n_added)
