"""The tables that are measured: made once in a run, as Parquet, as an Arrow file and in one DuckDB file.

    lineitem   TPC-H, by tpchgen-cli
    wells      daily production of wells: six short strings, numbers, a time
    wide       200 doubles
    nested     a list, a struct and a list of structs
    strings    texts of about 2,000 characters
"""

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa

BATCH_ROWS = 65_536
# Nothing sorted, nothing that a dictionary would hold in a few entries only, the same in every run.
WELLS = """
SELECT well % 200 AS field_code, 'Field ' || well % 200 AS field_name, well AS well_code,
    'REF-' || printf('%06d', well) AS well_reference, 'Well ' || well AS well_name,
    TIMESTAMP '1970-01-01' + INTERVAL (dice % 3650) DAY AS production_period, dice % 31 + 1 AS days_on_production,
    dice % 1000 / 100.0::DOUBLE AS oil_production_kbd, dice % 5003 / 100.0::DOUBLE AS gas_production_mmcfd,
    dice % 997 / 997.0::DOUBLE AS liquids_production_kbd, dice % 3001 / 1000.0::DOUBLE AS water_production_kbd,
    'SCADA' AS data_source, 'daily' AS source_data, 'p' || dice % 3 AS partition_0
FROM (SELECT (hash(range) % 20000)::BIGINT AS well, (hash(range + 1000000007) % 1000000007)::BIGINT AS dice FROM range({rows}))
"""
WIDE = "SELECT {columns} FROM range({rows})"
NESTED = """
SELECT range AS id, [range, dice, dice % 7] AS readings, {{'depth': dice / 10.0::DOUBLE, 'unit': 'm', 'ok': dice % 2 = 0}} AS at,
    [{{'layer': 'L' || dice % 9, 'thickness': dice % 40}}, {{'layer': 'M', 'thickness': 1}}] AS layers
FROM (SELECT range, (hash(range) % 100000)::BIGINT AS dice FROM range({rows}))
"""
STRINGS = """
SELECT range AS id, repeat(md5(range::VARCHAR), 55 + (hash(range) % 16)::INTEGER) AS text FROM range({rows})
"""
# Rows at scale 1; lineitem's are its own.
ROWS = {"wells": 5_000_000, "wide": 300_000, "nested": 4_000_000, "strings": 250_000}
TABLES = ["lineitem", *ROWS]


def _wide(rows: int) -> str:
    columns = ", ".join(f"(hash(range + {n}) % 1000000007)::DOUBLE / 1000 AS c{n:03}" for n in range(200))
    return WIDE.format(columns=columns, rows=rows)


class Data:
    """A folder with one form of each table for each kind of side."""

    def __init__(self, folder: Path, scale: float, tables=TABLES):
        self.folder, self.scale, self.tables = folder, scale, list(tables)
        self.database = folder / "tables.duckdb"
        self.rows, self.bytes = {}, {}
        connection = duckdb.connect(str(self.database))
        for name in self.tables:
            self._make(connection, name)
        connection.execute("CHECKPOINT")
        connection.close()

    def _make(self, connection, name: str) -> None:
        if name == "lineitem":
            source = f"read_parquet('{self._lineitem()}')"
        else:
            rows = max(1_000, int(ROWS[name] * self.scale))
            sql = _wide(rows) if name == "wide" else {"wells": WELLS, "nested": NESTED, "strings": STRINGS}[name].format(rows=rows)
            source = f"({sql})"
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {source}")
        connection.execute(f"COPY {name} TO '{self.parquet(name)}' (FORMAT parquet)")
        # As a client would send it: batches of one size.
        reader = connection.sql(f"SELECT * FROM {name}").to_arrow_reader(BATCH_ROWS)
        self.rows[name] = self.bytes[name] = 0
        with pa.OSFile(str(self.arrow(name)), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
            for batch in _even(reader):
                self.rows[name] += batch.num_rows
                self.bytes[name] += batch.nbytes
                writer.write_batch(batch)

    def _lineitem(self) -> Path:
        tool = Path(sys.executable).parent / "tpchgen-cli"
        command = [tool, "parquet", "-s", str(self.scale), "--tables=lineitem", f"--output-dir={self.folder / 'tpch'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return next((self.folder / "tpch").rglob("lineitem*.parquet"))

    def parquet(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def arrow(self, name: str) -> Path:
        return self.folder / f"{name}.arrow"


def _even(reader):
    """The reader's rows in batches of BATCH_ROWS, none of them a slice."""
    rest = None
    for batch in reader:
        rows = pa.Table.from_batches([batch])
        rest = rows if rest is None else pa.concat_tables([rest, rows])
        while rest.num_rows >= BATCH_ROWS:
            yield rest.slice(0, BATCH_ROWS).combine_chunks().to_batches()[0]
            rest = rest.slice(BATCH_ROWS)
    if rest is not None and rest.num_rows:
        yield rest.combine_chunks().to_batches()[0]

