//! `schedule:` and `schedules:`: when runs start by themselves.

use std::time::Duration;

use super::{Code, Decoder, Diagnostic, Form, IndexMap, Name, Node, Problem, shown};
use crate::scalar::Scalar;
use crate::schedule::{
    Catchup, Dst, Fold, Gap, Keep, Overlap, Schedule, ScheduleError, Timing, UnknownZone, Zone, span_of,
};
use crate::spec::params::value;
use crate::time::Timestamp;

/// The name of the schedule that has none.
const ONLY: &str = "main";
/// Schedules of one pipeline.
const MOST: usize = 1000;

impl<'t> Decoder<'t, '_> {
    pub(super) fn schedules(&mut self, only: Option<Node<'t>>, named: Option<Node<'t>>) -> Vec<Schedule> {
        let mut schedules = Vec::new();
        if let Some(block) = only.filter(|block| block.form() == Form::Map) {
            let name = Name::new(ONLY).expect("the literal follows the grammar");
            schedules.extend(self.schedule(name, block.span().at_start(), block));
        }
        if let Some(all) = named.filter(|all| all.entries().len() > MOST) {
            let message = format!("{} schedules, more than {MOST}", all.entries().len());
            self.push(Diagnostic::error(Code::TooMany, all.span().at_start(), message));
            return schedules;
        }
        for (key, block) in named.into_iter().flat_map(Node::entries) {
            let Some(name) = self.name(key) else { continue };
            if let Some(only) = only.filter(|_| key.key() == ONLY) {
                let message = "`schedule` is the one that is called `main`, and there is another";
                let error = Diagnostic::error(Code::Conflict, key.span(), message);
                self.push(error.also(only.span().at_start(), "the first one").help("give one of them another name"));
            }
            if block.form() == Form::Map {
                schedules.extend(self.schedule(name, key.span(), block));
            }
        }
        schedules
    }

    fn schedule(&mut self, name: Name, place: super::Span, block: Node<'t>) -> Option<Schedule> {
        let tz = self.zone(block.get("tz"));
        let timing = self.timing(place, block, tz.unwrap_or_else(Zone::utc));
        let (start, end) = self.bounds(block, tz);
        let jitter = block.get("jitter").map_or(Duration::ZERO, |node| self.duration(node));
        if let (Some(Timing::Every { interval }), Some(node)) = (&timing, block.get("jitter"))
            && jitter > *interval
        {
            let message = "a jitter longer than the interval would let fires overtake each other";
            self.push(Diagnostic::error(Code::OutOfRange, node.span(), message));
        }
        let schedule = Schedule {
            name,
            timing: timing?,
            catchup: self.catchup(block.get("catchup")),
            overlap: match block.get("overlap").and_then(Node::text) {
                Some("skip") => Overlap::Skip,
                Some("replace") => Overlap::Replace,
                Some("allow") => Overlap::Allow,
                _ => Overlap::Queue,
            },
            jitter,
            start,
            end,
            enabled: block.get("enabled").is_none() || super::outputs::truth(block, "enabled"),
            params: self.scheduled_params(block.get("params")),
        };
        self.check_pattern(&schedule, block);
        Some(schedule)
    }

    /// A zone by name, UTC without one; none where the name is wrong.
    pub(super) fn zone(&mut self, node: Option<Node<'t>>) -> Option<Zone> {
        let Some(node) = node else { return Some(Zone::utc()) };
        let UnknownZone { near, .. } = match Zone::named(node.text()?) {
            Ok(zone) => return Some(zone),
            Err(unknown) => unknown,
        };
        let message = format!("there is no time zone {}", shown(node.text()?));
        let error = Diagnostic::error(Code::UnknownZone, node.span(), message);
        let help =
            near.is_none().then_some("zones are called as in the IANA database, such as `Europe/Berlin` or `UTC`");
        self.push(error.maybe_help(help).did_you_mean(node.span(), near));
        None
    }

    /// Exactly one of `cron` and `every`.
    fn timing(&mut self, place: super::Span, block: Node<'t>, tz: Zone) -> Option<Timing> {
        match (block.get("cron"), block.get("every")) {
            (None, None) => {
                let error = Diagnostic::error(Code::Missing, place, "a schedule needs `cron` or `every`");
                self.push(error.help("such as `cron: \"0 2 * * *\"` or `every: 15m`"));
                None
            }
            (Some(cron), Some(every)) => {
                let error =
                    Diagnostic::error(Code::Conflict, every.span(), "a schedule has `cron` or `every`, not both");
                self.push(error.also(cron.span(), "already says when"));
                None
            }
            (Some(cron), None) => {
                Some(Timing::Cron { expression: cron.text()?.to_owned(), tz, dst: dst(block.get("dst")) })
            }
            (None, Some(every)) => {
                let interval = self.duration(every);
                if interval < Duration::from_secs(1) {
                    let message = "an interval is at least `1s`";
                    self.push(Diagnostic::error(Code::OutOfRange, every.span(), message));
                }
                if let Some(dst) = block.get("dst") {
                    let message = "`dst` means nothing for `every`, which looks at no clock";
                    self.push(Diagnostic::error(Code::Conflict, dst.span(), message));
                }
                Some(Timing::Every { interval })
            }
        }
    }

    /// `start` and `end`, the latter as the first moment that is too late.
    fn bounds(&mut self, block: Node<'t>, tz: Option<Zone>) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut moment = |field: &str| {
            let (node, tz) = (block.get(field)?, tz?);
            let span = span_of(node.text()?, tz);
            if span.is_none() {
                let message = format!("{} is neither a date nor a moment", shown(node.text()?));
                let error = Diagnostic::error(Code::BadDate, node.span(), message);
                self.push(error.help("write a date such as `2026-01-31`, or a moment such as `2026-01-31T09:00:00Z`"));
            }
            span
        };
        let (start, end) = (moment("start").map(|(start, _)| start), moment("end").map(|(_, end)| end));
        if let (Some(first), Some(last), Some(node)) = (start, end, block.get("end"))
            && last <= first
        {
            self.push(Diagnostic::error(Code::BadDate, node.span(), "it ends before it starts"));
        }
        (start, end)
    }

    fn catchup(&mut self, block: Option<Node<'t>>) -> Catchup {
        let mut catchup = Catchup::default();
        let Some(block) = block else { return catchup };
        if let Some(window) = block.get("window") {
            catchup.window = self.duration(window);
        }
        catchup.keep = match block.get("keep").and_then(Node::text) {
            Some("all") => Keep::All,
            Some("none") => Keep::None,
            _ => Keep::Latest,
        };
        catchup
    }

    fn scheduled_params(&mut self, map: Option<Node<'t>>) -> IndexMap<Name, Scalar> {
        let mut params = IndexMap::new();
        for (key, node) in map.into_iter().flat_map(Node::entries) {
            let Some((name, param)) = self.params.get_key_value(key.key()) else {
                let near = self.nearest(key.key(), self.params.keys().map(Name::as_str));
                let message = format!("there is no parameter {}", shown(key.key()));
                self.push(Diagnostic::error(Code::UnknownParam, key.span(), message).did_you_mean(key.span(), near));
                continue;
            };
            let (Some(text), Some(untyped)) = (node.text(), node.untyped()) else { continue };
            let result = value(param.kind, text, untyped).and_then(|value| param.admits(&value).map(|()| value));
            let name = name.clone();
            match result {
                Ok(value) => drop(params.insert(name, value)),
                Err(problem) => self.push(problem.at(node.span()).label(format!("parameter `{name}`"))),
            }
        }
        params
    }

    /// A pattern is checked by making it ready to be asked, so that what is accepted here always fires.
    fn check_pattern(&mut self, schedule: &Schedule, block: Node<'t>) {
        if let (Err(ScheduleError::Pattern { expression, source }), Some(cron)) =
            (schedule.compile(), block.get("cron"))
        {
            let message = format!("{} is no pattern that fires: {source}", shown(&expression));
            let problem = Problem::new(Code::BadCron, message)
                .help("fields are minute, hour, day of the month, month and day of the week, such as `0 2 * * *`");
            self.push(problem.at(cron.span()));
        }
    }
}

fn dst(block: Option<Node<'_>>) -> Dst {
    let word = |field: &str| block.and_then(|block| block.get(field)).and_then(Node::text);
    Dst {
        gap: if word("gap") == Some("skip") { Gap::Skip } else { Gap::RunAfter },
        fold: if word("fold") == Some("twice") { Fold::Twice } else { Fold::Once },
    }
}
