//! One step: what its kind asks for, and all its fields put together.

use std::time::Duration;

use super::expression;
use super::outputs::truth;
use super::{Code, Decoder, Diagnostic, FAILS, Form, HashSet, IndexMap, Name, Node, shown};
use crate::spec::model::{Action, Cache, Command, Kind, OnUnknown, Step};

/// Fields that say something about a command, and nothing where there is none.
const OF_COMMANDS: [&str; 9] = ["in", "matrix", "foreach", "params", "env", "python", "code", "isolate", "require"];

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        use Kind::{Deploy, Evaluate, Ingest, Label, Monitor, Train, Transform};
        [Ingest, Label, Transform, Train, Evaluate, Deploy, Monitor].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl<'t> Decoder<'t, '_> {
    /// Second pass: everything of the step at index `at`.
    pub(super) fn step(&mut self, at: usize) -> Step {
        let head = &self.heads[at];
        let (name, key, body) = (head.name.clone(), head.key, head.body);
        let kind = body.get("kind").and_then(Node::text).and_then(Kind::parse).unwrap_or(Kind::Transform);
        let action = self.action(key, body, kind);
        let reads = matches!(action, Action::From(_));
        // A source has no command: what the defaults say about commands must not count as part of what it is.
        let defaults = self.defaults;
        let get = |field: &str| {
            let inherited =
                || defaults.filter(|_| !reads || !OF_COMMANDS.contains(&field)).and_then(|it| it.get(field));
            body.get(field).or_else(inherited)
        };
        let foreach = self.foreach(at, body.get("foreach"));
        let matrix = self.matrix(body.get("matrix"));
        let axes = expression::axes(matrix.as_ref());
        if let (Some(matrix), Some(_)) = (body.get("matrix"), body.get("foreach")) {
            let error = Diagnostic::error(Code::Conflict, matrix.span(), "a step has `matrix` or `foreach`, not both");
            self.push(error.help("expand in two steps, one after the other"));
        }
        Step {
            kind,
            description: body.get("description").and_then(Node::text).map(str::to_owned),
            action,
            inputs: self.inputs(at, body.get("in"), foreach.as_ref().map(|foreach| &foreach.item)),
            after: self.after(at, body.get("after")),
            // Moved here when the last step is decoded.
            outputs: IndexMap::new(),
            max_parallel: self.max_parallel(body),
            when: body.get("when").and_then(|node| self.condition(node, &axes, false)),
            require: Self::one_or_many(body.get("require"))
                .into_iter()
                .filter_map(|node| self.condition(node, &axes, true))
                .collect(),
            foreach,
            matrix,
            params: if reads { Some(Vec::new()) } else { self.listed_params(get("params")) },
            env: if reads { IndexMap::new() } else { self.env(body.get("env")) },
            python: self.python(get("python")),
            code: self.code(get("code")),
            isolate: get("isolate").and_then(Node::text) == Some("copy"),
            cache: self.step_cache(kind, reads, body),
            retry: self.retry(get("retry")),
            timeout: self.timeout(get("timeout")),
            grace: get("grace").map_or(Duration::from_secs(10), |node| self.duration(node)),
            slots: self.slots(body, get("pool")),
            pool: self.pool(get("pool")),
            on_unknown: match get("on_unknown").and_then(Node::text) {
                Some("retry") => OnUnknown::Retry,
                _ => OnUnknown::Wait,
            },
            resources: self.resources(get("resources")),
            continue_on_error: truth(body, "continue_on_error"),
            name,
        }
    }

    fn action(&mut self, key: Node<'t>, body: Node<'t>, kind: Kind) -> Action {
        let run = body.get("run");
        match (body.get("from"), run) {
            (Some(from), run) => {
                if kind != Kind::Ingest {
                    let error =
                        Diagnostic::error(Code::Conflict, from.span(), "only a step with `kind: ingest` has `from`");
                    self.push(error.help("a step reads the outputs of others with `in`"));
                } else if let Some(run) = run {
                    let error =
                        Diagnostic::error(Code::Conflict, run.span(), "an ingest has `from` or `run`, not both");
                    self.push(error.also(from.span(), "already reads this"));
                }
                for (key, _) in body.entries().filter(|(key, _)| OF_COMMANDS.contains(&key.key())) {
                    let message = format!("`{}` means nothing for a step with `from`", key.key());
                    self.push(Diagnostic::error(Code::Conflict, key.span(), message));
                }
                self.single_output(body);
                Action::From(self.source(from))
            }
            (None, Some(run)) => Action::Run(self.command(run).unwrap_or_else(|| Command::Shell(String::new()))),
            (None, None) => self.no_action(key, body, kind),
        }
    }

    fn single_output(&mut self, body: Node<'t>) {
        if let Some(out) = body.get("out").filter(|out| out.items().len() + out.entries().len() > 1) {
            self.push(Diagnostic::error(Code::Conflict, out.span(), "a source is one output"));
        }
    }

    /// Some kinds will do their work by themselves one day. Until then such a step fails, and says why, when it is
    /// reached: leaving it out would take away what others read.
    fn no_action(&mut self, key: Node<'t>, body: Node<'t>, kind: Kind) -> Action {
        if matches!(kind, Kind::Label | Kind::Deploy | Kind::Monitor) {
            self.unsupported(&format!("a step of the kind `{}` without `run`", kind.as_str()), FAILS, key.span());
        } else if body.form() == Form::Map {
            let (message, help) = if kind == Kind::Ingest {
                ("an ingest needs `from` or `run`", "such as `from: ./data/*.csv`")
            } else {
                ("`run` is missing", "such as `run: python3 ./clean.py`")
            };
            self.push(Diagnostic::error(Code::Missing, key.span(), message).help(help));
        }
        let reason = format!("echo 'runstone: {} steps without run are not supported yet' >&2; exit 78", kind.as_str());
        Action::Run(Command::Shell(reason))
    }

    /// The step's own word, or the habit of its kind, or the default.
    fn step_cache(&mut self, kind: Kind, reads: bool, body: Node<'t>) -> Cache {
        if let Some(own) = body.get("cache") {
            return self.cache(own);
        }
        match kind {
            Kind::Deploy | Kind::Monitor => Cache::Never,
            Kind::Ingest if !reads => Cache::Never,
            _ => self.defaults.and_then(|defaults| defaults.get("cache")).map_or(Cache::Auto, |node| self.cache(node)),
        }
    }

    /// May stand in the step or in its expansion.
    fn max_parallel(&mut self, body: Node<'t>) -> Option<u32> {
        let places = [Some(body), body.get("matrix"), body.get("foreach")];
        let mut given = places.into_iter().flatten().filter_map(|block| block.get("max_parallel"));
        let first = given.next()?;
        if let Some(second) = given.next() {
            let error = Diagnostic::error(Code::Conflict, second.span(), "`max_parallel` is given twice");
            self.push(error.also(first.span(), "first given here"));
        }
        self.whole(first)
    }

    fn listed_params(&mut self, list: Option<Node<'t>>) -> Option<Vec<Name>> {
        let list = list.filter(|list| list.form() == Form::List)?;
        let mut names = Vec::with_capacity(list.items().len());
        let mut seen = HashSet::new();
        for node in list.items() {
            let Some(text) = node.text() else { continue };
            if let Some(name) = self.params.get_key_value(text).map(|(name, _)| name.clone()) {
                if !seen.insert(name.clone()) {
                    self.push(Diagnostic::error(Code::DuplicateKey, node.span(), "this parameter is listed twice"));
                }
                names.push(name);
            } else {
                let near = self.nearest(text, self.params.keys().map(Name::as_str));
                let error = Diagnostic::error(
                    Code::UnknownParam,
                    node.span(),
                    format!("there is no parameter {}", shown(text)),
                );
                let help = self.params.is_empty().then_some("declare it at the top of the file, under `params`");
                self.push(error.maybe_help(help).did_you_mean(node.span(), near));
            }
        }
        Some(names)
    }
}
