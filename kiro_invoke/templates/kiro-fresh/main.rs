//! kiro-fresh: makes cargo's targets in cache mounts follow content, not modification times.
//!
//! kiro-fresh deps [--cooked DIR] TARGET COMMAND...
//!     run COMMAND with TARGET as its target, emptied first where it cannot be trusted, seeded from --cooked
//! kiro-fresh build [--cooked DIR] [--context DIR] [--mounted DIR] COMMAND...
//!     have COMMAND rebuild what differs in content from what the target was built from. With --context the sources are
//!     copied here from there first. With --mounted the target is a link, which leads there while COMMAND runs: rustc
//!     forgets all increments where its output has another path. What is there beyond --cooked, the target gets then
//! kiro-fresh skeleton CONTEXT DIR  write what a recipe can depend on: manifests, and the names of all else
//! kiro-fresh revision              print the revision of the tree in this folder
//!
//! In the target stands the list of all files that it was built from. What differs is in doubt there before it is
//! touched and compiled, until a build succeeds: a failed or killed build forgets nothing.
extern crate sha256; // hashes all sources: the one part worth the time that optimizing takes

mod context;
mod files;
mod target;
mod tree;
mod used;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{exit, Command};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use files::{copy, dated, empty, size, walk, write_whole};
use target::{hold, keep_locked, note_own, redirected, remove, seed, torn, Units};
use tree::Tree;
use used::used;

fn main() {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match words.first().and_then(|word| word.to_str()) {
        Some("deps") => deps(&words[1..]),
        Some("build") => build(&words[1..]),
        Some("skeleton") => skeleton(&words[1..]),
        Some("revision") => Tree::scan(&target()).map(|tree| println!("{}", tree.revision())).map(|()| 0),
        _ => Err(usage()),
    };
    exit(done.unwrap_or_else(|error| {
        eprintln!("kiro-fresh: {error}");
        2
    }));
}

fn deps(words: &[OsString]) -> io::Result<i32> {
    let (options, words) = options(["--cooked"], words);
    let (target, command) = words.split_first().ok_or_else(usage)?;
    let target = Path::new(target);
    let _held = hold(target)?;
    let stamp = target.join(".kiro/deps");
    let environment = tree::environment()?;
    let before = fs::read_to_string(&stamp).unwrap_or_default();
    let (known, scratch) = before.split_once(' ').unwrap_or((&before, ""));
    let limit = scratch.parse::<u64>().map_or(u64::MAX, |bytes| bytes / 2 * 3);
    let distrust = if known != environment {
        Some("they were compiled in another environment")
    } else if size(&walk(target)?) > limit {
        Some("they hold more than half again of what a cook from scratch left")
    } else if torn(target)?.is_some() {
        Some("a program among them is torn")
    } else {
        None
    };
    if let Some(why) = distrust {
        if fs::read_dir(target)?.next().is_some() {
            println!("kiro-fresh: starting the dependencies afresh: {why}");
        }
        empty(target)?;
    }
    if let [Some(cooked)] = &options {
        seed(target, cooked)?;
    }
    if !stamp.exists() {
        write_whole(&stamp, environment.as_bytes())?;
    }
    let code = run(command, "CARGO_TARGET_DIR", target.as_os_str())?;
    if code == 0 {
        keep_locked(target)?;
    }
    if code == 0 && !fs::read_to_string(&stamp)?.contains(' ') {
        write_whole(&stamp, format!("{environment} {}", size(&walk(target)?)).as_bytes())?;
    }
    Ok(code)
}

fn build(words: &[OsString]) -> io::Result<i32> {
    let ([cooked, context, mounted], command) = options(["--cooked", "--context", "--mounted"], words);
    let here = target();
    let target = mounted.as_ref().unwrap_or(&here);
    let _held = hold(target)?;
    if let Some(context) = &context {
        context::copy_here(context, &here)?;
    }
    let environment = tree::environment()?;
    let mut units = Units::of(target)?;
    if units.newest > Some(SystemTime::now() + Duration::from_secs(1)) {
        println!("kiro-fresh: starting the target afresh: the clock has gone back since it was built");
        empty(target)?;
        units = Units::default();
    } else if let Some(path) = torn(target)? {
        println!("kiro-fresh: starting the target afresh: {} is torn", path.display());
        empty(target)?;
        units = Units::default();
    }
    if let Some(cooked) = &cooked {
        if seed(target, cooked)? {
            units = Units::of(target)?;
        }
    }
    let list = target.join(".kiro/list");
    let old = Tree::read(&list);
    let mut new = Tree::scan(&here)?.with_environment(environment);
    let mut news = old.news(&new, &units, context.as_deref().unwrap_or(Path::new(".")));
    old.or_in_doubt(&new, &news).write(&list)?;
    let now = dated(&list)?; // by the clock that dates what cargo writes
    new.date(&old, old.to_touch(&new, &news), now, &units)?;
    let revision = new.revision();
    let compile = || run(command, "KIRO_REVISION", OsStr::new(&revision));
    let (code, place) = match &mounted {
        Some(mounted) => redirected(&here, mounted, compile).map(|(code, place)| (code, Some(place)))?,
        None => (compile()?, None),
    };
    let moved = new.moved(&here)?;
    if code != 0 {
        news.extend(moved);
        old.or_in_doubt(&new, &news).write(&list)?;
    } else {
        new.doubting(&moved)?.write(&list)?;
        let own = note_own(target, cooked.as_deref())?;
        if let Some(place) = &place {
            let (kept, handed) = used(target, own.clone())?;
            own.difference(&kept).for_each(|path| remove(path));
            copy(handed.into_iter(), target, place)?;
        }
    }
    Ok(code)
}

fn skeleton(words: &[OsString]) -> io::Result<i32> {
    let [context, into] = words else { return Err(usage()) };
    context::write_skeleton(Path::new(context), Path::new(into)).map(|()| 0)
}

/// The values of leading options, and the words after them.
fn options<'a, const N: usize>(names: [&str; N], mut words: &'a [OsString]) -> ([Option<PathBuf>; N], &'a [OsString]) {
    let mut values = [(); N].map(|()| None);
    while let [option, value, rest @ ..] = words {
        let Some(at) = names.iter().position(|name| option == name) else { break };
        values[at] = Some(PathBuf::from(value));
        words = rest;
    }
    (values, words)
}

fn usage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "usage: kiro-fresh deps|build|skeleton|revision ...")
}

fn run(command: &[OsString], variable: &str, value: &OsStr) -> io::Result<i32> {
    let (program, arguments) = command.split_first().ok_or_else(usage)?;
    let status = Command::new(program).args(arguments).env(variable, value).status();
    let status = status.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", program.to_string_lossy())))?;
    Ok(status.code().unwrap_or(1))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
