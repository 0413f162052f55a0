//! The folder that cargo writes to: seeded with cooked dependencies, emptied, copied from.
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, MetadataExt};
use std::os::unix::io::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::{copy, empty, gone, relative, size, vacate, walk, write_whole};

extern "C" {
    fn flock(file: i32, operation: i32) -> i32;
}

/// Keeps others out of `target` until the value is dropped; waits for those that are in it.
pub fn hold(target: &Path) -> io::Result<File> {
    let (exclusive, at_once) = (2, 4);
    fs::create_dir_all(target)?;
    let folder = File::open(target)?;
    // SAFETY: flock takes no pointers, and the descriptor is open
    let lock = |operation| unsafe { flock(folder.as_raw_fd(), operation) };
    if lock(exclusive | at_once) != 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
        println!("kiro-fresh: waiting for another build in this target");
        while lock(exclusive) != 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {}
    }
    Ok(folder)
}

/// Runs something while the link `place` leads to another folder; also the folder that it leads to before and after.
pub fn redirected<T>(place: &Path, to: &Path, run: impl FnOnce() -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{} is no link: {error}", place.display()));
    let (text, before) = (fs::read_link(place).map_err(named)?, fs::canonicalize(place)?);
    let to = fs::canonicalize(to)?;
    if before == to {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} leads to the mount already", place.display())));
    }
    let lead = |to: &Path| vacate(place).and_then(|()| symlink(to, place));
    lead(&to)?;
    let done = run();
    lead(&text)?;
    Ok((done?, before))
}

/// Makes `target` hold all that `cooked` holds, and of former cooks nothing. It starts afresh where a unit that it
/// has was compiled anew, or where what it holds of its own has tripled since its first build. Whether it was touched.
pub fn seed(target: &Path, cooked: &Path) -> io::Result<bool> {
    let manifest = target.join(".kiro/cooked");
    // what lies higher than PROFILE/FOLDER/ is cargo's own notes, which it rewrites
    let files = walk(cooked)?.into_iter().filter_map(|(path, meta)| Some((relative(&path, cooked)?, meta)));
    let units: Vec<(Vec<u8>, Metadata)> = files.filter(|(path, _)| path.split(|byte| *byte == b'/').count() > 2).collect();
    let names: BTreeSet<&[u8]> = units.iter().map(|(path, _)| path.as_slice()).collect();
    let twin = |path: &[u8]| fs::symlink_metadata(target.join(OsStr::from_bytes(path)));
    let own = size(&beyond(target, Some(cooked))?);
    let first = fs::read_to_string(target.join(OWN)).ok().and_then(|text| text.parse::<u64>().ok());
    let rewritten = fs::read(target.join(REWRITTEN)).unwrap_or_default();
    let rewritten: BTreeSet<&[u8]> = rewritten.split(|byte| *byte == 0).collect();
    let anew = |path: &[u8], meta| !rewritten.contains(noted(path, meta).as_slice());
    let why = if units.iter().any(|(path, meta)| twin(path).is_ok_and(|twin| !same(&twin, meta)) && anew(path, meta)) {
        Some("its dependencies are not the cooked ones")
    } else if first.is_some_and(|first| own > first * 3) {
        Some("it holds three times what its first build left")
    } else {
        None
    };
    if let Some(why) = why {
        println!("kiro-fresh: starting the target afresh: {why}");
        empty(target)?;
    }
    let mut missing: Vec<&[u8]> = names.iter().copied().filter(|path| twin(path).is_err()).collect();
    let former = fs::read(&manifest).unwrap_or_default();
    let former: BTreeSet<&[u8]> = former.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    if missing.is_empty() && former == names {
        return Ok(why.is_some());
    }
    // names both until it is done: what is cut short is finished next time
    write_whole(&manifest, &former.union(&names).copied().collect::<Vec<_>>().join(&0))?;
    former.difference(&names).for_each(|path| remove(&target.join(OsStr::from_bytes(path))));
    // fingerprints last: with its fingerprint a unit counts as compiled
    missing.sort_by_key(|path| is_fingerprint(Path::new(OsStr::from_bytes(path))));
    copy(missing.iter().map(|path| cooked.join(OsStr::from_bytes(path))), cooked, target)?;
    write_whole(&manifest, &names.into_iter().collect::<Vec<_>>().join(&0))?;
    Ok(true)
}

/// Names of the packages that come from elsewhere, by Cargo.lock, and that no crate of the workspace's own bears as well.
fn locked() -> BTreeSet<String> {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let named = |entry: &str| Some(entry.split("name = \"").nth(1)?.split('"').next()?.to_string());
    let (others, own): (Vec<&str>, Vec<&str>) = lock.split("[[package]]").partition(|entry| entry.contains("\nsource = "));
    let own: BTreeSet<String> = own.into_iter().filter_map(named).collect();
    others.into_iter().filter_map(named).filter(|name| !own.contains(name)).collect()
}

/// Leaves of a cook what it is for. Goes what packages left that Cargo.lock no longer has: nothing finds them again;
/// and what the workspace's own left: dummies, which each cook makes anew, of which no build may take anything.
pub fn keep_locked(target: &Path) -> io::Result<()> {
    if !Path::new("Cargo.lock").exists() {
        return Ok(());
    }
    let locked = locked();
    let mut files: Vec<PathBuf> = walk(target)?.into_iter().map(|(path, _)| path).collect();
    // PROFILE/.fingerprint/NAME-HASH/... tells whose PROFILE/build/NAME-HASH/... and PROFILE/deps/...-HASH.... are
    let noted = files.iter().filter(|path| is_fingerprint(path)).filter_map(|path| path.parent());
    let units: BTreeSet<PathBuf> = noted.map(PathBuf::from).collect();
    let profiles: BTreeSet<&Path> = units.iter().filter_map(|unit| unit.parent()?.parent()).collect();
    let going = units.iter().filter_map(|unit| named_and_hashed(unit)).filter(|(name, _)| !locked.contains(*name));
    let going: BTreeSet<&str> = going.map(|(_, hash)| hash).collect();
    files.retain(|path| {
        path.ancestors().any(|part| {
            named_and_hashed(part).is_some_and(|(_, hash)| going.contains(hash))
                || part.parent().is_some_and(|folder| profiles.contains(folder)) && is_own(part)
        })
    });
    files.sort_by_key(|path| !is_fingerprint(path));
    files.iter().for_each(|path| remove(path));
    Ok(())
}

/// Whether what stands directly in a profile's folder holds nothing but the workspace's own.
fn is_own(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    path.ends_with("incremental") || path.ends_with("examples") || path.is_file() && !hidden
}

pub fn named_and_hashed(path: &Path) -> Option<(&str, &str)> {
    path.file_name()?.to_str()?.split('.').next()?.rsplit_once('-')
}

pub fn is_fingerprint(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == ".fingerprint")
}

/// Removes a file, and the folders that were there for it alone.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = path.ancestors().skip(1).take_while(|folder| fs::remove_dir(folder).is_ok()).count();
}

/// Lists the cooked files that builds write anew, as they were cooked: a dependency may read a variable that is another
/// one in the build. They are no reason to start afresh each time.
const REWRITTEN: &str = ".kiro/rewritten";
/// Tells how many bytes the first complete build left beyond the cooked files.
const OWN: &str = ".kiro/own";

fn noted(path: &[u8], cooked: &Metadata) -> Vec<u8> {
    [path, format!(" {} {} {}", cooked.len(), cooked.mtime(), cooked.mtime_nsec()).as_bytes()].concat()
}

/// Notes what the build wrote anew, and how much the first complete build left in `target` beyond `cooked`; all that
/// it holds beyond that now, the notes included.
pub fn note_own(target: &Path, cooked: Option<&Path>) -> io::Result<BTreeSet<PathBuf>> {
    let own = beyond(target, cooked)?;
    let (bytes, own) = (size(&own), own.into_iter().map(|(path, _)| path));
    let mut own: BTreeSet<PathBuf> = own.collect();
    let mut notes = Vec::new();
    if let Some(cooked) = cooked {
        let twin = |path: &[u8]| fs::symlink_metadata(cooked.join(OsStr::from_bytes(path))).ok();
        let paths = own.iter().filter_map(|path| relative(path, target));
        let rewritten: Vec<Vec<u8>> = paths.filter_map(|path| Some(noted(&path, &twin(&path)?))).collect();
        notes.push((target.join(REWRITTEN), rewritten.join(&0)));
    }
    if !target.join(OWN).exists() {
        notes.push((target.join(OWN), bytes.to_string().into_bytes()));
    }
    for (path, text) in notes {
        write_whole(&path, &text)?;
        own.insert(path);
    }
    Ok(own)
}

/// What `target` holds and `cooked` does not, or holds differently, by size and time.
pub fn beyond(target: &Path, cooked: Option<&Path>) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let twin = |path: &Path| fs::symlink_metadata(cooked?.join(path.strip_prefix(target).ok()?)).ok();
    let differs = |path: &Path, meta: &Metadata| !twin(path).is_some_and(|twin| same(&twin, meta));
    Ok(walk(target)?.into_iter().filter(|(path, meta)| differs(path, meta)).collect())
}

/// A program or library in a target that is not whole, as a full disk or a lost machine leaves it. Cargo counts it as
/// compiled; to run an empty one, as a build script, does nothing and succeeds. What build scripts write may be anything.
pub fn torn(folder: &Path) -> io::Result<Option<PathBuf>> {
    for item in gone(fs::read_dir(folder))?.into_iter().flatten() {
        let item = item?;
        let Some(meta) = gone(item.metadata())? else { continue };
        let path = item.path();
        let may_hold = || !["incremental", ".fingerprint", ".kiro", "out"].iter().any(|name| path.ends_with(name));
        if meta.is_dir() && may_hold() {
            if let Some(found) = torn(&path)? {
                return Ok(Some(found));
            }
        } else if meta.is_file() && meta.mode() & 0o111 != 0 && !is_whole(&path, meta.len())? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether a file of so many bytes is as long as its header says. Of what has none (a script), emptiness alone tells.
fn is_whole(path: &Path, length: u64) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(64).read_to_end(&mut head)?;
    let number = |at: usize, bytes: usize| head[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // ELF of 64 bits, little-endian: where the table of sections begins, the size of an entry, their number
    if head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(head.len() == 64 && number(40, 8).saturating_add(number(58, 2) * number(60, 2)) <= length);
    }
    Ok(length > 0)
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.len(), one.mtime(), one.mtime_nsec()) == (other.len(), other.mtime(), other.mtime_nsec())
}

/// When the oldest and the newest of a target's own units were compiled: those of crates that no registry gives.
#[derive(Default)]
pub struct Units {
    pub oldest: Option<SystemTime>,
    pub newest: Option<SystemTime>,
}

impl Units {
    pub fn of(target: &Path) -> io::Result<Units> {
        let locked = locked();
        let mut units = Units::default();
        let mut folders = vec![(target.to_path_buf(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let inside = gone(fs::read_dir(&folder))?.into_iter().flatten().flatten().map(|item| item.path());
            let inside: Vec<PathBuf> = inside.filter(|path| path.is_dir() && !path.is_symlink()).collect();
            let is_profile = inside.iter().any(|path| path.ends_with(".fingerprint"));
            for path in inside {
                if is_profile && (path.ends_with(".fingerprint") || path.ends_with("build")) {
                    units.take(&path, &locked)?;
                } else if !is_profile && depth < 3 {
                    folders.push((path, depth + 1));
                }
            }
        }
        Ok(units)
    }

    fn take(&mut self, folder: &Path, locked: &BTreeSet<String>) -> io::Result<()> {
        for unit in gone(fs::read_dir(folder))?.into_iter().flatten().flatten().map(|item| item.path()) {
            if named_and_hashed(&unit).is_some_and(|(name, _)| locked.contains(name)) || !unit.is_dir() {
                continue;
            }
            for file in gone(fs::read_dir(&unit))?.into_iter().flatten().flatten() {
                let Some(meta) = gone(file.metadata())?.filter(Metadata::is_file) else { continue };
                let time = meta.modified()?;
                self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
                self.newest = self.newest.max(Some(time));
            }
        }
        Ok(())
    }

    /// Whether a file dated `is` passes for older than a unit that was compiled before it was as it is, at `should`.
    pub fn mislead(&self, is: SystemTime, should: SystemTime) -> bool {
        is < should && self.oldest.is_some_and(|oldest| oldest < should) && self.newest.is_some_and(|newest| is <= newest)
    }
}
