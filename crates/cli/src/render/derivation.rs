//! What was asked of an attempt, in a few lines for people.

use runstone_lineage::asked::DerivationView;

use super::{count, harmless};

/// How many code files are listed one by one.
const LISTED_FILES: usize = 6;

/// A few lines: command, code, parameters, environment. Each is named, and left out where there is nothing to say.
pub(crate) fn lines(asked: &DerivationView) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(command) = &asked.command {
        lines.push(format!("command  {}", one_line(command)));
    }
    if let Some(source) = &asked.source {
        lines.push(format!("source   {}", one_line(source)));
    }
    for (at, (path, hash)) in asked.code.iter().take(LISTED_FILES).enumerate() {
        let label = if at == 0 { "code   " } else { "       " };
        lines.push(format!("{label}  {}  {}", harmless(path), short_hash(hash)));
    }
    if asked.code.len() > LISTED_FILES {
        lines.push(format!("         and {}", count(asked.code.len() - LISTED_FILES, "more file")));
    }
    if !asked.params.is_empty() {
        lines.push(format!("params   {}", pairs(&asked.params)));
    }
    if !asked.env.is_empty() {
        lines.push(format!("env      {}", pairs(&asked.env)));
    }
    let python =
        asked.python.as_ref().map(|it| format!("{} (lock {})", harmless(&it.interpreter), short_hash(&it.lock)));
    let place: Vec<String> = asked.platform.as_deref().map(harmless).into_iter().chain(python).collect();
    if !place.is_empty() {
        lines.push(format!("on       {}", place.join(", ")));
    }
    lines
}

/// The first line of a command, and whether there is more.
pub(crate) fn one_line(command: &str) -> String {
    let mut lines = command.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = harmless(lines.next().unwrap_or_default());
    let first = super::table::shorten(&first, 100);
    if lines.next().is_some() { format!("{first} …") } else { first }
}

/// `b3:` and twelve digits.
pub(crate) fn short_hash(hash: &str) -> &str {
    hash.get(..15).unwrap_or(hash)
}

/// `lr=0.1 seed=1`.
pub(crate) fn pairs<'a>(values: impl IntoIterator<Item = (&'a String, &'a serde_json::Value)>) -> String {
    let pair = |(name, value): (&String, &serde_json::Value)| {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Object(map) if map.len() == 1 && map.contains_key("secret") => {
                format!("(secret {})", map["secret"].as_str().unwrap_or_default())
            }
            other => other.to_string(),
        };
        format!("{}={}", harmless(name), super::table::shorten(&harmless(&text), 60))
    };
    values.into_iter().map(pair).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use runstone_core::canonical::{self, Value};
    use runstone_core::hash::ContentHash;

    use super::*;

    #[test]
    fn a_derivation_is_told_in_a_few_lines() {
        let hash = |text: &[u8]| Value::bytes(*ContentHash::of(text).as_bytes());
        let value = Value::map([
            ("recipe", Value::Int(1)),
            ("shell", Value::text("set -x\npython3 ./train.py")),
            ("code", Value::map([("./train.py", hash(b"code"))])),
            ("params", Value::map([("lr", Value::Float(0.1)), ("mode", Value::text("full"))])),
            ("env", Value::map([("TOKEN", Value::map([("secret", Value::text("hub"))]))])),
            ("python", Value::map([("interpreter", Value::text("CPython 3.11.2")), ("lock", hash(b"lock"))])),
            ("platform", Value::text("linux-x86_64")),
        ]);
        let view = DerivationView::decode(&canonical::encode(&value)).unwrap();
        let expected = [
            "command  set -x …".to_owned(),
            format!("code     ./train.py  b3:{}", ContentHash::of(b"code").short()),
            "params   lr=0.1 mode=full".to_owned(),
            "env      TOKEN=(secret hub)".to_owned(),
            format!("on       linux-x86_64, CPython 3.11.2 (lock b3:{})", ContentHash::of(b"lock").short()),
        ];
        assert_eq!(lines(&view), expected);
    }

    #[test]
    fn many_files_are_counted() {
        let code = (0..9).map(|n| (format!("./{n}.py"), Value::bytes([n; 32])));
        let view = DerivationView::new(&Value::map([("code", Value::map(code))]));
        let lines = lines(&view);
        assert_eq!(lines.len(), LISTED_FILES + 1);
        assert_eq!(lines[LISTED_FILES], "         and 3 more files");
    }
}
