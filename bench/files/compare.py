"""One form for every value, whoever read it, so that a writer's data and a table's can be compared strictly.

A value is None or a list [tag, ...] of JSON values. Exact numbers (integers of any width, decimals) are "n" and their
shortest decimal text, floats "f" and the bits of the double (every NaN is equal, -0.0 is not 0.0), text "s", bytes "x",
booleans "b", dates "d" in days, times of day "t" in ns, timestamps "ts" in ns, instants "tz" in ns (the zone's name is
not part of the value), spans "iv" in months, days and ns, UUIDs "u", lists "l", maps "m", structs "st" by name, unions "un".
Rows are compared as a multiset: folders have no order.
"""

import datetime
import decimal
import json
import math
import struct
import uuid
from collections import Counter

NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
DAY_NS = 86_400 * NS["s"]
EPOCH = datetime.datetime(1970, 1, 1)


class Pairs(list):
    """A map, as a list of (key, value); a plain dict is a struct."""


def exact(value) -> list:
    text = format(decimal.Decimal(value), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return ["n", "0" if text in ("", "-0", "-") else text]


def floating(value) -> list:
    value = float(value)
    return ["f", "nan" if math.isnan(value) else struct.pack(">d", value).hex()]


def span(months, days, ns) -> list:
    return ["iv", int(months), int(days), int(ns)]


def micros(delta: datetime.timedelta) -> int:
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def plain(value):
    """The form of a Python or numpy value."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, (bool,)) or type(value).__name__ in ("bool_", "bool"):
        return ["b", bool(value)]
    if isinstance(value, int):
        return exact(value)
    if isinstance(value, float):
        return floating(value)
    if isinstance(value, decimal.Decimal):
        return exact(value)
    if isinstance(value, str):
        return ["s", str(value)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ["x", bytes(value).hex()]
    if isinstance(value, uuid.UUID):
        return ["u", value.hex]
    if type(value).__name__ in ("Timestamp", "Timedelta"):  # pandas: finer than datetime, in a unit of their own
        ns = int(value.asm8.view("i8")) * NS[value.unit]
        return span(0, 0, ns) if type(value).__name__ == "Timedelta" else ["ts" if value.tzinfo is None else "tz", ns]
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            naive = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
            return ["tz", micros(naive - EPOCH) * 1000]
        return ["ts", micros(value - EPOCH) * 1000]
    if isinstance(value, datetime.date):
        return ["d", (value - EPOCH.date()).days]
    if isinstance(value, datetime.time):
        return ["t", (value.hour * 3600 + value.minute * 60 + value.second) * NS["s"] + value.microsecond * 1000]
    if isinstance(value, datetime.timedelta):
        return span(0, 0, micros(value) * 1000)
    if isinstance(value, Pairs):
        return ["m", [[plain(k), plain(v)] for k, v in value]]
    if isinstance(value, dict):
        return ["st", sorted(([k, plain(v)] for k, v in value.items()), key=lambda p: p[0])]
    if isinstance(value, (list, tuple)):
        return ["l", [plain(v) for v in value]]
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is not None and getattr(value, "ndim", 0) > 0:
        return ["l", [plain(v) for v in value]]
    if kind in ("i", "u"):
        return exact(int(value))
    if kind == "f":
        return floating(value)
    if kind == "b":
        return ["b", bool(value)]
    if kind == "M":
        whole = value.astype("datetime64[ns]").astype("int64")
        return None if str(value) == "NaT" else ["ts", int(whole)]
    if kind == "m":
        return None if str(value) == "NaT" else span(0, 0, value.astype("timedelta64[ns]").astype("int64"))
    raise TypeError(f"no form for {type(value)}: {value!r}")


def integers(array, width):
    import pyarrow as pa

    return array.view(pa.int64() if width == 64 else pa.int32()).to_pylist()


def zoned_time(bits: int) -> list:
    """A TIMETZ: microseconds above 24 bits of offset. At offset 0 it is a time of day, as Parquet's TIME in UTC is."""
    offset = 57_599 - (bits & 0xFFFFFF)
    return ["ttz", (bits >> 24) * 1000, offset] if offset else ["t", (bits >> 24) * 1000]


def opaque(array, name):
    """Types of DuckDB that Arrow does not have, in the layouts of DuckDB's own exporter."""
    values = array.to_pylist()
    if name in ("hugeint", "uhugeint"):
        return [None if v is None else exact(int.from_bytes(v, "little", signed=name == "hugeint")) for v in values]
    if name == "time_tz":
        return [None if v is None else zoned_time(int.from_bytes(v, "little")) for v in values]
    return [None if v is None else [name, v.hex() if isinstance(v, bytes) else str(v)] for v in values]


def arrow(array) -> list:
    """The forms of an Arrow array, exactly: no value goes through a float, a datetime or a pandas object."""
    import pyarrow as pa
    import pyarrow.types as ty

    if isinstance(array, pa.ChunkedArray):
        return [form for chunk in array.chunks for form in arrow(chunk)]
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        name, storage = kind.extension_name, array.storage
        if name == "arrow.uuid":
            return [None if v is None else ["u", v.hex()] for v in storage.to_pylist()]
        if name == "arrow.bool8":
            return [None if v is None else ["b", v != 0] for v in storage.to_pylist()]
        if name == "arrow.opaque":
            return opaque(storage, kind.type_name)
        return arrow(storage)
    if ty.is_dictionary(kind):
        valid = array.indices.to_pylist()
        words = arrow(array.dictionary)
        return [None if i is None else words[i] for i in valid]
    if ty.is_run_end_encoded(kind):
        import pyarrow.compute as pc

        return arrow(pc.run_end_decode(array))
    if ty.is_null(kind):
        return [None] * len(array)
    if ty.is_boolean(kind):
        return [None if v is None else ["b", v] for v in array.to_pylist()]
    if ty.is_integer(kind) or ty.is_decimal(kind):
        return [None if v is None else exact(v) for v in array.to_pylist()]
    if ty.is_floating(kind):
        return [None if v is None else floating(v) for v in array.to_pylist()]
    if ty.is_timestamp(kind):
        tag, scale = ("tz" if kind.tz else "ts"), NS[kind.unit]
        return [None if v is None else [tag, v * scale] for v in integers(array, 64)]
    if ty.is_date32(kind):
        return [None if v is None else ["d", v] for v in integers(array, 32)]
    if ty.is_date64(kind):
        return [None if v is None else ["d", v // 86_400_000] for v in integers(array, 64)]
    if ty.is_time(kind):
        scale = NS[kind.unit]
        return [None if v is None else ["t", v * scale] for v in integers(array, kind.bit_width)]
    if ty.is_duration(kind):
        return [None if v is None else span(0, 0, v * NS[kind.unit]) for v in integers(array, 64)]
    if ty.is_interval(kind):
        return [None if v is None else span(v.months, v.days, v.nanoseconds) for v in array.to_pylist()]
    if ty.is_map(kind):
        offsets, keys, items = array.offsets.to_pylist(), arrow(array.keys), arrow(array.items)
        pairs = [[k, v] for k, v in zip(keys, items)]
        return [["m", pairs[offsets[i] : offsets[i + 1]]] if v else None for i, v in enumerate(array.is_valid().to_pylist())]
    if ty.is_list(kind) or ty.is_large_list(kind) or ty.is_fixed_size_list(kind) or "list_view" in str(kind):
        import pyarrow.compute as pc

        if "list_view" in str(kind):
            lists = []
            values = arrow(array.values)
            for valid, start, size in zip(array.is_valid().to_pylist(), array.offsets.to_pylist(), array.sizes.to_pylist()):
                lists.append(["l", values[start : start + size]] if valid else None)
            return lists
        lengths, values, at, lists = pc.list_value_length(array).to_pylist(), arrow(array.flatten()), 0, []
        for valid, length in zip(array.is_valid().to_pylist(), lengths):
            lists.append(["l", values[at : at + length]] if valid else None)
            at += length if valid else 0
        return lists
    if ty.is_struct(kind):
        names = [field.name for field in kind]
        columns = [arrow(array.field(i)) for i in range(len(names))]
        order = sorted(range(len(names)), key=lambda i: names[i])
        forms = []
        for row, valid in enumerate(array.is_valid().to_pylist()):
            forms.append(["st", [[names[i], columns[i][row]] for i in order]] if valid else None)
        return forms
    if ty.is_union(kind):
        codes = array.type_codes.to_pylist()
        place = {code: i for i, code in enumerate(kind.type_codes)}
        members = [arrow(array.field(i)) for i in range(kind.num_fields)]
        offsets = array.offsets.to_pylist() if kind.mode == "dense" else range(len(array))
        forms = []
        for code, at in zip(codes, offsets):
            value = members[place[code]][at]
            forms.append(None if value is None else ["un", kind.field(place[code]).name, value])
        return forms
    if ty.is_fixed_size_binary(kind) or "binary" in str(kind):
        return [None if v is None else ["x", v.hex()] for v in array.to_pylist()]
    if "string" in str(kind):
        return [None if v is None else ["s", v] for v in array.to_pylist()]
    raise TypeError(f"no form for {kind}")


def table(source) -> dict:
    """The columns of an Arrow table or of a dict of Python lists."""
    if isinstance(source, dict):
        return {name: [plain(v) for v in values] for name, values in source.items()}
    return {name: arrow(source.column(i)) for i, name in enumerate(source.schema.names)}


def text(form):
    """What a folder's name can hold of a value: a partition's column is compared as that."""
    if form is None:
        return None
    if form[0] == "d":
        return ["s", (EPOCH.date() + datetime.timedelta(days=form[1])).isoformat()]
    if form[0] == "ts":
        return ["s", str(EPOCH + datetime.timedelta(microseconds=form[1] // 1000))]
    if form[0] == "b":
        return ["s", str(form[1]).lower()]
    if form[0] == "f":
        return exact(decimal.Decimal(repr(struct.unpack(">d", bytes.fromhex(form[1]))[0])))
    if form[0] == "s":
        try:
            return exact(decimal.Decimal(form[1]))
        except (decimal.InvalidOperation, ValueError):
            return ["s", form[1].lower() if form[1].lower() in ("true", "false") else form[1]]
    return form


def difference(expected: dict, stored: dict, partitions=()) -> str | None:
    """The first difference in words, or None when both hold the same rows, each as often as in the other."""
    if set(expected) != set(stored):
        return f"columns {sorted(stored)} stored, {sorted(expected)} expected"
    names = sorted(expected)
    for name in partitions:
        expected, stored = dict(expected), dict(stored)
        expected[name], stored[name] = [text(v) for v in expected[name]], [text(v) for v in stored[name]]
    sizes = len(next(iter(expected.values()), [])), len(next(iter(stored.values()), []))
    if sizes[0] != sizes[1]:
        return f"{sizes[1]} rows stored, {sizes[0]} expected"
    for name in names:  # column by column first: it says more
        want, got = Counter(map(json.dumps, expected[name])), Counter(map(json.dumps, stored[name]))
        if want != got:
            left, right = sorted((want - got).elements()), sorted((got - want).elements())
            return f"column {name}: {len(left)} of {sizes[0]} differ: {right[0][:120]} stored, {left[0][:120]} expected"
    want = Counter(json.dumps([expected[n][i] for n in names]) for i in range(sizes[0]))
    got = Counter(json.dumps([stored[n][i] for n in names]) for i in range(sizes[0]))
    return None if want == got else f"the same values in other rows: {sorted((got - want).elements())[0][:200]}"
