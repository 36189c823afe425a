//! What an operator writes is read, and what is wrong with it is told.

use super::*;

#[test]
fn sizes_and_spans_read_back_what_they_print() {
    for text in ["512 MiB", "1 GiB", "1536 KiB", "17 B"] {
        let size: Bytes = text.parse().unwrap();
        assert_eq!(size.to_string(), text);
    }
    for text in ["30 s", "5 min", "250 ms", "1h 30m"] {
        let span: Span = text.parse().unwrap();
        assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
    }
    assert!("lots".parse::<Bytes>().is_err());
    assert!("soon".parse::<Span>().is_err());
}

#[test]
fn printed_config_is_a_config() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pintail.toml");
    let config = Config::default();
    std::fs::write(&path, config.to_toml()).unwrap();
    assert_eq!(Config::load(Some(&path), &[]).unwrap(), config);
}

#[test]
fn wrong_keys_and_values_name_the_key_and_the_expectation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pintail.toml");
    let check = |text: &str, expected: &[&str]| {
        std::fs::write(&path, text).unwrap();
        let message = Config::load(Some(&path), &[]).unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    };
    check("[ingest]\nmemory_limt = \"1 GiB\"", &["ingest", "memory_limt", "did you mean \"memory_limit\""]);
    check("[database]\nmemory_limit = \"lots\"", &["database.memory_limit", "512 MiB", "lots"]);
    check("[query]\nqueue_timeout = \"soon\"", &["query.queue_timeout", "30 s"]);
    check("[server]\nlisten = \"0.0.0.0:1\"", &["server.listen", "--insecure"]);
    check("[server]\nlisten = \"nowhere\"", &["server.listen", "expected host:port, found \"nowhere\""]);
    check("[ingest\n", &["not TOML"]);
    check("[server]\nmemory_limit = \"1 MiB\"", &["server.memory_limit", "128 MiB"]);
    check(
        "[server]\nmemory_limit = \"1 GiB\"\n[database]\nmemory_limit = \"2 GiB\"",
        &["server.memory_limit", "not be below database.memory_limit"],
    );
    check("[query]\nbuffer_bytes = \"1 MiB\"", &["query.buffer_bytes"]);
}

#[test]
fn all_problems_are_told_at_once_with_their_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pintail.toml");
    let text = "log = 5\n[server]\nhttp = \"x\"\nport = 1\nmax_connections = 0\n[query]\nmax_concurrent = \"many\"\n\
                [ingest]\nledger_keys = 0\n";
    std::fs::write(&path, text).unwrap();
    let flag = [("server.listen", "bogus".to_owned())];
    let message = Config::load(Some(&path), &flag).unwrap_err().to_string();
    for part in [
        "setting log: ",
        "setting server.listen: expected host:port, found \"bogus\"",
        "setting server.http: expected host:port, found \"x\"",
        "setting server.port: unknown key \"port\"",
        "setting server.max_connections: must be at least 1",
        "setting query.max_concurrent: ",
        "setting ingest.ledger_keys: must be at least 1",
    ] {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
    assert_eq!(message.matches("pintail.toml").count(), 6, "{message}");
    assert_eq!(message.matches("setting ").count(), 7, "{message}");
}

#[test]
fn flags_beat_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pintail.toml");
    std::fs::write(&path, "[database]\npath = \"from-file.duckdb\"").unwrap();
    let config = Config::load(Some(&path), &[("database.path", "from-flag.duckdb".into())]).unwrap();
    assert_eq!(config.database.path, "from-flag.duckdb");
}

/// What depends on the machine is filled in, and follows what is set.
#[test]
fn settings_that_were_left_open_have_a_value_in_force() {
    let mut config = Config::default();
    let whole = config.in_force();
    let (process, engine) = (whole.server.memory_limit.unwrap(), whole.database.memory_limit.unwrap());
    assert!(engine < process && engine.0 > 0, "{engine} of {process}");
    assert!(whole.database.threads.is_some_and(|threads| threads > 0));
    config.server.memory_limit = Some(Bytes::mib(1024));
    assert_eq!(config.in_force().database.memory_limit, Some(Bytes::mib(512)));
    config.database.memory_limit = Some(Bytes::mib(600));
    config.database.threads = Some(3);
    let set = config.in_force();
    assert_eq!((set.database.memory_limit, set.database.threads), (Some(Bytes::mib(600)), Some(3)));
}
