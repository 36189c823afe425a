//! Batches as the messages of one stream, written by arrow itself: what the tests decode.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{
    DictionaryHandling, DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions,
};
use arrow_flight::FlightData;

/// The writer of one stream.
pub(super) struct Written {
    generator: IpcDataGenerator,
    tracker: DictionaryTracker,
    options: IpcWriteOptions,
    context: IpcWriteContext,
}

impl Written {
    /// A writer, and the message of its schema.
    pub(super) fn new(
        schema: &Schema,
        compression: Option<CompressionType>,
        dictionaries: DictionaryHandling,
    ) -> (Self, FlightData) {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let options = options.with_dictionary_handling(dictionaries);
        let generator = IpcDataGenerator::default();
        let mut tracker = DictionaryTracker::new(false);
        let message = generator.schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options);
        (Self { generator, tracker, options, context: IpcWriteContext::default() }, message.into())
    }

    /// The messages of a batch: dictionaries, rows.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Vec<FlightData> {
        let Self { generator, tracker, options, context } = self;
        let (dictionaries, rows) = generator.encode(batch, tracker, options, context).unwrap();
        dictionaries.into_iter().chain([rows]).map(FlightData::from).collect()
    }
}

/// All messages of a stream of one batch.
pub(super) fn written(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<FlightData> {
    let (mut writer, schema) = Written::new(&batch.schema(), compression, DictionaryHandling::Resend);
    let mut messages = vec![schema];
    messages.extend(writer.batch(batch));
    messages
}
