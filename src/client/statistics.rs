//! Repairs the JSON of librdkafka's statistics.

use std::borrow::Cow;

/// What librdkafka writes around the reason of the fatal error (`rd_kafka_stats_emit_all`).
const BEFORE: &str = "\"fatal\": { \"error\": \"";
const REASON: &str = "\", \"reason\": \"";
const AFTER: &str = "\", \"cnt\": ";

/// Escapes the reason of the fatal error, which librdkafka writes as it is. It may quote a broker's
/// text or a name.
///
/// The other strings are checked before librdkafka gets them: `client.id` and topics. The addresses
/// that brokers advertise are host names.
pub(super) fn repaired(json: &str) -> Cow<'_, str> {
    let place = || {
        let fatal = json.rfind(BEFORE)?;
        let start = fatal + json[fatal..].find(REASON)? + REASON.len();
        let end = start + json[start..].rfind(AFTER)?;
        Some((start, end))
    };
    let Some((start, end)) = place() else {
        return json.into();
    };
    let is_bad = |c: char| c < ' ' || matches!(c, '"' | '\\');
    if !json[start..end].contains(is_bad) {
        return json.into();
    }
    let mut repaired = json[..start].to_owned();
    for c in json[start..end].chars() {
        match c {
            '"' | '\\' => repaired.extend(['\\', c]),
            c if c < ' ' => repaired.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => repaired.push(c),
        }
    }
    repaired.push_str(&json[end..]);
    repaired.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_fatal_error_is_escaped() {
        let with = |reason: &str| {
            format!(
                r#"{{ "name": "a", "fatal": {{ "error": "Local: x", "reason": "{reason}", "cnt": 1 }}, "tx":7 }}"#
            )
        };
        let plain = with("nothing: bad");
        assert_eq!(repaired(&plain), plain);
        assert_eq!(
            repaired(&with("a \"b\" \\ \u{1}, \", \"cnt\": ü")),
            with(r#"a \"b\" \\ \u0001, \", \"cnt\": ü"#)
        );
        let none = r#"{ "name": "a\"b" }"#;
        assert_eq!(repaired(none), none);
    }
}
