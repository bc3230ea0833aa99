//! docs/migration.md has each public name of rdkafka's producer API.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PAGE: &str = include_str!("../../../docs/migration.md");

/// The modules that a user of a producer meets.
const MODULES: &[&str] = &[
    "client.rs",
    "config.rs",
    "error.rs",
    "message.rs",
    "metadata.rs",
    "mocking.rs",
    "producer/base_producer.rs",
    "producer/future_producer.rs",
    "producer/mod.rs",
    "util.rs",
];

/// What is public, but made for rdkafka itself.
const INTERNAL: &[&str] = &[
    // Pointers, and what owns them.
    "CStringArray",
    "ErrBuf",
    "EventPollResult",
    "KafkaDrop",
    "NativePtr",
    "NativeQueue",
    "WrappedCPointer",
    "as_c_array",
    "as_mut_ptr",
    "as_ptr",
    "capacity",
    "cstr_to_owned",
    "filled",
    "from_ptr",
    "into_ptr",
    "key_len",
    "len",
    "payload_len",
    "ptr",
    "topic_ptr",
    // What a runtime implements.
    "Delay",
    "delay_for",
    "spawn",
    // What the traits of bytes and errors require.
    "from_bytes",
    "is_error",
    "to_bytes",
    // Accessors of values whose types the page has.
    "brokers",
    "host",
    "id",
    "isr",
    "leader",
    "orig_broker_id",
    "orig_broker_name",
    "partitions",
    "port",
    "replicas",
    "to_millis",
    // What a consumer, or a test of one, sets in a message.
    "detach_headers",
    "from_config",
    "from_config_and_context",
    "payload_mut",
    "replace_headers",
    "set_key",
    "set_offset",
    "set_partition",
    "set_payload",
    "set_timestamp",
    "set_topic",
];

/// What a program prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("a text")
}

/// The folder of rdkafka's source, which Cargo has unpacked.
fn source() -> PathBuf {
    let compiler = output("rustc", &["-vV"]);
    let host = compiler
        .lines()
        .find_map(|line| line.strip_prefix("host: "));
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // Without the platform, Cargo would ask for crates of others.
    let platform = ["--filter-platform", host.expect("a host")];
    let arguments = ["metadata", "--format-version", "1", "--offline", "--locked"];
    let metadata = output(&cargo, &[&arguments[..], &platform].concat());
    let paths = metadata.split("\"manifest_path\":\"").skip(1);
    let mut paths = paths.filter_map(|rest| rest.split_once('"').map(|(path, _)| path));
    let manifest = paths.find(|path| path.contains("/rdkafka-0."));
    let manifest = PathBuf::from(manifest.expect("rdkafka is a dependency"));
    manifest.with_file_name("src")
}

/// The names that a module makes public: items, methods, and the methods of traits.
fn names(text: &str) -> BTreeSet<&str> {
    let text = text.split("#[cfg(test)]").next().unwrap_or(text);
    let mut names = BTreeSet::new();
    let mut is_trait = false;
    for line in text.lines() {
        is_trait |= line.starts_with("pub trait");
        is_trait &= line != "}";
        let line = line.trim_start();
        let item = match line.strip_prefix("pub ") {
            Some(item) => item,
            None if is_trait => line,
            None => continue,
        };
        let mut words = item.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let kinds = ["fn", "struct", "enum", "trait", "type", "const"];
        let is_kind = |word: &&str| kinds.contains(word);
        // "pub async fn", "pub unsafe trait".
        let kind = words.by_ref().take(3).find(is_kind);
        names.extend(kind.and_then(|_| words.next()));
    }
    names
}

#[test]
fn every_name_of_the_producer_api_is_on_the_page() {
    let source = source();
    let mut missing = Vec::new();
    let mut count = 0;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: BTreeSet<_> = PAGE.split(|c: char| !is_word(c)).collect();
    for module in MODULES {
        let text = fs::read_to_string(source.join(module)).expect("a module of rdkafka");
        for name in names(&text) {
            count += 1;
            if !words.contains(name) && !INTERNAL.contains(&name) {
                missing.push(format!("{module}: {name}"));
            }
        }
    }
    assert!(count > 200, "{count} names");
    assert!(missing.is_empty(), "{missing:#?}");
}
