//! The build context, which is mounted and only read: copied to where it is built, and its skeleton.
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;

use crate::files::{copy_file, copy_link, vacate};
use crate::tree::{names, set_date};

/// Copies all in `context` but what would lie in `target` to this folder, with times and modes.
pub fn copy_here(context: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let mut folders = Vec::new();
    for name in names(context, Some(target))? {
        let path = Path::new(OsStr::from_bytes(&name));
        let (from, to) = (context.join(path), Path::new(".").join(path));
        let meta = fs::symlink_metadata(&from)?;
        if meta.is_dir() {
            fs::create_dir_all(&to)?;
            fs::set_permissions(&to, meta.permissions())?;
            folders.push((to, meta.modified()?));
            continue;
        }
        vacate(&to)?;
        if meta.is_symlink() {
            copy_link(&from, &to, &meta)?;
        } else if meta.is_file() {
            copy_file(&from, &to, meta.modified()?)?;
        }
    }
    // last: each file that came to a folder dated it anew
    folders.into_iter().try_for_each(|(folder, time)| set_date(&folder, time))
}

/// Writes to `into` what a recipe can depend on: the contents of manifests, lockfiles and settings, and that all other
/// files are there, empty, since cargo finds targets by their names. Modes are made equal: they mean nothing here.
/// All contents are kept where a link may lead cargo to a manifest of another name.
pub fn write_skeleton(context: &Path, into: &Path) -> io::Result<()> {
    let folder = |path: &Path| fs::create_dir(path).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)));
    folder(into)?;
    let names = names(context, None)?;
    let is_link = |name: &[u8]| fs::symlink_metadata(context.join(OsStr::from_bytes(name))).is_ok_and(|meta| meta.is_symlink());
    let leads = |name: &Vec<u8>| (is_read(name) || parts(name).1 == b".cargo") && is_link(name);
    let all = names.iter().any(leads);
    for name in names {
        let path = Path::new(OsStr::from_bytes(&name));
        let (from, to) = (context.join(path), into.join(path));
        let meta = fs::symlink_metadata(&from)?;
        if meta.is_dir() {
            folder(&to)?;
        } else if meta.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if meta.is_file() {
            fs::write(&to, if all || is_read(&name) { fs::read(&from)? } else { Vec::new() })?;
            fs::set_permissions(&to, Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// Whether `cargo metadata` may read this file's content.
fn is_read(path: &[u8]) -> bool {
    let (folder, name) = parts(path);
    name.ends_with(b".toml")
        || name.ends_with(b".lock")
        || name == b"rust-toolchain"
        || name == b"config" && (folder == b".cargo" || folder.ends_with(b"/.cargo"))
}

fn parts(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|byte| *byte == b'/').map_or((b"", path), |slash| (&path[..slash], &path[slash + 1..]))
}
