//! Why a put failed, as a value: the table, the cause, what became of the rows and what to do are put together when the
//! client hears of it.
//! Runs on: any thread; pure values.
//! Never: looks into a text to find out what it says already.

use std::fmt;

use super::counts::Ack;
use crate::error::{Error, Kind};

/// What became of the rows that the error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The cause says it, or it goes without saying.
    Unsaid,
    /// The whole stream is rolled back.
    NothingStored,
    /// The stream commits as it goes, and what came since its last commit is rolled back.
    BatchNotStored,
}

/// Why a put failed.
#[derive(Debug)]
pub(super) struct PutError {
    kind: Kind,
    /// The table as the client names it, where the cause does not name it.
    table: Option<String>,
    cause: String,
    outcome: Outcome,
    advice: String,
    /// What is durable of a stream that commits as it goes.
    durable: Option<Box<Ack>>,
}

impl PutError {
    /// An error about `table`, whose cause does not name it.
    pub(super) fn new(kind: Kind, table: &str, cause: impl Into<String>) -> Self {
        Self::from(Error::new(kind, cause)).in_table(table)
    }

    /// Names the table, unless it is named.
    pub(super) fn in_table(mut self, table: &str) -> Self {
        self.table.get_or_insert_with(|| table.to_owned());
        self
    }

    /// Says that the stream is rolled back as a whole.
    pub(super) fn nothing_stored(self) -> Self {
        Self { outcome: Outcome::NothingStored, ..self }
    }

    /// Ends the text with what to do, its punctuation included.
    pub(super) fn with_advice(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// Says what is durable of a stream that commits as it goes.
    pub(super) fn with_progress(self, durable: Ack) -> Self {
        let outcome = match self.outcome {
            Outcome::NothingStored | Outcome::BatchNotStored => Outcome::BatchNotStored,
            Outcome::Unsaid => Outcome::Unsaid,
        };
        Self { outcome, durable: Some(Box::new(durable)), ..self }
    }
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(table) = &self.table {
            write!(f, "table {table}: ")?;
        }
        f.write_str(&self.cause)?;
        f.write_str(match self.outcome {
            Outcome::Unsaid => "",
            Outcome::NothingStored => "; nothing was stored",
            Outcome::BatchNotStored => "; this batch was not stored",
        })?;
        f.write_str(&self.advice)?;
        if let Some(Ack { counts, seq, .. }) = self.durable.as_deref() {
            write!(f, "; {} rows of this stream are durable", counts.rows)?;
            if let Some(seq) = seq {
                write!(f, ", up to seq {seq}")?;
            }
        }
        Ok(())
    }
}

impl From<Error> for PutError {
    fn from(error: Error) -> Self {
        let cause = error.message().to_owned();
        Self {
            kind: error.kind(),
            table: None,
            cause,
            outcome: Outcome::Unsaid,
            advice: String::new(),
            durable: None,
        }
    }
}

impl From<arrow::error::ArrowError> for PutError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::from(error).into()
    }
}

impl From<PutError> for Error {
    fn from(error: PutError) -> Self {
        Error::new(error.kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::counts::Counts;

    #[test]
    fn parts_stand_in_their_order_and_once() {
        let error = || {
            PutError::new(Kind::Conflict, "t", "row 3 is wrong")
                .in_table("other")
                .nothing_stored()
                .with_advice(". Send it")
        };
        assert_eq!(error().to_string(), "table t: row 3 is wrong; nothing was stored. Send it");
        let counts = Counts { rows: 5, ..Counts::default() };
        let durable = error().with_progress(Ack { counts, seq: Some(2), duplicate: false });
        assert_eq!(
            durable.to_string(),
            "table t: row 3 is wrong; this batch was not stored. Send it; 5 rows of this stream are durable, up to seq 2"
        );
        let plain = PutError::from(Error::invalid("no")).with_progress(Ack::default());
        assert_eq!(plain.to_string(), "no; 0 rows of this stream are durable");
        assert_eq!(Error::from(plain).kind(), Kind::Invalid);
    }
}
