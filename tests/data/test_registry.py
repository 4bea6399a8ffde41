from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sgurinit.data import load_dataset, planted, recognize_layout, write_native
from sgurinit.errors import InputError


def test_each_layout_is_recognized_by_its_files(write_hkuds, write_mmrec, make_dataset, tmp_path):
    native = write_native(make_dataset(), tmp_path / "native")
    seen = {
        match.layout.name: match.evidence
        for match in map(recognize_layout, (write_hkuds(), write_mmrec(), native))
    }
    assert seen == {
        "hkuds": "trnMat.pkl, valMat.pkl, tstMat.pkl",
        "mmrec": "small.inter",
        "native": "dataset.json, interactions.parquet",
    }


def test_two_layouts_in_one_folder_are_refused(write_hkuds, write_mmrec):
    folder = write_hkuds()
    shutil.copy(write_mmrec() / "small.inter", folder)
    with pytest.raises(InputError, match=r"more than one layout: hkuds \(trnMat.* mmrec \(small"):
        recognize_layout(folder)


def test_the_error_for_an_unknown_folder_names_expected_and_found_files(tmp_path):
    (tmp_path / "ratings.csv").touch()
    for name in ("trnMat.pkl", "small.inter"):
        (tmp_path / name).mkdir()  # folders do not count as files
    with pytest.raises(InputError) as error:
        load_dataset(tmp_path)
    message = str(error.value)
    for part in ("hkuds: trnMat.pkl", "mmrec: <name>.inter", "native: dataset.json"):
        assert part in message
    assert message.endswith("found ratings.csv, small.inter, trnMat.pkl")


def test_long_listings_are_shortened_and_empty_folders_reported(tmp_path):
    with pytest.raises(InputError, match=r"found nothing$"):
        recognize_layout(tmp_path)
    for n in range(20):
        (tmp_path / f"{n:02d}").touch()
    with pytest.raises(InputError, match=r"10, 11 and 8 more$"):
        recognize_layout(tmp_path)


def test_inter_files_of_recbole_and_mmrec_are_distinguished(write_mmrec, tmp_path):
    (tmp_path / "rb").mkdir()
    (tmp_path / "rb" / "a.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    assert recognize_layout(tmp_path / "rb").layout.name == "recbole"
    assert recognize_layout(write_mmrec()).layout.name == "mmrec"


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_dataset(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="a file; give the folder"):
        load_dataset(tmp_path / "file")


def test_a_relative_path_is_resolved_to_the_folder_name(write_hkuds, monkeypatch):
    monkeypatch.chdir(write_hkuds())
    assert load_dataset(Path()).name == "hk"


def test_the_name_planted_gives_the_generated_data():
    assert load_dataset("planted").fingerprint == planted().fingerprint
