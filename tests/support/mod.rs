//! What the test programs share: a real server, in the process or as one of its own, batches to send it, and the calls
//! that clients make.
#![allow(unreachable_pub, reason = "included by each test program as a module")]
#![allow(dead_code, reason = "each test program uses its own part")]

pub mod authority;
pub mod batches;
pub mod calls;
pub mod database;
pub mod declarations;
pub mod forged;
pub mod process;
pub mod put_stream;
pub mod server;
pub mod session;
