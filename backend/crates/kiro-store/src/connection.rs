use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;

use crate::{StoreError, migrations};

/// How long a statement waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings every connection needs; SQLite does not keep them in the file.
pub(crate) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// Brings the database file itself up to date; done once, at start.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    migrations::apply(connection)
}

/// Checks that the file is still there and can be read.
pub(crate) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    fs::metadata(path).map_err(|source| StoreError::FileGone {
        path: path.to_owned(),
        source,
    })?;
    migrations::check(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_wait_for_writers_and_use_a_write_ahead_log() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut connection = Connection::open(folder.path().join("notes.db"))?;
        configure(&connection)?;
        prepare(&mut connection)?;

        let mode: String = connection.pragma_query_value(None, "journal_mode", |r| r.get(0))?;
        let timeout: i64 = connection.pragma_query_value(None, "busy_timeout", |r| r.get(0))?;
        assert_eq!(mode, "wal");
        assert_eq!(timeout, 5000);
        Ok(())
    }
}
