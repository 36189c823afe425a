//! Time zone functions over the wire, with fixed results; `tests/python/test_timezones.py` compares many more.

use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use pintail::client::Client;
use pintail::engine::{Database, Options};
use pintail::error::Kind;

use crate::support::calls::{query_error, rows};
use crate::support::database;
use crate::support::server::TestServer;

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

/// The engine's own series take the columns of tables beside them, and timestamps with a zone have series as well.
#[tokio::test(flavor = "multi_thread")]
async fn series_of_columns_and_of_timestamps_with_a_zone() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let two = "(VALUES (2), (3)) v(n)";
    let days = "TIMESTAMPTZ '2020-01-01', TIMESTAMPTZ '2020-01-03', INTERVAL 1 DAY";
    let cases = [
        (format!("list(n * 10 + x ORDER BY n, x) FROM {two}, range(n) t(x)"), "[20, 21, 30, 31, 32]"),
        (
            format!("list(x ORDER BY x) FROM {two} CROSS JOIN LATERAL generate_series(1, n) t(x)"),
            "[1, 1, 2, 2, 3]",
        ),
        (format!("sum(s.x) FROM {two}, (SELECT max(range) AS x FROM range(n)) s"), "3"),
        (
            "count(*) FROM (VALUES (DATE '2020-01-01')) v(d), range(d, d + INTERVAL 3 DAYS, INTERVAL 1 DAY)"
                .into(),
            "3",
        ),
        (format!("list(range) FROM range({days})"), "['2020-01-01 00:00:00+00', '2020-01-02 00:00:00+00']"),
        (format!("max(generate_series) FROM generate_series({days})"), "2020-01-03 00:00:00+00"),
        (format!("max(day) FROM generate_series({days}) AS day"), "2020-01-03 00:00:00+00"),
        (format!("max(t.range) FROM range({days}) t"), "2020-01-02 00:00:00+00"),
        (
            format!("max(x) FROM range({days}) WITH ORDINALITY AS t(x, i) WHERE i = 1"),
            "2020-01-01 00:00:00+00",
        ),
        (format!("typeof(any_value(x)) FROM main.range({days}) t(x)"), "TIMESTAMP WITH TIME ZONE"),
        (
            "list(x ORDER BY x) FROM (VALUES (TIMESTAMPTZ '2020-01-01'), ('2020-01-05')) v(ts), \
             range(ts, ts + INTERVAL 2 DAYS, INTERVAL 1 DAY) t(x) WHERE extract(day FROM x) > 1"
                .into(),
            "['2020-01-02 00:00:00+00', '2020-01-05 00:00:00+00', '2020-01-06 00:00:00+00']",
        ),
        (
            "count(*) FROM range(TIMESTAMPTZ '0001-01-01', TIMESTAMPTZ '2020-01-01', INTERVAL 1 HOUR)".into(),
            "17698176",
        ),
    ];
    for (expression, expected) in cases {
        let sql = format!("SELECT CAST(x AS VARCHAR) FROM (SELECT {expression}) q(x)");
        let batches = rows(&mut client, &sql).await.unwrap();
        let column = batches[0].column(0).as_string::<i32>();
        assert_eq!(column.value(0), expected, "{expression}");
    }
    let error =
        query_error(&mut client, "SELECT * FROM range(now(), 'infinity'::TIMESTAMPTZ, INTERVAL 1 DAY)").await;
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    let listed = "SELECT range(TIMESTAMPTZ '0001-01-01', now(), INTERVAL 1 SECOND)";
    let error = query_error(&mut client, listed).await;
    assert!(error.message().contains("as a table"), "{error}");
    for name in ["current_time", "localtime"] {
        assert_eq!(text(&mut client, &format!("{name} IS NOT NULL")).await, "true");
    }
    server.stop().await;
}

/// What can be asked of TIMESTAMPTZ_NS, which the engine itself can only store.
#[tokio::test(flavor = "multi_thread")]
async fn nanoseconds_with_a_zone_bind_and_keep_their_digits() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(
        &mut client,
        "CREATE TABLE n AS SELECT '2023-12-31 23:59:59.999999999+00'::TIMESTAMPTZ_NS AS t, \
         TIMESTAMPTZ '2023-12-31 23:59:59.999999+00' AS us",
    )
    .await
    .unwrap();
    let cases = [
        ("t > us AND us < t AND t <> us AND NOT t = us", "true"),
        ("t < now() AND now() > t AND t BETWEEN us AND now()", "true"),
        ("t > '2023-12-31' AND t > TIMESTAMP '2023-12-31' AND t > DATE '2023-12-31'", "true"),
        ("greatest(t, us) = t AND typeof(coalesce(us, t)) = 'TIMESTAMPTZ_NS'", "true"),
        ("t + INTERVAL 1 DAY", "2024-01-01 23:59:59.999999999+00"),
        ("INTERVAL 1 MONTH + t", "2024-01-31 23:59:59.999999999+00"),
        ("t - INTERVAL 1 SECOND", "2023-12-31 23:59:58.999999999+00"),
        ("date_trunc('day', t)", "2023-12-31 00:00:00+00"),
        ("year(t) * 100 + date_part('month', t)", "202312"),
        ("extract(second FROM t)", "59"),
        ("date_part(['year', 'day'], t)", "{'year': 2023, 'day': 31}"),
        ("date_diff('hour', t, us)", "0"),
        ("date_diff('day', t, TIMESTAMPTZ '2024-01-01')", "1"),
        ("age(t, us)", "00:00:00"),
        ("time_bucket(INTERVAL 1 HOUR, t)", "2023-12-31 23:00:00+00"),
        ("t - us", "00:00:00"),
        ("epoch_ns(t)", "1704067199999999999"),
        ("epoch_us(t)", "1704067199999999"),
        ("epoch_ms(t)", "1704067199999"),
        ("last_day(t)", "2023-12-31"),
        ("dayname(t) || monthname(t)", "SundayDecember"),
        ("isfinite(t)", "true"),
        ("strftime(t, '%Y-%m-%d')", "2023-12-31"),
        ("t::DATE", "2023-12-31"),
        ("t::TIMESTAMP", "2024-01-01 00:00:00"),
        ("t::VARCHAR", "2023-12-31 23:59:59.999999999+00"),
        ("t AT TIME ZONE 'Europe/Berlin'", "2024-01-01 00:59:59.999999999"),
    ];
    for (expression, expected) in cases {
        assert_eq!(text(&mut client, &format!("SELECT {expression} FROM n")).await, expected, "{expression}");
    }
    let aggregates = "SELECT min(t) = max(t) AND first(t) = t AND len(list(t)) = 1 FROM n GROUP BY t";
    assert_eq!(text(&mut client, aggregates).await, "true");
    let joined = "SELECT count(*) FROM n a JOIN n b ON a.t = b.us";
    assert_eq!(text(&mut client, joined).await, "0", "a nanosecond lies between them");
    let error = query_error(&mut client, "SELECT t < TIMESTAMPTZ '9999-12-31' FROM n").await;
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    assert!(error.message().contains("2262"), "{error}");
    server.stop().await;
}

#[test]
fn opening_is_quick_and_a_missing_extension_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let options = |icu_extension| Options {
        memory_limit_bytes: 256 << 20,
        threads: 1,
        icu_extension,
        ..database::options(database::file(directory.path()))
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
