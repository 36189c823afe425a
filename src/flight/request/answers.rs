//! What a call that does not stream a result answers with.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Response, Status};

/// Messages that answer a call.
pub(in crate::flight) type Answers<T> = BoxStream<'static, Result<T, Status>>;
/// What the server's half of a call gives.
pub(in crate::flight) type Reply<T> = Result<Response<T>, Status>;

/// An answer that is there already.
pub(in crate::flight) fn answers<T: Send + 'static>(items: Vec<T>) -> Response<Answers<T>> {
    Response::new(stream::iter(items.into_iter().map(Ok)).boxed())
}
