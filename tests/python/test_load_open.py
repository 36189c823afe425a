"""`pintail load` of files in which a column has no type, because it holds nothing but NULLs or empty lists."""

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as parquet
import pytest
from conftest import put, query, run

TAGS = pa.list_(pa.string())
PAIR = pa.struct([("a", pa.int64()), ("b", pa.date32())])


def typed(first: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([first, first + 1], pa.int64()),
            "tags": pa.array([["a", "b"], []], TAGS),
            "pair": pa.array([{"a": 1, "b": None}, None], PAIR),
        }
    )


def open_(first: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([first, first + 1], pa.int64()),
            "tags": pa.array([[], None], pa.list_(pa.null())),
            "pair": pa.array([{"a": 2, "b": None}, None], pa.struct([("a", pa.int64()), ("b", pa.null())])),
        }
    )


def bare(first: int) -> pa.Table:
    return pa.table({"id": pa.array([first, first + 1], pa.int64()), "tags": pa.nulls(2), "pair": pa.nulls(2)})


def write(path, table: pa.Table) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("order", [(typed, open_, bare), (bare, open_, typed), (open_, typed, bare)])
def test_a_file_without_types_may_come_first_or_last(server, tmp_path, order, ending):
    folder = tmp_path / "files"
    folder.mkdir()
    for number, make in enumerate(order):
        write(folder / f"{number}.{ending}", make(number * 2))
    run("load", str(folder), "--table", "t", "--server", server.uri)
    found = query(server.client(), "FROM t ORDER BY id")
    assert found["id"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert found.schema.field("tags").type.value_type == pa.string()
    assert found.schema.field("pair").type.field("b").type == pa.date32()
    expected = pa.concat_tables([make(number * 2) for number, make in enumerate(order)], promote_options="permissive")
    assert found.to_pylist() == expected.to_pylist()
    again = run("load", str(folder), "--table", "t", "--server", server.uri)
    assert "3 of 3 files were there already" in again.stdout


def test_files_and_puts_one_after_the_other(server, tmp_path):
    """What the first load leaves open, a put decides, and a later load takes it as it is."""
    for number, make in enumerate([bare, open_]):
        write(tmp_path / f"{number}.parquet", make(number * 2))
    run("load", str(tmp_path / "0.parquet"), "--table", "t", "--server", server.uri)
    put(server.client(), "t", typed(10), "append")
    run("load", str(tmp_path / "1.parquet"), "--table", "t", "--server", server.uri)
    found = query(server.client(), "SELECT id, tags FROM t ORDER BY id").to_pydict()
    assert found == {"id": [0, 1, 2, 3, 10, 11], "tags": [None, None, [], None, ["a", "b"], []]}
