//! Objects in memory, and what URLs mean among them.
//! Runs on: tests. Never: a network.

#![allow(
    clippy::disallowed_methods,
    reason = "reading blocks, and there is no command here that does it on its threads"
)]

use crate::error::Kind;
use object_store::memory::InMemory;
use object_store::{ObjectStore, PutPayload};
use parquet::file::reader::{ChunkReader, Length};

use super::*;

async fn put(store: &Arc<dyn ObjectStore>, key: &str, bytes: Vec<u8>) {
    store.put(&Path::from(key), PutPayload::from(bytes)).await.unwrap();
}

fn target(store: &Arc<dyn ObjectStore>, key: &str) -> Target {
    let (root, selected) = ("s3://bucket/".to_owned(), String::new());
    Target { store: Arc::clone(store), key: key.to_owned(), root, selected, single: false, bare_tags: false }
}

/// A prefix means all below it but hidden names and stand-ins for folders; a pattern what fits it.
#[tokio::test]
async fn prefixes_and_patterns() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for key in ["t/a.parquet", "t/k=1/b.parquet", "t/k=1/_SUCCESS", "t/k=2/deep/c.csv", "t2/x.csv", "top.csv"]
    {
        put(&store, key, b"x".to_vec()).await;
    }
    put(&store, "t/k=1", vec![]).await;
    let check = async |key: &str, expected: &[(&str, &str)]| {
        let found = find_in(&target(&store, key)).await.unwrap();
        let found: Vec<_> =
            found.iter().map(|(file, relative)| (file.name.as_str(), relative.as_str())).collect();
        let expected: Vec<_> =
            expected.iter().map(|(name, relative)| (format!("s3://bucket/{name}"), *relative)).collect();
        let expected: Vec<_> = expected.iter().map(|(name, relative)| (name.as_str(), *relative)).collect();
        assert_eq!(found, expected, "{key}");
    };
    let (a, b, c) = (
        ("t/a.parquet", "a.parquet"),
        ("t/k=1/b.parquet", "k=1/b.parquet"),
        ("t/k=2/deep/c.csv", "k=2/deep/c.csv"),
    );
    check("t/", &[a, b, c]).await;
    check("t", &[a, b, c]).await;
    check("t/a.parquet", &[a]).await;
    check("t/*/*.parquet", &[b]).await;
    check("t/**/*.csv", &[c]).await;
    check("t/k=[12]/b.parquet", &[b]).await;
    check("*.csv", &[("top.csv", "top.csv")]).await;
    put(&store, "lake/a.parquet", b"x".to_vec()).await;
    put(&store, "lake/_delta_log/0.json", b"x".to_vec()).await;
    let refused = find_in(&target(&store, "lake/")).await.unwrap_err();
    assert!(refused.message().contains("Delta"), "{refused}");
    for key in ["u", "u/", "t/*.csv"] {
        let error = find_in(&target(&store, key)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(error.message().contains(&format!("s3://bucket/{key}")), "{error}");
    }
}

/// An object is read like a file: anywhere, in any steps; and no byte of a later version is taken for the one that was
/// found.
#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_by_ranges() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let bytes: Vec<u8> = (0..40_000_003_u32).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
    put(&store, "big", bytes.clone()).await;
    let (file, _) = find_in(&target(&store, "big")).await.unwrap().remove(0);
    let other = Arc::clone(&store);
    let read = tokio::task::spawn_blocking(move || {
        let input = file.open().unwrap();
        assert_eq!(Length::len(&input), bytes.len() as u64);
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut input.get_read(0).unwrap(), &mut all).unwrap();
        assert!(all == bytes);
        for (start, length) in [(0, 1), (1_048_570, 12), (39_999_000, 1_003), (5, 20_000_000), (3, 0)] {
            let range = input.get_bytes(start, length).unwrap();
            assert!(range[..] == bytes[start as usize..][..length]);
        }
        assert!(input.get_bytes(40_000_000, 4).is_err());
        input.check_unchanged().unwrap();
        (file, input)
    });
    let (file, _) = read.await.unwrap();
    put(&other, "big", vec![1; 40_000_003]).await;
    let late = tokio::task::spawn_blocking(move || {
        let input = file.open().unwrap();
        let mut step = [0; 4];
        input.read_at(7, &mut step).unwrap_err()
    });
    let error = late.await.unwrap();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert!(error.message().starts_with("s3://bucket/big was written to while it was read"), "{error}");
}
