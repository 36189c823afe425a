"""Tables that are more than their files: Delta, Iceberg, Lance. Their folders must be refused by name; an Iceberg data file alone is Parquet."""

import datetime
import decimal
import shutil
import sys
from pathlib import Path

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent))
from out import Out  # noqa: E402

delta, iceberg, lance = Out("deltalake"), Out("pyiceberg"), Out("pylance")
TABLE = pa.table({"i": pa.array([1, 2, 3], pa.int64()), "s": ["a", None, "c"], "k": ["x", "y", "x"]})


def delta_table(path, steps):
    import deltalake

    deltalake.write_deltalake(str(path), TABLE, partition_by=["k"] if "partition" in steps else None)
    if "append" in steps:
        deltalake.write_deltalake(str(path), TABLE, mode="append")
    if "overwrite" in steps:
        deltalake.write_deltalake(str(path), TABLE, mode="overwrite")
    if "delete" in steps:
        deltalake.DeltaTable(str(path)).delete("i = 2")
    if "checkpoint" in steps:
        deltalake.DeltaTable(str(path)).create_checkpoint()


for name in ("plain", "append", "overwrite", "delete", "partition", "checkpoint", "append_partition_delete"):
    def make(path, name=name):
        delta_table(path, name.split("_"))
        delta.add(path, None, refuse="Delta")

    delta.try_to(name, make)


def one_file(path):
    delta_table(path.parent / "source", ["plain"])
    shutil.copy(next((path.parent / "source").glob("*.parquet")), path)
    delta.add(path, TABLE)


delta.try_to("alone/part.parquet", one_file)


def below(path):
    delta_table(path / "sales" / "orders", ["append"])
    delta.add(path, None, refuse="Delta")


delta.try_to("folder_above", below)


def catalog(folder):
    from pyiceberg.catalog.sql import SqlCatalog

    folder.mkdir(parents=True, exist_ok=True)
    made = SqlCatalog("local", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    made.create_namespace("d")
    return made


STAMP = datetime.datetime(2024, 2, 29, 12, 0, 0, 123456)
RICH = pa.table({
    "i": pa.array([1, None], pa.int32()), "l": pa.array([1 << 40, None]), "f": pa.array([0.5, None], pa.float32()), "n": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(10, 2)),
    "b": pa.array([True, None]), "s": ["ä", None], "x": pa.array([b"\x00", None]), "d": pa.array([STAMP.date(), None]), "t": pa.array([STAMP, None], pa.timestamp("us")), "z": pa.array([STAMP, None], pa.timestamp("us", "UTC")),
    "h": pa.array([STAMP.time(), None], pa.time64("us")), "li": pa.array([[1, None], None], pa.list_(pa.int64())), "st": pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())])), "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
})


def iceberg_table(path, steps=()):
    from pyiceberg.transforms import IdentityTransform

    made = catalog(path)
    table = made.create_table("d.t", TABLE.schema)
    if "partition" in steps:
        with table.update_spec() as update:
            update.add_field("k", IdentityTransform(), "k")
    table.append(TABLE)
    if "overwrite" in steps:
        table.overwrite(TABLE)
    iceberg.add(next(p for p in path.rglob("metadata") if p.is_dir()).parent, None, refuse="Iceberg")


for name in ("plain", "overwrite", "partition"):
    iceberg.try_to(name, lambda path, name=name: iceberg_table(path, [name]))


def iceberg_file(path, source):
    made = catalog(path.parent / f"source_{path.stem}")
    table = made.create_table("d.t", source.schema)
    table.append(source)
    shutil.copy(next((path.parent / f"source_{path.stem}").rglob("*.parquet")), path)
    iceberg.add(path, source)


iceberg.try_to("alone/plain.parquet", lambda path: iceberg_file(path, TABLE))
iceberg.try_to("alone/rich.parquet", lambda path: iceberg_file(path, RICH))


def lance_case(path, whole):
    import lance as library

    library.write_dataset(TABLE, str(path if whole else path.parent / "source.lance"))
    if not whole:
        shutil.copy(next((path.parent / "source.lance").rglob("data/*.lance")), path)
    lance.add(path, None, refuse="(?i)lance")


lance.try_to("table.lance", lambda path: lance_case(path, True))
lance.try_to("alone/data.lance", lambda path: lance_case(path, False))
