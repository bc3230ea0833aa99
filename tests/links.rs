//! The links of the pages in Markdown lead to files and headings that are there.
//!
//! rustdoc checks the links to items. Addresses on the web are not asked for.

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

/// Whether a target is there. Those of rustdoc and of the web are left out.
fn is_there(page: &Path, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    if target.contains("://") || target.contains("::") {
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
    assert!(count > 20, "{count}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = "see [a](docs) and [b](no/where.md), [c](#features)\n```\n[d](e)\n```\n[f]: #none";
    let found = targets(text);
    assert_eq!(found, ["docs", "no/where.md", "#features", "#none"]);
    let there: Vec<_> = found.iter().map(|it| is_there(&page, it)).collect();
    assert_eq!(there, [true, false, true, false]);
}
