"""pyarrow: Parquet in every version, page format, codec and encoding; Arrow files, streams and Feather."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent))
import data  # noqa: E402
from out import Out  # noqa: E402

out = Out("pyarrow")
BASICS, NESTED, ENCODED, IPC = data.basics(), data.nested(), data.encoded(), data.ipc_only()
ROWS = pa.array(range(9), pa.int32())


def one(name, array):
    return pa.table({"place": ROWS, name: array})


def parquet(name, table, holds=None, refuse=None, note="", **options):
    def make(path):
        pq.write_table(table, path, **options)
        out.add(path, table if holds is None else holds, refuse=refuse, note=note)

    out.try_to(f"{name}.parquet", make)


def ipc_file(name, table, stream=False, holds=None, **options):
    def make(path):
        with pa.OSFile(str(path), "wb") as sink:
            with (ipc.new_stream if stream else ipc.new_file)(sink, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
                writer.write_table(table)
        out.add(path, holds or table)

    out.try_to(f"{name}.{'arrows' if stream else 'arrow'}", make)


# Every type alone: as pyarrow writes it, without the embedded Arrow schema, as an Arrow file and as a stream.
for name, array in {**BASICS, **NESTED, **ENCODED}.items():
    parquet(f"type/{name}", one(name, array))
for name, array in {**BASICS, **NESTED}.items():
    # What is left without the schema is what pyarrow itself reads: durations become integers, zones UTC, and so on.
    def bare(path, name=name, array=array):
        pq.write_table(one(name, array), path, store_schema=False, version="2.6")
        out.add(path, pq.read_table(path))

    out.try_to(f"bare/{name}.parquet", bare)
for name, array in {**BASICS, **NESTED, **ENCODED, **IPC}.items():
    ipc_file(f"ipc/{name}", one(name, array))
for name, array in {**IPC, **{k: NESTED[k] for k in ("list_view", "map", "struct_deep")}}.items():
    ipc_file(f"stream/{name}", one(name, array), stream=True)

# Versions, pages and codecs over one wide table of many rows and row groups.
PLAIN = {k: v for k, v in BASICS.items() if "decimal" not in k and not k.startswith(("null", "timestamp_ns", "duration", "float16", "date64", "binary_view", "string_view", "time64_ns"))}
WIDE = pa.concat_tables([pa.table(PLAIN)] * 40).append_column("n", pa.array(range(360)))
for version in ("1.0", "2.4", "2.6"):
    for page in ("1.0", "2.0"):
        def versions(path, version=version, page=page):
            # Version 1.0 has no uint32 and rounds nanoseconds: what the file holds is what pyarrow reads of it.
            pq.write_table(WIDE, path, version=version, data_page_version=page, row_group_size=100)
            out.add(path, pq.read_table(path))

        out.try_to(f"version/v{version}_page{page}.parquet", versions)
for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
    parquet(f"codec/{codec}", WIDE, compression=codec, row_group_size=128)
    parquet(f"codec/{codec}_v2_nodict", WIDE, compression=codec, data_page_version="2.0", use_dictionary=False)
SIMPLE = pa.table({"i": pa.array([None if i % 7 == 0 else i * i - 5000 for i in range(3000)]), "s": [f"prefix-{i:05}" for i in range(3000)], "f": [i / 3 for i in range(3000)],
                   "g": pa.array([i / 7 for i in range(3000)], pa.float32()), "x": pa.array([i.to_bytes(4, "big") for i in range(3000)], pa.binary(4)), "b": [i % 3 == 0 for i in range(3000)]})
for column, encoding in (("i", "DELTA_BINARY_PACKED"), ("s", "DELTA_LENGTH_BYTE_ARRAY"), ("s", "DELTA_BYTE_ARRAY"), ("f", "BYTE_STREAM_SPLIT"), ("g", "BYTE_STREAM_SPLIT"), ("i", "BYTE_STREAM_SPLIT"), ("x", "BYTE_STREAM_SPLIT"), ("x", "DELTA_BYTE_ARRAY"), ("b", "RLE")):
    parquet(f"encoding/{column}_{encoding.lower()}", SIMPLE, use_dictionary=False, column_encoding={column: encoding}, data_page_version="2.0")
parquet("pages/tiny_pages", SIMPLE, data_page_size=64, write_page_index=True, write_page_checksum=True)
parquet("pages/tiny_dictionary", SIMPLE, dictionary_pagesize_limit=256)
parquet("pages/tiny_groups", SIMPLE, row_group_size=7)
parquet("pages/no_statistics", SIMPLE, write_statistics=False)
parquet("pages/bloom", SIMPLE, bloom_filter_options={"s": {"ndv": 3000, "fpp": 0.01}, "i": True})
parquet("pages/sorted", SIMPLE, sorting_columns=[pq.SortingColumn(1)])
parquet("pages/decimal_as_integer", pa.table({"a": BASICS["decimal_d5_2"], "b": BASICS["decimal_d18_0"], "c": BASICS["decimal_d38_0"]}), store_decimal_as_integer=True)
parquet("pages/wide_1000_columns", pa.table({f"c{i}": [i, None] for i in range(1000)}))
parquet("pages/time_adjusted", one("t", BASICS["time64_us"]), write_time_adjusted_to_utc=True)
parquet("empty/no_rows", WIDE.slice(0, 0))
parquet("empty/empty_groups_between", pa.table({"a": pa.array([], pa.int64())}))
parquet("empty/all_null", pa.table({"a": pa.nulls(5, pa.string()), "b": pa.nulls(5, pa.list_(pa.int8())), "c": range(5)}))
parquet("required/not_null", pa.table({"a": [1, 2], "l": [[1], []]}, pa.schema([pa.field("a", pa.int64(), False), pa.field("l", pa.list_(pa.field("element", pa.int64(), False)), False)])))

# INT96 keeps nanoseconds within 292 years of 1970 only; other writers use all of it (see spark).
for name in ("timestamp_us", "timestamp_us_utc", "timestamp_ns"):
    near = pa.array([0, None, 1, -1, 1_700_000_000_123_456, -2_208_988_800_000_001, 9_000_000_000_000_000, None, 7], pa.int64()).view(pa.timestamp("us", BASICS[name].type.tz))
    parquet(f"int96/{name}", one("t", near), use_deprecated_int96_timestamps=True)
near = pa.array([[0, None], None, [], [1_700_000_000_123_456]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us")))
parquet("int96/list", pa.table({"l": near}), use_deprecated_int96_timestamps=True)
parquet("int96/struct", pa.table({"s": pa.StructArray.from_arrays([near.flatten()], ["t"])}), use_deprecated_int96_timestamps=True)

# Two-level names of lists, field ids, names that are hard.
for name in ("list", "list_lists", "list_structs", "map"):
    parquet(f"legacy/{name}", one(name, NESTED[name]), use_compliant_nested_type=False)
    parquet(f"legacy/{name}_bare", one(name, NESTED[name]), use_compliant_nested_type=False, store_schema=False)
parquet("names/field_ids", pa.table({"a": [1], "b": ["x"]}, pa.schema([pa.field("a", pa.int64(), metadata={"PARQUET:field_id": "7"}), pa.field("b", pa.string(), metadata={"PARQUET:field_id": "3"})])))
HARD = {"": [1], " ": [2], "a.b": [3], 'q"uote': [4], "Ümläut 😀": [5], "select": [6], "rowid": [7], "x" * 200: [8], "a/b=c": [9]}
for number, (name, values) in enumerate(HARD.items()):
    parquet(f"names/hard_{number}", pa.table({name: values, "other": [0]}), refuse=None if name else "no name")
parquet("names/case_differs", pa.table({"a": [1], "A": [2]}), refuse='column "A"', note="DuckDB's names are equal without case")
parquet("names/twice", pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), refuse='column "a"')
parquet("names/no_columns", pa.table({}), refuse="no column")
parquet("names/empty_struct", pa.table({"i": [1, 2], "s": pa.array([{}, None], pa.struct([]))}))

# Extension types.
raw = [bytes(range(16)), None, b"\xff" * 16]
UUID = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(raw, pa.binary(16)))
JSON = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None, "[]"]))
BOOL8 = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, None, 0], pa.int8()))
TENSOR = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2)))
OPAQUE = pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "thing", "nobody"), pa.array([b"a", None, b"b"]))
for name, array in (("uuid", UUID), ("json", JSON), ("bool8", BOOL8), ("tensor", TENSOR)):
    parquet(f"extension/{name}", pa.table({name: array}))
    ipc_file(f"extension/{name}", pa.table({name: array}))
ipc_file("extension/opaque", pa.table({"o": OPAQUE}), holds=pa.table({"o": OPAQUE.storage}))
parquet("extension/uuid_required", pa.table({"u": UUID.take([0, 2])}, pa.schema([pa.field("u", pa.uuid(), False)])))

# Arrow files: compression, many batches, growing dictionaries, other endings, no ending.
for codec in ("lz4", "zstd"):
    ipc_file(f"packed/{codec}", WIDE, compression=codec)
    ipc_file(f"packed/{codec}_stream", WIDE, stream=True, compression=codec)


def growing(path, stream):
    batches = [pa.record_batch({"c": pa.array([f"w{i}" for i in range(stop)]).dictionary_encode()}) for stop in (2, 5, 5, 300)]
    options = ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.OSFile(str(path), "wb") as sink, (ipc.new_stream if stream else ipc.new_file)(sink, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    out.add(path, pa.Table.from_batches(batches))


def replaced(path):
    batches = [pa.record_batch({"c": pa.array(words).dictionary_encode()}) for words in (["a", "b"], ["x", "y", "x"], ["b", "a"])]
    with pa.OSFile(str(path), "wb") as sink, ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    out.add(path, pa.Table.from_batches(batches))


out.try_to("dictionary/delta.arrow", lambda path: growing(path, False))
out.try_to("dictionary/delta.arrows", lambda path: growing(path, True))
out.try_to("dictionary/replaced.arrows", replaced)


def sliced(path):
    table = pa.table({k: v.slice(3, 4) for k, v in {**NESTED, **ENCODED}.items() if k != "fixed_list_0"})
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    out.add(path, pa.table({name: pa.array(column.to_pylist(), column.type) for name, column in zip(table.column_names, table.columns)}))


out.try_to("dictionary/slices.arrow", sliced)
for name, options in (("v2_lz4", dict(compression="lz4")), ("v2_zstd", dict(compression="zstd")), ("v2_plain", dict(compression="uncompressed"))):
    out.try_to(f"feather/{name}.feather", lambda path, options=options: (feather.write_feather(SIMPLE, str(path), **options), out.add(path, SIMPLE)))
out.try_to("feather/v1.feather", lambda path: (feather.write_feather(SIMPLE.drop_columns(["x"]), str(path), version=1), out.add(path, None, refuse="(?i)feather.*(1|V1)")))


def other_name(name, write, table=SIMPLE):
    out.try_to(name, lambda path: (write(table, path), out.add(path, table)))


def as_file(table, path):
    with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def as_stream(table, path):
    with pa.OSFile(str(path), "wb") as sink, ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


for name, write in (("parquet_no_ending", pq.write_table), ("parquet.pq", pq.write_table), ("parquet.dat", pq.write_table), ("file_no_ending", as_file), ("stream_no_ending", as_stream),
                    ("stream_named.arrow", as_stream), ("file_named.arrows", as_file), ("arrow.ipc", as_file), ("parquet_named.arrow", pq.write_table), ("arrow_named.parquet", as_file), ("UPPER.PARQUET", pq.write_table), ("with space ä.parquet", pq.write_table)):
    other_name(f"named/{name}", write)

# Folders.
PARTS = pa.table({"year": pa.array([2023, 2023, 2024, None, 2024], pa.int32()), "region": ["eu", "us/x", "eu", "a=b", None], "v": [1, 2, 3, 4, 5]})


def folder(name, table, partitions=(), nested_name=None, **options):
    def make(path):
        dataset.write_dataset(table, path, format=options.pop("format", "parquet"), **options)
        out.add(path, table, partitions=partitions)

    out.try_to(f"folder/{name}", make)


HIVE = dataset.partitioning(pa.schema([("year", pa.int32()), ("region", pa.string())]), flavor="hive")
folder("hive", PARTS, ("year", "region"), partitioning=HIVE)
folder("hive_arrow", PARTS, ("year", "region"), partitioning=HIVE, format="ipc")
folder("flat", SIMPLE, max_rows_per_file=500, max_rows_per_group=500)
folder("flat_feather", SIMPLE, max_rows_per_file=1000, max_rows_per_group=1000, format="feather")
DATES = pa.table({"day": pa.array([19000, 19001, 19001], pa.int32()).view(pa.date32()), "v": [1.5, 2.5, 3.5]})
folder("hive_dates", DATES, ("day",), partitioning=dataset.partitioning(pa.schema([("day", pa.date32())]), flavor="hive"))


def with_metadata(path):
    seen = []
    pq.write_to_dataset(SIMPLE, path, metadata_collector=seen)
    pq.write_metadata(SIMPLE.schema, path / "_common_metadata")
    pq.write_metadata(SIMPLE.schema, path / "_metadata", metadata_collector=seen)
    out.add(path, SIMPLE)


out.try_to("folder/metadata", with_metadata)


def mixed(path):
    path.mkdir(parents=True)
    pq.write_table(pa.table({"a": pa.array([1, 2], pa.int32()), "n": pa.nulls(2)}), path / "0.parquet")
    pq.write_table(pa.table({"a": pa.array([1 << 40], pa.int64()), "n": ["x"], "more": [1.5]}), path / "1.parquet")
    out.add(path, {"a": [1, 2, 1 << 40], "n": [None, None, "x"], "more": [None, None, 1.5]}, note="union by name, widest type")


out.try_to("folder/mixed", mixed)


def cannot(path):
    path.mkdir(parents=True)
    pq.write_table(pa.table({"a": [1, 2]}), path / "0.parquet")
    pq.write_table(pa.table({"a": [[1]]}), path / "1.parquet")
    out.add(path, None, refuse=r"1\.parquet.*\ba\b|\ba\b.*1\.parquet")


out.try_to("folder/cannot_be_joined", cannot)


def encrypted(path, whole):
    import base64

    import pyarrow.parquet.encryption as pe

    class Kms(pe.KmsClient):
        def __init__(self, _):
            super().__init__()

        def wrap_key(self, key, _):
            return base64.b64encode(key)

        def unwrap_key(self, wrapped, _):
            return base64.b64decode(wrapped)

    config = pe.EncryptionConfiguration(footer_key="foot", column_keys={"col": ["i"]}, plaintext_footer=not whole)
    factory = pe.CryptoFactory(lambda kms: Kms(kms))
    with pq.ParquetWriter(path, SIMPLE.schema, encryption_properties=factory.file_encryption_properties(pe.KmsConnectionConfig(), config)) as writer:
        writer.write_table(SIMPLE)
    out.add(path, None, refuse="(?i)encrypt")


out.try_to("encrypted/footer.parquet", lambda path: encrypted(path, True))
out.try_to("encrypted/column.parquet", lambda path: encrypted(path, False))

import pyarrow.csv as csv  # noqa: E402

TEXTS = pa.table({"i": [1, None, 3], "s": ["a,b", 'q"', "line\nbreak"], "f": [0.5, -1e300, None], "d": ["2024-01-01"] * 3})
DATED = TEXTS.set_column(3, "d", TEXTS["d"].cast(pa.date32()))
out.try_to("csv/plain.csv", lambda path: (csv.write_csv(TEXTS, path), out.add(path, DATED)))
out.try_to("csv/semicolon.csv", lambda path: (csv.write_csv(TEXTS, path, csv.WriteOptions(delimiter=";")), out.add(path, DATED)))
import pyarrow.orc as orc  # noqa: E402

out.try_to("other/file.orc", lambda path: (orc.write_table(SIMPLE.select(["i", "s"]), str(path)), out.add(path, None, refuse="ORC")))
for name, content, word in (("cut_off.parquet", None, "parquet|end|cut|short"), ("zero_bytes.parquet", b"", "empty|0 bytes|no data|too s|ends|size is 0"), ("text.parquet", b"hello, world\n" * 5, "not|neither|no |invalid|holds text")):
    def broken(path, content=content, word=word):
        if content is None:
            pq.write_table(SIMPLE, path)
            content = path.read_bytes()[:-100]
        path.write_bytes(content)
        out.add(path, None, refuse=f"(?i){word}")

    out.try_to(f"broken/{name}", broken)
