//! Calendars, zones and spans of time: numbers to numbers.

pub(super) mod bucket;
pub(super) mod calendar;
pub(super) mod date_part;
pub(super) mod interval;
pub(super) mod trunc;
pub(super) mod zone;
