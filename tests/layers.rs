//! The wings of `src/` and who may use whom; see ARCHITECTURE.md.
//!
//! A wing is a folder. It uses only wings below it, by what their `mod.rs` re-exports, and the
//! files of its own by their names. So the `use` lines tell every dependency, and this holds them
//! against one table: no import upwards, no circle between files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// From the roof to the ground.
const WINGS: &[&str] = &[
    "telemetry",
    "stream",
    "transaction",
    "base_producer",
    "producer",
    "driver",
    "client",
    "mock",
    "message",
    "ffi",
    "values",
    "error",
    "sync",
];

/// A source file without its unit tests, by its path below `src/`, as a module: `driver/capacity`.
type Sources = BTreeMap<String, String>;

/// The files below a folder.
fn sources(folder: &str) -> Sources {
    fn read(folder: &Path, name: &str, sources: &mut Sources) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let stem = stem.expect("a name in UTF-8");
            let name = format!("{name}{stem}");
            if path.is_dir() {
                read(&path, &format!("{name}/"), sources);
            } else if path.extension().is_some_and(|it| it == "rs") && stem != "tests" {
                let text = fs::read_to_string(&path).expect("a text");
                let end = text.find("\nmod tests ").unwrap_or(text.len());
                sources.insert(name, text[..end].to_owned());
            }
        }
    }
    let mut sources = Sources::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    read(&folder, "", &mut sources);
    sources
}

/// The paths that a file names from `crate` or `super`, absolute: `driver/capacity/Capacity`.
fn paths(module: &str, text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| [line.trim(), " "])
        .collect();
    // In `a/mod` and `a/b`, `super` is the module above.
    let own = module.strip_suffix("/mod").unwrap_or(module);
    let mut paths = BTreeSet::new();
    for root in ["crate::", "super::"] {
        for (start, _) in code.match_indices(root) {
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            if code[..start].ends_with(is_word) {
                continue;
            }
            let (mut above, mut rest) = match root {
                "crate::" => (String::new(), &code[start + root.len()..]),
                _ => (parent(own), &code[start + root.len()..]),
            };
            while let Some(further) = rest.strip_prefix("super::") {
                (above, rest) = (parent(&above), further);
            }
            expand(&above, rest, &mut paths);
        }
    }
    paths
}

fn parent(module: &str) -> String {
    let parent = module.rsplit_once('/').map(|(parent, _)| parent);
    parent.unwrap_or_default().to_owned()
}

/// Adds what a path names: one item, or those in braces.
fn expand(above: &str, rest: &str, paths: &mut BTreeSet<String>) {
    let join = |name: &str| match above {
        "" => name.to_owned(),
        _ => format!("{above}/{name}"),
    };
    if let Some(list) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (index, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    let item = list[start..index].trim();
                    if !item.is_empty() {
                        expand(above, item, paths);
                    }
                    start = index + 1;
                    if c == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
    let (name, further) = rest.split_at(rest.find(is_end).unwrap_or(rest.len()));
    match further.strip_prefix("::") {
        Some(further) => expand(&join(name), further, paths),
        None => _ = paths.insert(join(name)),
    }
}

/// The file that a path leads to: the longest part of it that is one.
fn file_of<'s>(path: &str, sources: &'s Sources) -> Option<&'s str> {
    let mut module = path;
    loop {
        for name in [module.to_owned(), format!("{module}/mod")] {
            if let Some((file, _)) = sources.get_key_value(&name) {
                return Some(file);
            }
        }
        module = module.rsplit_once('/')?.0;
    }
}

/// What is against the rules; nothing if all is well. Without wings, only circles are.
fn violations(sources: &Sources, wings: &[&str]) -> Vec<String> {
    let level = |path: &str| wings.iter().position(|wing| *wing == wing_of(path));
    let mut found = Vec::new();
    // Which file uses which others of its wing.
    let mut uses = BTreeMap::new();
    for (file, text) in sources {
        // `lib.rs` and each `mod.rs` name what is in them.
        if file == "lib" || file.ends_with("mod") {
            continue;
        }
        let mut of_file = BTreeSet::new();
        for path in paths(file, text) {
            if !wings.is_empty() && wing_of(&path) != wing_of(file) {
                if level(&path).is_some() && level(&path) < level(file) {
                    found.push(format!("{file} uses {path}, which is above it"));
                }
                continue;
            }
            match file_of(&path, sources) {
                Some(used) if used == file => {}
                Some(used) if used.ends_with("mod") => {
                    found.push(format!("{file} uses {path} without the name of its file"));
                }
                Some(used) => _ = of_file.insert(used),
                None => {}
            }
        }
        uses.insert(file.as_str(), of_file);
    }
    // Takes the files away that use none of those that are left.
    while let Some(ground) = uses
        .iter()
        .find(|(_, used)| !used.iter().any(|other| uses.contains_key(other)))
        .map(|(file, _)| *file)
    {
        uses.remove(ground);
    }
    if !uses.is_empty() {
        found.push(format!("a circle is among {:?}", uses.keys()));
    }
    found
}

fn wing_of(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

#[test]
fn every_file_uses_only_what_is_below_it() {
    let sources = sources("src");
    let folders: BTreeSet<_> = sources.keys().filter(|file| file.contains('/')).collect();
    for file in folders {
        assert!(WINGS.contains(&wing_of(file)), "{file} is in no wing");
    }
    assert_eq!(violations(&sources, WINGS), [""; 0]);
}

#[test]
fn the_benches_have_no_circle() {
    assert_eq!(violations(&sources("benches/throughput"), &[]), [""; 0]);
}

/// The check itself finds what it is for.
#[test]
fn what_is_against_the_rules_is_found() {
    let check = |files: &[(&str, &str)]| {
        let owned = |&(file, text): &(&str, &str)| (file.to_owned(), text.to_owned());
        violations(&files.iter().map(owned).collect(), WINGS)
    };
    let fine = [
        ("driver/mod", "mod a;\npub(crate) use a::A;"),
        (
            "driver/a",
            "use super::b::{self, B};\nuse crate::error::KafkaError;",
        ),
        (
            "driver/b",
            "use crate::sync::{coop, lock};\n// use crate::stream::Window;",
        ),
    ];
    assert_eq!(check(&fine), [""; 0]);

    let upwards = check(&[(
        "driver/a",
        "fn f(\n_: &crate::{error::E,\nproducer::Producer}) {}",
    )]);
    assert_eq!(upwards.len(), 1);
    assert!(
        upwards[0].contains("producer/Producer, which is above"),
        "{upwards:?}"
    );

    let circle = check(&[
        ("driver/a", "use super::b::B;"),
        ("driver/b", "use super::{c::C, d};"),
        ("driver/c", "use crate::driver::a::A;"),
        ("driver/d", ""),
    ]);
    assert_eq!(
        circle,
        [r#"a circle is among ["driver/a", "driver/b", "driver/c"]"#]
    );

    let unnamed = check(&[("driver/mod", ""), ("driver/a", "use super::B;")]);
    assert!(unnamed[0].contains("without the name"), "{unnamed:?}");
}

/// A subscriber may panic, and its panic must stop nothing. The context's default callbacks are
/// guarded as a user's own.
#[test]
fn every_event_of_tracing_is_guarded() {
    for (module, text) in sources("src") {
        // The last two import types, and are called within `log`.
        let others = ["client/context", "client/log_targets", "message/send_span"];
        if others.contains(&&*module) {
            continue;
        }
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(str::split_whitespace)
            .collect();
        for (start, _) in code.match_indices("tracing::") {
            let is_guarded = ["log(||", "log(||{"]
                .iter()
                .any(|it| code[..start].ends_with(it));
            assert!(
                is_guarded,
                "{module}: {}",
                &code[start..][..60.min(code.len() - start)]
            );
        }
    }
}
