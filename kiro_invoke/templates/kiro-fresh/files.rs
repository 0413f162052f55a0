//! Files and folders: copied with their times, listed, replaced whole.
use std::collections::{BTreeSet, HashMap};
use std::ffi::{c_char, c_long, CString};
use std::fs::{self, File, FileTimes, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

extern "C" {
    fn utimensat(folder: i32, path: *const c_char, times: *const [c_long; 4], flags: i32) -> i32;
}

/// Copies files of one folder to the same places in another, in place of what is there: times, modes and hard links kept.
pub fn copy(files: impl Iterator<Item = PathBuf>, from: &Path, into: &Path) -> io::Result<()> {
    let mut copied: HashMap<(u64, u64), PathBuf> = HashMap::new();
    for path in files {
        let (meta, to) = (fs::symlink_metadata(&path)?, into.join(path.strip_prefix(from).unwrap_or(&path)));
        fs::create_dir_all(to.parent().unwrap_or(into))?;
        vacate(&to)?;
        if meta.file_type().is_symlink() {
            copy_link(&path, &to, &meta)?;
        } else if let Some(twin) = copied.get(&(meta.dev(), meta.ino())) {
            fs::hard_link(twin, &to)?;
        } else {
            copy_file(&path, &to, meta.modified()?)?;
            copied.insert((meta.dev(), meta.ino()), to);
        }
    }
    Ok(())
}

/// Makes room for a file: written into, an old one would change wherever it has another name.
pub fn vacate(place: &Path) -> io::Result<()> {
    gone(fs::remove_file(place)).map(drop)
}

/// With its own time: cargo asks for that too, in a folder that a build script watches.
pub fn copy_link(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    symlink(fs::read_link(from)?, to)?;
    let (here, itself) = (-100, 0x100); // AT_FDCWD, AT_SYMLINK_NOFOLLOW
    let (seconds, nanoseconds) = (meta.mtime() as c_long, meta.mtime_nsec() as c_long);
    let path = CString::new(to.as_os_str().as_bytes())?;
    // SAFETY: the path ends with NUL, and the times are two of seconds and nanoseconds; both outlive the call
    match unsafe { utimensat(here, path.as_ptr(), &[seconds, nanoseconds, seconds, nanoseconds], itself) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub fn copy_file(from: &Path, to: &Path, time: SystemTime) -> io::Result<()> {
    fs::copy(from, to)?;
    // last: with its time it counts as copied
    File::open(to)?.set_times(FileTimes::new().set_modified(time))
}

/// All files and links beneath a folder.
pub fn walk(root: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let items = fs::read_dir(&folder);
        for item in if folder == root { items.map(Some) } else { gone(items) }?.into_iter().flatten() {
            let item = item?;
            match gone(item.metadata())? {
                Some(meta) if meta.is_dir() => folders.push(item.path()),
                meta => files.extend(meta.map(|meta| (item.path(), meta))),
            }
        }
    }
    Ok(files)
}

/// Bytes of files, each inode once.
pub fn size(files: &[(PathBuf, Metadata)]) -> u64 {
    let mut seen = BTreeSet::new();
    files.iter().filter(|(_, meta)| seen.insert((meta.dev(), meta.ino()))).map(|(_, meta)| meta.len()).sum()
}

pub fn empty(folder: &Path) -> io::Result<()> {
    let notes = folder.join(".kiro"); // first: what is half removed must not look trusted
    if notes.exists() {
        fs::remove_dir_all(&notes)?;
    }
    for item in fs::read_dir(folder)? {
        let path = item?.path();
        match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(path)?,
            false => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// Replaces a file in one step: written beside it, synced, renamed over it.
pub fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let mut file = File::create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(draft, path)
}

pub fn relative(path: &Path, folder: &Path) -> Option<Vec<u8>> {
    Some(path.strip_prefix(folder).ok()?.as_os_str().as_bytes().to_vec())
}

pub fn dated(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Others may remove what is being looked at.
pub fn gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
