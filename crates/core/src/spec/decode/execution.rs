//! How a step is run: command, environment, retries, limits, reuse.

use std::time::Duration;

use super::{Code, Decoder, Diagnostic, Form, IndexMap, Name, Node, Problem, paths, shown};
use crate::spec::model::{Cache, Command, EnvValue, Python, Requirements, Resources, Retry};
use crate::spec::values;

/// The longest single argument or environment entry, in bytes. Source: `MAX_ARG_STRLEN` of Linux, less the NUL.
const LONGEST_ARGUMENT: usize = (128 << 10) - 1;

/// Variables that Runstone sets, and beginnings of such.
const OURS: [&str; 6] = ["RUN_ID", "ATTEMPT", "PARTITION", "METRICS", "METADATA", "TMPDIR"];
const OUR_PREFIXES: [&str; 6] = ["RUNSTONE_", "IN_", "OUT_", "PARAM_", "MATRIX_", "ITEM_"];

impl<'t> Decoder<'t, '_> {
    /// A command; text for the shell or a list of arguments.
    pub(super) fn command(&mut self, node: Node<'t>) -> Option<Command> {
        let words = Self::one_or_many(Some(node));
        for word in &words {
            let text = word.text().unwrap_or_default();
            if let Some(start) = text.find("${{") {
                let span = self.within(*word, start, start + 3);
                let error = Diagnostic::error(Code::Splice, span, "values are not put into commands");
                self.push(
                    error.help("read them from the environment: \"$PARAM_NAME\", \"$IN_NAME\", \"$MATRIX_NAME\""),
                );
            }
            if text.len() > LONGEST_ARGUMENT {
                let message =
                    format!("a command of {} bytes is longer than the system takes ({LONGEST_ARGUMENT})", text.len());
                self.push(Diagnostic::error(Code::OutOfRange, word.span(), message).help("put it into a script"));
            }
        }
        let first = words.first().and_then(|word| word.text()).unwrap_or_default();
        if first.trim().is_empty() && matches!(node.form(), Form::List | Form::Scalar) {
            self.push(Diagnostic::error(Code::BadValue, node.span(), "an empty command does nothing"));
            return None;
        }
        match node.form() {
            Form::Scalar => Some(Command::Shell(first.to_owned())),
            Form::List => Some(Command::Argv(words.iter().filter_map(|word| word.text()).map(str::to_owned).collect())),
            _ => None,
        }
    }

    /// `defaults.env` with the step's own on top, name by name.
    pub(super) fn env(&mut self, own: Option<Node<'t>>) -> IndexMap<String, EnvValue> {
        let defaults = self.defaults.and_then(|defaults| defaults.get("env"));
        let mut env = IndexMap::new();
        for (key, value) in defaults.into_iter().chain(own).flat_map(Node::entries) {
            let name = key.key();
            if self.report(variable(name), key.span()).is_none() {
                continue;
            }
            let value = if value.form() == Form::Map { self.secret(value) } else { self.plain_value(name, value) };
            if let Some(value) = value {
                env.insert(name.to_owned(), value);
            }
        }
        env
    }

    fn plain_value(&mut self, name: &str, node: Node<'t>) -> Option<EnvValue> {
        let text = node.text()?;
        if name.len() + 1 + text.len() > LONGEST_ARGUMENT {
            let message = format!("a variable of {} bytes is longer than the system takes", text.len());
            self.push(Diagnostic::error(Code::BadEnv, node.span(), message));
        }
        Some(EnvValue::Plain(text.to_owned()))
    }

    fn secret(&mut self, block: Node<'t>) -> Option<EnvValue> {
        let node = block.get("secret")?;
        let text = node.text()?;
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.len() > 128 || !text.starts_with(letter) || !text.chars().all(|c| letter(c) || matches!(c, '-' | '.')) {
            let error =
                Diagnostic::error(Code::BadName, node.span(), format!("{} is not the name of a secret", shown(text)));
            self.push(error.help("write the name under which the configuration knows it, never the value"));
            return None;
        }
        Some(EnvValue::Secret(text.to_owned()))
    }

    pub(super) fn python(&mut self, block: Option<Node<'t>>) -> Option<Python> {
        let block = block.filter(|block| block.form() == Form::Map)?;
        let version = block.get("version").and_then(|node| {
            let text = node.text()?;
            let parts: Vec<_> = text.split('.').collect();
            let number =
                |part: &&str| !part.is_empty() && part.len() < 4 && part.bytes().all(|byte| byte.is_ascii_digit());
            if parts.len() > 3 || !parts.iter().all(number) {
                let message = format!("{} is not a version of Python, such as `3.11`", shown(text));
                self.push(Diagnostic::error(Code::BadValue, node.span(), message));
            }
            Some(text.to_owned())
        });
        let node = block.get("requirements")?;
        let requirements = match node.text() {
            Some(text) => {
                let result = paths::project(text).map_err(|problem| {
                    problem.help("a requirements file starts with `./`; requirements themselves are a list")
                });
                self.report(result, node.span());
                Requirements::File(text.to_owned())
            }
            None => Requirements::Inline(self.requirements(node)),
        };
        Some(Python { requirements, version })
    }

    fn requirements(&mut self, list: Node<'t>) -> Vec<String> {
        let mut lines = Vec::new();
        for node in list.items() {
            let Some(text) = node.text().map(str::trim) else { continue };
            if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
                let error =
                    Diagnostic::error(Code::BadValue, node.span(), format!("{} is not a requirement", shown(text)));
                self.push(
                    error.help("a requirement is one line such as `scikit-learn==1.5`; options belong into a file"),
                );
            }
            lines.push(text.to_owned());
        }
        lines
    }

    pub(super) fn code(&mut self, node: Option<Node<'t>>) -> Option<Vec<String>> {
        let node = node?;
        let mut globs = Vec::new();
        for node in Self::one_or_many(Some(node)) {
            let Some(text) = node.text() else { continue };
            self.report(paths::glob(text), node.span());
            globs.push(text.to_owned());
        }
        Some(globs)
    }

    pub(super) fn cache(&mut self, node: Node<'t>) -> Cache {
        match node.text() {
            Some("never") => Cache::Never,
            Some(_) => Cache::Auto,
            None => node.get("ttl").map_or(Cache::Auto, |ttl| Cache::Ttl(self.duration(ttl))),
        }
    }

    /// A duration that was checked with its shape; zero stands for one that was not.
    pub(super) fn duration(&mut self, node: Node<'t>) -> Duration {
        node.text().and_then(|text| values::duration(text).ok()).unwrap_or_default()
    }

    pub(super) fn timeout(&mut self, node: Option<Node<'t>>) -> Option<Duration> {
        let node = node.filter(|node| node.text() != Some("none"))?;
        let timeout = self.duration(node);
        if node.text().is_some_and(|text| values::duration(text) == Ok(Duration::ZERO)) {
            self.push(
                Diagnostic::error(Code::OutOfRange, node.span(), "a timeout of zero ends every attempt at once")
                    .help("write `none` for no timeout"),
            );
        }
        Some(timeout)
    }

    pub(super) fn retry(&mut self, node: Option<Node<'t>>) -> Retry {
        let mut retry = Retry {
            max: 0,
            backoff: Duration::from_secs(1),
            factor: 2.0,
            max_backoff: Duration::from_secs(600),
            jitter: true,
            on: Vec::new(),
        };
        let Some(node) = node else { return retry };
        if node.form() != Form::Map {
            retry.max = self.whole(node).unwrap_or(0);
            return retry;
        }
        retry.max = node.get("max").and_then(|max| self.whole(max)).unwrap_or(0);
        if let Some(backoff) = node.get("backoff") {
            retry.backoff = self.duration(backoff);
        }
        // A first wait beyond the usual ceiling is its own ceiling.
        retry.max_backoff = match node.get("max_backoff") {
            Some(node) => self.duration(node),
            None => retry.max_backoff.max(retry.backoff),
        };
        if let Some(jitter) = node.get("jitter").and_then(Node::text) {
            retry.jitter = jitter.eq_ignore_ascii_case("true");
        }
        if let Some(node) = node.get("factor") {
            retry.factor = node.text().and_then(|text| text.parse().ok()).unwrap_or(retry.factor);
            if !(1.0..=100.0).contains(&retry.factor) {
                self.push(Diagnostic::error(Code::OutOfRange, node.span(), "`factor` is between 1 and 100"));
            }
        }
        if let Some(node) = node.get("max_backoff").filter(|_| retry.max_backoff < retry.backoff) {
            self.push(Diagnostic::error(Code::OutOfRange, node.span(), "`max_backoff` is smaller than `backoff`"));
        }
        let causes = Self::one_or_many(node.get("on")).into_iter();
        retry.on = causes.filter_map(|cause| values::retry_on(cause.text()?).ok()).collect();
        retry
    }

    pub(super) fn resources(&mut self, block: Option<Node<'t>>) -> Resources {
        let text = |field: &str| block.and_then(|block| block.get(field)).and_then(Node::text);
        Resources {
            cpu_milli: text("cpu").and_then(|cpu| values::cpu(cpu).ok()).unwrap_or(1000),
            mem: text("mem").and_then(|mem| values::size(mem).ok()).unwrap_or(0),
        }
    }

    /// How many slots of `pool` a task takes.
    pub(super) fn slots(&mut self, body: Node<'t>, pool: Option<Node<'t>>) -> u32 {
        let Some(node) = body.get("slots") else { return 1 };
        let slots = self.whole(node).unwrap_or(1);
        let Some(pool) = pool.and_then(Node::text) else {
            let error = Diagnostic::error(Code::Conflict, node.span(), "`slots` means nothing without `pool`");
            self.push(error);
            return 1;
        };
        if let Some(most) = self.pools.get(pool).filter(|most| **most < slots) {
            let message = format!("a task that takes {slots} slots would wait for ever: pool `{pool}` has {most}");
            self.push(Diagnostic::error(Code::OutOfRange, node.span(), message));
        }
        slots
    }

    pub(super) fn pool(&mut self, node: Option<Node<'t>>) -> Option<Name> {
        let node = node?;
        let text = node.text()?;
        if let Some((name, _)) = self.pools.get_key_value(text) {
            return Some(name.clone());
        }
        let Some(pools) = &self.options.pools else { return Name::new(text).ok() };
        if pools.iter().any(|pool| pool == text) {
            return Name::new(text).ok();
        }
        let known = self.pools.keys().map(Name::as_str).chain(pools.iter().map(String::as_str));
        let near = self.nearest(text, known);
        let help = near.is_none().then(|| {
            format!("declare it at the top of the file: `pools: {{{text}: 1}}`, or for all pipelines in runstone.yaml")
        });
        let error = Diagnostic::error(Code::UnknownPool, node.span(), format!("there is no pool {}", shown(text)));
        self.push(error.maybe_help(help).did_you_mean(node.span(), near));
        None
    }
}

/// Whether a step may set this variable.
fn variable(name: &str) -> Result<(), Problem> {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.len() > 256 || !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        return Err(Problem::new(Code::BadEnv, format!("{} is not the name of an environment variable", shown(name)))
            .help("such a name has letters, digits and `_`, and does not start with a digit"));
    }
    if OURS.contains(&name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(Problem::new(Code::BadEnv, format!("{} is set by Runstone", shown(name)))
            .help("names starting with RUNSTONE_, IN_, OUT_, PARAM_, MATRIX_ and ITEM_ are taken, as are RUN_ID, ATTEMPT, PARTITION, METRICS, METADATA and TMPDIR"));
    }
    Ok(())
}
