//! Time zone functions over the wire, with fixed results; `tests/python/test_timezones.py` compares many more.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use common::{TestServer, query_error, rows};
use pintail::client::Client;
use pintail::engine::{Database, Options};
use pintail::error::Kind;

async fn text(client: &mut Client, expression: &str) -> String {
    let batches = rows(client, &format!("SELECT ({expression})::VARCHAR")).await.unwrap();
    let column = batches[0].column(0).as_string::<i32>();
    if column.is_null(0) { "NULL".to_owned() } else { column.value(0).to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_with_a_zone_work_without_the_extension() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let cases = [
        ("TIMESTAMPTZ '2024-03-31 12:00:00+00' - INTERVAL 1 MONTH", "2024-02-29 12:00:00+00"),
        ("date_trunc('week', TIMESTAMPTZ '2024-02-29 12:00:00+00')", "2024-02-26 00:00:00+00"),
        ("extract(doy FROM TIMESTAMPTZ '2024-12-31 12:00:00+00')", "366"),
        ("date_part(['year', 'dow'], TIMESTAMPTZ '2024-02-29')", "{'year': 2024, 'dow': 4}"),
        ("date_part(['year'], NULL::TIMESTAMPTZ)", "NULL"),
        ("TIMESTAMPTZ '2021-03-14 07:30:00+00' AT TIME ZONE 'America/New_York'", "2021-03-14 03:30:00"),
        ("TIMESTAMP '2021-11-07 01:30:00' AT TIME ZONE 'America/New_York'", "2021-11-07 06:30:00+00"),
        ("'2020-01-01 12:00 Asia/Kathmandu'::TIMESTAMPTZ", "2020-01-01 06:15:00+00"),
        ("TIMESTAMPTZ '2020-01-01 23:59:59+00'::DATE", "2020-01-01"),
        ("TIMESTAMPTZ '2020-01-03' - TIMESTAMPTZ '2020-01-01'", "2 days"),
        ("TIMESTAMPTZ 'infinity' + INTERVAL 1 DAY", "infinity"),
        ("date_part('year', TIMESTAMPTZ 'infinity')", "NULL"),
        (
            "range(TIMESTAMPTZ '2020-01-01', TIMESTAMPTZ '2020-01-02', INTERVAL 12 HOURS)[2]",
            "2020-01-01 12:00:00+00",
        ),
        ("now() - INTERVAL 1 DAY < now() AND current_date = now()::DATE", "true"),
        ("current_setting('TimeZone')", "UTC"),
        // What had nothing to do with zones binds as before.
        ("date_trunc('month', DATE '2020-02-29')", "2020-02-01 00:00:00"),
        ("DATE '2020-01-01' - INTERVAL 1 DAY", "2019-12-31 00:00:00"),
        ("date_part('year', DATE '2020-02-29')", "2020"),
        ("5 - NULL", "NULL"),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(&mut client, expression).await, expected, "{expression}");
    }
    for (expression, part) in [
        ("now() AT TIME ZONE 'Atlantis/Capital'", "Atlantis/Capital"),
        ("date_part('fortnight', now())", "fortnight"),
        ("TIMESTAMPTZ '2020-01-01' + INTERVAL 1000000 YEARS", "range"),
    ] {
        let error = query_error(&mut client, &format!("SELECT {expression}")).await;
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.message().matches(" Error: ").count() <= 1, "{error}");
    }
    server.stop().await;
}

#[test]
fn opening_is_quick_and_a_missing_extension_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let options = |icu_extension| Options {
        path: directory.path().join("test.duckdb").display().to_string(),
        memory_limit_bytes: 256 << 20,
        threads: 1,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        icu_extension,
    };
    let missing = directory.path().join("icu.duckdb_extension");
    let error = Database::open(options(Some(missing.clone()))).err().unwrap();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("database.icu_extension"), "{error}");
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");

    let start = Instant::now();
    Database::open(options(None)).unwrap();
    // Far above what registration takes, so that only a blunder fails.
    assert!(start.elapsed() < Duration::from_secs(5), "opening took {:?}", start.elapsed());
}
