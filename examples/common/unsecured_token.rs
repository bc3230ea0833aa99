//! Unsigned tokens, for tests only. A broker that accepts them lets anybody log in as any user.

/// Creates a token with these claims, which are JSON: an unsecured JWS (RFC 7515, A.5).
pub fn unsecured_token(claims: &str) -> String {
    format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(claims))
}

/// Encodes without padding.
fn base64url(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let mut bytes = [0; 4];
        bytes[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(bytes);
        (0..=chunk.len()).map(move |n| char::from(DIGITS[(bits >> (18 - 6 * n)) as usize & 0x3f]))
    };
    text.as_bytes().chunks(3).flat_map(digits).collect()
}
