//! What a Pintail server and its clients both say: errors, names of tables, headers and actions, answers, and the
//! decoder of Arrow streams.
//! Runs on: any thread; pure values.
//! Never: the engine, sockets, tasks, files.

pub mod action;
pub mod answer;
pub mod decode;
pub mod error;
pub mod expand;
pub mod extension;
pub mod frame;
pub mod header;
pub mod names;
pub mod rebuild;
pub mod size;
pub mod source;
pub mod status;
