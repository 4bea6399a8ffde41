from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_error import load_error
from scipy import sparse

from sgurinit.data import load_dataset
from sgurinit.data.layouts.feature_files import read_array
from sgurinit.errors import InputError


def saved(array: np.ndarray, folder) -> bytes:
    np.save(folder / "array.npy", array)
    return (folder / "array.npy").read_bytes()


def test_a_folder_gives_the_data_it_was_written_from(write_hkuds, make_dataset):
    dataset = load_dataset(write_hkuds())
    assert (dataset.name, dataset.layout) == ("hk", "hkuds")
    assert dataset.fingerprint == make_dataset().fingerprint
    assert list(dataset.features) == ["image", "text"]


def test_repeated_pairs_are_dropped_and_counted(write_hkuds):
    matrix = sparse.coo_matrix((np.ones(3), ([0, 0, 1], [1, 1, 0])), shape=(4, 5))
    dataset = load_dataset(write_hkuds(trnMat=pickle.dumps(matrix)))
    assert len(dataset.train) == 2
    assert dataset.train.duplicates == 1


@pytest.mark.parametrize("name", ["trnMat", "valMat", "tstMat"])
def test_a_missing_matrix_is_named(write_hkuds, name):
    folder = write_hkuds(**{name: None})
    assert load_error(folder) == f"{folder / name}.pkl: file is missing"


def test_missing_features_are_reported(write_hkuds):
    assert "no <modality>_feat.npy" in load_error(write_hkuds(image_feat=None, text_feat=None))


def test_matrices_of_different_shapes_are_refused(write_hkuds):
    message = load_error(write_hkuds(valMat=pickle.dumps(sparse.coo_matrix((4, 6)))))
    assert "valMat.pkl (4, 6)" in message
    assert "trnMat.pkl (4, 5)" in message


def test_a_made_up_number_of_users_is_refused_before_memory_is_allocated(write_hkuds):
    claimed = {
        name: pickle.dumps(sparse.coo_matrix(([1.0], ([0], [column])), shape=(2**31 - 1, 5)))
        for column, name in enumerate(["trnMat", "valMat", "tstMat"])
    }
    message = load_error(write_hkuds(**claimed))
    assert "trnMat.pkl: the shape has 2147483647 users for 3 interactions" in message


def test_an_empty_training_split_is_refused_naming_the_folder(write_hkuds):
    folder = write_hkuds(trnMat=pickle.dumps(sparse.coo_matrix((4, 5))))
    assert load_error(folder).startswith(f"{folder}: train has no interaction")


def test_leakage_is_refused(write_hkuds):
    matrix = sparse.coo_matrix(([1.0], ([1], [1])), shape=(4, 5))
    message = load_error(write_hkuds(tstMat=pickle.dumps(matrix)))
    assert "1 pairs are in both train and test, for example user 1 with item 1" in message


def test_an_item_out_of_range_names_file_entry_and_range(write_hkuds):
    matrix = sparse.coo_matrix(([1.0], ([1], [1])), shape=(4, 5))
    matrix.coords = (matrix.coords[0], np.array([5], dtype=np.int32))
    folder = write_hkuds(tstMat=pickle.dumps(matrix))
    assert load_error(folder) == (
        f"{folder / 'tstMat.pkl'}: entry 0: item id 5 is out of range; allowed are 0 to 4"
    )


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones((4, 2)), "4 rows but the data has 5 items"),
        (np.ones((5, 2), dtype=np.int64), "int64 of shape (5, 2); a 2-D array"),
        (np.ones((5, 2), dtype=np.complex64), "complex64"),
        (np.ones(5), "float64 of shape (5,)"),
        (np.ones((5, 2, 1)), "float64 of shape (5, 2, 1)"),
        (np.ones((5, 0)), "at least one column"),
        (np.ones((5, 2), dtype=object), "not a complete NumPy array file"),
    ],
)
def test_a_feature_file_of_the_wrong_form_is_refused(write_hkuds, tmp_path, array, says):
    folder = write_hkuds(image_feat=saved(array, tmp_path))
    message = load_error(folder)
    assert message.startswith(f"{folder / 'image_feat.npy'}: ")
    assert says in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_names_file_row_and_column(write_hkuds, value):
    values = np.ones((5, 3), dtype=np.float16)
    values[3, 2] = value
    folder = write_hkuds(image_feat=values)
    assert load_error(folder).startswith(
        f"{folder / 'image_feat.npy'}: row 3, column 2 is {np.float16(value)}; "
    )


def test_a_row_of_nan_is_an_error_in_this_layout(write_hkuds):
    values = np.ones((5, 3))
    values[1] = np.nan
    assert "row 1, column 0 is nan" in load_error(write_hkuds(image_feat=values))


def test_every_truncation_of_a_feature_file_gives_a_one_line_error(write_hkuds, tmp_path):
    whole = saved(np.ones((5, 3), dtype=np.float16), tmp_path)
    folder = write_hkuds()
    path = folder / "image_feat.npy"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        message = load_error(folder)
        assert message.startswith(f"{path}: not a complete NumPy array file")


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, 127), byte=st.integers(0, 255))
def test_a_corrupted_header_is_read_or_gives_a_one_line_error(tmp_path_factory, at, byte):
    path = tmp_path_factory.getbasetemp() / "corrupted.npy"
    np.save(path, np.ones((5, 3), dtype=np.float16))
    data = bytearray(path.read_bytes())
    data[at] = byte
    path.write_bytes(data)
    try:
        values = read_array(path)
    except InputError:
        return
    assert values.ndim == 2


def test_an_archive_named_as_an_array_is_refused(write_hkuds, tmp_path):
    np.savez(tmp_path / "archive.npz", np.ones((5, 3)))
    content = (tmp_path / "archive.npz").read_bytes()
    assert "archive" in load_error(write_hkuds(image_feat=content))


def test_a_pickle_named_as_an_array_is_not_run(write_hkuds):
    content = pickle.dumps(np.ones((5, 3)))
    assert "not a complete NumPy array file" in load_error(write_hkuds(image_feat=content))
