"""What people hand over in Python: taken where its meaning is clear, else refused in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from sgurinit import ItemFeatures, SGURInit
from sgurinit.core import place_new_items
from sgurinit.core.inputs.ids import as_ids
from sgurinit.core.inputs.interactions import parse_interactions
from sgurinit.errors import InputError

pa = pytest.importorskip("pyarrow")
torch = pytest.importorskip("torch")

ROWS = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
LISTS = [[0], [0, 1], [1, 2]]


def fit(interactions=LISTS, features=ROWS, **options):
    return SGURInit(n_clusters=2, random_state=0).fit(interactions, {"text": features}, **options)


EXPECTED = fit().start_.users["text"]


class TestFeatures:
    @pytest.mark.parametrize(
        "values",
        [
            torch.tensor(ROWS),
            torch.tensor(ROWS).bfloat16(),
            torch.tensor(ROWS).long(),
            torch.tensor(ROWS).half().t().contiguous().t(),
            torch.nn.Parameter(torch.tensor(ROWS)),
            torch.nn.Embedding.from_pretrained(torch.tensor(ROWS), freeze=False).weight,
            torch.nn.Parameter(torch.tensor(ROWS).bfloat16()),
            list(torch.nn.Parameter(torch.tensor(ROWS))),
            [torch.tensor(row).bfloat16() for row in ROWS],
            [row.tolist() for row in ROWS],
            pd.DataFrame(ROWS, index=[7, 7, 7]),
            pd.DataFrame(ROWS).astype("Float64"),
            pl.DataFrame(ROWS),
            pa.array(ROWS.tolist()),
            pa.chunked_array([pa.array(ROWS[:1].tolist()), pa.array(ROWS[1:].tolist())]),
            pa.FixedSizeListArray.from_arrays(pa.array(ROWS.ravel()), 2),
            np.ma.masked_invalid(ROWS),
            ROWS.astype(">f8"),
            ROWS.astype(object),
        ],
        ids=lambda values: f"{type(values).__module__}.{type(values).__name__}",
    )
    def test_the_same_start_from_every_form(self, values):
        np.testing.assert_array_equal(fit(features=values).start_.users["text"], EXPECTED)

    def test_a_bfloat16_tensor_is_read_exactly(self):
        rows = torch.randn(50, 7, dtype=torch.bfloat16)
        found = ItemFeatures(rows).values
        assert found.dtype.name == "bfloat16"
        np.testing.assert_array_equal(found.astype(np.float32), rows.float().numpy())

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (torch.tensor(ROWS).to_sparse(), r"sparse tensor.*to_dense"),
            (sp.csr_array(ROWS), r"sparse matrix.*toarray\(\)"),
            (torch.empty(3, 2, device="meta"), "meta device"),
            (torch.ones(3, 2, dtype=torch.complex64), "got complex64"),
            (np.ma.masked_equal(ROWS, 2.0), r"masked value in row 2: pass its filled"),
            (torch.nn.Embedding(3, 2), "list.* of numbers, got Embedding"),
            ([[1.0, 2.0], [1.0], [2.0, 3.0]], "row 1 has 1 numbers, row 0 has 2"),
            ([["a"], ["b"], ["c"]], "got <U1"),
            ({"a": 1}, "got dict"),
            (None, "got NoneType"),
            (3.0, "got float"),
            (pl.LazyFrame(ROWS), "got LazyFrame"),
            (pa.array([[1.0, None], [1.0, 2.0], [3.0, 4.0]]), "row 0"),
            (pd.DataFrame(ROWS).assign(c=["x", "y", "z"]), "row 0 holds"),
            (pd.DataFrame({"a": pd.array([1.0, None, 2.0], "Float64")}), "row 1"),
        ],
    )
    def test_anything_else_is_one_line_that_says_what(self, values, message):
        with pytest.raises(InputError, match=r"features\['text'\]: .*" + message) as error:
            fit(features=values)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("bad", [1e39, -1.7976931348623157e308, 3.5e38])
    @pytest.mark.parametrize("absent", [False, True])
    def test_numbers_beyond_float32_are_refused_by_row(self, bad, absent):
        rows = np.array(ROWS)
        rows[1, 1] = bad
        present = np.array([True, not absent, True])
        if absent:
            fit(features=ItemFeatures(rows, present))
            return
        with pytest.raises(InputError, match=r"row 1 holds -?[\d.]+e\+\d+, which float32 cannot"):
            fit(features=ItemFeatures(rows, present))

    def test_the_largest_float32_is_taken(self):
        rows = ROWS * (float(np.finfo(np.float32).max) / 2)
        assert np.isfinite(fit(features=rows).start_.users["text"]).all()

    def test_present_is_read_from_tensors_and_series(self):
        flags = [True, False, True]
        for present in (torch.tensor(flags), pl.Series(flags), pd.Series(flags), flags):
            assert ItemFeatures(ROWS, present).n_present == 2


class TestInteractions:
    dense = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=np.float32)
    edges = np.argwhere(dense)

    @pytest.mark.parametrize(
        "source",
        [
            torch.tensor(dense).to_sparse(),
            torch.tensor(dense).bfloat16().to_sparse().requires_grad_(),
            torch.tensor(edges),
            torch.tensor(edges, dtype=torch.int32),
            np.ma.array(edges),
        ],
    )
    def test_the_same_start_from_every_form(self, source):
        np.testing.assert_array_equal(fit(source).start_.users["text"], EXPECTED)

    @pytest.mark.parametrize(
        "make",
        [
            pa.table,
            pd.DataFrame,
            pl.DataFrame,
            lambda columns: pd.DataFrame(columns, index=[5] * 5),
            lambda columns: pd.DataFrame(columns).astype("category"),
            lambda columns: pd.DataFrame(columns).astype("string"),
            lambda columns: pl.DataFrame(columns).cast(pl.Categorical),
            lambda columns: pa.table(columns).cast(
                pa.schema([("user", pa.large_string()), ("item", pa.large_string())])
            ),
            lambda columns: pa.table(
                {name: pa.array(ids).dictionary_encode() for name, ids in columns.items()}
            ),
        ],
    )
    def test_frames_of_every_library_and_type(self, make):
        users, items = (self.edges[:, side].astype(str).tolist() for side in (0, 1))
        start = fit(make({"user": users, "item": items}), item_ids=["0", "1", "2"]).start_
        np.testing.assert_array_equal(start.users["text"], EXPECTED)
        assert start.user_ids.tolist() == ["0", "1", "2"]

    @pytest.mark.parametrize("kind", ["Int64", "UInt64", "int32", "category"])
    def test_integer_ids_of_every_type(self, kind):
        frame = pd.DataFrame(self.edges, columns=["user", "item"]).astype(kind)
        np.testing.assert_array_equal(fit(frame, item_ids=range(3)).start_.users["text"], EXPECTED)

    @pytest.mark.parametrize(
        ("source", "item_ids", "message"),
        [
            (pl.LazyFrame({"user": ["u"], "item": ["a"]}), "abc", "call its collect"),
            (pa.table({"who": ["u"], "item": ["a"]}), "abc", "no column 'user', it has who, item"),
            (pa.table({"user": ["u", None], "item": ["a", "a"]}), "abc", "'user', row 1: None"),
            (pa.table({"user": [1, None], "item": [0, 1]}), range(3), "'user', row 1: None"),
            (pd.DataFrame([["u", "a", "b"]], columns=["user", "item", "item"]), "abc", "one-dim"),
            (pd.DataFrame({"user": [True], "item": [0]}), range(3), "bool"),
            (
                pd.DataFrame({"user": [1, True], "item": 0}, dtype=object),
                range(3),
                "1: True cannot",
            ),
            (torch.tensor(dense), None, "wrap a dense matrix in scipy"),
            (torch.tensor(dense)[None].to_sparse(), None, r"shape \(1, 3, 3\)"),
            (torch.nn.Embedding(3, 3), None, "got Embedding of shape"),
            (torch.utils.data.TensorDataset(torch.ones(2, 3)), None, "interactions"),
            (iter(LISTS), None, "got list_iterator"),
            (np.ma.masked_equal(edges, 2), None, "masked value in row 3"),
        ],
    )
    def test_anything_else_is_one_line_that_says_what(self, source, item_ids, message):
        ids = list(item_ids) if item_ids is not None else None
        with pytest.raises(InputError, match=message) as error:
            fit(source, item_ids=ids)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        "source",
        [
            np.array([[0, 0], [2**31, 1]]),
            np.array([[0, 0], [2**62, 1]]),
            sp.coo_array(([1.0], ([2**31], [1])), shape=(2**31 + 1, 3)),
            sp.coo_array((2**40, 3)),
        ],
    )
    def test_positions_that_can_only_be_ids_are_refused_before_memory_is_taken(self, source):
        with pytest.raises(InputError, match=r"the last user has position \d+.*go into a DataFr"):
            fit(source)

    def test_positions_continue_those_of_a_large_fit(self):
        edge = np.array([[20_000_000, 1]])
        with pytest.raises(InputError, match="position 20000000"):
            parse_interactions(edge, 3)
        assert parse_interactions(edge, 3, n_known_users=20_000_000).matrix.nnz == 1


class TestIds:
    def test_a_nul_at_the_end_is_refused_since_numpy_drops_it(self):
        frame = pd.DataFrame({"user": ["u", "u\0", "v"], "item": ["a", "b", "a"]})
        with pytest.raises(InputError, match=r"column 'user', row 1: id 'u\\x00' ends with a NUL"):
            fit(frame, item_ids=["a", "b", "c"])
        with pytest.raises(InputError, match="item_ids, row 2"):
            fit(item_ids=["a", "b", "a\0"])
        assert as_ids(["a\0b"], "x").tolist() == ["a\0b"]

    def test_a_list_is_not_converted_to_one_kind(self):
        with pytest.raises(InputError, match="x, row 1: 1 cannot be an id"):
            as_ids(["1", 1], "x")
        with pytest.raises(InputError, match="x, row 1: True cannot be an id"):
            as_ids([1, True], "x")

    @pytest.mark.parametrize("bad", [2**63, 2**70, -(2**63) - 1])
    def test_integers_beyond_64_bits(self, bad):
        with pytest.raises(InputError, match=f"holds {bad}, beyond 64 bits"):
            as_ids([1, bad], "x")

    def test_one_long_id_does_not_take_its_length_for_every_id(self):
        ids = [str(number) for number in range(20_000)]
        ids[7] = "x" * 10_000
        with pytest.raises(InputError, match="row 7: the id has 10000 characters"):
            as_ids(ids, "x")
        assert as_ids(ids[:100], "x").tolist() == ids[:100]


class TestVectors:
    vectors = torch.nn.Parameter(torch.tensor(ROWS).bfloat16())

    def test_a_models_vectors_are_taken_as_they_are(self):
        estimator = fit()
        start = estimator.start_
        for values in (self.vectors, self.vectors.detach().float().numpy()):
            np.testing.assert_array_equal(start.on(values), EXPECTED)
            np.testing.assert_array_equal(estimator.on(values, LISTS), EXPECTED)
            assert start.carry_to(values, width=2).shape == (3, 2)
            assert place_new_items(values, LISTS, {"text": ROWS}).shape == (3, 2)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
    def test_numbers_that_float32_cannot_hold_are_refused_everywhere(self, bad):
        rows = np.array(ROWS)
        rows[2, 0] = bad
        estimator = fit()
        for use in (
            estimator.start_.on,
            estimator.on,
            estimator.start_.carry_to,
            lambda rows: place_new_items(rows, LISTS, {"text": ROWS}),
        ):
            with pytest.raises(InputError, match=r"row 2|used item"):
                use(rows)


class TestDamage:
    @pytest.mark.parametrize("kind", ["csr", "csc", "bsr"])
    @pytest.mark.parametrize(
        ("part", "at", "value"),
        [("indptr", 1, 999), ("indptr", -1, 1), ("indices", 0, 9), ("indices", 0, -1)],
    )
    def test_pointers_of_a_sparse_matrix_are_checked_before_they_are_followed(
        self, kind, part, at, value
    ):
        matrix = sp.coo_array(np.ones((4, 3))).asformat(kind)
        getattr(matrix, part)[at] = value
        with pytest.raises(InputError, match="the interaction matrix is damaged: "):
            fit(matrix)

    def test_pointers_whose_differences_wrap_around(self):
        matrix = sp.csr_array(np.ones((4, 3)))
        matrix.indptr[1:3] = 2**31 - 1, -2
        with pytest.raises(InputError, match="is damaged: a pointer is outside of the entries"):
            fit(matrix)

    def test_sparse_tensors_of_half_precision_are_read(self):
        dense = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1]])
        for tensor in (dense.half().to_sparse(), dense.half().to_sparse_csr()):
            np.testing.assert_array_equal(fit(tensor).start_.users["text"], EXPECTED)

    def test_a_hybrid_tensor_is_refused(self):
        hybrid = torch.sparse_coo_tensor([[0, 1]], torch.ones(2, 3), (3, 3))
        with pytest.raises(InputError, match=r"tensor is hybrid, expected one number at each"):
            fit(hybrid)

    @pytest.mark.parametrize("half", ["\ud800", "a\udcff"])
    def test_half_of_a_surrogate_pair_is_no_text(self, half):
        for ids in (["a", half], np.array(["a", half]), np.array(["a", half]).astype(">U4")):
            with pytest.raises(InputError, match=r"ids, row 1: id .* is not text"):
                as_ids(ids, "ids")
        assert as_ids(["😀", "é"], "ids").tolist() == ["😀", "é"]
        with pytest.raises(InputError, match=r"modality name .* cannot be used"):
            SGURInit(n_clusters=2).fit(LISTS, {half: ROWS})


class TestStream:
    @pytest.fixture
    def log(self, tmp_path):
        path = tmp_path / "log.parquet"
        pl.DataFrame({"user": [0, 1, 1, 2, 2], "item": [0, 0, 1, 1, 2]}).write_parquet(path)
        return path

    @pytest.mark.parametrize(
        "interactions",
        [
            *(None, 3, b"log.parquet", [None], [3], {"log.parquet": 1}, np.ones((1, 2))),
            pl.DataFrame({"user": [0]}),
            pl.LazyFrame({"user": [0]}),
            pd.DataFrame({"user": [0]}),
            sp.csr_array(np.eye(3)),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_what_is_no_path_is_refused(self, tmp_path, interactions):
        with pytest.raises(InputError, match="interactions: expected a path or a list of paths"):
            stream(interactions, tmp_path / "out")

    @pytest.mark.parametrize(
        ("options", "shown"),
        [
            ({"tables": 3}, "tables is 3, expected a list of names"),
            ({"tables": "text"}, "tables is 'text', expected a list of names"),
            ({"tables": [["text"]]}, "tables is .*, expected a list of names"),
            ({"columns": None}, "columns is None, expected a list of names"),
            ({"columns": "ui"}, "columns is 'ui', expected a list of names"),
            ({"columns": ("user",)}, "columns is .*, expected two names"),
            ({"columns": ("user", "user")}, "columns is .*, expected two names"),
            ({"columns": {"user": "u", "item": "i"}}, "columns is .*, expected a list of names"),
            ({"dtype": ["float32"]}, "dtype must be one of"),
            ({"dtype": np.float32}, "dtype must be one of"),
            ({"layout": None}, "layout must be one of"),
        ],
    )
    def test_options_of_other_types_are_refused(self, log, tmp_path, options, shown):
        with pytest.raises(InputError, match=shown):
            stream(log, tmp_path / "out", **options)
        assert {path.name for path in tmp_path.iterdir()} == {"log.parquet"}

    @pytest.mark.parametrize("out", ["/", "a\0b"])
    def test_a_name_that_no_folder_can_have_is_refused(self, log, out):
        with pytest.raises(InputError):
            stream(log, out)

    def test_several_paths_may_be_any_collection(self, log, tmp_path):
        for number, given in enumerate(([log], (str(log),), {log}, iter([log]))):
            stream(given, tmp_path / str(number))
        made = [np.load(tmp_path / str(n) / "users" / "text.npy") for n in range(4)]
        for rows in made:
            np.testing.assert_array_equal(rows, EXPECTED)


def stream(interactions, out, **options):
    estimator = SGURInit(n_clusters=2, random_state=0)
    return estimator.stream(interactions, {"text": ROWS}, out, **options)
