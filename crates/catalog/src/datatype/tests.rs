//! Texts become types and types become the same texts, whatever is nested in whatever.

use proptest::prelude::*;

use super::*;

fn opaque(storage: &str, name: &str) -> String {
    format!("extension<arrow.opaque[storage_type={storage}, type_name={name}, vendor_name=DuckDB]>")
}

#[test]
fn every_spelling_is_read_and_shown_as_pyarrow_prints_it() {
    for (text, shown, duckdb) in [
        ("bool", "bool", "BOOLEAN"),
        ("boolean", "bool", "BOOLEAN"),
        ("int64", "int64", "BIGINT"),
        ("uint8", "uint8", "UTINYINT"),
        ("float16", "halffloat", "FLOAT"),
        ("float64", "double", "DOUBLE"),
        ("utf8", "string", "VARCHAR"),
        ("large_utf8", "large_string", "VARCHAR"),
        ("date32", "date32[day]", "DATE"),
        ("time64[ns]", "time64[ns]", "TIME_NS"),
        ("timestamp[s]", "timestamp[s]", "TIMESTAMP_S"),
        ("timestamp[us, tz=UTC]", "timestamp[us, tz=UTC]", "TIMESTAMP WITH TIME ZONE"),
        ("timestamp[ns,tz=Europe/Berlin]", "timestamp[ns, tz=Europe/Berlin]", "TIMESTAMPTZ_NS"),
        ("timestamp[ms, tz=+02:00]", "timestamp[ms, tz=+02:00]", "TIMESTAMP WITH TIME ZONE"),
        ("decimal(10,2)", "decimal128(10, 2)", "DECIMAL(10,2)"),
        ("decimal256(38, 0)", "decimal256(38, 0)", "DECIMAL(38,0)"),
        ("interval", "month_day_nano_interval", "INTERVAL"),
        ("uuid", "extension<arrow.uuid>", "UUID"),
        ("list<int32>", "list<item: int32>", "INTEGER[]"),
        ("large_list<x: int32 not null>", "large_list<x: int32 not null>", "INTEGER[]"),
        ("fixed_size_list<item: float>[3]", "fixed_size_list<item: float>[3]", "FLOAT[3]"),
        ("fixed_size_binary[16]", "fixed_size_binary[16]", "BLOB"),
        (
            "struct<a b: int64, date: string not null, map: bool>",
            "struct<a b: int64, date: string not null, map: bool>",
            "STRUCT(\"a b\" BIGINT, date VARCHAR, \"map\" BOOLEAN)",
        ),
        ("struct<\"a: b\": int8>", "struct<\"a: b\": int8>", "STRUCT(\"a: b\" TINYINT)"),
        ("map<string, int32, keys_sorted>", "map<string, int32, keys_sorted>", "MAP(VARCHAR, INTEGER)"),
        (
            "dictionary<values=string, indices=int8, ordered=0>",
            "dictionary<values=string, indices=int8, ordered=0>",
            "VARCHAR",
        ),
        (
            "run_end_encoded<run_ends: int32, values: double>",
            "run_end_encoded<run_ends: int32, values: double>",
            "DOUBLE",
        ),
        (
            "list<item: struct<at: list<item: timestamp[us, tz=UTC]>>>",
            "list<item: struct<at: list<item: timestamp[us, tz=UTC]>>>",
            "STRUCT(\"at\" TIMESTAMP WITH TIME ZONE[])[]",
        ),
        ("hugeint", &opaque("fixed_size_binary[16]", "hugeint"), "HUGEINT"),
        (
            &opaque("fixed_size_binary[16]", "uhugeint"),
            &opaque("fixed_size_binary[16]", "uhugeint"),
            "UHUGEINT",
        ),
        ("time_tz", &opaque("fixed_size_binary[8]", "time_tz"), "TIME WITH TIME ZONE"),
        ("bit", &opaque("binary", "bit"), "BIT"),
        ("list<item: bignum>", &format!("list<item: {}>", opaque("binary", "bignum")), "BIGNUM[]"),
        ("geometry", "extension<geoarrow.wkb>", "GEOMETRY"),
        (
            "extension<geoarrow.wkb[crs=OGC:CRS84]>",
            "extension<geoarrow.wkb[crs=OGC:CRS84]>",
            "GEOMETRY('OGC:CRS84')",
        ),
        ("variant", "extension<arrow.parquet.variant>", "VARIANT"),
        (
            "enum<\"a\", \"it's\", \"x>, \"\"y\"\"\">",
            "enum<\"a\", \"it's\", \"x>, \"\"y\"\"\">",
            "ENUM('a', 'it''s', 'x>, \"y\"')",
        ),
        (
            "sparse_union<a b: int32=5, s: uuid not null=0>",
            "sparse_union<a b: int32=5, s: extension<arrow.uuid> not null=0>",
            "UNION(\"a b\" INTEGER, s UUID)",
        ),
        ("dense_union<n: int8=0>", "dense_union<n: int8=0>", "UNION(n TINYINT)"),
        (
            "tuple<int32, tuple<json>>",
            "tuple<int32, tuple<extension<arrow.json>>>",
            "TUPLE(INTEGER, TUPLE(JSON))",
        ),
    ] {
        let found = parse(text).unwrap();
        assert_eq!((found.text.as_str(), found.duckdb.as_str()), (shown, duckdb), "{text}");
    }
}

#[test]
fn a_wrong_type_says_what_was_meant() {
    for (text, parts) in [
        ("int46", &["unknown type \"int46\"", "did you mean \"int64\"", "decimal128(p, s)"][..]),
        ("VARCHAR", &["\"VARCHAR\"", "did you mean \"string\""]),
        ("BIGINT[]", &["did you mean \"list<item: int64>\""]),
        ("Int64", &["did you mean \"int64\""]),
        ("str", &["did you mean \"string\""]),
        ("timestamp", &["did you mean \"timestamp[us]\""]),
        ("timestamp[us, tz=Europe/Berln]", &["unknown time zone \"Europe/Berln\"", "tz=Europe/Berlin]"]),
        ("timestamp[m]", &["unknown type \"timestamp[m]\"", "did you mean"]),
        ("timestamp[min, tz=UTC]", &["the unit s, ms, us or ns", "\"min\""]),
        ("decimal128(39, 2)", &["precision from 1 to 38", "(39, 2)"]),
        ("decimal128(5, 6)", &["scale from 0 to the precision"]),
        ("decimal256(76, 2)", &["precision from 1 to 38"]),
        ("decimal128(5)", &["expected"]),
        ("null", &["type null"]),
        ("list<item: int46>", &["\"list<item: int46>\" is no type", "unknown type \"int46\""]),
        ("list<item: int32", &["expected \">\"", "the end"]),
        ("struct<>", &["at least one field"]),
        ("struct<a: int8, A: int8>", &["two fields \"A\""]),
        ("fixed_size_binary[0]", &["at least 1"]),
        ("fixed_size_list<item: int8>[100001]", &["100000"]),
        ("dictionary<values=string, indices=string>", &["integer type"]),
        ("dictionary<values=list<item: int8>, indices=int8>", &["plain type"]),
        ("run_end_encoded<run_ends: int8, values: string>", &["int16, int32 or int64"]),
        ("sparse_union<>", &["at least one member"]),
        ("sparse_union<a: int8=0, A: int8=1>", &["two members \"A\""]),
        ("sparse_union<a: int8=1, b: int8=1>", &["1"]),
        ("sparse_union<a: int8=200>", &["0 to 127", "\"200\""]),
        ("sparse_union<a: int8>", &["expected \"=\""]),
        ("enum<>", &["at least one value"]),
        ("enum<\"a\", \"a\">", &["\"a\" twice"]),
        ("enum<a>", &["double quotes"]),
        ("extension<geoarrow.wkb[crs=a b]>", &["unknown type"]),
        ("int32 maybe", &["left over", "maybe"]),
        ("", &["expected a type"]),
    ] {
        let message = parse(text).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
    let deep = format!("{}int8{}", "list<item: ".repeat(40), ">".repeat(40));
    assert!(parse(&deep).unwrap_err().to_string().contains("deeper than 32"));
}

#[test]
fn engine_types_without_an_arrow_form_are_named() {
    for (text, part) in [
        ("\"NULL\"", "NULL"),
        ("STRUCT(a TYPE)", "TYPE"),
        ("GEOMETRY('GEOGCRS[\"WGS 84\"]')[]", "GEOMETRY"),
        ("SOMETHING(1)", "SOMETHING"),
    ] {
        let message = from_duckdb(text).unwrap_err();
        assert!(message.contains("no Arrow type") && message.contains(part), "{message}");
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[A-Z]{2}", "[ -~]{1,8}", Just("select".to_owned()), Just("ü 世".to_owned())]
}

fn leaves() -> impl Strategy<Value = DeclaredType> {
    prop_oneof![
        proptest::sample::select(SCALARS.iter().map(DeclaredType::of).collect::<Vec<_>>()),
        (1_u8..=38, any::<prop::sample::Index>()).prop_map(|(precision, scale)| {
            let scale = u8::try_from(scale.index(usize::from(precision) + 1)).unwrap();
            decimal(128, precision, scale).unwrap()
        }),
        proptest::sample::select(vec!["UTC", "Europe/Berlin", "+02:00"])
            .prop_map(|zone| zoned(TimeUnit::Millisecond, zone)),
        (1_i32..40).prop_map(|length| fixed_size_binary(length).unwrap()),
        Just(variant()),
        Just(geometry("EPSG:4326").unwrap()),
        prop::collection::hash_set("[ -~]{0,6}|ü", 1..5)
            .prop_map(|values| enumeration(&values.into_iter().collect::<Vec<_>>()).unwrap()),
    ]
}

fn types() -> impl Strategy<Value = DeclaredType> {
    leaves().prop_recursive(4, 24, 4, |inner| {
        let child = (names(), inner.clone(), any::<bool>())
            .prop_map(|(name, data_type, nullable)| Child { name, data_type, nullable })
            .boxed();
        prop_oneof![
            (proptest::sample::select(vec!["list", "large_list", "list_view"]), names(), inner.clone())
                .prop_map(|(kind, name, data_type)| list(kind, &Child { name, data_type, nullable: true })),
            (inner.clone(), 1_i32..9)
                .prop_map(|(item, length)| fixed_size_list(&Child::item(item), length).unwrap()),
            prop::collection::vec(child.clone(), 1..4)
                .prop_filter_map("distinct names", |children| structure(&children).ok()),
            (
                proptest::sample::select(vec!["sparse_union", "dense_union"]),
                prop::collection::vec(child, 1..4)
            )
                .prop_filter_map("distinct names", |(kind, members)| union(
                    kind,
                    (0..).zip(members).collect()
                )
                .ok()),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|items| tuple(items).unwrap()),
            (inner.clone(), inner, any::<bool>(), any::<bool>())
                .prop_map(|(key, value, nullable, sorted)| map(key, value, nullable, sorted)),
        ]
    })
}

proptest! {
    /// What is shown is read again as the same type, in all its forms.
    #[test]
    fn a_type_reads_back_from_its_own_text(data_type in types()) {
        prop_assert_eq!(parse(&data_type.text).unwrap(), data_type);
    }

    /// The engine's text comes back as a type with the same engine text.
    #[test]
    fn a_type_reads_back_from_the_engine_text(data_type in types()) {
        let back = from_duckdb(&data_type.duckdb).unwrap();
        prop_assert_eq!(&back.duckdb, &data_type.duckdb);
        prop_assert_eq!(parse(&back.text).unwrap(), back);
    }

    /// Nothing that a person may write breaks the reader.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z<>\\[\\](),:= \"0-9]{0,40}|.{0,40}") {
        let _ = parse(&text);
        let _ = from_duckdb(&text);
    }
}
