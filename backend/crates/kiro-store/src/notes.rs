use jiff::Timestamp;
use kiro_domain::{Note, NoteId, NoteText};
use rusqlite::{Connection, Row, params, types::Type};

/// All notes, oldest first.
pub(crate) fn list(connection: &Connection) -> rusqlite::Result<Vec<Note>> {
    let mut statement =
        connection.prepare_cached("SELECT id, text, created_at FROM notes ORDER BY id")?;
    let notes = statement.query_map([], read_note)?;
    notes.collect()
}

/// Adds a note and returns it with its id.
pub(crate) fn insert(
    connection: &Connection,
    text: NoteText,
    created_at: Timestamp,
) -> rusqlite::Result<Note> {
    connection
        .prepare_cached("INSERT INTO notes (text, created_at) VALUES (?1, ?2)")?
        .execute(params![text.as_str(), created_at.to_string()])?;
    Ok(Note {
        id: NoteId(connection.last_insert_rowid()),
        text,
        created_at,
    })
}

/// Removes a note; says whether there was one.
pub(crate) fn delete(connection: &Connection, id: NoteId) -> rusqlite::Result<bool> {
    let removed = connection
        .prepare_cached("DELETE FROM notes WHERE id = ?1")?
        .execute([id.0])?;
    Ok(removed > 0)
}

fn read_note(row: &Row<'_>) -> rusqlite::Result<Note> {
    let text: String = row.get(1)?;
    let created_at: String = row.get(2)?;
    Ok(Note {
        id: NoteId(row.get(0)?),
        text: NoteText::parse(text).map_err(|error| unreadable(1, error))?,
        created_at: created_at.parse().map_err(|error| unreadable(2, error))?,
    })
}

fn unreadable<E>(column: usize, error: E) -> rusqlite::Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
