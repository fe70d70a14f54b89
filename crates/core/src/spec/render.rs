//! How diagnostics look: as in compilers, with the line, a caret and a repair. Shows bounded parts of hostile files.

use std::borrow::Cow;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Label, Severity};
use super::source::{SourceMap, Span, floor_char_boundary};

/// The look of rendered diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours and other terminal styles.
    pub colour: bool,
    /// Box-drawing characters instead of ASCII.
    pub unicode: bool,
    /// Columns.
    pub width: usize,
}

impl Default for Look {
    fn default() -> Self {
        Self { colour: false, unicode: false, width: 140 }
    }
}

/// Lines longer than this are not shown, only named.
const LONGEST_LINE: usize = 2_000;
/// Longer ranges are underlined only at their start.
const LONGEST_MARK: usize = 120;

/// Renders `diagnostics`, one after the other, and says how many more there were.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], hidden: usize, sources: &SourceMap, look: Look) -> String {
    let renderer = if look.colour { Renderer::styled() } else { Renderer::plain() };
    let renderer =
        renderer.term_width(look.width).decor_style(if look.unicode { DecorStyle::Unicode } else { DecorStyle::Ascii });
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&renderer.render(&report(diagnostic, sources)));
        out.push_str("\n\n");
    }
    if hidden > 0 {
        out.push_str(&format!("… and {hidden} more\n"));
    }
    out
}

fn report<'a>(diagnostic: &'a Diagnostic, sources: &'a SourceMap) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code.as_str()));
    let marked = diagnostic.primary.iter().map(|label| (AnnotationKind::Primary, label));
    let marked = marked.chain(diagnostic.secondary.iter().map(|label| (AnnotationKind::Context, label)));
    for excerpt in excerpts(marked, sources) {
        group = excerpt.add_to(group);
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    let mut groups = vec![group];
    if let Some(repair) = &diagnostic.suggestion {
        let window = Window::around(repair.span, sources);
        let title = Level::HELP.secondary_title(&repair.title);
        groups.push(if window.text.len() > LONGEST_LINE {
            Group::with_title(title)
        } else {
            let patch = Patch::new(window.range(repair.span), repair.replacement.as_str());
            let snippet = Snippet::source(window.text).line_start(window.line).path(window.name).patch(patch);
            title.element(snippet)
        });
    }
    groups
}

/// A line of a file.
struct Window<'a> {
    name: Cow<'a, str>,
    text: Cow<'a, str>,
    /// Counted from 1.
    line: usize,
    /// Of the first byte in the file.
    offset: usize,
    file: u16,
}

impl<'a> Window<'a> {
    fn around(span: Span, sources: &'a SourceMap) -> Self {
        let file = sources.file(span);
        let at = floor_char_boundary(&file.text, span.start as usize);
        let offset = file.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = file.text[at..].find('\n').map_or(file.text.len(), |length| at + length);
        let text = file.text[offset..end].trim_end_matches('\r');
        Self {
            name: harmless(&file.name),
            text: harmless(text),
            line: sources.position(span).line,
            offset,
            file: span.file,
        }
    }

    /// `span` within the line, cut to it.
    fn range(&self, span: Span) -> std::ops::Range<usize> {
        let within = |offset: usize| floor_char_boundary(&self.text, offset.saturating_sub(self.offset));
        let start = within(span.start as usize);
        start..within(span.end as usize).clamp(start, start + floor_char_boundary(&self.text[start..], LONGEST_MARK))
    }
}

/// The renderer shows control characters as symbols, except those from U+0080 on, which some terminals obey.
/// The symbol that replaces them has as many bytes, so that places stay what they are.
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if text.contains(obeyed) { Cow::Owned(text.replace(obeyed, "\u{b7}")) } else { Cow::Borrowed(text) }
}

/// One line with everything that is said about it.
struct Excerpt<'a> {
    window: Window<'a>,
    annotations: Vec<Annotation<'a>>,
    column: usize,
}

/// One excerpt a line, in the order in which lines are first named: two places of a large file may be far apart.
fn excerpts<'a>(labels: impl Iterator<Item = (AnnotationKind, &'a Label)>, sources: &'a SourceMap) -> Vec<Excerpt<'a>> {
    let mut excerpts: Vec<Excerpt<'a>> = Vec::new();
    for (kind, label) in labels {
        let window = Window::around(label.span, sources);
        let annotation = kind.span(window.range(label.span));
        let annotation = if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) };
        match excerpts.iter_mut().find(|it| (it.window.file, it.window.offset) == (window.file, window.offset)) {
            Some(excerpt) => excerpt.annotations.push(annotation),
            None => {
                let column = sources.position(label.span).column;
                excerpts.push(Excerpt { window, annotations: vec![annotation], column });
            }
        }
    }
    excerpts
}

impl<'a> Excerpt<'a> {
    fn add_to(self, group: Group<'a>) -> Group<'a> {
        let Window { name, text, line, .. } = self.window;
        if text.len() > LONGEST_LINE {
            return group
                .element(Origin::path(name).line(line).char_column(self.column))
                .element(Level::NOTE.message("the line is too long to be shown"));
        }
        group.element(Snippet::source(text).line_start(line).path(name).annotations(self.annotations))
    }
}
