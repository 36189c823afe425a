"""A wrong frame sent to the shipped example of a declared table: the error alone says what to fix, and then it goes in."""

import adbc_driver_manager
import pandas as pd
import polars
import pyarrow as pa
import pytest
from conftest import REPOSITORY, Server, put, query

TABLE = "well_production"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("declared"), "--schemas", str(REPOSITORY / "schemas"))
    yield server
    server.stop()


@pytest.fixture
def connection(server):
    with server.connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {TABLE}")
        yield connection


def frame(rows: int = 3) -> pd.DataFrame:
    """A right one: a day of production of one well in each row."""
    days = pd.date_range("2024-01-01", periods=rows, tz="UTC").as_unit("us")
    numbers = [float(n) for n in range(rows)]
    return pd.DataFrame(
        {
            "field_code": 7,
            "field_name": "Brage",
            "well_code": range(rows),
            "well_reference": [f"31/4-A-{n}" for n in range(rows)],
            "well_name": [f"A-{n}" for n in range(rows)],
            "production_period": days,
            "days_on_production": 1,
            "oil_production_kbd": numbers,
            "gas_production_mmcfd": numbers,
            "liquids_production_kbd": numbers,
            "water_production_kbd": numbers,
            "data_source": "SCADA",
            "source_data": None,
            "partition_0": pd.Series([None] * rows, dtype="str"),
        }
    ).astype({"source_data": "str"})


def by_to_sql(server, wrong: pd.DataFrame):
    with server.connect() as connection:
        wrong.to_sql(TABLE, connection, if_exists="append", index=False)


def by_ingest(server, wrong: pd.DataFrame):
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(TABLE, pa.Table.from_pandas(wrong, preserve_index=False), mode="append")


def by_flight(server, wrong: pd.DataFrame):
    put(server.client(), TABLE, pa.Table.from_pandas(wrong, preserve_index=False), "append")


def refusal(send, *arguments) -> str:
    """What a person reads: pandas puts an error of its own before the driver's, as the traceback shows."""
    with pytest.raises((pd.errors.DatabaseError, adbc_driver_manager.Error, pa.ArrowException)) as refused:
        send(*arguments)
    text, error = [], refused.value
    while error is not None:
        text.append(str(error))
        error = error.__cause__
    return "\n".join(text)


WAYS = [by_to_sql, by_ingest, by_flight]


def wrong_type(right):
    return right.astype({"days_on_production": "float64"})


def text_for_time(right):
    return right.assign(production_period=right["production_period"].dt.strftime("%Y-%m-%d"))


def naive_time(right):
    return right.assign(production_period=right["production_period"].dt.tz_localize(None))


def missing_column(right):
    return right.drop(columns=["well_name", "data_source"])


def misspelt_column(right):
    return right.rename(columns={"well_code": "wellcode"})


def null_in_required(right):
    right.loc[1, "production_period"] = pd.NaT
    return right


def twice_in_the_stream(right):
    right.loc[2, ["well_code", "production_period"]] = right.loc[0, ["well_code", "production_period"]]
    return right


@pytest.mark.parametrize("send", WAYS)
@pytest.mark.parametrize(
    "spoil, parts",
    [
        (wrong_type, ['column "days_on_production" is int64', "offers double", "declared strict", "cast it before sending"]),
        (text_for_time, ['column "production_period" is timestamp[us, tz=UTC]', "offers string", "cast it"]),
        (naive_time, ['column "production_period" is timestamp[us, tz=UTC]', "offers timestamp[us]", "cast it"]),
        (missing_column, ['lacks columns "well_name", "data_source"', "every declared column must be sent"]),
        (misspelt_column, ['has no column "wellcode"', 'did you mean "well_code"']),
        (null_in_required, ["row 2 of the stream", 'column "production_period" is required', "NULL"]),
        (twice_in_the_stream, ["row 3 of the stream", '("field_code", "well_code", "production_period")', "(7, 0, 2024-01-01"]),
    ],
)
def test_the_error_alone_says_what_to_fix(server, connection, send, spoil, parts):
    said = refusal(send, server, spoil(frame()))
    for part in [f"table {TABLE}", *parts]:
        assert part in said, said
    # Nothing of the wrong one is stored, and the right one goes in.
    assert query(server.client(), f"FROM {TABLE}").num_rows == 0
    send(server, frame())
    found = query(server.client(), f"SELECT * FROM {TABLE} ORDER BY well_code")
    assert found["production_period"].to_pylist() == list(frame()["production_period"])
    assert found["oil_production_kbd"].to_pylist() == [0.0, 1.0, 2.0] and found["source_data"].null_count == 3


@pytest.mark.parametrize("send", WAYS)
def test_a_key_that_is_stored_already_is_named(server, connection, send):
    send(server, frame(2))
    said = refusal(send, server, frame(3).iloc[[2, 1]])
    for part in [f"table {TABLE}", "row 2 of the stream", '"well_code"', "(7, 1, 2024-01-02", "in the table"]:
        assert part in said, said
    assert query(server.client(), f"FROM {TABLE}").num_rows == 2


def test_a_column_in_another_form_of_the_same_type_is_taken(server, connection):
    """pandas and polars send texts as large_string or string_view; both are a declared string."""
    right = pa.Table.from_pandas(frame(), preserve_index=False)
    for number, form in enumerate([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]):
        fields = [field.with_type(form) if pa.types.is_string(field.type) or pa.types.is_large_string(field.type) else field for field in right.schema]
        table = right.cast(pa.schema(fields))
        codes = pa.array([number * 10 + n for n in range(3)])
        table = table.set_column(table.schema.get_field_index("well_code"), "well_code", codes)
        assert put(server.client(), TABLE, table, "append")["rows"] == 3
    assert query(server.client(), f"SELECT DISTINCT field_name FROM {TABLE}").to_pydict() == {"field_name": ["Brage"]}
    # In an error the type has the name that a declaration would give it.
    wrong = right.set_column(0, "field_code", right["field_name"].cast(pa.large_string()))
    assert "is int64 and the stream offers string" in refusal(put, server.client(), TABLE, wrong, "append")


def test_polars_is_held_to_the_declaration(server, connection):
    right = polars.from_pandas(frame())
    wrong = right.with_columns(polars.col("oil_production_kbd").cast(polars.Float32))
    said = refusal(lambda: wrong.write_database(TABLE, connection, if_table_exists="append"))
    assert f'table {TABLE}: column "oil_production_kbd" is double and the stream offers float; ' in said, said
    right.write_database(TABLE, connection, if_table_exists="append")
    found = polars.read_database(f"SELECT * FROM {TABLE} ORDER BY well_code", connection)
    assert found["well_name"].to_list() == ["A-0", "A-1", "A-2"]
    assert found["production_period"].to_list() == right["production_period"].to_list()
