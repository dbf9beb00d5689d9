"""The built-in ``text`` modality: TF-IDF over the items' words and categories, truncated SVD.

For data sets that have text but no vectors. Computed from item tables alone, never from events. The
SVD has a constant seed, so that equal files give equal vectors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from model.dataset.arrow import compute as pc
from model.dataset.atomic_file import TOKEN, TOKEN_SEQ, AtomicFile, read_atomic_file
from model.dataset.raw_files import files_named
from model.dataset.vector_chunk import VectorChunk
from model.errors import InputError

_SEED = 0
_SVD_ITERATIONS = 7
_SMALLEST_SINGULAR_VALUE = 1e-6
_ROWS_PER_CHUNK = 65_536
# Text may be the only modality, and there must be one.
_REMEDY = (
    "or name a modality of vectors (<name>.NAME.parquet) in its place in "
    "modality_embeddings.modalities, which needs at least one"
)


@dataclass(frozen=True)
class TextVectors:
    """A source of vectors like any file; a row without a known word is null."""

    raw_ids: pa.Array
    vectors: np.ndarray
    path: Path

    @property
    def named_width(self) -> int:
        return self.vectors.shape[1]

    @classmethod
    def fit(cls, root: Path, raw_item_ids: pa.Array, width: int, ngram_max: int) -> "TextVectors":
        """Compute vectors of all items of ``.item``, and of cold ones in ``.candidate``.

        Args:
            root: the data set's folder.
            raw_item_ids: (I,) of the store; their order decides the order of the rows.
            width: of the vectors; less where there are fewer distinct tokens.
            ngram_max: n-grams of up to so many tokens are used.

        Raises:
            InputError: there is no ``.item`` file, it has no token columns, or fewer than two
                tokens occur in two items each.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize

        path = next(iter(files_named(root, "<name>.item")), None)
        if path is None:
            raise InputError(
                f"{root}: modality text needs a file <name>.item with token columns; add it, "
                f"{_REMEDY}"
            )
        documents = _documents(root, path, raw_item_ids)
        vectorizer = TfidfVectorizer(
            token_pattern=r"\S+",
            lowercase=False,
            min_df=2,
            sublinear_tf=True,
            ngram_range=(1, ngram_max),
        )
        try:
            matrix = vectorizer.fit_transform(documents)
        except ValueError:
            raise InputError(
                f"{path}: no token occurs in two items, so modality text has nothing to go by; "
                f"add words, {_REMEDY}"
            ) from None
        if matrix.shape[1] == 1:
            raise InputError(
                f"{path}: {vectorizer.get_feature_names_out()[0]!r} is the only token that occurs "
                f"in two items, so modality text cannot tell items apart; add words, {_REMEDY}"
            )
        components = min(width, *matrix.shape)
        svd = TruncatedSVD(components, n_iter=_SVD_ITERATIONS, random_state=_SEED)
        projected = svd.fit_transform(matrix)
        # Half-whitened: the most common words would otherwise hide what tells items apart.
        projected /= np.sqrt(np.maximum(svd.singular_values_, _SMALLEST_SINGULAR_VALUE))
        vectors = np.asarray(normalize(projected), np.float32)
        return cls(raw_ids=raw_item_ids, vectors=vectors, path=path)

    def ids(self) -> Iterator[pa.Array]:
        yield self.raw_ids.cast(pa.large_string())

    def chunks(self) -> Iterator[VectorChunk]:
        for first in range(0, len(self.vectors), _ROWS_PER_CHUNK):
            rows = self.vectors[first : first + _ROWS_PER_CHUNK]
            yield VectorChunk(
                source=self.path,
                null=np.logical_not(rows.any(axis=1)),
                offsets=np.arange(len(rows) + 1) * rows.shape[1],
                values=rows.reshape(-1),
            )


def _documents(root: Path, path: Path, raw_item_ids: pa.Array) -> list[str]:
    """One string of space-separated tokens per item of the store."""
    files = [read_atomic_file(path, ("item_id",))]
    files += [
        read_atomic_file(file, ("item_id",)) for file in files_named(root, "<name>.candidate")
    ]
    if not files[0].of_type(TOKEN, TOKEN_SEQ):
        raise InputError(
            f"{path}: no column of type token or token_seq, so modality text has nothing to go "
            f"by; add words, {_REMEDY}"
        )
    ids = pa.concat_arrays([file.columns["item_id"] for file in files])
    texts = pa.concat_arrays([_text(file) for file in files])
    rows = pc.index_in(raw_item_ids.cast(pa.large_string()), value_set=ids)
    return pc.fill_null(texts.take(rows), "").to_pylist()


def _text(file: AtomicFile) -> pa.Array:
    """Tokens of all columns: categories prefixed with their column's name, words without."""
    names = file.of_type(TOKEN, TOKEN_SEQ)
    pieces = [
        _category(name, file.columns[name]) if file.types[name] == TOKEN else _words(file, name)
        for name in names
    ]
    if not pieces:
        return pa.array([""] * file.num_rows, pa.large_string())
    return pc.binary_join_element_wise(*pieces, _text_scalar(" "))


def _category(name: str, column: pa.Array) -> pa.Array:
    joined = pc.replace_substring(pc.fill_null(column, ""), " ", "_")
    named = pc.binary_join_element_wise(_text_scalar(f"{name}="), joined, _text_scalar(""))
    return pc.if_else(pc.equal(joined, ""), _text_scalar(""), named)


def _words(file: AtomicFile, name: str) -> pa.Array:
    lowered = pc.utf8_lower(pc.fill_null(file.columns[name], ""))
    return pc.replace_substring_regex(lowered, r"[^\pL\pN]+", " ")


def _text_scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
