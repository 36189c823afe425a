//! Puts: what is stored, in which forms it may come, and what is refused.

mod conflicts;
mod encodings;
mod hostile;
mod open_columns;
mod receiving;
mod refusals;
mod rows;
