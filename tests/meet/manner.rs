//! What a client asks for, how patient it is, and how a call ended for it.
//! Runs on: any thread; pure. Never: takes "nobody knows" for an answer.

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use pintail::error::Error;
use rand::Rng;
use rand::rngs::StdRng;
use tonic::Request;

use super::books::Fate;

/// Something that must not happen.
#[derive(Debug, Clone)]
pub struct Finding(pub String);

/// What an actor's step comes to.
pub type Verdict<T = ()> = Result<T, Finding>;

/// How a call ended for its client.
#[derive(Debug)]
pub enum Outcome<T> {
    /// With its answer.
    Done(T),
    /// With an error that says that nothing was done.
    Refused(Error),
    /// Nobody knows: the client left, or its time was over.
    Unknown,
}

impl<T> Outcome<T> {
    /// What that means for the rows of the call.
    pub fn fate(&self) -> Fate {
        match self {
            Outcome::Done(_) => Fate::Stored,
            Outcome::Refused(_) => Fate::Absent,
            Outcome::Unknown => Fate::Unknown,
        }
    }

    /// The same without its answer.
    pub fn map_done(self) -> Outcome<()> {
        match self {
            Outcome::Done(_) => Outcome::Done(()),
            Outcome::Refused(error) => Outcome::Refused(error),
            Outcome::Unknown => Outcome::Unknown,
        }
    }

    pub fn done(self) -> Option<T> {
        match self {
            Outcome::Done(answer) => Some(answer),
            _ => None,
        }
    }
}

/// The patience that a client has with a call.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    pub headers: Vec<(&'static str, String)>,
    pub leave: Option<Duration>,
}

impl Manner {
    /// Waits for the answer.
    pub fn calm() -> Self {
        Self::default()
    }

    /// Wants the answer within 1 to 5 ms, and says so.
    pub fn hasty(rng: &mut StdRng) -> Self {
        let us: u32 = rng.random_range(1000..5000);
        let header = match rng.random_bool(0.5) {
            true => ("pintail-timeout-ms", us.div_ceil(1000).to_string()),
            false => ("grpc-timeout", format!("{us}u")),
        };
        Self { headers: vec![header], leave: None }
    }

    /// Leaves without a word after at most this long.
    pub fn leaving(rng: &mut StdRng, longest: Duration) -> Self {
        let leave = Duration::from_micros(rng.random_range(0..longest.as_micros() as u64));
        Self { headers: Vec::new(), leave: Some(leave) }
    }

    /// Mostly calm.
    pub fn any(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..80 => Self::calm(),
            80..90 => Self::hasty(rng),
            _ => Self::leaving(rng, Duration::from_millis(20)),
        }
    }

    /// The request with the headers of this manner.
    pub fn on<T>(&self, mut request: Request<T>) -> Request<T> {
        for (name, value) in &self.headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    pub fn is_calm(&self) -> bool {
        self.headers.is_empty() && self.leave.is_none()
    }
}

/// Rows to be put.
#[derive(Clone)]
pub struct Load {
    pub table: String,
    pub put: i64,
    pub batches: Vec<RecordBatch>,
    pub headers: Vec<(&'static str, String)>,
}

impl Load {
    pub fn header(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn rows(&self) -> i64 {
        self.batches.iter().map(|batch| batch.num_rows() as i64).sum()
    }
}
