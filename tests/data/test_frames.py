"""Data sets of pandas and of Hugging Face."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest

from tinker_nb.data.reading import as_examples, load_conversations
from tinker_nb.errors import InvalidInputError

HELLO = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
COLUMNS: list[dict[str, list[Any]]] = [
    {"messages": [HELLO, HELLO]},
    {"prompt": ["Hi", "Hi"], "completion": ["Hello", "Hello"]},
    {"instruction": ["Hi", "Hi"], "input": ["", None], "output": ["Hello", "Hello"]},
    {"id": [1, 2], "question": ["Hi", "Hi"], "answer": ["Hello", "Hello"]},
]


@pytest.fixture
def pandas() -> Any:
    return pytest.importorskip("pandas")


@pytest.fixture
def datasets() -> Any:
    return pytest.importorskip("datasets")


@pytest.mark.parametrize("columns", COLUMNS)
def test_a_frame(pandas: Any, columns: dict[str, list[Any]]) -> None:
    assert as_examples(pandas.DataFrame(columns)) == [HELLO, HELLO]


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_a_frame_out_of_a_file(
    pandas: Any, columns: dict[str, list[Any]], backend: str | None
) -> None:
    pytest.importorskip("pyarrow")
    file = io.BytesIO()
    pandas.DataFrame(columns).to_parquet(file)
    options = {"dtype_backend": backend} if backend else {}
    assert load_conversations(pandas.read_parquet(file, **options)) == [HELLO, HELLO]


def test_a_column_of_a_frame(pandas: Any) -> None:
    assert as_examples(pandas.DataFrame(COLUMNS[0])["messages"]) == [HELLO, HELLO]


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_a_missing_value_names_its_row(pandas: Any, backend: str) -> None:
    frame = pandas.DataFrame(
        {"prompt": ["a", "b", None], "answer": ["c", "d", "e"]}, index=[7, 8, 9]
    )
    for each in (frame, frame.convert_dtypes(dtype_backend=backend)):
        with pytest.raises(InvalidInputError, match=r"^Row 2: 'prompt' must hold a text"):
            as_examples(each)


def test_columns_that_say_nothing_are_listed(pandas: Any, datasets: Any) -> None:
    columns = {"url": ["x"], "label": [1]}
    for each in (pandas.DataFrame(columns), datasets.Dataset.from_dict(columns)):
        with pytest.raises(InvalidInputError, match=r"made of url, label; give messages; .*text"):
            as_examples(each)


def test_columns_without_names(pandas: Any) -> None:
    with pytest.raises(InvalidInputError, match="made of 0, 1"):
        as_examples(pandas.DataFrame([["Hi", "Hello"]]))


def test_no_rows_are_no_data(pandas: Any, datasets: Any) -> None:
    for each in (pandas.DataFrame({"text": []}), datasets.Dataset.from_dict({"text": []})):
        with pytest.raises(InvalidInputError, match="There is no data"):
            as_examples(each)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("style", [None, "numpy", "pandas", "arrow"])
def test_a_dataset(datasets: Any, columns: dict[str, list[Any]], style: str | None) -> None:
    dataset = datasets.Dataset.from_dict(columns).with_format(style)
    assert as_examples(dataset) == [HELLO, HELLO]
    assert as_examples(dataset.select([1])) == [HELLO]


def test_a_column_of_a_dataset(datasets: Any) -> None:
    assert as_examples(datasets.Dataset.from_dict(COLUMNS[0])["messages"]) == [HELLO, HELLO]


def test_keys_only_some_messages_have(datasets: Any) -> None:
    named = [{"role": "user", "content": "Hi", "name": "Ann"}, HELLO[1]]
    assert as_examples(datasets.Dataset.from_list([{"messages": named}])) == [named]


def test_other_columns_are_never_read(datasets: Any) -> None:
    broken = {"text": ["Once"], "picture": [{"bytes": b"none", "path": None}]}
    features = datasets.Features({"text": datasets.Value("string"), "picture": datasets.Image()})
    dataset = datasets.Dataset.from_dict(broken, features=features)
    with pytest.raises(Exception, match=r"(?i)image|pillow"):
        dataset[0]
    assert as_examples(dataset) == [[{"role": "user", "content": "Once"}]]


def test_a_dataset_with_splits_says_which(datasets: Any) -> None:
    dataset = datasets.Dataset.from_dict(COLUMNS[0])
    splits = datasets.DatasetDict(train=dataset, test=dataset)
    with pytest.raises(InvalidInputError, match=r"DatasetDict.*'train', 'test'"):
        as_examples(splits)
    assert as_examples(splits["train"]) == [HELLO, HELLO]


def test_a_stream_is_refused_and_its_slice_is_taken(datasets: Any) -> None:
    stream = datasets.Dataset.from_dict(COLUMNS[1]).to_iterable_dataset()
    with pytest.raises(InvalidInputError, match=r"slice.*list\(dataset\.take"):
        as_examples(stream)
    assert as_examples(list(stream.take(1))) == [HELLO]


def test_neither_is_imported() -> None:
    code = (
        "import sys\n"
        "from tinker_nb.data.reading import as_examples\n"
        "as_examples({'text': 'Once'})\n"
        "print([name for name in ('pandas', 'datasets', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
