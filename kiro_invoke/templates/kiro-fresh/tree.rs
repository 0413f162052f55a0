//! The sources as they are: what each path holds, what differs from the last list, and what to touch for it.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::files::{dated, gone, relative, write_whole};
use crate::sha256::Sha256;
use crate::target::Units;

/// Differ from run to run without a meaning to compilers; the proxies are no part of a layer's key either.
const PASSING: &[&str] = &[
    "_", "PWD", "OLDPWD", "SHLVL", "HOSTNAME", "TERM", "KIRO_REVISION", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
    "NO_PROXY", "ALL_PROXY",
];

/// What changes whenever a file is written: length, inode, modification and change time.
type Mark = (u64, u64, i64, i64, i64, i64);

/// Of each path what it holds: `f` or `x` (executable) and the hash of a file, `l` and a link's text, `d` of a
/// folder. The empty path holds the environment. A list may doubt: `?` stands there instead of what follows the kind,
/// or of all where the kind is in doubt too. With it, since when that is so, in nanoseconds since 1970: a target may
/// hold several variants of a crate (features, profiles), some compiled before that and some after.
#[derive(Default)]
pub struct Tree {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    since: HashMap<Vec<u8>, u64>,
    marks: HashMap<Vec<u8>, Mark>,
    written: Option<SystemTime>,
}

impl Tree {
    /// Everything in this folder but `target`.
    pub fn scan(target: &Path) -> io::Result<Tree> {
        let mut tree = Tree::default();
        for name in names(Path::new("."), Some(target))? {
            tree.look(&name)?;
        }
        Ok(tree)
    }

    pub fn with_environment(mut self, environment: String) -> Tree {
        self.entries.insert(Vec::new(), environment.into_bytes());
        self
    }

    /// Takes a path in as it is now; what is gone, sockets and devices are left out.
    fn look(&mut self, name: &[u8]) -> io::Result<()> {
        let path = at(name);
        let found = gone(fs::symlink_metadata(&path)).and_then(|meta| match meta {
            Some(meta) => Ok(gone(entry(&path, &meta))?.flatten().map(|entry| (entry, mark(&meta)))),
            None => Ok(None),
        });
        match found.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))? {
            Some((entry, mark)) => {
                self.entries.insert(name.to_vec(), entry);
                self.marks.insert(name.to_vec(), mark);
            }
            None => drop(self.entries.remove(name)),
        }
        Ok(())
    }

    /// The SHA-256 over `PATH NUL ENTRY NUL` of all files and links in the order of their bytes.
    pub fn revision(&self) -> String {
        let mut hash = Sha256::new();
        for (path, entry) in self.entries.iter().filter(|(path, entry)| !path.is_empty() && entry[0] != b'd') {
            hash.update(&[path, &b"\0"[..], entry, b"\0"].concat());
        }
        format!("kiro-revision-{}", hash.hex())
    }

    /// A stored list; an empty one where there is none, or none that was written whole.
    pub fn read(path: &Path) -> Tree {
        let text = fs::read(path).unwrap_or_default();
        let fields: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
        let mut tree = Tree::default();
        if let [b"kiro-fresh 2", entries @ .., b"end", b""] = fields.as_slice() {
            for [path, entry, since] in entries.chunks_exact(3).filter_map(|fields| <&[_; 3]>::try_from(fields).ok()) {
                tree.entries.insert(path.to_vec(), entry.to_vec());
                if let Some(since) = std::str::from_utf8(since).ok().and_then(|since| since.parse().ok()) {
                    tree.since.insert(path.to_vec(), since);
                }
            }
            tree.written = dated(path).ok();
        }
        tree
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = b"kiro-fresh 2\0".to_vec();
        for (name, entry) in &self.entries {
            let since = self.since.get(name).map(u64::to_string).unwrap_or_default();
            text.extend([name, &b"\0"[..], entry, b"\0", since.as_bytes(), b"\0"].concat());
        }
        text.extend(b"end\0");
        write_whole(path, &text)
    }

    /// Where the new differs from this list. Where something was compiled after the list was written, by whomever, also
    /// what was written after it in `sources`, which the new is, or was copied from: that may have been something else
    /// meanwhile, and been compiled so.
    pub fn news(&self, new: &Tree, units: &Units, sources: &Path) -> BTreeSet<Vec<u8>> {
        let all: BTreeSet<_> = self.entries.keys().chain(new.entries.keys()).collect();
        let others = units.newest.map_or(true, |newest| self.written.map_or(true, |written| newest > written));
        let suspect = |path: &Vec<u8>| {
            let meta = || fs::symlink_metadata(sources.join(OsStr::from_bytes(path))).ok();
            let changed = || Some(after_1970(meta().map(|meta| meta.ctime() as u64 * 1_000_000_000 + meta.ctime_nsec() as u64)?));
            others && !path.is_empty() && changed().is_some_and(|changed| self.written.map_or(true, |written| changed >= written))
        };
        all.into_iter().filter(|path| self.entries.get(*path) != new.entries.get(*path) || suspect(path)).cloned().collect()
    }

    /// What holds while a command turns the old into the new: of the news nothing is sure, of what is gone or new
    /// neither. It may be compiled or not, and may be as before, or no more there, by the next time.
    pub fn or_in_doubt(&self, new: &Tree, news: &BTreeSet<Vec<u8>>) -> Tree {
        let paths = self.entries.keys().chain(new.entries.keys()).chain(news);
        let entry = |path: &Vec<u8>| match (self.entries.get(path), new.entries.get(path)) {
            (Some(old), Some(new)) if old == new && !news.contains(path) => old.clone(),
            (Some(old), Some(new)) if old[0] == new[0] => vec![old[0], b'?'],
            _ => b"?".to_vec(),
        };
        let entries = paths.map(|path| (path.clone(), entry(path))).collect();
        Tree { entries, since: self.since.clone(), ..Tree::default() }
    }

    /// What was saved or generated since it was looked at, or is gone: no command can be known to have read that.
    pub fn moved(&self, target: &Path) -> io::Result<BTreeSet<Vec<u8>>> {
        let now = |path: &[u8]| fs::symlink_metadata(at(path)).ok();
        let sure = |path: &[u8]| match (self.entries.get(path), now(path)) {
            (Some(entry), Some(now)) if entry == b"d" => now.is_dir(),
            (Some(_), Some(now)) => self.marks.get(path) == Some(&mark(&now)),
            (None, Some(now)) => !now.is_file() && !now.is_dir() && !now.is_symlink(),
            (known, None) => known.is_none(),
        };
        let known = self.entries.keys().filter(|path| !path.is_empty()).cloned();
        Ok(known.chain(names(Path::new("."), Some(target))?).filter(|path| !sure(path)).collect())
    }

    /// With what moved in doubt: of what holds the same as before only that, of the rest the kind too, so that all
    /// of its package is compiled again.
    pub fn doubting(&self, moved: &BTreeSet<Vec<u8>>) -> io::Result<Tree> {
        let mut now = Tree { entries: self.entries.clone(), since: self.since.clone(), ..Tree::default() };
        for path in moved {
            now.look(path)?;
            let same = self.entries.get(path).filter(|before| now.entries.get(path) == Some(before));
            now.entries.insert(path.clone(), same.map_or(b"?".to_vec(), |same| vec![same[0], b'?']));
        }
        Ok(now)
    }

    /// The paths to touch for the news. A new text of a known source concerns that file alone; whatever else changed,
    /// the whole nearest package, since cargo may not know who reads it; another environment, everything.
    pub fn to_touch(&self, new: &Tree, news: &BTreeSet<Vec<u8>>) -> BTreeSet<Vec<u8>> {
        let (mut paths, mut packages) = (BTreeSet::new(), BTreeSet::new());
        for path in news {
            let kind = |tree: &Tree| tree.entries.get(path).map(|entry| entry[0]);
            if path.ends_with(b".rs") && kind(self) == kind(new) && kind(new) != Some(b'l') {
                paths.insert(path.clone());
                continue;
            }
            packages.insert(self.package(path, new));
            if path.ends_with(b"/Cargo.toml") && (kind(self) != kind(new)) {
                // a package that comes or goes takes its files from another, or gives them back
                packages.insert(self.package(&path[..path.len() - b"/Cargo.toml".len()], new));
            }
        }
        packages.iter().for_each(|package| paths.extend(new.beneath(package)));
        paths
    }

    /// A folder and all in it; all there is for the empty path.
    fn beneath<'a>(&'a self, folder: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
        let within = move |path: &[u8]| path == folder || path.starts_with(folder) && path[folder.len()] == b'/';
        let wanted = move |path: &&Vec<u8>| !path.is_empty() && (folder.is_empty() || within(path));
        self.entries.keys().filter(wanted).cloned()
    }

    /// The nearest folder above `path` with a manifest, now or before; the whole tree where there is none.
    fn package(&self, path: &[u8], new: &Tree) -> Vec<u8> {
        let mut folder = path;
        while let Some(slash) = folder.iter().rposition(|byte| *byte == b'/') {
            folder = &folder[..slash];
            let manifest = [folder, b"/Cargo.toml"].concat();
            if self.entries.contains_key(&manifest) || new.entries.contains_key(&manifest) {
                return folder.to_vec();
            }
        }
        Vec::new()
    }

    /// Dates everything as cargo has to see it: what is `touched`, and what its links lead to, `now`; the rest since when
    /// `old` knows it to be so. In a new target, without a list and own units, no date can mislead: there all stays as it
    /// is, unless that is in the future. What is dated is looked at again: it may have been saved meanwhile.
    pub fn date(&mut self, old: &Tree, mut touched: BTreeSet<Vec<u8>>, now: SystemTime, units: &Units) -> io::Result<()> {
        let here = fs::canonicalize(".").unwrap_or_default();
        let now = units.newest.map_or(now, |newest| now.max(newest + Duration::from_millis(1)));
        let elsewhere = std::env::var_os("CARGO_BUILD_BUILD_DIR").is_some();
        let is_new = units.newest.is_none() && old.written.is_none() && !elsewhere;
        let links: Vec<PathBuf> = touched.iter().map(|path| at(path)).filter(|path| path.is_symlink()).collect();
        for place in links.iter().filter_map(|link| fs::canonicalize(link).ok()) {
            match relative(&place, &here) {
                Some(path) => touched.extend(self.beneath(&path)),
                None if is_new => {}
                None => drop(set_date(&place, now)),
            }
        }
        let paths: Vec<Vec<u8>> = self.beneath(b"").filter(|path| !at(path).is_symlink()).collect();
        for path in paths {
            let Some(is) = gone(dated(&at(&path)))? else { continue };
            let known = old.since.get(&path).filter(|_| !touched.contains(&path));
            let should = known.map_or(if is_new { is.min(now) } else { now }, |since| after_1970(*since));
            let before = self.entries.get(&path).cloned();
            if self.set_date(&path, is, should, units)? && known.is_some() && self.entries.get(&path) != before.as_ref() {
                self.set_date(&path, should, now, units)?;
            }
        }
        Ok(())
    }

    /// Whether it had to be dated, and could be. If it could not: an error, if cargo would draw a wrong conclusion.
    fn set_date(&mut self, path: &[u8], is: SystemTime, should: SystemTime, units: &Units) -> io::Result<bool> {
        let done = if is == should { Ok(false) } else { set_date(&at(path), should).map(|()| true) };
        if let (Err(error), true) = (&done, units.mislead(is, should) && at(path).exists()) {
            return Err(io::Error::new(error.kind(), format!("{} cannot be dated: {error}", at(path).display())));
        }
        self.since.insert(path.to_vec(), nanoseconds(if done.is_ok() { should } else { is }));
        if let Ok(true) = done {
            self.look(path)?;
        }
        Ok(matches!(done, Ok(true)))
    }
}

/// All paths in `root` but what is `target` in this folder; what goes meanwhile may be among them or not.
pub fn names(root: &Path, target: Option<&Path>) -> io::Result<Vec<Vec<u8>>> {
    let place = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let here = std::env::current_dir()?;
    // its place, links on the way followed, and not where it leads itself
    let plain = |path: &Path| Some(fs::canonicalize(here.join(path).parent()?).ok()?.join(path.file_name()?));
    let (known, target) = (target.and_then(place), target.and_then(plain));
    let is_target = |path: &Path, is_folder| {
        target.as_ref().is_some_and(|target| here.join(path) == *target) || is_folder && known.is_some() && place(path) == known
    };
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        let items = fs::read_dir(root.join(&folder));
        for item in if folder.as_os_str().is_empty() { items.map(Some) } else { gone(items) }?.into_iter().flatten() {
            let item = item?;
            let path = folder.join(item.file_name());
            let is_folder = gone(item.file_type())?.is_some_and(|kind| kind.is_dir());
            if is_target(&path, is_folder) {
                continue;
            }
            if is_folder {
                folders.push(path.clone());
            }
            found.push(path.into_os_string().into_vec());
        }
    }
    Ok(found)
}

/// What a path holds; nothing for sockets and devices.
fn entry(path: &Path, meta: &Metadata) -> io::Result<Option<Vec<u8>>> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        return Ok(Some([b"l", fs::read_link(path)?.as_os_str().as_bytes()].concat()));
    } else if kind.is_dir() {
        return Ok(Some(b"d".to_vec()));
    } else if !kind.is_file() {
        return Ok(None);
    }
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(Some(format!("{}{}", if meta.mode() & 0o111 == 0 { "f" } else { "x" }, hash.hex()).into_bytes()))
}

/// A hash of the variables and the compiler: values of variables may be secret.
pub fn environment() -> io::Result<String> {
    let passing = |name: &OsStr| name.to_str().is_some_and(|name| PASSING.contains(&name.to_uppercase().as_str()));
    let mut hash = Sha256::new();
    for (name, value) in std::env::vars_os().filter(|(name, _)| !passing(name)).collect::<BTreeMap<_, _>>() {
        hash.update(&[name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    }
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(&compiler).arg("-vV").output();
    let version = version.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", compiler.to_string_lossy())))?;
    hash.update(&version.stdout);
    Ok(hash.hex())
}

fn at(path: &[u8]) -> PathBuf {
    Path::new(".").join(OsStr::from_bytes(path))
}

fn mark(meta: &Metadata) -> Mark {
    (meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}

pub fn set_date(path: &Path, time: SystemTime) -> io::Result<()> {
    File::open(path)?.set_times(FileTimes::new().set_modified(time))
}

fn after_1970(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
