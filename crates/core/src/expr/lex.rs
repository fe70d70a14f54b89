//! Text into tokens, and the one spelling of text literals. Knows nothing about grammar.

use super::ExprError;
use super::syntax::Span;

/// A token and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// A whole number without its sign; the smallest `i64` needs one more than the largest.
    Int(u64),
    Float(f64),
    Text(String),
    /// A name, a keyword or a function: `[A-Za-z_][A-Za-z0-9_]*`.
    Word(&'a str),
    Symbol(&'static str),
    /// The end of the text; always the last token.
    End,
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 20] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]", ",", "."];

/// What people write from other languages, and what it is called here.
const FOREIGN: [(&str, &str); 9] = [
    ("===", "write `==`"),
    ("<>", "write `!=`"),
    ("=>", "write `>=`"),
    ("=<", "write `<=`"),
    ("=", "a comparison is written `==`"),
    ("&", "write `and`"),
    ("|", "write `or`"),
    ("**", "there is no power operator"),
    ("//", "write `floor(a / b)`"),
];

/// All tokens of `text`, the last of which is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ExprError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token.kind == TokenKind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

/// Whether `text` can stand in a name without quotes.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(is_word_byte)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A text literal: in single quotes, with escapes for what could not be read back or seen.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Token<'a>, ExprError> {
        self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        let start = self.at;
        let rest = &self.text[start..];
        let kind = match rest.chars().next() {
            None => TokenKind::End,
            Some('0'..='9') => self.number()?,
            Some('a'..='z' | 'A'..='Z' | '_') => {
                self.skip(is_word_byte);
                TokenKind::Word(&self.text[start..self.at])
            }
            Some(mark @ ('\'' | '"')) => self.string(mark)?,
            Some(c) => {
                if let Some((foreign, help)) = FOREIGN.iter().find(|(foreign, _)| is_foreign(rest, foreign)) {
                    return Err(self.error(start, start + foreign.len(), format!("`{foreign}` is no operator"), help));
                }
                let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) else {
                    let message = format!("unexpected character {c:?}");
                    return Err(ExprError::new(Span::new(start, start + c.len_utf8()), message));
                };
                self.at += symbol.len();
                TokenKind::Symbol(symbol)
            }
        };
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        self.at += self.text.as_bytes()[self.at..].iter().take_while(|byte| wanted(**byte)).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Digits, an optional fraction, an optional exponent; a float where either is there.
    fn number(&mut self) -> Result<TokenKind<'a>, ExprError> {
        let start = self.at;
        self.skip(|byte| byte.is_ascii_digit());
        let whole = &self.text[start..self.at];
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.skip(|byte| byte.is_ascii_digit());
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
        }
        self.skip(|byte| is_word_byte(byte) || byte == b'.');
        let text = &self.text[start..self.at];
        let fail = |message: &str, help| Err(self.error(start, self.at, format!("{message} `{text}`"), help));
        if whole.len() > 1 && whole.starts_with('0') {
            return fail("leading zero in", "a number is decimal; text is written in quotes");
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map_or_else(
                |_| fail("too large a number:", "a float is written `1.0e20`"),
                |int| Ok(TokenKind::Int(int)),
            );
        }
        let well_formed = !text.ends_with('.') && !text.contains("._") && !text.contains(".e") && !text.contains(".E");
        match text.parse::<f64>() {
            Ok(float) if well_formed && float.is_finite() => Ok(TokenKind::Float(float)),
            Ok(_) if well_formed => fail("too large a number:", "the largest is about 1.8e308"),
            _ => fail("cannot read the number", "numbers are written `12`, `0.5` or `1e-3`; text is written in quotes"),
        }
    }

    fn string(&mut self, mark: char) -> Result<TokenKind<'a>, ExprError> {
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.text[start + 1..].char_indices().map(|(at, c)| (start + 1 + at, c));
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == mark => {
                    self.at = at + 1;
                    return Ok(TokenKind::Text(out));
                }
                '\\' => match escape(&mut chars) {
                    Some(c) => out.push(c),
                    None => {
                        let end = chars.next().map_or(self.text.len(), |(at, _)| at);
                        let help = r"known are \\, \', \n, \t, \r and \u{1f600}, and \ before a double quote";
                        return Err(self.error(at, end, "unknown escape in text".to_owned(), help));
                    }
                },
                c if c.is_control() => {
                    let message = format!("control character {c:?} in text");
                    return Err(self.error(at, at + c.len_utf8(), message, r"write it as \n, \t, \r or \u{…}"));
                }
                c => out.push(c),
            }
        }
        Err(self.error(start, self.text.len(), "text without an end".to_owned(), &format!("close it with {mark}")))
    }

    fn error(&self, start: usize, end: usize, message: String, help: &str) -> ExprError {
        debug_assert!(self.text.is_char_boundary(start) && self.text.is_char_boundary(end));
        ExprError::new(Span::new(start, end), message).help(help)
    }
}

/// `=` alone is foreign, `==` is not; `===` is, also where it could be read as `==` and `=`.
fn is_foreign(rest: &str, foreign: &str) -> bool {
    rest.starts_with(foreign) && !(foreign.len() == 1 && rest[1..].starts_with(foreign))
}

/// The character that an escape stands for; the backslash is already read.
fn escape(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    match chars.next()?.1 {
        c @ ('\\' | '\'' | '"') => Some(c),
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'u' => {
            chars.next().filter(|(_, c)| *c == '{')?;
            let digits: String = chars.take(7).map(|(_, c)| c).take_while(|c| *c != '}').collect();
            // Six digits at most, so that the closing brace was among the seven characters.
            let plain = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u32::from_str_radix(&digits, 16).ok().filter(|_| plain).and_then(char::from_u32)
        }
        _ => None,
    }
}
