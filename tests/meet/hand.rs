//! One client's hand: its connection, its luck, and the calls that actors make of it.
//! Runs on: the task of one actor.
//! Never: lets an answer pass that its actor does not expect, or waits without end.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use super::manner::{Finding, Load, Manner, Outcome, Verdict};
use arrow::array::RecordBatch;
use arrow_flight::sql::{
    ActionBeginTransactionResult, ActionEndTransactionRequest, Any, CommandStatementQuery,
    CommandStatementUpdate, ProstMessageExt,
};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, Ticket};
use futures::{TryStreamExt, stream};
use pintail::client::{Client, PutAnswer, from_status};
use pintail::error::{Kind, Result};
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tonic::Request;

use super::books::{Fate, Id};
use super::rows;
use super::world::World;

/// A call that takes longer than this is taken for one that never ends.
const HANGS: Duration = Duration::from_secs(45);

/// One client.
pub struct Hand {
    pub world: Arc<World>,
    pub actor: &'static str,
    /// Whose rows its rows are.
    pub client: i64,
    /// Which of its actor's clients it is, from 0.
    pub place: usize,
    pub rng: StdRng,
    pub link: Client,
    /// Free for the actor: what it counts from step to step.
    pub counter: u64,
}

impl Hand {
    pub async fn new(
        world: &Arc<World>,
        actor: &'static str,
        client: i64,
        place: usize,
        seed: u64,
    ) -> Verdict<Self> {
        let link = world.connect().await?;
        let rng = StdRng::seed_from_u64(seed);
        Ok(Self { world: Arc::clone(world), actor, client, place, rng, link, counter: 0 })
    }

    /// Another connection of the same client, with a session of its own.
    pub async fn another(&mut self) -> Verdict<Self> {
        Self::new(&self.world, self.actor, self.client, self.place, self.rng.random()).await
    }

    /// Leaves its connection and takes a new one.
    pub async fn reconnect(&mut self) -> Verdict {
        self.link = self.world.connect().await?;
        Ok(())
    }

    /// A pause of up to so long.
    pub async fn pause(&mut self, longest_ms: u64) {
        let pause = self.rng.random_range(0..=longest_ms * 1000);
        tokio::time::sleep(Duration::from_micros(pause)).await;
    }

    pub fn finding<T>(&self, what: impl fmt::Display) -> Verdict<T> {
        Err(Finding(format!("{} (client {}): {what}", self.actor, self.client)))
    }

    /// Makes a call. Collisions are always told from faults; of the other errors only `expected` ones may come.
    pub async fn call<T>(
        &self,
        what: &str,
        manner: &Manner,
        expected: &[Kind],
        call: impl Future<Output = Result<T>>,
    ) -> Verdict<Outcome<T>> {
        let limit = manner.leave.unwrap_or(HANGS);
        let error = match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => return Ok(Outcome::Done(answer)),
            Ok(Err(error)) => error,
            Err(_) if manner.leave.is_some() => return Ok(Outcome::Unknown),
            Err(_) => return self.finding(format!("{what} has no answer after {} s", HANGS.as_secs())),
        };
        match error.kind() {
            Kind::Deadline | Kind::Cancelled if !manner.is_calm() => Ok(Outcome::Unknown),
            Kind::Aborted => Ok(Outcome::Refused(error)),
            kind if expected.contains(&kind) => Ok(Outcome::Refused(error)),
            kind => self.finding(format!("{what} was answered with {kind:?}: {error}")),
        }
    }

    /// Rows of a new put, in one batch.
    pub fn load(&mut self, table: &str, count: i64) -> Load {
        let put = self.world.next_put();
        let batches = vec![rows::rows(self.client, put, 0, count)];
        Load { table: table.to_owned(), put, batches, headers: Vec::new() }
    }

    /// Rows of a new put, in batches of so many.
    pub fn load_in_batches(&mut self, table: &str, counts: &[i64]) -> Load {
        let mut load = self.load(table, 0);
        let mut first = 0;
        load.batches.clear();
        for count in counts {
            load.batches.push(rows::rows(self.client, load.put, first, *count));
            first += count;
        }
        load
    }

    /// Sends rows and writes nothing down.
    pub async fn send(&self, load: &Load, manner: &Manner, expected: &[Kind]) -> Verdict<Outcome<PutAnswer>> {
        let mut link = self.link.clone();
        let items: Vec<Result<RecordBatch>> = load.batches.iter().cloned().map(Ok).collect();
        let headers: Vec<_> = load.headers.iter().chain(&manner.headers).cloned().collect();
        let into = crate::support::calls::table(&load.table);
        let call = link.put(&into, load.batches[0].schema(), stream::iter(items), &headers);
        let outcome =
            self.call(&format!("put {} into {}", load.put, load.table), manner, expected, call).await?;
        if let Outcome::Done(answer) = &outcome
            && answer.rows as i64 != load.rows()
        {
            return self.finding(format!(
                "put {} of {} rows was answered with {answer:?}",
                load.put,
                load.rows()
            ));
        }
        Ok(outcome)
    }

    /// Sends rows once and writes down what became of them.
    pub async fn store(
        &self,
        load: &Load,
        manner: &Manner,
        expected: &[Kind],
    ) -> Verdict<Outcome<PutAnswer>> {
        let id = self.open(load);
        let outcome = self.send(load, manner, expected).await?;
        self.close(id, outcome.fate());
        Ok(outcome)
    }

    pub fn open(&self, load: &Load) -> Id {
        self.world.books.open(self.actor, self.client, load.put, &[(&load.table, load.rows())])
    }

    pub fn close(&self, id: Id, fate: Fate) {
        self.world.books.close(id, fate);
    }

    /// Runs SQL as the ticket of a DoGet and takes all rows.
    pub async fn sql(
        &self,
        sql: &str,
        manner: &Manner,
        expected: &[Kind],
    ) -> Verdict<Outcome<Vec<RecordBatch>>> {
        let mut link = self.link.clone();
        let call = async { link.query(sql, &manner.headers).await?.batches.try_collect().await };
        self.call(&short(sql), manner, expected, call).await
    }

    /// Runs SQL that must succeed, and gives the one number it gives.
    pub async fn number(&self, sql: &str) -> Verdict<i64> {
        let number = format!("SELECT ({sql})::BIGINT AS n");
        match self.sql(&number, &Manner::calm(), &[]).await? {
            Outcome::Done(batches) => {
                let column =
                    batches.iter().find(|batch| batch.num_rows() > 0).map(|batch| batch.column(0).clone());
                match column {
                    Some(column) => {
                        Ok(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&column)
                            .value(0))
                    }
                    None => self.finding(format!("{sql} gives no row")),
                }
            }
            other => self.finding(format!("{sql}: {other:?}")),
        }
    }

    /// Runs SQL as an update (CommandStatementUpdate), inside a transaction where one is given.
    pub async fn update(
        &self,
        sql: &str,
        transaction: Option<&bytes::Bytes>,
        manner: &Manner,
        expected: &[Kind],
    ) -> Verdict<Outcome<()>> {
        let mut link = self.link.clone();
        let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: transaction.cloned() };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let message = FlightData { flight_descriptor: Some(descriptor), ..FlightData::default() };
        let request = manner.on(Request::new(stream::iter([message])));
        let call = async {
            let answers = link.inner().do_put(request).await.map_err(from_status)?.into_inner();
            answers.map_err(from_status).try_collect::<Vec<_>>().await.map(drop)
        };
        self.call(&short(sql), manner, expected, call).await
    }

    /// What GetFlightInfo says to SQL; a statement that changes something has run then.
    pub async fn info(&self, sql: &str, manner: &Manner, expected: &[Kind]) -> Verdict<Outcome<FlightInfo>> {
        let mut link = self.link.clone();
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let request = manner.on(Request::new(FlightDescriptor::new_cmd(command.as_any().encode_to_vec())));
        let call =
            async { Ok(link.inner().get_flight_info(request).await.map_err(from_status)?.into_inner()) };
        self.call(&format!("GetFlightInfo of {}", short(sql)), manner, expected, call).await
    }

    /// Fetches a ticket to its end.
    pub async fn fetch(&self, ticket: Ticket, manner: &Manner, expected: &[Kind]) -> Verdict<Outcome<usize>> {
        let mut link = self.link.clone();
        let request = manner.on(Request::new(ticket));
        let call = async {
            let messages = link.inner().do_get(request).await.map_err(from_status)?.into_inner();
            Ok(messages.map_err(from_status).try_collect::<Vec<_>>().await?.len())
        };
        self.call("DoGet of a ticket", manner, expected, call).await
    }

    /// Runs an action and gives its answer's body.
    pub async fn act(
        &self,
        name: &str,
        body: Vec<u8>,
        manner: &Manner,
        expected: &[Kind],
    ) -> Verdict<Outcome<Vec<u8>>> {
        let mut link = self.link.clone();
        let request = manner.on(Request::new(Action::new(name, body)));
        let call = async {
            let mut answers = link.inner().do_action(request).await.map_err(from_status)?.into_inner();
            let answer = answers.message().await.map_err(from_status)?;
            Ok(answer.map(|answer| answer.body.to_vec()).unwrap_or_default())
        };
        self.call(name, manner, expected, call).await
    }

    pub async fn begin(&self, manner: &Manner) -> Verdict<Option<bytes::Bytes>> {
        let Some(answer) = self.act("BeginTransaction", Vec::new(), manner, &[]).await?.done() else {
            return Ok(None);
        };
        let begun: Option<ActionBeginTransactionResult> =
            Any::decode(answer.as_slice()).ok().and_then(|any| any.unpack().ok().flatten());
        Ok(begun.map(|begun| begun.transaction_id))
    }

    /// Commits or rolls back.
    pub async fn end(
        &self,
        id: &bytes::Bytes,
        commit: bool,
        manner: &Manner,
        expected: &[Kind],
    ) -> Verdict<Outcome<()>> {
        let end =
            ActionEndTransactionRequest { transaction_id: id.clone(), action: if commit { 1 } else { 2 } };
        Ok(self.act("EndTransaction", end.as_any().encode_to_vec(), manner, expected).await?.map_done())
    }
}

/// The beginning of a statement, for messages.
pub fn short(sql: &str) -> String {
    if sql.chars().count() > 160 {
        format!("{}…", sql.chars().take(160).collect::<String>())
    } else {
        sql.to_owned()
    }
}
