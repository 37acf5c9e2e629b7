"""Trace files as text: unpacked, decoded, and refused by name where that cannot be done."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ctxsim.workload.readers.faults import refuse

GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, unpacked first where it is gzip (by its first bytes or by the suffix ``.gz``).

    Raises SpecError where the file is missing, a folder, unreadable, empty, cut off, corrupt or not text.
    """
    packed = read_bytes(path)
    data = _unpacked(path, packed) if packed.startswith(GZIP_MAGIC) or path.suffix == ".gz" else packed
    if not data.strip():
        refuse(path, "expected a trace with at least one request, found an empty file")
    return _decoded(path, data)


def read_bytes(path: Path) -> bytes:
    """The bytes of the file; raises SpecError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        refuse(path, "expected a trace file, found nothing at this path; correct workload.trace")
    except IsADirectoryError:
        refuse(path, "expected a trace file, found a folder; name the file in it")
    except OSError as error:
        refuse(path, f"expected a trace file that can be read, found: {error.strerror or error}")


def _unpacked(path: Path, packed: bytes) -> bytes:
    try:
        return gzip.decompress(packed)
    except EOFError:
        refuse(path, f"expected a whole gzip file, found one cut off after {len(packed):,} bytes; fetch it again")
    except (gzip.BadGzipFile, zlib.error) as error:
        refuse(path, f"expected a gzip file, found data that does not unpack ({error}); fetch it again")


def _decoded(path: Path, data: bytes) -> str:
    if data.startswith(PARQUET_MAGIC):
        refuse(path, 'expected a text file, found Parquet data; did you mean format "agentic"?')
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(path, f"expected UTF-8 text, found binary data at byte {error.start:,}; name the trace itself")
    if "\0" in text:
        refuse(path, f"expected UTF-8 text, found binary data at byte {data.index(0):,}; name the trace itself")
    return text
