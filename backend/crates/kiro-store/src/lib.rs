//! Keeps notes in a SQLite database file.
//!
//! [`Store`] is cheap to clone. Every call runs on a thread that may block, so
//! the async runtime is never held up by the disk.

mod connection;
mod error;
mod migrations;
mod notes;
mod store;

pub use error::StoreError;
pub use store::Store;
