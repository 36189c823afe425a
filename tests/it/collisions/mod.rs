//! Where clients meet: each test is one way in which acknowledged rows could be lost, doubled or altered, or the server
//! be lost, and what happens instead.

mod commits;
mod replaced;
mod tables;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use futures::{StreamExt, stream};
use pintail::client::{Client, PutAnswer};
use pintail::error::Result;
use tokio::sync::mpsc;

use crate::support::calls::{rows, table};
use crate::support::server::TestServer;

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn run(client: &mut Client, sql: &str) {
    rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A put whose batches are sent one by one while other things happen.
struct OpenPut {
    batches: mpsc::Sender<RecordBatch>,
    answer: tokio::task::JoinHandle<Result<PutAnswer>>,
}

impl OpenPut {
    async fn begin(
        server: &TestServer,
        name: &str,
        first: RecordBatch,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let mut client = server.client().await;
        let (batches, mut sent) = mpsc::channel(16);
        let (name, schema) = (table(name), first.schema());
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let items = stream::poll_fn(move |context| sent.poll_recv(context)).map(Ok);
        let answer = tokio::spawn(async move { client.put(&name, schema, items, &headers).await });
        batches.send(first).await.unwrap();
        Self { batches, answer }
    }

    async fn send(&self, batch: RecordBatch) {
        // A put that has failed takes no more; its answer says why.
        let _ = self.batches.send(batch).await;
    }

    async fn end(self) -> Result<PutAnswer> {
        drop(self.batches);
        self.answer.await.unwrap()
    }
}

const KEYED: &str = "primary_key = [\"id\"]\nmode = \"lenient\"\non_new_column = \"add\"\n[[field]]\nname = \"id\"\ntype = \"int64\"\n";
