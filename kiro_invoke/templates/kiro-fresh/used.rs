//! Which of a target's units a build uses, by cargo's own notes: others replaced the rest when dependencies changed.
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::{dated, gone, walk};
use crate::target::{is_fingerprint, named_and_hashed};

/// A unit as cargo noted it in PROFILE/.fingerprint/NAME-HASH/KIND.json: its own fingerprint, and those of what it needs.
struct Unit {
    profile: PathBuf,
    hash: String,
    kind: String,
    fingerprint: String,
    needs: Vec<String>,
}

/// Of a target's own files those to keep after a successful build, and those of them that are of use to who builds on.
/// To keep are increments of twice as many units as are used of a crate, the newest: they serve if a change of dependencies
/// is taken back. All are of use where the notes do not tell.
pub fn used(target: &Path, own: BTreeSet<PathBuf>) -> io::Result<(BTreeSet<PathBuf>, BTreeSet<PathBuf>)> {
    let Some(units) = units(target)? else { return Ok((own.clone(), own)) };
    let profiles: BTreeSet<&Path> = units.iter().map(|unit| unit.profile.as_path()).collect();
    let Some(needed) = needed(&units, &profiles)? else { return Ok((own.clone(), own)) };
    let in_profile = |path: &Path| path.parent().and_then(Path::parent).is_some_and(|profile| profiles.contains(profile));
    let replaced = |path: &Path| {
        in_profile(path) && named_and_hashed(path).is_some_and(|(_, hash)| is_hash(hash) && !needed.contains(hash))
    };
    let incremental = |path: &Path| in_profile(path) && path.parent().is_some_and(|folder| folder.ends_with("incremental"));
    let mut kept: BTreeSet<PathBuf> = own.into_iter().filter(|path| !path.ancestors().any(replaced)).collect();

    let mut of_crates: BTreeMap<(&Path, &str), BTreeSet<(Reverse<SystemTime>, &Path)>> = BTreeMap::new();
    for folder in kept.iter().filter_map(|path| path.ancestors().find(|part| incremental(part))) {
        let (Some((name, _)), Some(all)) = (named_and_hashed(folder), folder.parent()) else { continue };
        of_crates.entry((all, name)).or_default().insert((Reverse(dated(folder)?), folder));
    }
    let kinds: Vec<&str> = units.iter().filter(|unit| needed.contains(&unit.hash)).map(|unit| unit.kind.as_str()).collect();
    let count = |name: &str| kinds.iter().filter(|kind| kind.ends_with(&format!("_{name}"))).count().max(1);
    let beyond = |times: usize| -> BTreeSet<PathBuf> {
        let of_each = of_crates.iter().flat_map(|((_, name), folders)| folders.iter().skip(count(name) * times));
        of_each.map(|(_, folder)| folder.to_path_buf()).collect()
    };
    let (outdated, former) = (beyond(2), beyond(1));
    let stays = |path: &Path, going: &BTreeSet<PathBuf>| !path.ancestors().any(|part| going.contains(part));
    let handed = kept.iter().filter(|path| stays(path, &former)).cloned().collect();
    kept.retain(|path| stays(path, &outdated));
    Ok((kept, handed))
}

/// All units; None if one is noted in a way that is not known here.
fn units(target: &Path) -> io::Result<Option<Vec<Unit>>> {
    let mut units = Vec::new();
    for (path, _) in walk(target)? {
        if !is_fingerprint(&path) || path.extension() != Some(OsStr::new("json")) {
            continue;
        }
        let text = |path: &Path| gone(fs::read_to_string(path));
        let (Some(note), Some(fingerprint)) = (text(&path)?, text(&path.with_extension(""))?) else { return Ok(None) };
        let Some(folder) = path.parent() else { return Ok(None) };
        let (Some((_, hash)), Some(profile)) = (named_and_hashed(folder), folder.parent().and_then(Path::parent)) else {
            return Ok(None);
        };
        let (Some(kind), Some(needs)) = (path.file_stem().and_then(OsStr::to_str), needs(&note)) else { return Ok(None) };
        units.push(Unit {
            profile: profile.to_path_buf(),
            hash: hash.to_string(),
            kind: kind.replace('-', "_"),
            fingerprint: fingerprint.trim().to_string(),
            needs,
        });
    }
    Ok(Some(units))
}

/// The fingerprints that a unit's note names, as the notes of those units spell them.
fn needs(note: &str) -> Option<Vec<String>> {
    let (list, _) = note.split_once("\"deps\":[")?.1.split_once("],\"local\":")?;
    let of_each = list.split_inclusive(']').filter(|entry| !entry.is_empty());
    of_each.map(|entry| Some(hex(entry.strip_suffix(']')?.rsplit_once(',')?.1.parse().ok()?))).collect()
}

fn hex(number: u64) -> String {
    number.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The hashes of the units behind the programs and libraries in a profile's folder and its examples, of tests, and of all
/// that these need. None if that cannot be told of one: cargo makes them as hard links, where it can.
fn needed(units: &[Unit], profiles: &BTreeSet<&Path>) -> io::Result<Option<BTreeSet<String>>> {
    let tests = units.iter().filter(|unit| unit.kind.starts_with("test_"));
    let mut todo: Vec<String> = tests.map(|unit| unit.hash.clone()).collect();
    for profile in profiles {
        let (mut hashes, mut inodes) = (HashMap::new(), Vec::new());
        for (folder, may_have_hash) in [(profile.join("deps"), true), (profile.join("examples"), true), (profile.to_path_buf(), false)] {
            for item in gone(fs::read_dir(&folder))?.into_iter().flatten() {
                let (meta, path) = item.and_then(|item| Ok((item.metadata()?, item.path())))?;
                let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
                match named_and_hashed(&path).filter(|(_, hash)| may_have_hash && is_hash(hash)) {
                    Some((_, hash)) => drop(hashes.insert(meta.ino(), hash.to_string())),
                    None if meta.is_file() && !name.starts_with('.') && !name.ends_with(".d") => inodes.push(meta.ino()),
                    None => (),
                }
            }
        }
        for inode in inodes {
            let Some(hash) = hashes.get(&inode) else { return Ok(None) };
            todo.push(hash.clone());
        }
    }
    if todo.is_empty() {
        return Ok(None);
    }
    let mut found = BTreeSet::new();
    while let Some(hash) = todo.pop() {
        let needs: BTreeSet<&String> = units.iter().filter(|unit| unit.hash == hash).flat_map(|unit| &unit.needs).collect();
        if found.insert(hash) {
            let reached = units.iter().filter(|unit| needs.contains(&unit.fingerprint) && !found.contains(&unit.hash));
            todo.extend(reached.map(|unit| unit.hash.clone()));
        }
    }
    Ok(Some(found))
}
