"""Starts on disk: saving, loading, and errors about broken files."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from sgurinit import files
from sgurinit.core import FittedStart, ItemFeatures, SGURInit, UserStart, _start_file
from sgurinit.core.inputs.fingerprint import hash_arrays
from sgurinit.errors import InputError


def frame_start(joint_dim=None):
    """A start with string ids."""
    rng = np.random.default_rng(0)
    users = [f"user {number}" for number in rng.integers(0, 12, 60)]
    items = np.array([f"ä{number}" for number in range(20)])
    frame = pl.DataFrame({"user": users, "item": items[rng.integers(0, 20, 60)].tolist()})
    features = {"image": rng.normal(size=(20, 5)), "text": rng.normal(size=(20, 3))}
    estimator = SGURInit(n_clusters=3, joint_dim=joint_dim, random_state=0)
    return estimator.fit(frame, features, item_ids=items).start_


@pytest.fixture
def start():
    return frame_start()


@pytest.fixture
def joint_start():
    return frame_start(joint_dim=4)


ITEMS = np.random.default_rng(1).normal(size=(20, 3))


def contents(path):
    """Metadata and tensors of a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        return file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


KEYS = {
    "users/image",
    "users/text",
    "clusters/image/centroids",
    "clusters/image/labels",
    "clusters/text/centroids",
    "clusters/text/labels",
}


class TestSafetensors:
    def test_keys_shapes_and_metadata(self, joint_start, tmp_path):
        path = tmp_path / "start.safetensors"
        joint_start.save(path)
        with safe_open(path, framework="numpy") as file:
            assert set(file.keys()) == KEYS | {"users/joint", "items/joint"}
            assert file.get_tensor("users/image").shape == (joint_start.n_users, 5)
            assert file.get_tensor("users/image").dtype == np.float32
            assert file.get_tensor("clusters/text/centroids").shape == (3, 3)
            assert file.get_tensor("clusters/text/labels").shape == (20,)
            assert file.get_tensor("items/joint").shape == (20, 4)
            metadata = file.metadata()
        assert json.loads(metadata["config"])["local_weight"] == 0.5
        assert {"sgurinit", "numpy", "scikit-learn"} <= set(json.loads(metadata["versions"]))
        assert metadata["fingerprint"] == joint_start.fingerprint
        counts = json.loads(metadata["diagnostics"])
        assert counts["duplicate_interactions"] == joint_start.diagnostics.duplicate_interactions
        assert counts["modalities"]["text"]["zero_rows"] == 0

    def test_no_joint_keys_unless_asked_for_at_fit(self, start, tmp_path):
        start.joint(4)
        start.save(tmp_path / "start.safetensors")
        with safe_open(tmp_path / "start.safetensors", framework="numpy") as file:
            assert set(file.keys()) == KEYS

    def test_round_trip_keeps_everything(self, joint_start, tmp_path):
        path = tmp_path / "start.safetensors"
        joint_start.save(str(path))
        found = UserStart.load(path)
        assert list(found.users) == list(joint_start.users)
        for name, users in joint_start.users.items():
            np.testing.assert_array_equal(found.users[name], users)
            for part in ("centroids", "labels"):
                np.testing.assert_array_equal(
                    getattr(found.clusters[name], part), getattr(joint_start.clusters[name], part)
                )
        for part in ("config", "diagnostics", "versions", "fingerprint", "n_users", "n_items"):
            assert getattr(found, part) == getattr(joint_start, part)
        assert found.user_ids.tolist() == joint_start.user_ids.tolist()
        assert found.item_ids.tolist() == joint_start.item_ids.tolist()
        expected, again = joint_start.joint(4), found.joint(4)
        np.testing.assert_array_equal(again.users, expected.users)
        np.testing.assert_array_equal(again.items, expected.items)
        np.testing.assert_array_equal(again.clusters.labels, expected.clusters.labels)
        np.testing.assert_array_equal(again.clusters.centroids, expected.clusters.centroids)

    @pytest.mark.parametrize("joint_dim", [None, 4])
    def test_saving_a_loaded_start_writes_the_same_contents(self, joint_dim, tmp_path):
        one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
        fitted = frame_start(joint_dim)
        fitted.save(one)
        loaded = UserStart.load(one)
        loaded.save(two)
        first, second = contents(one), contents(two)
        assert first[0] == second[0]
        assert first[1].keys() == second[1].keys()
        for key, tensor in first[1].items():
            np.testing.assert_array_equal(second[1][key], tensor)
        fitted.save(tmp_path / "one.parquet")
        loaded.save(tmp_path / "two.parquet")
        assert pl.read_parquet(tmp_path / "one.parquet").equals(
            pl.read_parquet(tmp_path / "two.parquet")
        )

    def test_a_loaded_start_is_a_user_start_with_the_same_repr(self, joint_start, tmp_path):
        joint_start.save(tmp_path / "s.safetensors")
        loaded = UserStart.load(tmp_path / "s.safetensors")
        assert isinstance(joint_start, UserStart)
        assert type(loaded) is type(type(joint_start).load(tmp_path / "s.safetensors"))
        assert not isinstance(loaded, FittedStart)
        assert repr(loaded) == repr(joint_start)

    def test_a_loaded_start_computes_the_same(self, joint_start, tmp_path):
        joint_start.save(tmp_path / "s.safetensors")
        loaded = UserStart.load(tmp_path / "s.safetensors")
        np.testing.assert_array_equal(loaded.joint(4).users, joint_start.joint(4).users)
        for width in (None, 7):
            np.testing.assert_array_equal(
                loaded.carry_to(ITEMS, width=width), joint_start.carry_to(ITEMS, width=width)
            )

    def test_absent_items_survive(self, gappy, tmp_path):
        start = (
            SGURInit(n_clusters=4, random_state=0, joint_dim=4)
            .fit(gappy.matrix, gappy.features)
            .start_
        )
        start.save(tmp_path / "s.safetensors")
        found = UserStart.load(tmp_path / "s.safetensors")
        assert found.user_ids is None
        assert found.item_ids is None
        np.testing.assert_array_equal(found.clusters["m0"].labels, start.clusters["m0"].labels)
        np.testing.assert_array_equal(
            found.joint(4).clusters.labels, start.joint(4).clusters.labels
        )

    @pytest.mark.parametrize("ids", [np.arange(20), np.arange(20) + 5, np.arange(20)[::-1]])
    def test_integer_ids_survive(self, ids, tmp_path):
        interactions = np.array([[0, 1], [1, 19]])
        features = {"x": np.random.default_rng(0).normal(size=(20, 2))}
        start = (
            SGURInit(n_clusters=2, random_state=0).fit(interactions, features, item_ids=ids).start_
        )
        start.save(tmp_path / "s.safetensors")
        np.testing.assert_array_equal(UserStart.load(tmp_path / "s.safetensors").item_ids, ids)

    @pytest.mark.parametrize(
        ("name", "argument", "message"),
        [
            ("on", ITEMS, "a loaded start has no interactions.*fit SGURInit"),
            ("features", "text", "a loaded start has no features.*fit SGURInit"),
            ("joint", 5, r"no joint space of width 5 \(saved: 4\): fit SGURInit"),
        ],
    )
    def test_what_a_loaded_start_cannot_compute_says_what_to_do(
        self, name, argument, message, joint_start, tmp_path
    ):
        joint_start.save(tmp_path / "s.safetensors")
        getattr(joint_start, name)(argument)
        with pytest.raises(InputError, match=message):
            getattr(UserStart.load(tmp_path / "s.safetensors"), name)(argument)


class TestParquet:
    def test_one_row_per_user_with_its_id(self, joint_start, tmp_path):
        joint_start.save(tmp_path / "users.parquet")
        table = pl.read_parquet(tmp_path / "users.parquet")
        assert table.schema == {
            "user": pl.String,
            "image": pl.Array(pl.Float32, 5),
            "text": pl.Array(pl.Float32, 3),
            "joint": pl.Array(pl.Float32, 4),
        }
        assert table["user"].to_list() == joint_start.user_ids.tolist()
        np.testing.assert_array_equal(table["image"].to_numpy(), joint_start.users["image"])
        np.testing.assert_array_equal(table["joint"].to_numpy(), joint_start.joint(4).users)

    def test_positions_stand_in_for_unknown_ids(self, small, tmp_path):
        start = SGURInit(n_clusters=2, random_state=0).fit(small.matrix, small.features).start_
        start.save(tmp_path / "users.parquet")
        table = pl.read_parquet(tmp_path / "users.parquet")
        assert table["user"].to_list() == list(range(start.n_users))
        assert table.columns == ["user", "m0", "m1"]

    def test_a_table_cannot_be_loaded_as_a_start(self, start, tmp_path):
        start.save(tmp_path / "users.parquet")
        with pytest.raises(InputError, match=r"users\.parquet.*holds the users only"):
            UserStart.load(tmp_path / "users.parquet")


class TestBadFiles:
    @pytest.mark.parametrize("name", ["start.npz", "start", "start.SAFE"])
    def test_unknown_suffix(self, name, start, tmp_path):
        with pytest.raises(InputError, match=r"\.safetensors or \.parquet"):
            start.save(tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_a_folder_of_a_stream_cannot_be_loaded_as_a_start(self, tmp_path):
        np.save(tmp_path / "edges.npy", np.array([[0, 0], [0, 1], [1, 1]]))
        streaming = SGURInit(n_clusters=2, random_state=0)
        out = streaming.stream(tmp_path / "edges.npy", {"a": np.eye(2)}, tmp_path / "out")
        for path in (out, out / "items.safetensors"):
            with pytest.raises(InputError, match=r"out: is a folder of `stream`, .*SGURInit.fit"):
                UserStart.load(path)
        with pytest.raises(InputError, match=r"users: is a folder, expected a .safetensors"):
            UserStart.load(out / "users")

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"nowhere\.safetensors: no such file"):
            UserStart.load(tmp_path / "nowhere.safetensors")

    @pytest.mark.parametrize("keep", [0, 5, 100, -1])
    def test_truncated_file(self, keep, start, tmp_path):
        path = tmp_path / "cut.safetensors"
        start.save(path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(InputError, match=r"cut\.safetensors: cannot be read as a"):
            UserStart.load(path)

    def test_foreign_bytes(self, tmp_path):
        path = tmp_path / "foreign.safetensors"
        path.write_bytes(b"\x80\x04 this is another file" * 10)
        with pytest.raises(InputError, match=r"foreign\.safetensors"):
            UserStart.load(path)

    def test_foreign_tensors(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        save_file({"users/image": np.ones((2, 2))}, path)
        with pytest.raises(InputError, match=r"weights\.safetensors: not a saved start"):
            UserStart.load(path)

    @pytest.mark.parametrize("change", ["key", "metadata", "diagnostics", "rows", "labels"])
    def test_damaged_start(self, change, start, tmp_path):
        path = tmp_path / "damaged.safetensors"
        start.save(path)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if change == "key":
            del tensors["clusters/text/labels"]
        elif change == "metadata":
            metadata["config"] = "{"
        elif change == "diagnostics":
            metadata["diagnostics"] = json.dumps({"modalities": {}, "joint": None})
        elif change == "rows":
            tensors["users/text"] = tensors["users/text"][:-1]
        else:
            tensors["clusters/text/labels"] = tensors["clusters/text/labels"][:-1]
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata)
        with pytest.raises(InputError, match=r"damaged\.safetensors"):
            UserStart.load(path)

    @pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
    def test_missing_folder(self, suffix, start, tmp_path):
        with pytest.raises(InputError, match=r"away.*a folder that exists"):
            start.save(tmp_path / "away" / f"s{suffix}")

    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
    def test_a_failed_write_leaves_the_old_file_and_nothing_else(
        self, error, start, joint_start, tmp_path, monkeypatch
    ):
        path = tmp_path / "s.safetensors"
        start.save(path)
        before = path.read_bytes()

        def half_written(tensors, target, metadata):
            target.write_bytes(b"half")
            raise error

        monkeypatch.setattr(files, "save_file", half_written)
        expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else InputError
        with pytest.raises(expected):
            joint_start.save(path)
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["s.safetensors"]

    def test_ids_beyond_the_header_are_an_error(self, start, tmp_path, monkeypatch):
        monkeypatch.setattr(_start_file, "_HEADER_BYTES", 100)
        with pytest.raises(InputError, match=r"\.parquet"):
            start.save(tmp_path / "s.safetensors")
        assert not list(tmp_path.iterdir())


class TestFingerprint:
    def test_it_ignores_layout_and_order_of_modalities(self, small):
        features = {name: table.values for name, table in small.features.items()}
        turned = {name: np.asfortranarray(features[name]) for name in reversed(features)}
        one = SGURInit(n_clusters=2, random_state=0).fit(small.matrix, features).start_
        two = SGURInit(n_clusters=3, random_state=1).fit(small.matrix.tocoo(), turned).start_
        assert one.fingerprint == two.fingerprint
        assert len(one.fingerprint) == 64

    @pytest.mark.parametrize("change", ["interaction", "value", "dtype", "present", "name"])
    def test_it_sees_every_change_of_the_data(self, change, small):
        matrix, features = small.matrix.copy(), dict(small.features)
        values = features["m0"].values
        if change == "interaction":
            matrix = matrix.tolil()
            matrix[0, 0] = 1
            matrix = matrix.tocsr()
        elif change == "value":
            features["m0"] = np.where(np.arange(len(values))[:, None] == 3, values + 1, values)
        elif change == "dtype":
            features["m0"] = values.astype(np.float32)
        elif change == "present":
            features["m0"] = ItemFeatures(values, np.arange(len(values)) != 39)
        else:
            features["m2"] = features.pop("m1")
        one = SGURInit(n_clusters=2, random_state=0).fit(small.matrix, small.features).start_
        two = SGURInit(n_clusters=2, random_state=0).fit(matrix, features).start_
        assert one.fingerprint != two.fingerprint

    def test_it_sees_which_of_two_equal_rows_is_absent(self):
        values = np.array([[1.0], [2.0], [2.0]])
        found = {
            SGURInit(n_clusters=1, random_state=0)
            .fit(np.array([[0, 0]]), {"x": ItemFeatures(values, np.array(present))})
            .start_.fingerprint
            for present in ([True, True, False], [True, False, True])
        }
        assert len(found) == 2


class TestDamage:
    """What a file holds is checked, so that no user of a start meets anything else."""

    @staticmethod
    def rewrite(path, change, *, checksum):
        """Change a saved start; with `checksum`, as somebody who knows the format."""
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        change(tensors, metadata)
        if checksum:
            del metadata["checksum"]
            metadata["checksum"] = hash_arrays(tensors, metadata)
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata)

    def test_a_changed_number_is_noticed(self, start, tmp_path):
        path = tmp_path / "s.safetensors"
        start.save(path)
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"s\.safetensors: .*damaged \(wrong checksum\)"):
            UserStart.load(path)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("user_ids", {"kind": "positions", "values": 10**12}),
            ("user_ids", {"kind": "integers", "values": [1, 1]}),
            ("item_ids", {"kind": "strings", "values": ["a"]}),
            ("item_ids", {"kind": "strings", "values": [["a"]]}),
            ("item_ids", [1]),
            ("config", {"n_clusters": 2}),
            ("config", []),
            ("modalities", []),
            ("modalities", {"image": 1}),
            ("diagnostics", {}),
            ("versions", None),
        ],
    )
    def test_metadata_is_checked(self, field, value, start, tmp_path):
        path = tmp_path / "s.safetensors"
        start.save(path)
        self.rewrite(path, lambda _, m: m.update({field: json.dumps(value)}), checksum=True)
        with pytest.raises(InputError, match=r"s\.safetensors: .*incomplete or damaged"):
            UserStart.load(path)

    def test_deeply_nested_metadata_is_refused(self, start, tmp_path):
        path = tmp_path / "s.safetensors"
        start.save(path)
        self.rewrite(path, lambda _, m: m.update(config="[" * 100_000), checksum=True)
        with pytest.raises(InputError, match="incomplete or damaged"):
            UserStart.load(path)

    @pytest.mark.parametrize(
        ("key", "change"),
        [
            ("users/image", lambda rows: rows * np.float32(np.nan)),
            ("users/image", lambda rows: rows.astype(np.float64)),
            ("clusters/image/labels", lambda labels: labels + 1000),
            ("clusters/image/labels", lambda labels: labels - 1000),
            ("clusters/image/labels", lambda labels: labels.astype(np.float32)),
            ("clusters/image/centroids", lambda rows: rows[:, :-1]),
            ("users/joint", lambda rows: rows[:, :-1]),
            ("items/joint", lambda rows: rows[:-1]),
        ],
    )
    def test_tensors_are_checked(self, key, change, joint_start, tmp_path):
        path = tmp_path / "s.safetensors"
        joint_start.save(path)
        self.rewrite(path, lambda t, _: t.update({key: change(t[key])}), checksum=True)
        with pytest.raises(InputError, match=r"s\.safetensors: .*incomplete or damaged"):
            UserStart.load(path)

    def test_a_header_of_many_rows_takes_no_memory(self, tmp_path):
        path = tmp_path / "s.safetensors"
        header = {"a": {"dtype": "F32", "shape": [10**12, 8], "data_offsets": [0, 32 * 10**12]}}
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(InputError, match="cannot be read as a safetensors file"):
            UserStart.load(path)
