use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use deadpool_sqlite::{Config, Hook, HookError, Pool, Runtime};
use jiff::Timestamp;
use kiro_domain::{Note, NoteId, NoteText};
use rusqlite::Connection;

use crate::{StoreError, connection, notes};

/// Connections kept open; SQLite has one writer at a time, readers run beside it.
const MAX_CONNECTIONS: usize = 4;

/// How long a call waits until a connection is free.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);

/// The notes in one database file.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    path: Arc<Path>,
}

impl Store {
    /// Opens the database file, creating it and its folder when absent, and
    /// applies the migrations it has not seen yet.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be created, is not a database, or was
    /// written by a newer version of this service.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        create_parent_folder(&path)?;
        let store = Self {
            pool: build_pool(&path)?,
            path: path.into(),
        };
        store.call(connection::prepare).await?;
        Ok(store)
    }

    /// Checks that the database can be reached.
    ///
    /// # Errors
    ///
    /// Fails when the file is gone or cannot be read.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let path = Arc::clone(&self.path);
        self.call(move |db| connection::check(db, &path)).await
    }

    /// Returns all notes, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when the database does.
    pub async fn list(&self) -> Result<Vec<Note>, StoreError> {
        self.call(|db| Ok(notes::list(db)?)).await
    }

    /// Adds a note and returns it with its id and the current time.
    ///
    /// # Errors
    ///
    /// Fails when the database does.
    pub async fn create(&self, text: NoteText) -> Result<Note, StoreError> {
        self.call(move |db| Ok(notes::insert(db, text, now())?))
            .await
    }

    /// Removes a note and says whether there was one with this id.
    ///
    /// # Errors
    ///
    /// Fails when the database does.
    pub async fn delete(&self, id: NoteId) -> Result<bool, StoreError> {
        self.call(move |db| Ok(notes::delete(db, id)?)).await
    }

    /// Closes the idle connections; later calls fail.
    pub fn close(&self) {
        self.pool.close();
    }

    /// Runs `work` with a connection, on a thread that may block.
    async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        self.pool.get().await?.interact(work).await?
    }
}

/// The current time in whole milliseconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

fn create_parent_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
        path: folder.to_owned(),
        source,
    })
}

fn build_pool(path: &Path) -> Result<Pool, StoreError> {
    let pool = Config::new(path)
        .builder(Runtime::Tokio1)
        .map_err(deadpool_sqlite::CreatePoolError::Config)?
        .max_size(MAX_CONNECTIONS)
        .wait_timeout(Some(POOL_TIMEOUT))
        .post_create(configure_hook())
        .build()
        .map_err(deadpool_sqlite::CreatePoolError::Build)?;
    Ok(pool)
}

fn configure_hook() -> Hook {
    Hook::async_fn(|connection, _| {
        Box::pin(async move {
            connection
                .interact(|db| connection::configure(db))
                .await
                .map_err(|error| HookError::message(error.to_string()))?
                .map_err(HookError::Backend)
        })
    })
}
