"""Arrow arrays of every type with the values that go wrong: limits, NULLs, empty lists, far dates, signed zeros."""

import datetime
import decimal
import math

import pyarrow as pa

UTC = datetime.timezone.utc
D = decimal.Decimal
I64 = (1 << 63) - 1
US_MAX = 253402300799999999  # 9999-12-31T23:59:59.999999
US_MIN = -62135596800000000  # 0001-01-01T00:00:00


def integer(bits, signed):
    top = (1 << (bits - signed)) - 1
    low = -top - 1 if signed else 0
    return [0, 1, None, top, low, 42, None, top - 1, low + 1]


TIMES = [0, None, US_MAX, US_MIN, 1, -1, 1_700_000_000_123_456, None, -2_208_988_800_000_001]
TEXT = ["", None, "a", "äöü€😀", "line\nbreak", 'quote"\',;\t', "x" * 300, "null", "NULL"]
BYTES = [b"", None, b"\x00", b"\xff\xfe", b"abc", bytes(range(256)), b"0" * 13, None, b"\n"]


def ints(kind, values):
    return pa.array(values, pa.int64()).cast(pa.int64()).view(kind) if kind.bit_width == 64 else pa.array(values, pa.int32()).view(kind)


def scaled(unit):
    per = {"s": 1_000_000, "ms": 1_000, "us": 1}
    if unit == "ns":
        return [None if v is None else max(min(v * 1000, I64), -I64) for v in TIMES[:2] + [I64 // 1000, -I64 // 1000] + TIMES[4:]]
    return [None if v is None else v // per[unit] for v in TIMES]


def decimals(precision, scale):
    top = D((0, (9,) * precision, -scale))
    return [D(0), None, top, top.copy_negate(), D((0, (1,), -scale)), D((1, (1,), -scale)), None, D(1) if precision > scale else D(0), D(0)]


def basics() -> dict:
    made = {"null": pa.nulls(9), "bool": pa.array([True, None, False, True, None, False, True, True, False])}
    for bits in (8, 16, 32, 64):
        made[f"int{bits}"] = pa.array(integer(bits, True), getattr(pa, f"int{bits}")())
        made[f"uint{bits}"] = pa.array(integer(bits, False), getattr(pa, f"uint{bits}")())
    floats = [0.0, -0.0, None, math.inf, -math.inf, math.nan, 1.5, -2.25, 0.0]
    made["float16"] = pa.array(floats, pa.float16())
    made["float32"] = pa.array(floats[:6] + [3.4028234663852886e38, 1e-45, 0.1], pa.float32())
    made["float64"] = pa.array(floats[:6] + [1.7976931348623157e308, 5e-324, 0.1], pa.float64())
    made |= {"string": pa.array(TEXT), "large_string": pa.array(TEXT, pa.large_string()), "string_view": pa.array(TEXT, pa.string_view())}
    made |= {"binary": pa.array(BYTES, pa.binary()), "large_binary": pa.array(BYTES, pa.large_binary()), "binary_view": pa.array(BYTES, pa.binary_view())}
    made["fixed_binary"] = pa.array([b"\x00" * 5, None, b"\xff" * 5, b"abcde"] + [b"12345"] * 5, pa.binary(5))
    days = [0, None, 2932896, -719162, 1, -1, 19_000, None, 20_000]
    made["date32"] = ints(pa.date32(), days)
    made["date64"] = ints(pa.date64(), [None if d is None else d * 86_400_000 for d in days])
    clock = [0, None, 86_399_999_999, 1, 43_200_000_000, 1_000_000, None, 3_600_000_000, 86_399_000_000]
    made["time32_s"] = ints(pa.time32("s"), [None if v is None else v // 1_000_000 for v in clock])
    made["time32_ms"] = ints(pa.time32("ms"), [None if v is None else v // 1000 for v in clock])
    made["time64_us"] = ints(pa.time64("us"), clock)
    made["time64_ns"] = ints(pa.time64("ns"), [None if v is None else v * 1000 + 7 for v in clock])
    for unit in ("s", "ms", "us", "ns"):
        made[f"timestamp_{unit}"] = ints(pa.timestamp(unit), scaled(unit))
        made[f"timestamp_{unit}_utc"] = ints(pa.timestamp(unit, "UTC"), scaled(unit))
        lengths = [0, None, 1, -1, 86_400, -86_400, 100_000, None, 5]
        made[f"duration_{unit}"] = ints(pa.duration(unit), [None if v is None else v * 1000 if unit == "ns" else v for v in lengths])
    made["timestamp_us_berlin"] = ints(pa.timestamp("us", "Europe/Berlin"), scaled("us"))
    made["timestamp_ms_offset"] = ints(pa.timestamp("ms", "+05:30"), scaled("ms"))
    for name, precision, scale in (("d5_2", 5, 2), ("d9_9", 9, 9), ("d18_0", 18, 0), ("d19_4", 19, 4), ("d38_0", 38, 0), ("d38_38", 38, 38), ("d1_0", 1, 0)):
        made[f"decimal_{name}"] = pa.array(decimals(precision, scale), pa.decimal128(precision, scale))
    made["decimal32"] = pa.array(decimals(7, 3), pa.decimal32(7, 3))
    made["decimal64"] = pa.array(decimals(16, 3), pa.decimal64(16, 3))
    made["decimal256_38"] = pa.array(decimals(38, 10), pa.decimal256(38, 10))
    made["decimal256_76_small"] = pa.array(decimals(20, 2), pa.decimal256(76, 2))
    return made


def nested() -> dict:
    made = {}
    lists = [[1, 2], None, [], [None], [3, None, 4], [], [5], None, [6]]
    for name, kind in (("list", pa.list_), ("large_list", pa.large_list), ("list_view", pa.list_view), ("large_list_view", pa.large_list_view)):
        made[name] = pa.array(lists, kind(pa.int32()))
    made["list_strings"] = pa.array([["a", ""], None, [], [None], ["äö"], [], ["x" * 50], None, ["NULL"]])
    made["list_lists"] = pa.array([[[1], []], None, [], [None], [[None], [2, 3]], [[]], [[4]], None, [[5]]], pa.list_(pa.list_(pa.int64())))
    made["list_empty_only"] = pa.array([[], None, [], [], [], [], [], [], []], pa.list_(pa.float64()))
    made["list_of_null"] = pa.array([[], None, [None], [], [], [], [None, None], [], []], pa.list_(pa.null()))
    made["fixed_list"] = pa.array([[1, 2], None, [None, 3], [4, 5], [6, 7], [8, None], [9, 9], None, [0, 0]], pa.list_(pa.int16(), 2))
    made["fixed_list_0"] = pa.array([[], None, [], [], [], [], [], [], []], pa.list_(pa.int16(), 0))
    struct = pa.struct([("a", pa.int32()), ("b", pa.string())])
    rows = [{"a": 1, "b": "x"}, None, {"a": None, "b": None}, {"a": 2, "b": ""}, {"a": 3, "b": None}, {"a": None, "b": "y"}, {"a": 4, "b": "z"}, None, {"a": 5, "b": "w"}]
    made["struct"] = pa.array(rows, struct)
    made["struct_deep"] = pa.array([{"s": {"t": {"u": i}}} if i % 3 else None for i in range(9)], pa.struct([("s", pa.struct([("t", pa.struct([("u", pa.int8())]))]))]))
    made["list_structs"] = pa.array([[rows[0], None], None, [], [rows[2]], [rows[3], rows[4]], [], [rows[5]], [None], [rows[8]]], pa.list_(struct))
    maps = [[("a", 1), ("b", None)], None, [], [("", 0)], [("c", 3)], [], [("d", 4), ("e", 5)], None, [("f", 6)]]
    made["map"] = pa.array(maps, pa.map_(pa.string(), pa.int64()))
    made["map_lists"] = pa.array([[(1, [1, None])], None, [], [(2, None)], [(3, [])], [], [(4, [5])], None, [(6, [7])]], pa.map_(pa.int32(), pa.list_(pa.int32())))
    stamp = datetime.datetime(2024, 2, 29, 12, 0, 0, 123456)
    made["struct_times"] = pa.array([{"t": stamp, "d": stamp.date(), "n": D("1.50")}, None] + [{"t": None, "d": None, "n": None}] * 7,
                                    pa.struct([("t", pa.timestamp("us", "UTC")), ("d", pa.date32()), ("n", pa.decimal128(10, 2))]))
    return made


def encoded() -> dict:
    words = ["red", None, "green", "red", "blue", "", None, "green", "red"]
    made = {}
    for bits in (8, 16, 32, 64):
        made[f"dictionary_int{bits}"] = pa.array(words).dictionary_encode().cast(pa.dictionary(getattr(pa, f"int{bits}")(), pa.string()))
    made["dictionary_uint8"] = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0, 2, 3, None, 1, 0], pa.uint8()), pa.array(["red", "green", "blue", ""]))
    made["dictionary_null_value"] = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0, 2, 2, None, 1, 0], pa.int32()), pa.array(["red", None, "blue"]))
    made["dictionary_ints"] = pa.array([10, None, 20, 10, 30, 10, None, 20, 10]).dictionary_encode()
    made["dictionary_list"] = pa.ListArray.from_arrays(pa.array([0, 2, 2, 5, 9, 9, 9, 9, 9, 9], pa.int32()), pa.array(words).dictionary_encode())
    return made


def ipc_only() -> dict:
    import pyarrow.compute as pc

    made = {}
    source = pa.array(["a", "a", None, None, "b", "b", "b", "", "c"])
    for bits in (16, 32, 64):
        made[f"run_end_int{bits}"] = pc.run_end_encode(source, run_end_type=getattr(pa, f"int{bits}")())
    made["run_end_floats"] = pc.run_end_encode(pa.array([1.5, 1.5, None, None, 2.5, 2.5, 2.5, 0.0, -0.0]))
    codes = pa.array([0, 1, 0, 1, 0, 1, 0, 1, 0], pa.int8())
    members = [pa.array([5, 0, None, 0, 7, 0, 8, 0, 9]), pa.array(["", "x", "", "y", "", None, "", "ä", ""])]
    made["union_sparse"] = pa.UnionArray.from_sparse(codes, members, ["n", "s"])
    dense = [pa.array([5, None, 7, 8, 9]), pa.array(["x", "y", None, "ä"])]
    made["union_dense"] = pa.UnionArray.from_dense(codes, pa.array([0, 0, 1, 1, 2, 2, 3, 3, 4], pa.int32()), dense, ["n", "s"])
    made["union_codes"] = pa.UnionArray.from_sparse(pa.array([5, 9, 5, 9, 5, 9, 5, 9, 5], pa.int8()), members, ["n", "s"], [5, 9])
    made["interval_months"] = pa.array([(1, 2, 3000), None, (0, 0, 0), (-1, 5, 86_400_000_000_000), (12, 0, 0), (0, -3, 0), (0, 0, -1000), None, (1200, 31, 0)], pa.month_day_nano_interval())
    made["struct_dictionary"] = pa.StructArray.from_arrays([pa.array(["a", None, "b"] * 3).dictionary_encode(), pa.array(range(9))], ["k", "v"])
    return made
