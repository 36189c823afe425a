//! What a statement does, as far as its text says.

/// What a statement does, as far as its text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// It changes something stored.
    pub(crate) changes: bool,
    /// Nothing in it can change anything: it calls functions of the engine, and reads tables.
    pub(crate) is_proven: bool,
    /// It leaves the connection's random numbers predictable.
    pub(crate) seeds: bool,
}
