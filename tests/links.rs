//! The links of the pages in Markdown, and of the library's documentation, lead to files and headings
//! that are there. The guides are complete.
//!
//! rustdoc checks the links to items, but not their headings. Addresses on the web are not asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The pages: those of the package's folder and those in `docs`.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for folder in [root.to_owned(), root.join("docs")] {
        let files = fs::read_dir(folder).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of `[text](target)` and `[name]: target`.
fn targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for line in prose(text) {
        let inline = line.split("](").skip(1);
        targets.extend(inline.filter_map(|rest| Some(rest.split_once(')')?.0)));
        let definition = line.strip_prefix('[').and_then(|it| it.split_once("]: "));
        targets.extend(definition.map(|(_, target)| target.trim()));
    }
    targets
}

/// The anchors of the headings, as GitHub and rustdoc make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

/// The source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(sources(&path)),
            false => found.push(path),
        }
    }
    found
}

/// What the documentation comments of a source file say.
fn comments(source: &str) -> String {
    let comment = |line: &str| {
        let line = line.trim_start();
        let text = line.strip_prefix("//!").or(line.strip_prefix("///"));
        // A code block that a feature turns on begins with an attribute.
        let fence = (line.starts_with("#") && line.contains("doc = \"```\"")).then_some("```");
        let text = text.or(fence)?;
        Some(text.strip_prefix(' ').unwrap_or(text).to_owned())
    };
    let lines: Vec<_> = source.lines().filter_map(comment).collect();
    lines.join("\n")
}

/// Whether the heading of a target of rustdoc is there: `crate#logs`, `crate::docs::order#duplicates`,
/// `crate::Producer#capacity`.
fn is_documented(path: &str, anchor: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = if path == "crate" {
        comments(&fs::read_to_string(root.join("src/lib.rs")).unwrap())
    } else if let Some(page) = path.strip_prefix("crate::docs::") {
        fs::read_to_string(root.join(format!("docs/{page}.md"))).unwrap_or_default()
    } else {
        let item = path.rsplit("::").next().unwrap();
        let is_declared = |source: &String| {
            ["struct", "enum", "trait", "type"].iter().any(|kind| {
                let declaration = format!("pub {kind} {item}");
                let mut parts = source.split(&declaration).skip(1);
                parts.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
            })
        };
        let texts = sources(&root.join("src")).into_iter();
        let texts = texts.map(|path| fs::read_to_string(path).unwrap());
        comments(&texts.filter(is_declared).collect::<String>())
    };
    anchors(&text).contains(anchor)
}

/// Whether a target is there. Items of rustdoc and addresses of the web are left out.
fn is_there(page: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    if target.contains("://") {
        return true;
    }
    if file.starts_with("crate") {
        return anchor.is_empty() || is_documented(file, anchor);
    }
    if file.contains("::") || page.extension().is_some_and(|it| it == "rs") {
        return true;
    }
    let file = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap().join(file),
    };
    let has_anchor = || anchors(&fs::read_to_string(&file).unwrap()).contains(anchor);
    file.exists() && (anchor.is_empty() || has_anchor())
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in targets(&text) {
            count += 1;
            if !is_there(&page, target) {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = comments(&fs::read_to_string(&source).unwrap());
        for target in targets(&text) {
            count += 1;
            if !is_there(&source, target) {
                broken.push(format!("{}: {target}", source.display()));
            }
        }
    }
    assert!(count > 500, "{count}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_guide_is_a_module_and_has_a_place_in_the_first_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (library, first) = (read("src/lib.rs"), read("docs/getting_started.md"));
    for page in pages() {
        let name = page.file_stem().unwrap().to_str().unwrap();
        // A page of the repository, which README.md links to.
        if !page.parent().unwrap().ends_with("docs") || name == "benchmarks" {
            continue;
        }
        let shown =
            format!("    #[doc = include_str!(\"../docs/{name}.md\")]\n    pub mod {name} {{}}");
        assert!(library.contains(&shown), "src/lib.rs does not show {name}");
        let listed = name == "getting_started" || first.contains(&format!("`docs::{name}`"));
        assert!(listed, "docs/getting_started.md does not list {name}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = "see [a](docs) and [b](no/where.md), [c](#features)\n```\n[d](e)\n```\n[f]: #none";
    let found = targets(text);
    assert_eq!(found, ["docs", "no/where.md", "#features", "#none"]);
    let there: Vec<_> = found.iter().map(|it| is_there(&page, it)).collect();
    assert_eq!(there, [true, false, true, false]);
    let there = [
        "crate#logs",
        "crate::docs::order#duplicates",
        "crate::Producer#capacity",
    ];
    assert!(there.iter().all(|it| is_there(&page, it)), "{there:?}");
    let nowhere = [
        "crate#lost",
        "crate::docs::order#lost",
        "crate::Producer#lost",
    ];
    assert!(!nowhere.iter().any(|it| is_there(&page, it)), "{nowhere:?}");
}
