//! Rows of RecordBatches -> tables.

mod appender;

pub use appender::{append, count_rows, describe_rows, over_segment, rows_of_segment};
