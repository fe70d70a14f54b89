//! Takes secrets out of addresses before anybody reads them.

/// Takes the credentials out of every address in a text: `https://user:word@host` becomes `https://***@host`.
pub(crate) fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, authority) = rest.split_at(at + 3);
        redacted.push_str(before);
        let end = authority.find(|c: char| c.is_whitespace() || "/?#\"'<>`".contains(c)).unwrap_or(authority.len());
        let host = authority[..end].rfind('@');
        if host.is_some() {
            redacted.push_str("***");
        }
        rest = &authority[host.unwrap_or(0)..];
    }
    redacted.push_str(rest);
    redacted
}

/// An address as it may be shown: without credentials and without the query, which often holds a signature.
pub(super) fn for_people(url: &str) -> String {
    let visible = url.find(['?', '#']).map_or(url, |at| &url[..at]);
    let cut = if visible.len() < url.len() && url[visible.len()..].starts_with('?') { "?…" } else { "" };
    format!("{}{cut}", redact(visible))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        for (text, expected) in [
            ("no address", "no address"),
            ("at https://u:p@h/x and http://h2/y@z", "at https://***@h/x and http://h2/y@z"),
            ("'https://token@h'", "'https://***@h'"),
            ("https://u:p@ss@h:8/x", "https://***@h:8/x"),
            ("a://b://u:p@c", "a://b://***@c"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn the_query_of_an_address_is_not_shown() {
        assert_eq!(for_people("https://u:p@h/x?sig=secret#y"), "https://***@h/x?…");
        assert_eq!(for_people("https://h/x#y"), "https://h/x");
        assert_eq!(for_people("https://h/x"), "https://h/x");
    }
}
