"""Decoding of batches, encoding of scores, and the errors of both."""

import dataclasses

import numpy as np

from . import plugin_pb2 as pb

MAX_DATA = 1 << 20  # bytes of a matrix in one chunk
MAX_MESSAGE = 128 << 20
MAX_ROWS = 1 << 20
MAX_MATRIX = 1 << 30

_DTYPES = {
    "float32": (pb.VALUE_TYPE_FLOAT32, np.dtype("<f4")),
    "float64": (pb.VALUE_TYPE_FLOAT64, np.dtype("<f8")),
    "int64": (pb.VALUE_TYPE_INT64, np.dtype("<i8")),
    "bool": (pb.VALUE_TYPE_BOOL, np.dtype("bool")),
    "string": (pb.VALUE_TYPE_STRING, None),
}
_NUMERIC = ("float32", "float64", "int64")


class Malformed(Exception):
    """A message that violates the protocol."""


class InvalidRows(Exception):
    """Raise this if the caller must change the rows as a whole."""


class Unavailable(Exception):
    """Raise this to ask the host to repeat the call."""


class RowErrors(Exception):
    """Raise this if only some rows could be scored.

    errors: {row: reason} or {row: (feature, reason)}. scores: one for each row; the
    host ignores those of failed rows.
    """

    def __init__(self, errors, scores=None):
        super().__init__(f"{len(errors)} rows failed")
        self.errors = errors
        self.scores = scores

    def messages(self, rows):
        out = []
        for row, reason in sorted(self.errors.items()):
            if not 0 <= row < rows:
                raise ValueError(f"row {row} is not one of the {rows} rows")
            field, reason = reason if isinstance(reason, tuple) else ("", reason)
            out.append(pb.RowError(row=row, field=field, reason=str(reason)))
        return out


@dataclasses.dataclass(frozen=True)
class Feature:
    """One input column. dtype is float32, float64, int64, string or bool."""

    name: str
    dtype: str


class Batch:
    """Rows of the model's features.

    matrix is a read-only array of rows x features if all features have one numeric
    dtype, else None. columns holds one array per feature, by name, in order. A missing
    number is NaN, a missing string None. trace has the W3C trace context of the request,
    traceparent and tracestate; it is empty if the request belongs to no trace.
    """

    def __init__(self, rows, features, matrix=None, columns=None):
        self.trace = {}
        self.rows = rows
        self.features = features
        self.matrix = matrix
        self._columns = columns

    def __len__(self):
        return self.rows

    @property
    def columns(self):
        if self._columns is None:
            self._columns = {f.name: self.matrix[:, j] for j, f in enumerate(self.features)}
        return self._columns

    def frame(self):
        """Return the rows as a pandas DataFrame. pandas must be installed."""
        import pandas

        return pandas.DataFrame(self.columns)

    def array(self):
        """Return the rows as scikit-learn takes them: the matrix, or a DataFrame."""
        return self.matrix if self.matrix is not None else self.frame()


def dense(features):
    """Return the one numeric dtype of all features, or None."""
    kinds = {f.dtype for f in features}
    return kinds.pop() if len(kinds) == 1 and kinds <= set(_NUMERIC) else None


def receive(features, chunks):
    """Return the batch in a stream of chunks."""
    chunks = iter(chunks)
    first = next(chunks, None)
    if first is None:
        raise Malformed("the stream is empty")
    if first.rows > MAX_ROWS:
        raise Malformed(f"{first.rows} rows exceed the limit of {MAX_ROWS}")
    if first.HasField("matrix"):
        return _matrix(features, first, chunks)
    if dense(features) or len(first.columns) != len(features):
        raise Malformed(f"{len(first.columns)} columns for {len(features)} features")
    columns = {f.name: _column(f, c, first.rows) for f, c in zip(features, first.columns)}
    if next(chunks, None) is not None:
        raise Malformed("data follows the columns")
    return Batch(first.rows, features, columns=columns)


def _matrix(features, first, chunks):
    kind = dense(features)
    if not kind or first.matrix.dtype != _DTYPES[kind][0] or first.matrix.cols != len(features):
        raise Malformed(f"a matrix of {first.matrix.cols} columns for {len(features)} features")
    dtype = _DTYPES[kind][1]
    want = first.rows * len(features) * dtype.itemsize
    if want > MAX_MATRIX:
        raise Malformed(f"a matrix of {want} bytes exceeds the limit of {MAX_MATRIX}")
    parts, have = [], 0
    for chunk in chunks:
        have += len(chunk.data)
        if len(chunk.data) > MAX_DATA or have > want:
            raise Malformed(f"a chunk of {len(chunk.data)} bytes makes {have} of {want} bytes")
        parts.append(chunk.data)
    if have != want:
        raise Malformed(f"the stream ended after {have} of {want} bytes")
    matrix = np.frombuffer(b"".join(parts), dtype=dtype).reshape(first.rows, len(features))
    return Batch(first.rows, features, matrix=matrix)


def _column(feature, column, rows):
    code, dtype = _DTYPES[feature.dtype]
    values = 0 if dtype is None else rows * dtype.itemsize
    texts = rows if dtype is None else 0
    nulls = len(column.nulls)
    if column.dtype != code or len(column.values) != values or len(column.strings) != texts or nulls not in (0, (rows + 7) // 8):
        raise Malformed(f"the column of feature {feature.name!r} does not have {rows} values of type {feature.dtype}")
    if dtype is None:
        out = np.array(column.strings, dtype=object)
    elif feature.dtype == "bool":
        out = np.frombuffer(column.values, dtype=np.uint8) != 0
    else:
        out = np.frombuffer(column.values, dtype=dtype)
    if not nulls:
        return out
    missing = np.unpackbits(np.frombuffer(column.nulls, dtype=np.uint8), bitorder="little")[:rows].astype(bool)
    if missing.any() and dtype is None:
        out[missing] = None
    elif missing.any() and out.dtype.kind == "f":
        out = out.copy()
        out[missing] = np.nan
    return out


def scores(values, rows, width=1):
    """Return width numbers per row as little-endian float64."""
    out = np.ascontiguousarray(values, dtype="<f8")
    if out.size != rows * width:
        each = "one score" if width == 1 else f"{width} numbers, the base value first,"
        raise ValueError(f"the detector returned {out.size} numbers for {rows} rows: it must return {each} for each row")
    return out.tobytes()


