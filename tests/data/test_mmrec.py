from __future__ import annotations

import numpy as np
import pytest
from load_error import load_error

from sgurinit.data import load_dataset

HEADER = "userID\titemID\tx_label"
ROWS = ["0\t0\t0", "1\t1\t0", "2\t2\t1", "2\t3\t2"]


def test_a_folder_gives_the_data_it_was_written_from(write_mmrec, make_dataset):
    dataset = load_dataset(write_mmrec())
    assert (dataset.name, dataset.layout) == ("small", "mmrec")
    # Without a mapping a user is known by interactions alone, and user 3 has none.
    assert dataset.fingerprint == make_dataset(user_ids=np.arange(3)).fingerprint


def test_only_three_columns_are_needed_in_any_order(write_mmrec):
    dataset = load_dataset(
        write_mmrec(["x_label\tuserID\titemID", "0\t1\t4", "0\t0\t1", "2\t1\t0"])
    )
    assert (dataset.train.users.tolist(), dataset.train.items.tolist()) == ([0, 1], [1, 4])
    assert (dataset.test.users.tolist(), dataset.test.items.tolist()) == ([1], [0])
    assert len(dataset.valid) == 0


def test_windows_line_ends_are_read(write_mmrec):
    folder = write_mmrec()
    path = folder / "small.inter"
    expected = load_dataset(folder).fingerprint
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_dataset(folder).fingerprint == expected


def test_mappings_give_external_ids_whatever_their_order(write_mmrec):
    dataset = load_dataset(
        write_mmrec(
            u_id_mapping="user_id\tuserID\nC\t2\nA\t0\nB\t1\nD\t3\n",
            i_id_mapping="asin\titemID\nv\t0\nw\t1\nx\t2\ny\t3\nz\t4\n",
        )
    )
    assert dataset.user_ids.tolist() == ["A", "B", "C", "D"]
    assert dataset.item_ids.tolist() == ["v", "w", "x", "y", "z"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["userID\titemID", "0\t0"], "column x_label is missing; the file has 'userID', 'itemID'"),
        (["userID\tx_label", "0\t0"], "column itemID is missing"),
        ([HEADER, *ROWS, "1.5\t0\t0"], "line 6: userID is '1.5'; an integer is expected"),
        ([HEADER, "0\t0\t0", "0\tB00X\t0"], "line 3: itemID is 'B00X'; an integer is expected"),
        ([HEADER, "0\t0\t0", "0\t\t0"], "line 3: itemID is missing; an integer is expected"),
        ([HEADER, "0\t0\t0", "0\t1"], "line 3: x_label is missing"),
        (
            [HEADER, *ROWS, "0\t5\t0"],
            "line 6: itemID 5 is out of range; allowed are 0 to 4 (",
        ),
        ([HEADER, *ROWS, "0\t-1\t0"], "line 6: itemID -1 is out of range"),
        ([HEADER, *ROWS, "9999999\t1\t0"], "line 6: userID 9999999 is out of range"),
        (
            [HEADER, *ROWS, "0\t1\t3"],
            "line 6: x_label 3 is out of range; allowed are 0 to 2",
        ),
        ([HEADER, "0\t0\t1", "0\t1\t2"], "train has no interaction"),
        ([HEADER], "train has no interaction"),
        ([HEADER, *ROWS, "0\t0\t2"], "in both train and test, for example user 0 with item 0"),
        ([HEADER, "0\t0\t0\t7\t7\t7"], "line 2 has more fields than the first"),
    ],
)
def test_a_faulty_table_is_refused(write_mmrec, lines, says):
    folder = write_mmrec(lines)
    message = load_error(folder)
    assert message.startswith(str(folder))
    assert says in message


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "u_id_mapping",
            "user_id\tuserID\nA\t0\nB\t1\n",
            "userID 2 is out of range",
        ),
        ("u_id_mapping", "user_id\tuserID\nA\t0\nB\t0\n", "userID 0 is repeated"),
        ("u_id_mapping", "user_id\tuserID\nA\t0\nA\t1\nB\t2\n", "user_ids: A is repeated"),
        ("u_id_mapping", "user_id\tuserID\nA\t0\n\t1\nB\t2\n", "line 3: user_id is missing"),
        ("u_id_mapping", "user_id\tnumber\nA\t0\n", "userID and one column with the external id"),
        ("u_id_mapping", "userID\n0\n1\n2\n", "userID and one column with the external id"),
        ("i_id_mapping", "asin\titemID\nx\t0\n", "1 items but image_feat.npy has 5 rows"),
    ],
)
def test_a_faulty_mapping_is_refused(write_mmrec, name, text, says):
    assert says in load_error(write_mmrec(**{name: text}))


def test_a_file_that_is_not_text_is_refused(write_mmrec):
    folder = write_mmrec()
    (folder / "small.inter").write_bytes(HEADER.encode() + b"\n\xff\xfe\t0\t0\n")
    assert "small.inter" in load_error(folder)


def test_feature_files_of_different_lengths_are_refused(write_mmrec):
    folder = write_mmrec()
    np.save(folder / "text_feat.npy", np.ones((6, 2)))
    assert load_error(folder).startswith(f"{folder / 'text_feat.npy'}: 6 rows but the data has 5")


def test_two_tables_in_one_folder_are_refused(write_mmrec):
    folder = write_mmrec()
    (folder / "other.inter").write_text(HEADER + "\n")
    assert "other.inter, small.inter: one .inter file is expected" in load_error(folder)
