"""Parser for Thrift's compact protocol, the encoding of Parquet footers and page headers.

Footers are checked with it before Arrow reads a file, because Arrow crashes the process on some
inconsistent footers.
"""

import struct
from collections.abc import Iterator

from lslm_lightning.types import Json

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class Compact:
    """Parser of structures in Thrift's compact protocol, from the beginning of `data`.

    A structure becomes a dict from field number to value.

    Raises (all methods):
        ValueError: the bytes are not such a structure, or end too soon.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fields(self) -> Iterator[tuple[int, Json]]:
        """Yield (field number, value) for each field of a structure as it is read."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            yield number, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind)

    def _value(self, kind: int) -> Json:
        if kind in (TRUE, FALSE, BYTE):  # in a list, a byte
            return self._byte()
        if kind in (I16, I32, I64):
            return self._integer()
        if kind == DOUBLE:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind in (LIST, SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15) for _ in range(size)]
        if kind == MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            return [(self._value(kinds >> 4), self._value(kinds & 15)) for _ in range(size)]
        if kind == STRUCT:
            return dict(self.fields())
        raise ValueError(f"type {kind} at byte {self.at} is none of Thrift's")

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError(f"a number at byte {self.at} has no end")

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, n: int) -> bytes:
        taken = self.data[self.at : self.at + n]
        if len(taken) < n:
            raise ValueError(
                f"it ends at byte {len(self.data)}, before {n:,} bytes that it says follow"
            )
        self.at += n
        return taken
