"""Recognises files that are not UTF-8 text, to say in the error what they are and how to convert them."""

from ssl_jax.errors import UserError

_UTF_32 = "UTF-32 text, not UTF-8: convert it with iconv -f UTF-32 -t UTF-8"
_UTF_16 = "UTF-16 text, not UTF-8: convert it with iconv -f UTF-16 -t UTF-8"
_BEGINNINGS = {
    b"\xff\xfe\x00\x00": _UTF_32,  # before UTF-16, whose mark it begins with
    b"\x00\x00\xfe\xff": _UTF_32,
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"\x1f\x8b": "compressed with gzip: decompress it with gunzip",
    **{b"BZh%d1AY&SY" % level: "compressed with bzip2: decompress it with bunzip2" for level in range(1, 10)},
    b"\xfd7zXZ\x00": "compressed with xz: decompress it with unxz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it with unzstd",
    b"PK\x03\x04": "a zip archive (as are .docx and .xlsx): extract its text with unzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: extract its text with 7z x",
    b"%PDF-": "a PDF: extract its text with pdftotext",
    b"PAR1\x15": "a Parquet file: write its text into a text file",
    b"SQLite format 3\x00": "an SQLite database: write its text into a text file",
}
_EXAMINED = 4096
"""Bytes in which the zeros of UTF-16 without a byte order mark are counted."""


def require_utf8(name: str, beginning: bytes) -> None:
    """Checks the first bytes of a text file for other formats and encodings.

    Args:
      name: of the file, for the message.
      beginning: its first bytes, some thousand if it has as many.

    Raises:
      UserError: it is compressed, an archive, UTF-16, UTF-32 or binary.
    """
    for signature, found in _BEGINNINGS.items():
        if beginning.startswith(signature):
            raise UserError(f"data source {name!r}: is {found}.")
    examined = beginning[:_EXAMINED]
    zeros = examined.count(b"\0")
    if zeros:
        raise UserError(f"data source {name!r}: is {_with_zeros(examined, zeros)}.")


def not_utf8(name: str, offset: int, reason: str) -> UserError:
    """The error for a file that begins like UTF-8 and has another byte at this offset."""
    return UserError(
        f"data source {name!r}: the byte at offset {offset} is not UTF-8 ({reason}). Convert the file, for instance "
        "with iconv -f ISO-8859-1 -t UTF-8."
    )


def _with_zeros(data: bytes, zeros: int) -> str:
    """What data with NUL bytes is. Of Latin letters in UTF-16, every other byte is 0; in UTF-32, three of four."""
    odd = data[1::2].count(b"\0")
    order = "LE" if odd > zeros / 2 else "BE"
    if zeros > 0.7 * len(data) and zeros < len(data):
        return f"UTF-32 text, not UTF-8: convert it with iconv -f UTF-32{order} -t UTF-8"
    if zeros > 0.25 * len(data) and max(odd, zeros - odd) > 0.9 * zeros:
        return f"UTF-16 text, not UTF-8: convert it with iconv -f UTF-16{order} -t UTF-8"
    return f"not text: the byte at offset {data.index(0)} is 0, which text does not have; it is binary or damaged"
