//! The store against real database files.

use std::{collections::HashSet, fs};

use anyhow::Result;
use futures::future::try_join_all;
use kiro_domain::{NoteId, NoteText};
use kiro_store::{Store, StoreError};
use tempfile::tempdir;

#[tokio::test]
async fn notes_survive_reopening_the_file() -> Result<()> {
    let folder = tempdir()?;
    let path = folder.path().join("deep/er/notes.db");

    let store = Store::open(&path).await?;
    let first = store.create(NoteText::parse("first")?).await?;
    let second = store.create(NoteText::parse("second")?).await?;
    store.close();
    drop(store);

    let store = Store::open(&path).await?;
    assert_eq!(store.list().await?, [first, second]);
    Ok(())
}

#[tokio::test]
async fn concurrent_creates_are_all_kept() -> Result<()> {
    let folder = tempdir()?;
    let path = folder.path().join("notes.db");
    // Two stores on one file: writers also wait for other processes.
    let stores = [Store::open(&path).await?, Store::open(&path).await?];

    let creates = (0..64).map(|n| {
        let store = stores[n % 2].clone();
        async move {
            let text = NoteText::parse(format!("note {n}")).expect("a valid text");
            store.create(text).await
        }
    });
    let created = try_join_all(creates).await?;

    let ids: HashSet<_> = created.iter().map(|note| note.id).collect();
    assert_eq!(ids.len(), 64);
    assert_eq!(stores[0].list().await?.len(), 64);
    Ok(())
}

#[tokio::test]
async fn deleted_ids_are_not_used_again() -> Result<()> {
    let folder = tempdir()?;
    let store = Store::open(folder.path().join("notes.db")).await?;
    let first = store.create(NoteText::parse("first")?).await?;

    assert!(store.delete(first.id).await?);
    assert!(!store.delete(first.id).await?);
    assert!(!store.delete(NoteId(999)).await?);

    let second = store.create(NoteText::parse("second")?).await?;
    assert!(second.id > first.id);
    Ok(())
}

#[tokio::test]
async fn ping_notices_a_missing_file() -> Result<()> {
    let folder = tempdir()?;
    let path = folder.path().join("notes.db");
    let store = Store::open(&path).await?;
    store.ping().await?;

    fs::remove_file(&path)?;
    let error = store.ping().await.expect_err("the file is gone");
    assert!(matches!(error, StoreError::FileGone { .. }), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() -> Result<()> {
    let folder = tempdir()?;
    let path = folder.path().join("notes.db");
    fs::write(&path, "just some text, far from being a database".repeat(9))?;
    assert!(Store::open(&path).await.is_err());
    Ok(())
}
