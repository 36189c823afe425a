//! CSV and NDJSON that come once, from their beginning to their end -> their columns, and batches.
//! Runs on: threads that read; blocks until more comes.
//! Never: holds more than a block of about 8 MiB and one record; reads a text twice.

use std::collections::VecDeque;
use std::io::{Cursor, Read};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::block::{At, BLOCK_BYTES, Block, Blocks};
use super::shortened::ErrorContext;
use super::{BYTE_ORDER_MARK, Kind, advice, csv, first_line, header, json};
use crate::error::Result;

/// Bytes in which the first line is looked for a delimiter.
const LINE_BYTES_MAX: usize = 1 << 20;
const STEP_BYTES: u64 = 64 << 10;

/// The table that the rows are for.
#[derive(Debug, Clone)]
pub struct Given {
    /// Its columns.
    pub schema: SchemaRef,
    /// Those that are NULL in rows which do not name them, because they have no default.
    pub without_default: Vec<String>,
}

/// The batches of a text.
pub struct TextStream {
    schema: SchemaRef,
    context: Arc<ErrorContext>,
    delimiter: Option<u8>,
    blocks: Blocks,
    mark: u64,
    waiting: VecDeque<Block>,
    open: Option<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>>,
}

/// Begins with a text. Columns are those that its first 8 MiB have: with the table's types where `given` has them, text
/// for others; without a table the types that are found there.
///
/// Errors: `Invalid` naming line, and column or field.
pub fn stream(
    mut source: Box<dyn Read + Send>,
    kind: Kind,
    given: Option<&Given>,
    shown: &str,
) -> Result<TextStream> {
    let context =
        ErrorContext { shown: shown.to_owned(), advice: advice(given.is_some()), typed: given.is_some() };
    let mut head = Vec::new();
    while head.len() < LINE_BYTES_MAX && !head.contains(&b'\n') {
        let before = head.len();
        source
            .by_ref()
            .take(STEP_BYTES)
            .read_to_end(&mut head)
            .map_err(|error| crate::files::input::unreadable(shown, error))?;
        if head.len() == before {
            break;
        }
    }
    let offset = if head.starts_with(&BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    head.drain(..offset);
    let begin = At { offset: offset as u64, line: 1 };
    let delimiter = match kind {
        Kind::Ndjson => None,
        Kind::Csv => {
            let mut first = Blocks::new(Box::new(Cursor::new(head.clone())), shown, Some(b','), begin);
            Some(header::delimiter(&first_line(&mut first, &context)?))
        }
    };
    let mut blocks = Blocks::new(Box::new(Cursor::new(head).chain(source)), shown, delimiter, begin);
    let names = match delimiter {
        Some(delimiter) => header::names(&first_line(&mut blocks, &context)?, delimiter, shown)?,
        None => Vec::new(),
    };
    let mark = blocks.at().offset + BLOCK_BYTES;
    let first = blocks.next(mark)?;
    let whole = blocks.is_ended()?;
    let schema = match (delimiter, given) {
        (Some(_), Some(given)) => csv::given_schema(&names, &given.schema),
        (Some(delimiter), None) => {
            let mut inference = csv::Inference::new(&names, delimiter);
            if let Some(block) = &first {
                inference.add(block, &context)?;
            }
            inference.schema(whole)
        }
        (None, given) => {
            let table = given.map(|given| given.schema.as_ref());
            let mut inference = json::Inference::default();
            if let Some(block) = &first {
                inference.add(block, table, &context)?;
            }
            match given {
                None => inference.schema(None, whole, &context)?,
                // What the rows name decides which columns have their defaults, so that a key which comes first later is
                // welcome only where that makes no difference.
                Some(given) => with_later(inference.schema(table, true, &context)?, given, whole),
            }
        }
    };
    Ok(TextStream {
        schema: Arc::new(schema),
        context: Arc::new(context),
        delimiter,
        blocks,
        mark,
        waiting: first.into_iter().collect(),
        open: None,
    })
}

fn with_later(found: Schema, given: &Given, whole: bool) -> Schema {
    if whole {
        return found;
    }
    let mut fields: Vec<_> = found.fields().iter().cloned().collect();
    for field in given.schema.fields() {
        let is = |name: &str| name.eq_ignore_ascii_case(field.name());
        let is_there = found.fields().iter().any(|known| is(known.name()));
        if !is_there && given.without_default.iter().any(|name| is(name)) {
            fields.push(Arc::new(json::readable_field(field)));
        }
    }
    Schema::new(fields)
}

impl TextStream {
    /// The columns of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.open.as_mut().and_then(Iterator::next) {
                return batch.map(Some);
            }
            let block = match self.waiting.pop_front() {
                Some(block) => block,
                None => {
                    self.mark += BLOCK_BYTES;
                    match self.blocks.next(self.mark)? {
                        Some(block) => block,
                        None => return Ok(None),
                    }
                }
            };
            let (schema, context) = (Arc::clone(&self.schema), Arc::clone(&self.context));
            self.open = Some(match self.delimiter {
                Some(delimiter) => Box::new(csv::CsvBatches::new(block, schema, delimiter, context)),
                None => Box::new(json::JsonBatches::new(block, schema, context)),
            });
        }
    }
}

impl Iterator for TextStream {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn rows(text: &str, kind: Kind, given: Option<&Given>) -> Result<(SchemaRef, usize)> {
        let stream = stream(Box::new(Cursor::new(text.as_bytes().to_vec())), kind, given, "body")?;
        let schema = Arc::clone(stream.schema());
        let rows = stream.map(|batch| batch.map(|batch| batch.num_rows())).sum::<Result<usize>>()?;
        Ok((schema, rows))
    }

    #[test]
    fn a_text_that_comes_once_is_read_like_a_file() {
        let (schema, count) = rows("\u{feff}a;b\n1;x\n2;\"y\n;\"\n", Kind::Csv, None).unwrap();
        assert_eq!(count, 2);
        assert_eq!(schema.field(0), &Field::new("a", DataType::Int64, true));
        assert_eq!(schema.field(1), &Field::new("b", DataType::Utf8, true));
        let (schema, count) = rows("{\"a\": 1}\n{\"a\": 2, \"b\": [true]}\n", Kind::Ndjson, None).unwrap();
        assert_eq!((schema.fields().len(), count), (2, 2));
        let error = rows("a\n1\nx\n", Kind::Csv, Some(&table())).unwrap_err();
        assert!(error.message().contains("body, line 3, column \"a\""), "{error}");
        assert!(rows("", Kind::Csv, None).is_err());
        assert_eq!(rows("", Kind::Ndjson, Some(&table())).unwrap().1, 0);
    }

    fn table() -> Given {
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("b", DataType::Int64, true),
            Field::new("c", DataType::Int64, true),
        ]);
        Given { schema: Arc::new(schema), without_default: vec!["a".into(), "b".into()] }
    }

    /// A key past the first block is NULL before where the column has no default, and refused where it has one: the rows
    /// before would have it.
    #[test]
    fn keys_that_come_late_change_no_row_before() {
        let padding = "{\"a\": 1}\n".repeat(1 << 20);
        let (schema, count) =
            rows(&format!("{padding}{{\"b\": 2}}\n"), Kind::Ndjson, Some(&table())).unwrap();
        assert_eq!((schema.fields().len(), count), (2, (1 << 20) + 1));
        let error = rows(&format!("{padding}{{\"c\": 2}}\n"), Kind::Ndjson, Some(&table())).unwrap_err();
        assert!(error.message().contains("field \"c\""), "{error}");
    }
}
