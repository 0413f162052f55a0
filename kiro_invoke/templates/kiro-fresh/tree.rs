//! The sources as they are: what each path holds, what differs from the last list, and what to touch for it.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::sha256::Sha256;
use crate::target::{copy_file, relative, write_whole};

/// Differ from run to run without a meaning to compilers; the proxies are no part of a layer's key either.
const PASSING: &[&str] = &[
    "_", "PWD", "OLDPWD", "SHLVL", "HOSTNAME", "TERM", "KIRO_REVISION", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
    "NO_PROXY", "ALL_PROXY",
];

/// What changes whenever a file is written: length, inode, modification and change time.
type Mark = (u64, u64, i64, i64, i64, i64);

/// Of each path what it holds: `f` or `x` (executable) and the hash of a file, `l` and a link's text, `d` of a
/// folder. The empty path holds the environment. A list may doubt: `?` stands there instead of what follows the kind,
/// or of all where the kind is in doubt too. With it, since when that is so, in nanoseconds since 1970: the target may
/// hold several variants of a crate (features, profiles), some compiled before that and some after.
#[derive(Default)]
pub struct Tree {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    since: HashMap<Vec<u8>, u64>,
    oldest: Option<SystemTime>,
    marks: HashMap<Vec<u8>, Mark>,
}

impl Tree {
    /// Everything in this folder but `target`, dated as `old` knows it where that matters to a target whose oldest own
    /// unit was compiled at `oldest`.
    pub fn scan(target: &Path, old: &Tree, oldest: Option<SystemTime>) -> io::Result<Tree> {
        let place = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let target = place(target);
        let mut tree = Tree { since: old.since.clone(), oldest, ..Tree::default() };
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for item in fs::read_dir(Path::new(".").join(&folder))? {
                let path = folder.join(item?.file_name());
                match tree.look(path.as_os_str().as_bytes())? {
                    b'd' if target.is_some() && place(&path) == target => drop(tree.entries.remove(path.as_os_str().as_bytes())),
                    b'd' => folders.push(path),
                    _ => {}
                }
            }
        }
        Ok(tree)
    }

    pub fn with_environment(mut self) -> io::Result<Tree> {
        self.entries.insert(Vec::new(), environment()?.into_bytes());
        Ok(self)
    }

    /// Takes a path in; sockets and devices are left out. Returns its kind. Dates it before it reads it: what is saved
    /// later has another date.
    fn look(&mut self, name: &[u8]) -> io::Result<u8> {
        let path = at(name);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let mut meta = fs::symlink_metadata(&path).map_err(named)?;
        let kind = meta.file_type();
        if kind.is_file() || kind.is_dir() {
            if let Some(since) = self.date_of(name).filter(|since| self.misleads(meta.modified().ok(), *since)) {
                date(&path, since).map_err(named)?;
                meta = fs::symlink_metadata(&path).map_err(named)?;
            }
        }
        let entry = if kind.is_symlink() {
            [b"l", fs::read_link(&path)?.as_os_str().as_bytes()].concat()
        } else if kind.is_dir() {
            b"d".to_vec()
        } else if kind.is_file() {
            let mut hash = Sha256::new();
            io::copy(&mut File::open(&path).map_err(named)?, &mut hash).map_err(named)?;
            format!("{}{}", if meta.mode() & 0o111 == 0 { "f" } else { "x" }, hash.hex()).into_bytes()
        } else {
            return Ok(0);
        };
        self.marks.insert(name.to_vec(), mark(&meta));
        self.entries.insert(name.to_vec(), entry);
        Ok(self.entries[name][0])
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

    /// What holds while a command turns the old into the new: where they differ nothing is sure, of what is gone or
    /// new neither. It may be compiled or not, and may be as before, or no more there, by the next time.
    pub fn or_in_doubt(&self, new: &Tree) -> Tree {
        let paths = self.entries.keys().chain(new.entries.keys());
        let entry = |path: &Vec<u8>| match (self.entries.get(path), new.entries.get(path)) {
            (Some(old), Some(new)) if old == new => old.clone(),
            (Some(old), Some(new)) if old[0] == new[0] => vec![old[0], b'?'],
            _ => b"?".to_vec(),
        };
        let entries = paths.map(|path| (path.clone(), entry(path))).collect();
        Tree { entries, since: self.since.clone(), ..Tree::default() }
    }

    /// With what was saved or generated since it was looked at in doubt: no command can be known to have read that.
    pub fn unmoved(&self) -> Tree {
        let now = |path: &[u8]| fs::symlink_metadata(at(path)).map(|meta| mark(&meta)).ok();
        let sure = |path: &[u8], entry: &[u8]| path.is_empty() || entry == b"d" || now(path).as_ref() == self.marks.get(path);
        let entries = self.entries.iter().map(|(path, entry)| match sure(path, entry) {
            true => (path.clone(), entry.clone()),
            false => (path.clone(), vec![entry[0], b'?']),
        });
        Tree { entries: entries.collect(), since: self.since.clone(), ..Tree::default() }
    }

    /// The paths to touch. A new text of a known source concerns that file alone; whatever else changed, the whole
    /// nearest package, since cargo may not know who reads it; another environment, everything.
    pub fn to_touch(&self, new: &Tree) -> BTreeSet<Vec<u8>> {
        let (mut paths, mut packages) = (BTreeSet::new(), BTreeSet::new());
        let all: BTreeSet<_> = self.entries.keys().chain(new.entries.keys()).collect();
        for path in all.into_iter().filter(|path| self.entries.get(*path) != new.entries.get(*path)) {
            let kind = |tree: &Tree| tree.entries.get(path).map(|entry| entry[0]);
            if path.ends_with(b".rs") && kind(self) == kind(new) && kind(new) != Some(b'l') {
                paths.insert(path.clone());
            } else {
                packages.insert(self.package(path, new));
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

    /// Dates `paths` at `now`, what links lead to included: cargo looks there. They are looked at again, so that a
    /// file that is saved meanwhile is not taken for what it was before. Where the clock has gone back since cargo wrote
    /// the `newest` unit, they are dated after that. What cannot be dated is an error, unless cargo sees it as it is.
    pub fn touch(&mut self, mut paths: BTreeSet<Vec<u8>>, now: SystemTime, newest: Option<SystemTime>) -> io::Result<()> {
        let time = newest.map_or(now, |newest| now.max(newest + Duration::from_millis(1)));
        let since = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let here = fs::canonicalize(".").unwrap_or_default();
        let links = paths.iter().map(|path| at(path)).filter(|path| path.is_symlink());
        let led_to: Vec<_> = links.filter_map(|link| relative(&fs::canonicalize(link).ok()?, &here)).collect();
        led_to.iter().for_each(|path| paths.extend(self.beneath(path)));
        for path in &paths {
            let place = at(path);
            if place.is_file() || place.is_dir() {
                let seen = || fs::metadata(&place).and_then(|meta| meta.modified()).map_or(true, |dated| Some(dated) > newest);
                match date(&place, time) {
                    Err(error) if !place.is_symlink() && !seen() => {
                        return Err(io::Error::new(error.kind(), format!("{} cannot be dated: {error}", place.display())));
                    }
                    _ => drop(self.since.insert(path.clone(), since)),
                }
            }
        }
        for path in paths {
            if self.look(&path).is_err() {
                self.entries.remove(&path);
            }
        }
        Ok(())
    }

    /// With their dates: the target was built from them, and only later edits are news to it.
    pub fn copy_sources(&self, into: &Path) -> io::Result<()> {
        fs::create_dir_all(into)?;
        for (path, entry) in self.entries.iter().filter(|(path, _)| !path.is_empty()) {
            let (from, to) = (at(path), into.join(OsStr::from_bytes(path)));
            match entry[0] {
                b'd' => {
                    fs::create_dir(&to)?;
                    fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
                }
                b'l' => symlink(OsStr::from_bytes(&entry[1..]), &to)?,
                _ => copy_file(&from, &to, self.date_of(path).unwrap_or(fs::metadata(&from)?.modified()?))?,
            }
        }
        let folders = self.entries.iter().filter(|(_, entry)| *entry == b"d");
        let mut dated = folders.filter_map(|(path, _)| Some((into.join(OsStr::from_bytes(path)), self.date_of(path)?)));
        dated.try_for_each(|(path, time)| date(&path, time))
    }

    /// Whether cargo could draw a wrong conclusion from a date: that something is new which is not, or that something
    /// compiled before `since` holds what is there since. Where it cannot, a file is left alone: in a bind mount of
    /// the context each one that is dated has to be copied.
    fn misleads(&self, dated: Option<SystemTime>, since: SystemTime) -> bool {
        dated.is_some_and(|dated| dated > since || dated < since && self.oldest.is_some_and(|oldest| oldest < since))
    }

    /// Since when a path is as it is.
    fn date_of(&self, path: &[u8]) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(*self.since.get(path)?))
    }
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

fn date(path: &Path, time: SystemTime) -> io::Result<()> {
    File::open(path)?.set_times(FileTimes::new().set_modified(time))
}

fn at(path: &[u8]) -> PathBuf {
    Path::new(".").join(OsStr::from_bytes(path))
}

fn mark(meta: &Metadata) -> Mark {
    (meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
}
