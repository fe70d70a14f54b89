//! What a fetched file is called: what the server says, made harmless.

use ureq::http::{HeaderMap, header};

/// Where neither the server nor the address gives a name.
const NAMELESS: &str = "download";
/// Longest name, in bytes; file systems allow 255.
const MAX_NAME: usize = 200;

/// The name in `Content-Disposition` (RFC 6266), or else the last part of the address's path.
pub(super) fn choose(headers: &HeaderMap, url: &str) -> String {
    let said = headers
        .get(header::CONTENT_DISPOSITION)
        .and_then(|value| disposition(&String::from_utf8_lossy(value.as_bytes())));
    said.or_else(|| last_part(url)).and_then(|name| harmless(&name)).unwrap_or_else(|| NAMELESS.to_owned())
}

/// `filename*=UTF-8''…` (RFC 8187) before `filename="…"`.
fn disposition(value: &str) -> Option<String> {
    let mut plain = None;
    for (name, value) in Parameters(value) {
        if name.eq_ignore_ascii_case("filename*") {
            let mut parts = value.splitn(3, '\'');
            let is_utf8 = parts.next().is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8"));
            if let (true, Some(encoded)) = (is_utf8, parts.nth(1)) {
                return Some(percent_decoded(encoded));
            }
        } else if name.eq_ignore_ascii_case("filename") {
            plain = Some(value);
        }
    }
    plain
}

/// The parameters behind the first `;`, quotes taken off.
struct Parameters<'a>(&'a str);

impl Iterator for Parameters<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0.split_once(';')?.1;
            let end = rest.find(['=', ';']).unwrap_or(rest.len());
            let name = rest[..end].trim();
            self.0 = &rest[end..];
            let Some(value) = self.0.strip_prefix('=') else { continue };
            let value = value.trim_start();
            let Some(quoted) = value.strip_prefix('"') else {
                let end = value.find(';').unwrap_or(value.len());
                self.0 = &value[end..];
                return Some((name.to_owned(), value[..end].trim_end().to_owned()));
            };
            let mut text = String::new();
            let mut chars = quoted.char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => text.extend(chars.next().map(|(_, c)| c)),
                    '"' => {
                        self.0 = &quoted[at + 1..];
                        return Some((name.to_owned(), text));
                    }
                    c => text.push(c),
                }
            }
            self.0 = "";
            return Some((name.to_owned(), text));
        }
    }
}

fn last_part(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?.split_once("://")?.1.split_once('/')?.1;
    let last = path.trim_end_matches('/').rsplit('/').next()?;
    Some(percent_decoded(last))
}

fn percent_decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high * 16 + low);
                at += 3;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// One path component that hides nothing and surprises nobody; none where nothing is left.
fn harmless(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffd}')
    };
    let clean: String = last.trim().chars().map(|c| if invisible(c) { '_' } else { c }).collect();
    // Neither hidden nor `.` or `..`.
    let clean = clean.trim_start_matches('.').trim_end();
    let name = shortened(clean);
    (!name.is_empty()).then_some(name)
}

/// Cuts in the middle, so that the ending stays.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME {
        return name.to_owned();
    }
    let ending_from = name.rfind('.').filter(|at| name.len() - at <= 20).unwrap_or(name.len());
    let (stem, ending) = name.split_at(ending_from);
    format!("{}{ending}", &stem[..stem.floor_char_boundary(MAX_NAME - ending.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(disposition: Option<&str>, url: &str) -> String {
        let mut headers = HeaderMap::new();
        if let Some(value) = disposition {
            headers.insert(header::CONTENT_DISPOSITION, value.parse().unwrap());
        }
        choose(&headers, url)
    }

    #[test]
    fn the_server_names_the_file_before_the_address_does() {
        for (disposition, expected) in [
            (None, "b c.csv"),
            (Some("inline"), "b c.csv"),
            (Some("attachment; filename=x.csv"), "x.csv"),
            (Some("attachment; size=3; FileName=\"a;\\\"b.csv\" ; x=1"), "a;\"b.csv"),
            (Some("attachment; filename=\"old.csv\"; filename*=UTF-8''gr%C3%BCn.csv"), "grün.csv"),
            (Some("attachment; filename=\"unfinished.csv"), "unfinished.csv"),
            (Some("attachment; filename*=nonsense"), "b c.csv"),
        ] {
            assert_eq!(name(disposition, "https://h/a/b%20c.csv?q=1#f"), expected, "{disposition:?}");
        }
    }

    #[test]
    fn a_name_is_one_harmless_component() {
        for (said, expected) in [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\x.csv", "x.csv"),
            ("..", "download"),
            (".bashrc", "bashrc"),
            ("a%00b", "a%00b"),
            ("", "download"),
        ] {
            assert_eq!(name(Some(&format!("attachment; filename=\"{said}\"")), "https://h/"), expected, "{said}");
        }
        assert_eq!(name(None, "https://h/a%2F..%2Fb%00%0Ac"), "b__c");
        assert_eq!(name(None, "https://h"), "download");
        assert_eq!(name(None, "https://h/%E2%80%AEfdp.exe"), "_fdp.exe");
        let long = name(None, &format!("https://h/{}.tar.gz", "ü".repeat(300)));
        assert!(long.len() <= MAX_NAME && long.ends_with("ü.gz"), "{long}");
    }
}
