//! Rules and decisions about what is kept, in words.

use std::time::Duration;

use runstone_core::retention::{Decision, Facts, Keep, ObjectRule, Rules, Unmakeable};
use runstone_core::time::micros;

use super::quantity::duration;
use super::time::{Zone, date_time};

/// Every rule with its name.
pub(crate) fn rules(rules: &Rules) -> Vec<(String, String)> {
    let never =
        |age: Option<Duration>| age.map_or_else(|| "never go".to_owned(), |age| format!("go after {}", of(age)));
    let logs = match rules.logs.older_than {
        None => never(None),
        age => format!("{}, the newest {} runs keep theirs", never(age), rules.logs.keep_runs),
    };
    let mut all = vec![("keep logs".to_owned(), logs), ("keep events".to_owned(), never(rules.events))];
    if rules.objects.is_empty() {
        all.push(("keep objects".to_owned(), "no version is given up".to_owned()));
    }
    all.extend(rules.objects.iter().map(|rule| (format!("keep {}", rule.datasets), object_rule(rule))));
    all
}

/// What a rule keeps.
fn object_rule(rule: &ObjectRule) -> String {
    let mut kept = vec!["latest".to_owned(), "tagged".to_owned()];
    if rule.keep_versions > 0 {
        kept.push(format!("{} newest", rule.keep_versions));
    }
    if !rule.younger_than.is_zero() {
        kept.push(format!("younger than {}", of(rule.younger_than)));
    }
    kept.extend(rule.cheaper_than.map(|cost| format!("what took over {}", of(cost))));
    let inputs = match (rule.keep_inputs_of.latest, rule.keep_inputs_of.tags) {
        (true, true) => "what latest and tagged were made of",
        (true, false) => "what latest were made of",
        (false, true) => "what tagged were made of",
        (false, false) => "",
    };
    kept.push(inputs.to_owned());
    kept.retain(|part| !part.is_empty());
    kept.join(", ")
}

fn of(age: Duration) -> String {
    match age.as_secs() {
        seconds if seconds > 0 && seconds.is_multiple_of(86_400) => format!("{} d", seconds / 86_400),
        _ => duration(micros(age)),
    }
}

/// One word for programs, and a sentence for people.
pub(crate) fn decision(decision: &Decision, facts: &Facts, zone: Zone) -> (&'static str, String) {
    let version = |dataset: &usize, version: &i64| format!("{}@v{version}", facts.datasets[*dataset]);
    match decision {
        Decision::Evict => {
            ("evict", "its bytes may go: nothing speaks for them, and they can be made again".to_owned())
        }
        Decision::Evicted { remakeable: true } => {
            ("evicted", "its bytes were given up; a run that needs them makes them again".to_owned())
        }
        Decision::Evicted { remakeable: false } => {
            ("evicted", "its bytes were given up, and cannot be made again".to_owned())
        }
        Decision::Elsewhere => ("elsewhere", "its bytes are in another content store".to_owned()),
        Decision::Keep(keep) => match keep {
            Keep::NoRule => ("no_rule", "kept: no rule is about it".to_owned()),
            Keep::Tagged(tag) => ("tagged", format!("kept: the tag {tag} leads to it")),
            Keep::Latest => ("latest", "kept: it is the latest".to_owned()),
            Keep::Newest(count) => ("newest", format!("kept: it is among the {count} newest of its cell")),
            Keep::Young(last) => ("young", format!("kept: it was made or read last on {}", date_time(*last, zone))),
            Keep::InputOf(of, number) => ("input", format!("kept: {} was made of it", version(of, number))),
            Keep::Held => ("held", "kept: a run that is going on needs it".to_owned()),
            Keep::Proof => ("proof", "kept: it is proof of what ran".to_owned()),
            Keep::Unmakeable(why) => ("unmakeable", format!("kept: {}", unmakeable(*why))),
            Keep::Costly(cost) => ("costly", format!("kept: making it took {}", duration(*cost))),
            Keep::Same(of, number) => ("same", format!("kept: {} has the same bytes", version(of, number))),
        },
    }
}

fn unmakeable(why: Unmakeable) -> &'static str {
    match why {
        Unmakeable::Source => "it came from outside and cannot be made again",
        Unmakeable::Tainted => "it is tainted: the same may not come of it again",
        Unmakeable::NotReusable => "its step is never cached: the same may not come of it again",
        Unmakeable::Inputs => "something that it was made of is gone",
        Unmakeable::Circular => "something that makes it again is made of it",
    }
}

#[cfg(test)]
mod tests {
    use runstone_core::retention::DatasetPattern;

    use super::*;

    #[test]
    fn rules_are_said_in_words() {
        let mut all = Rules { objects: vec![ObjectRule::new(DatasetPattern::new("p/*"))], ..Rules::default() };
        let said = rules(&all);
        assert_eq!(said[0].1, "go after 30 d, the newest 20 runs keep theirs");
        assert_eq!(said[1].1, "never go");
        assert_eq!(said[2].0, "keep p/*");
        for part in ["latest, tagged, 3 newest, younger than 30 d", "took over 10", "tagged were made of"] {
            assert!(said[2].1.contains(part), "{said:?}");
        }
        all.objects.clear();
        assert_eq!(rules(&all)[2].1, "no version is given up");
    }
}
