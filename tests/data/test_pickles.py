from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sgurinit.data.layouts.pickles import read_sparse
from sgurinit.errors import InputError

KINDS = [
    getattr(sparse, f"{form}_{kind}")
    for form in ("coo", "csr", "csc")
    for kind in ("matrix", "array")
]


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as error:
        read_sparse(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def matrix() -> sparse.coo_matrix:
    return sparse.coo_matrix((np.ones(3), ([0, 1, 2], [3, 0, 1])), shape=(3, 4))


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.fixture
def save(tmp_path):
    def write(content) -> Path:
        path = tmp_path / "trnMat.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
        return path

    return write


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.bool_])
def test_every_kind_and_protocol_gives_scipys_own_coordinates(save, kind, protocol, dtype):
    rng = np.random.default_rng(3)
    dense = (rng.random((6, 9)) < 0.3).astype(dtype)
    shape, rows, columns = read_sparse(save(pickle.dumps(kind(dense), protocol=protocol)))
    assert shape == (6, 9)
    assert rows.dtype == columns.dtype == np.int64
    expected = set(zip(*np.nonzero(dense), strict=True))
    assert set(zip(rows, columns, strict=True)) == expected


def old_names(data: bytes) -> bytes:
    """Rewrite the names of a pickle to those of SciPy before 1.8 with NumPy 1."""
    for new, old in (
        (b"scipy.sparse._coo\n", b"scipy.sparse.coo\n"),
        (b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"),
    ):
        assert new in data
        data = data.replace(new, old)
    return data


def test_old_names_are_read(save):
    data = old_names(pickle.dumps(matrix(), protocol=2))
    _, rows, columns = read_sparse(save(data))
    assert (rows.tolist(), columns.tolist()) == ([0, 1, 2], [3, 0, 1])


def test_row_and_col_of_old_scipy_are_read(save):
    state = matrix().__dict__.copy()
    state["row"], state["col"] = state.pop("coords")
    old = sparse.coo_matrix.__new__(sparse.coo_matrix)
    old.__dict__.update(state)
    _, rows, columns = read_sparse(save(old))
    assert (rows.tolist(), columns.tolist()) == ([0, 1, 2], [3, 0, 1])


def test_values_of_the_other_byte_order_are_read(save):
    swapped = matrix()
    swapped.data = np.array([1.0, 0.0, 1.0], dtype=">f8")
    swapped.coords = tuple(index.astype(">i4") for index in swapped.coords)
    _, rows, columns = read_sparse(save(swapped))
    assert (rows.tolist(), columns.tolist()) == ([0, 2], [3, 1])


def test_stored_zeros_are_not_interactions(save):
    stored = sparse.coo_matrix(([1.0, 0.0, 2.5], ([0, 1, 2], [0, 1, 2])), shape=(3, 3))
    _, rows, _ = read_sparse(save(stored))
    assert rows.tolist() == [0, 2]


def test_an_empty_matrix_is_read(save):
    shape, rows, _ = read_sparse(save(sparse.coo_matrix((3, 4))))
    assert (shape, rows.size) == ((3, 4), 0)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_and_not_run(save, tmp_path, protocol):
    target = tmp_path / "owned"
    for payload in (
        Call(open, str(target), "w"),
        Call(exec, f"open({str(target)!r}, 'w')"),
        [matrix(), Call(Path.touch, target)],
    ):
        message = error_of(save(pickle.dumps(payload, protocol=protocol)))
        assert "refused, because the pickle names" in message
        assert not target.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "scalar"),
        ("scipy.sparse", "load_npz"),
        ("scipy.sparse._coo", "coo_matrix.__init__"),
        ("two\nlines", "name"),
    ],
)
def test_the_refused_name_is_in_the_message(save, module, name):
    data = b"\x80\x04" + b"".join(
        b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)
    )
    message = error_of(save(data + b"\x93."))
    assert repr(f"{module}.{name}") in message


def test_allowed_names_with_odd_arguments_are_not_run(save):
    for module, name in (("numpy", "dtype"), ("numpy", "ndarray"), ("scipy.sparse", "x")):
        data = f"c{module}\n{name}\n(S'python:os.system'\ntR."
        assert error_of(save(data.encode()))
    # State set on the record classes themselves would outlive this file.
    for module, name in (
        ("numpy", "dtype"),
        ("_codecs", "encode"),
        ("scipy.sparse.coo", "coo_matrix"),
    ):
        assert error_of(save(f"c{module}\n{name}\n}}S'code'\nS'i4'\nsb.".encode()))
        assert error_of(save(f"c{module}\n{name}\nN}}S'code'\nS'i4'\ns\x86b.".encode("latin1")))


def test_every_truncation_gives_a_one_line_error(save):
    data = pickle.dumps(matrix(), protocol=3)
    for length in range(len(data) - 1):
        assert error_of(save(data[:length]))


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), protocol=st.sampled_from([2, 4, 5]))
def test_a_corrupted_byte_is_read_or_gives_a_one_line_error(tmp_path_factory, at, byte, protocol):
    data = bytearray(pickle.dumps(matrix(), protocol=protocol))
    data[at % len(data)] = byte
    path = tmp_path_factory.getbasetemp() / "corrupted.pkl"
    path.write_bytes(data)
    try:
        shape, rows, columns = read_sparse(path)
    except InputError:
        assert error_of(path)
        return
    assert ((rows >= 0) & (rows < shape[0])).all()
    assert ((columns >= 0) & (columns < shape[1])).all()


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p4294967295\n"])
def test_a_number_that_would_allocate_all_memory_is_refused(save, put):
    assert "not a complete pickle" in error_of(save(b"\x80\x02}" + put + b"."))


def with_coords(rows, columns, shape=(3, 4)) -> sparse.coo_matrix:
    """A matrix with coordinates that its constructor would refuse."""
    result = matrix()
    result.coords = (np.array(rows, dtype=np.int32), np.array(columns, dtype=np.int32))
    result._shape = shape
    return result


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            with_coords([0, 1, 2], [3, 0, 4]),
            "entry 2: item id 4 is out of range; allowed are 0 to 3",
        ),
        (
            with_coords([0, 3, 2], [3, 0, 1]),
            "entry 1: user id 3 is out of range; allowed are 0 to 2",
        ),
        (with_coords([0, 1, -1], [3, 0, 1]), "entry 2: user id -1 is out of range"),
        (with_coords([0, 1], [3, 0]), "3 values, 2 rows and 2 columns"),
        (with_coords([0, 1, 2], [3, 0, 1], (3,)), "not of two dimensions"),
        (with_coords([0, 1, 2], [3, 0, 1], (3, 4, 5)), "not of two dimensions"),
        (with_coords([0, 1, 2], [3, 0, 1], (3, "4")), "not of two dimensions"),
        (sparse.coo_array(np.ones(3)), "not of two dimensions"),
        (sparse.coo_matrix([[1.0, -1.0]]), "entry 1: value -1.0 (user 0, item 1)"),
        (sparse.coo_matrix([[1.0, np.nan]]), "entry 1: value nan"),
        (sparse.coo_matrix([[1j]]), "not a plain number"),
        (np.ones((2, 2)), "not a scipy.sparse matrix"),
        ({"a": 1}, "not a scipy.sparse matrix"),
        (sparse.dok_matrix((2, 2)), "refused"),
    ],
)
def test_anything_but_a_valid_matrix_is_refused(save, content, says):
    assert says in error_of(save(content))


@pytest.mark.parametrize("pointers", [[0, 1, 2, 9], [0, 2, 1, 3], [1, 1, 2, 3], [0, 3]])
def test_invalid_row_pointers_are_refused(save, pointers):
    wrong = matrix().tocsr()
    wrong.indptr = np.array(pointers, dtype=np.int32)
    assert "'indptr' does not split" in error_of(save(wrong))


def test_a_missing_file_is_named(tmp_path):
    assert "cannot be read" in error_of(tmp_path / "absent.pkl")


def test_tiktok_files_only_need_the_allowed_names(tiktok_path):
    data = (tiktok_path / "trnMat.pkl").read_bytes()
    names = {
        argument for op, argument, _ in pickletools.genops(io.BytesIO(data)) if op.name == "GLOBAL"
    }
    assert names == {
        "scipy.sparse.coo coo_matrix",
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }
    shape, rows, _ = read_sparse(tiktok_path / "trnMat.pkl")
    assert (shape, rows.size) == ((9308, 6710), 59541)
