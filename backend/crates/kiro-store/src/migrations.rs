use rusqlite::{Connection, TransactionBehavior};
use tracing::info;

use crate::StoreError;

/// The steps from an empty file to the current schema. Only ever append: the
/// number of steps already done is kept in SQLite's `user_version`.
const MIGRATIONS: &[&str] = &["CREATE TABLE notes (
         id         INTEGER PRIMARY KEY AUTOINCREMENT,
         text       TEXT NOT NULL,
         created_at TEXT NOT NULL
     ) STRICT"];

/// Runs the steps the file has not seen yet, all of them or none.
pub(crate) fn apply(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = version(&transaction)?;
    let Some(pending) = MIGRATIONS.get(done..) else {
        return Err(unknown(done));
    };
    for (step, sql) in (done + 1..).zip(pending) {
        info!(step, "migrating the database");
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}

/// Checks that the file has the schema this service works with.
pub(crate) fn check(connection: &Connection) -> Result<(), StoreError> {
    match version(connection)? {
        found if found == MIGRATIONS.len() => Ok(()),
        found => Err(unknown(found)),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn unknown(found: usize) -> StoreError {
    StoreError::Schema {
        found,
        known: MIGRATIONS.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once() -> anyhow::Result<()> {
        let mut connection = Connection::open_in_memory()?;
        assert!(check(&connection).is_err());
        apply(&mut connection)?;
        apply(&mut connection)?;
        check(&connection)?;
        Ok(())
    }

    #[test]
    fn a_newer_database_is_left_alone() -> anyhow::Result<()> {
        let mut connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "user_version", 99)?;
        let error = apply(&mut connection).expect_err("version 99 is unknown");
        assert!(matches!(error, StoreError::Schema { found: 99, .. }));
        assert_eq!(version(&connection)?, 99);
        Ok(())
    }
}
