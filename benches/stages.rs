//! Each arrow of the drawing alone, and the plain way beside it: decode, conform, append, query, encode.
//! `cargo bench`; figures are bytes per second of Arrow data unless rows are named.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::catalog::{
    Cast, Column, Contract, Offered, Placed, SchemaFile, Table, TableName, conform, read_declarations,
};
use pintail::engine::{self, Cursor, Database, Insert, Options, Segment, UNIT_ROWS, Unit};
use pintail::flight::{Decoder, Encoder};
use prost::Message;
use tpchgen::generators::LineItemGenerator;
use tpchgen_arrow::LineItemArrow;

const BATCH_ROWS: usize = 65_536;

/// Batches of TPC-H lineitem with plain strings, `count` of them.
fn lineitem(count: usize) -> Vec<RecordBatch> {
    let generated = LineItemArrow::new(LineItemGenerator::new(1.0, 1, 1)).with_batch_size(BATCH_ROWS);
    generated.take(count).map(|batch| plain(batch.unwrap())).collect()
}

fn plain(batch: RecordBatch) -> RecordBatch {
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8View => Field::new(field.name(), DataType::Utf8, true),
            other => Field::new(field.name(), other.clone(), true),
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| arrow::compute::cast(column, field.data_type()).unwrap())
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn bytes_of(batches: &[RecordBatch]) -> u64 {
    batches
        .iter()
        .flat_map(RecordBatch::columns)
        .map(|column| column.to_data().get_slice_memory_size().unwrap() as u64)
        .sum()
}

fn decode(criterion: &mut Criterion) {
    let batches = lineitem(1);
    let mut encoder = Encoder::new(&batches[0].schema(), None).unwrap();
    let schema = encoder.schema_frame(&batches[0].schema()).unwrap().into_flight_data();
    let message = encoder.encode(&batches[0]).unwrap().remove(0).into_flight_data();
    // As it comes from the network: inside a larger buffer, at an odd offset.
    let encoded = Bytes::from(message.encode_to_vec());
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(bytes_of(&batches)));
    group.bench_function("body aligned at once", |bencher| {
        let mut decoder = Decoder::default();
        decoder.decode(schema.clone()).unwrap();
        bencher.iter(|| decoder.decode(FlightData::decode(encoded.clone()).unwrap()).map(|_| ()).unwrap());
    });
    group.bench_function("arrow-flight", |bencher| {
        let schema: SchemaRef = batches[0].schema();
        bencher.iter(|| {
            let message = FlightData::decode(encoded.clone()).unwrap();
            let header = arrow::ipc::root_as_message(&message.data_header).unwrap();
            arrow::ipc::reader::read_record_batch(
                &Buffer::from(message.data_body.clone()),
                header.header_as_record_batch().unwrap(),
                Arc::clone(&schema),
                &HashMap::new(),
                None,
                &header.version(),
            )
            .unwrap()
        });
    });
    group.finish();
}

fn conform_stream(criterion: &mut Criterion) {
    let name = TableName::from_text("lineitem").unwrap();
    let column = |n: usize| (format!("column_{n}"), "BIGINT".to_owned());
    let names: Vec<(String, String)> = (0..16).map(column).collect();
    let offer = |(name, duckdb_type): &(String, String)| Offered {
        name: name.clone(),
        duckdb_type: duckdb_type.clone(),
        arrow: DataType::Int64,
    };
    let offered: Vec<Offered> = names.iter().map(offer).collect();
    let columns = names
        .iter()
        .map(|(name, duckdb_type)| Column {
            name: name.clone(),
            duckdb_type: duckdb_type.clone(),
            has_default: false,
            is_generated: false,
        })
        .collect();
    let table = Table { name, columns };
    let mut group = criterion.benchmark_group("conform");
    group.bench_function("16 columns, once per stream", |bencher| {
        bencher.iter(|| conform(black_box(&table), Contract::default(), black_box(&offered)).unwrap());
    });
    let field = |(name, _): &(String, String)| {
        format!("[[field]]\nname = \"{name}\"\ntype = \"int64\"\nnullable = false\n")
    };
    let text = names.iter().map(field).collect();
    let declared = read_declarations(&[SchemaFile { name: "lineitem.toml".into(), text }]).unwrap();
    let contract = Contract { declared: declared.first(), earlier: &[] };
    let placed = conform(&table, contract, &offered).unwrap().columns;
    assert!(placed.iter().all(|column| column.cast == Cast::None && column.is_required));
    group.bench_function("16 columns declared strict, once per stream", |bencher| {
        bencher.iter(|| conform(black_box(&table), contract, black_box(&offered)).unwrap());
    });
    // What a batch of 65,536 rows pays: the look for encodings, and for NULL in 16 required columns.
    let batch = lineitem(1).remove(0);
    let plain = engine::plain_schema(&batch.schema());
    let same = engine::plain_batch(batch.clone(), &plain).unwrap();
    assert!(same.columns().iter().zip(batch.columns()).all(|(one, other)| Arc::ptr_eq(one, other)));
    group.bench_function("16 required columns, once per batch", |bencher| {
        bencher.iter(|| {
            let batch = engine::plain_batch(black_box(batch.clone()), &plain).unwrap();
            assert!(batch.columns().iter().all(|column| column.logical_null_count() == 0));
        });
    });
    group.finish();
}

fn open(directory: &tempfile::TempDir) -> Arc<Database> {
    Database::open(Options {
        path: directory.path().join("bench.duckdb").display().to_string(),
        memory_limit_bytes: 2 << 30,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: std::time::Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        engine_arrays: false,
        icu_extension: None,
    })
    .unwrap()
}

fn units(batches: &[RecordBatch], unit_rows: usize, count: usize) -> Vec<Unit> {
    let joined = arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap();
    (0..count).map(|n| Unit::from([joined.slice(n * unit_rows, unit_rows)])).collect()
}

fn append(criterion: &mut Criterion) {
    let batches = lineitem(8);
    let schema = batches[0].schema();
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    let connection = database.connection().unwrap();
    let name = TableName::from_text("lineitem").unwrap();
    let columns = engine::describe_rows(&connection, &schema).unwrap();
    let types: Vec<String> = columns.iter().map(|(_, duckdb_type)| duckdb_type.clone()).collect();
    connection
        .execute(&pintail::catalog::create_table(&name, &schema, &types, pintail::catalog::IfThere::Refuse))
        .unwrap();
    let same = |(name, duckdb_type): &(String, String)| Placed {
        target: name.clone(),
        source: name.clone(),
        duckdb_type: duckdb_type.clone(),
        cast: Cast::None,
        is_required: false,
    };
    let head = pintail::catalog::insert_head(&name, &columns.iter().map(same).collect::<Vec<_>>());
    let insert = Insert { head, tail: String::new() };
    let connection = RefCell::new(connection);
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    for (label, unit_rows, count) in [
        ("two row groups a statement", UNIT_ROWS, 2),
        ("four row groups a statement", UNIT_ROWS, 4),
        ("one row group a statement", UNIT_ROWS, 1),
        ("2,048 rows a statement", 2_048, 1),
        ("one row a statement", 1, 1),
    ] {
        let units = units(&batches, unit_rows, count);
        group.throughput(Throughput::Elements((unit_rows * count) as u64));
        group.bench_function(label, |bencher| {
            bencher.iter_batched(
                || {
                    let mut connection = connection.borrow_mut();
                    connection.execute("DELETE FROM lineitem").unwrap();
                    connection.begin().unwrap();
                    Segment::new(Arc::clone(&schema), units.clone())
                },
                |segment| {
                    let mut connection = connection.borrow_mut();
                    engine::append(&connection, &insert, segment).unwrap();
                    connection.commit().unwrap();
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn query(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let database = open(&directory);
    let connection = database.connection().unwrap();
    connection
        .execute(
            "CREATE TABLE t AS SELECT range AS a, range * 2 AS b, range * 0.5::DOUBLE AS c, \
             'text ' || range AS s, (range % 100)::DECIMAL(15,2) AS d FROM range(2000000)",
        )
        .unwrap();
    let sql = "FROM t";
    let schema = engine::describe(&connection, sql).unwrap().schema;
    let mut group = criterion.benchmark_group("query");
    group.sample_size(10);
    group.throughput(Throughput::Elements(2_000_000));
    for (label, batch_bytes) in [("1.5 MiB arrays", 1536 << 10), ("6 MiB arrays", 6 << 20)] {
        group.bench_function(label, |bencher| {
            bencher.iter(|| {
                let statement = engine::parse(&connection, sql).unwrap();
                let size = engine::ArraySize { bytes: batch_bytes, rows_max: None };
                let mut cursor = Cursor::open(&connection, &statement, &schema, size).unwrap();
                let mut rows = 0;
                while let Some(batch) = cursor.next_batch().unwrap() {
                    rows += batch.num_rows();
                }
                assert_eq!(rows, 2_000_000);
            });
        });
    }
    group.finish();
    criterion.bench_function("query/describe without running", |bencher| {
        bencher.iter(|| engine::describe(&connection, black_box("SELECT a, s FROM t WHERE a > 7")).unwrap());
    });
}

fn encode(criterion: &mut Criterion) {
    let batches = vec![lineitem(1)[0].slice(0, 9_000)];
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(bytes_of(&batches)));
    group.bench_function("frames, one copy", |bencher| {
        let mut encoder = Encoder::new(&batches[0].schema(), None).unwrap();
        bencher.iter(|| {
            for frame in encoder.encode(&batches[0]).unwrap() {
                let mut message = BytesMut::with_capacity(frame.encoded_len());
                frame.write(&mut message);
                black_box(message.freeze());
            }
        });
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    group.bench_function("arrow-flight and prost", |bencher| {
        bencher.iter(|| {
            let messages = FlightDataEncoderBuilder::new()
                .with_schema(batches[0].schema())
                .build(stream::iter(batches.clone()).map(Ok));
            runtime.block_on(messages.try_for_each(|message| async move {
                let mut bytes = BytesMut::new();
                message.encode(&mut bytes).unwrap();
                black_box(bytes.freeze());
                Ok(())
            }))
        });
    });
    group.finish();
}

criterion_group!(stages, decode, conform_stream, append, query, encode);
criterion_main!(stages);
