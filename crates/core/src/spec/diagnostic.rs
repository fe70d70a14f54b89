//! What is wrong with a definition, where, and what would be right. How it looks on a terminal is [`super::render`].

use std::collections::HashSet;
use std::fmt;

use serde_json::{Value, json};

use super::source::{SourceMap, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// It can be used, but somebody should know.
    Warning,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// The kind of a problem, stable from release to release.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code with the sentence that explains it.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, concat!($($doc),+)),)+];

            /// The stable spelling.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

codes! {
    /// The file is larger than allowed.
    TooLarge = "too-large",
    /// The file is not UTF-8.
    NotUtf8 = "not-utf8",
    /// The file is not YAML.
    Syntax = "syntax",
    /// A YAML feature that definitions do not use, such as tags or a second document.
    YamlFeature = "yaml-feature",
    /// Collections are nested too deeply.
    TooDeep = "too-deep",
    /// There are too many values, aliases expanded.
    TooMany = "too-many",
    /// A map has the same key twice.
    DuplicateKey = "duplicate-key",
    /// A key that the language does not have at this place.
    UnknownKey = "unknown-key",
    /// A field that must be there is not.
    Missing = "missing",
    /// A value of the wrong type.
    WrongType = "wrong-type",
    /// A value of the right type that is not allowed here.
    BadValue = "bad-value",
    /// A name that does not follow the grammar of names.
    BadName = "bad-name",
    /// Two names that become the same environment variable.
    NameCollision = "name-collision",
    /// A number outside its range.
    OutOfRange = "out-of-range",
    /// A duration that cannot be read.
    BadDuration = "bad-duration",
    /// A size that cannot be read.
    BadSize = "bad-size",
    /// A pattern of `cron` that cannot be read, or that no date matches.
    BadCron = "bad-cron",
    /// A date or moment that cannot be read.
    BadDate = "bad-date",
    /// A time zone that does not exist.
    UnknownZone = "unknown-zone",
    /// The key of a partition that cannot be one.
    BadPartition = "bad-partition",
    /// A path that may not stand here.
    BadPath = "bad-path",
    /// An environment variable that cannot be set.
    BadEnv = "bad-env",
    /// A reference that has no possible meaning.
    BadReference = "bad-reference",
    /// A reference to a step that does not exist.
    UnknownStep = "unknown-step",
    /// A reference to an output that its step does not have.
    UnknownOutput = "unknown-output",
    /// A parameter that is not declared.
    UnknownParam = "unknown-param",
    /// A pool that is not declared.
    UnknownPool = "unknown-pool",
    /// Steps that wait for each other.
    Cycle = "cycle",
    /// Fields that exclude each other.
    Conflict = "conflict",
    /// A matrix with too many cells.
    MatrixTooLarge = "matrix-too-large",
    /// An expression that cannot be read or has the wrong types.
    BadExpression = "bad-expression",
    /// A value put into a command, where an environment variable belongs.
    Splice = "splice",
    /// A part of the language that this version cannot run yet.
    Unsupported = "unsupported",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What; may be empty.
    pub text: String,
}

/// An edit that would repair it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// A question or request, such as "did you mean `timeout`?".
    pub title: String,
    /// What to replace.
    pub span: Span,
    /// By what.
    pub replacement: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind.
    pub code: Code,
    /// A lower-case sentence.
    pub message: String,
    /// Where; none for what has no place in a text.
    pub primary: Option<Label>,
    /// Other places that matter.
    pub secondary: Vec<Label>,
    /// Advice.
    pub help: Vec<String>,
    /// A repair.
    pub suggestion: Option<Suggestion>,
}

impl Diagnostic {
    /// An error without a place.
    #[must_use]
    pub fn global(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: None,
            secondary: Vec::new(),
            help: Vec::new(),
            suggestion: None,
        }
    }

    /// An error at `span`.
    #[must_use]
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { primary: Some(Label { span, text: String::new() }), ..Self::global(code, message) }
    }

    /// Says something beside the caret.
    #[must_use]
    pub fn label(mut self, text: impl Into<String>) -> Self {
        if let Some(primary) = &mut self.primary {
            primary.text = text.into();
        }
        self
    }

    /// Shows another place.
    #[must_use]
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.secondary.push(Label { span, text: text.into() });
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }

    /// Adds advice, where there is any.
    #[must_use]
    pub fn maybe_help(self, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }

    /// Offers to write `replacement` at `span`.
    #[must_use]
    pub fn suggest(mut self, span: Span, title: impl Into<String>, replacement: impl Into<String>) -> Self {
        self.suggestion = Some(Suggestion { title: title.into(), span, replacement: replacement.into() });
        self
    }

    /// Offers a name that looks like the one at `span`, where there is one.
    #[must_use]
    pub fn did_you_mean(self, span: Span, candidate: Option<&str>) -> Self {
        match candidate {
            Some(name) => self.suggest(span, format!("did you mean `{name}`?"), name),
            None => self,
        }
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// The same facts for programs: places as file, line and column from 1, bytes from 0.
    #[must_use]
    pub fn to_json(&self, sources: &SourceMap) -> Value {
        let place = |label: &Label| {
            let position = sources.position(label.span);
            json!({
                "file": sources.file(label.span).name,
                "line": position.line,
                "column": position.column,
                "start": label.span.start,
                "end": label.span.end,
                "text": label.text,
            })
        };
        json!({
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "code": self.code.as_str(),
            "message": self.message,
            "place": self.primary.as_ref().map(place),
            "also": self.secondary.iter().map(place).collect::<Vec<_>>(),
            "help": self.help,
            "suggestion": self.suggestion.as_ref().map(|it| json!({
                "title": it.title, "start": it.span.start, "end": it.span.end, "replacement": it.replacement,
            })),
        })
    }
}

/// Collects diagnostics: keeps a bounded number, counts the rest, drops what was already said about a place.
#[derive(Debug)]
pub(crate) struct Diagnostics {
    limit: usize,
    kept: Vec<Diagnostic>,
    seen: HashSet<(Code, Option<Span>)>,
    hidden: usize,
    errors: usize,
}

impl Diagnostics {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, kept: Vec::new(), seen: HashSet::new(), hidden: 0, errors: 0 }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        let span = diagnostic.primary.as_ref().map(|label| label.span);
        if span.is_some() && !self.seen.insert((diagnostic.code, span)) {
            return;
        }
        if diagnostic.severity == Severity::Error {
            self.errors += 1;
        }
        if self.kept.len() < self.limit {
            self.kept.push(diagnostic);
        } else {
            self.hidden += 1;
        }
    }

    /// Whether anything makes the definition unusable.
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether further diagnostics are only counted, so that building a suggestion is wasted work.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= self.limit
    }

    /// What was kept, in the order of the text, and how many more there were.
    pub(crate) fn finish(mut self) -> (Vec<Diagnostic>, usize) {
        let place = |it: &Diagnostic| it.primary.as_ref().map(|label| label.span);
        self.kept.sort_by_key(|it| (it.severity, place(it)));
        (self.kept, self.hidden)
    }
}

/// A text from the file as it may stand in a message: quoted, escaped, of bounded length.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut out = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        // `escape_debug` also escapes what changes the direction or width of text.
        if c == '\'' || c == '"' { out.push(c) } else { out.extend(c.escape_debug()) }
    }
    out.push('`');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\0b\u{202e}c\n'"), "`a\\0b\\u{202e}c\\n'`");
        assert_eq!(shown(&"x".repeat(1_000_000)).chars().count(), 63);
    }

    #[test]
    fn codes_are_unique() {
        let spellings: HashSet<_> = Code::ALL.iter().map(|(code, _)| code.as_str()).collect();
        assert_eq!(spellings.len(), Code::ALL.len());
    }
}
