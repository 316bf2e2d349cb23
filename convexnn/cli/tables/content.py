"""The text of a table's file: unpacked, and in UTF-8; what is no text is refused with what to do."""

from __future__ import annotations

from pathlib import Path

from convexnn.files import unpacked

# Bytes that a packed file may hold, where it is not larger than that itself.
MOST_BYTES = 1 << 29

# Bytes by which UTF-16 without a mark is told: every other one of Latin text is zero.
SAMPLE = 400

# What a file begins with that is no text, and what to do with it.
_KINDS = {
    b"PK\x03\x04": "is a spreadsheet or an archive; save the table as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet of an old kind; save the table as CSV (UTF-8)",
    b"PAR1": "is Parquet by another name; let its name end in .parquet",
    b"\x1f\x8b": "is packed by gzip twice, or comes packed through a pipe; unpack it first",
    b"BZh": "is packed by bzip2; unpack it, or pack it by gzip",
    b"\xfd7zXZ": "is packed by xz; unpack it, or pack it by gzip",
    b"\x28\xb5\x2f\xfd": "is packed by zstd; unpack it, or pack it by gzip",
    b"\x93NUMPY": "is a NumPy array; save the table as CSV",
    b"%PDF": "is a PDF; save the table as CSV",
}

_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")


def table_text(path: Path) -> str:
    """Return the text of a file, without its byte order mark; gzip is unpacked."""
    if path.suffix.casefold() in _SPREADSHEETS:
        raise ValueError(f"data file {path} is a spreadsheet; save the table as CSV (UTF-8)")
    data = _content(path)
    for begin, what in _KINDS.items():
        if data.startswith(begin):
            raise ValueError(f"data file {path} {what}")
    begin = data[:SAMPLE].lstrip().lower()
    if begin.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ValueError(f"data file {path} is a web page or XML; save the table as CSV (UTF-8)")
    if begin.startswith((b"[{", b'{"', b"[[")):
        raise ValueError(f"data file {path} is JSON; save the table as CSV (UTF-8)")
    if _is_utf16(data):
        raise ValueError(f"data file {path} is not UTF-8 text but UTF-16; save it as UTF-8 (Excel: CSV UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"data file {path} is not UTF-8 text: byte {data[error.start]:#04x} in line {line} (Latin-1 or Windows "
            f"text?); save it as UTF-8, as by: iconv -f CP1252 -t UTF-8 {path.name} > new.csv"
        ) from None


def _content(path: Path) -> bytes:
    """Return the bytes of a file; a pipe cannot be looked into first, and is read as it is."""
    if not path.is_file():
        return path.read_bytes()
    content = path.read_bytes()
    return unpacked(content, str(path), max(MOST_BYTES, len(content)))


def _is_utf16(data: bytes) -> bool:
    sample = data[:SAMPLE]
    zeros = max(sample[::2].count(0), sample[1::2].count(0))
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(sample) > 3 and zeros > 0.4 * len(sample))
