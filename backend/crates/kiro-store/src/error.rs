use std::{io, path::PathBuf};

use deadpool_sqlite::{CreatePoolError, InteractError, PoolError};
use thiserror::Error;

/// What can go wrong between the service and its database.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder of the database file could not be made.
    #[error("cannot create the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The database file is no longer where it was opened.
    #[error("the database file {} cannot be reached", path.display())]
    FileGone {
        /// The database file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file was written by another version of this service.
    #[error("the database has schema version {found}, this service knows version {known}")]
    Schema {
        /// The version in the file.
        found: usize,
        /// The newest version this service can read.
        known: usize,
    },
    /// SQLite refused a statement or could not open the file.
    #[error("SQLite failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The connection pool could not be made.
    #[error("cannot create the connection pool")]
    CreatePool(#[from] CreatePoolError),
    /// The pool had no connection to give.
    #[error("no database connection available")]
    Pool(#[from] PoolError),
    /// A database call was cancelled or panicked.
    #[error("a database call did not finish: {0}")]
    Interrupted(String),
}

// `InteractError` holds the payload of a panic and cannot be shared between
// threads, so only its text is kept.
impl From<InteractError> for StoreError {
    fn from(error: InteractError) -> Self {
        Self::Interrupted(error.to_string())
    }
}
