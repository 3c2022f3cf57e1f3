//! What came of all cases: counts, the list of expected failures, and the forms in which they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::case::{CLASSES, Case, Level, Side};
use super::play::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One object
    Json,
    /// JUnit's XML
    Junit,
}

/// A case, and what came of it.
pub(crate) struct Played {
    pub(crate) case: Case,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

pub(crate) struct Report {
    /// Who was tested.
    pub(crate) subject: String,
    /// What the cases stood on.
    pub(crate) ground: String,
    pub(crate) played: Vec<Played>,
    /// Ids of cases of which a failure is no news.
    pub(crate) expected: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    expected: usize,
    skipped: usize,
}

impl Report {
    /// A failure that is news, of this level or a stricter one.
    pub(crate) fn has_failed(&self, level: Level) -> bool {
        self.played.iter().any(|played| self.word(played) == "failed" && played.case.level <= level)
    }

    fn word(&self, played: &Played) -> &'static str {
        match played.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed(_) if self.expected.contains(&played.case.id) => "expected",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped(_) => "skipped",
        }
    }

    fn counts(&self, matches: impl Fn(&Case) -> bool) -> Counts {
        let mut counts = Counts::default();
        for played in self.played.iter().filter(|played| matches(&played.case)) {
            match self.word(played) {
                "passed" => counts.passed += 1,
                "failed" => counts.failed += 1,
                "expected" => counts.expected += 1,
                _ => counts.skipped += 1,
            }
        }
        counts
    }

    /// Ids on the list of expected failures that did not fail.
    fn stale(&self) -> Vec<&str> {
        let failed: BTreeSet<&str> = self
            .played
            .iter()
            .filter(|played| self.word(played) == "expected")
            .map(|played| played.case.id.as_str())
            .collect();
        self.expected.iter().map(String::as_str).filter(|id| !failed.contains(id)).collect()
    }

    pub(crate) fn text(&self) -> String {
        let mut out = format!("{}: {}\n", self.subject, self.ground);
        // Writing to a string cannot fail.
        for played in &self.played {
            let (case, word) = (&played.case, self.word(played));
            if let Outcome::Failed(why) | Outcome::Skipped(why) = &played.outcome {
                let _ = writeln!(out, "{word:8} {} ({} {}, {}): {why}", case.id, case.level, case.class, about(case));
            }
        }
        let _ = writeln!(out, "{:10} {:>7} {:>7} {:>9} {:>8}", "", "passed", "failed", "expected", "skipped");
        let mut row = |name: &str, counts: Counts| {
            let Counts { passed, failed, expected, skipped } = counts;
            let _ = writeln!(out, "{name:10} {passed:>7} {failed:>7} {expected:>9} {skipped:>8}");
        };
        for level in Level::value_variants() {
            row(&level.to_string(), self.counts(|case| case.level == *level));
        }
        for class in CLASSES {
            row(class, self.counts(|case| case.class == class));
        }
        row("in all", self.counts(|_| true));
        for id in self.stale() {
            let _ = writeln!(out, "expected to fail, and did not: {id}");
        }
        out
    }

    pub(crate) fn json(&self) -> Value {
        let object = |counts: Counts| {
            let Counts { passed, failed, expected, skipped } = counts;
            json!({ "passed": passed, "failed": failed, "expected": expected, "skipped": skipped })
        };
        let cases = self.played.iter().map(|played| {
            let case = &played.case;
            let detail = match &played.outcome {
                Outcome::Passed => Value::Null,
                Outcome::Failed(why) | Outcome::Skipped(why) => why.as_str().into(),
            };
            json!({
                "id": case.id, "outcome": self.word(played), "level": case.level.to_string(), "class": case.class,
                "source": case.source, "title": case.title, "detail": detail, "seconds": played.took.as_secs_f64(),
            })
        });
        let levels: BTreeMap<String, Value> = Level::value_variants()
            .iter()
            .map(|level| (level.to_string(), object(self.counts(|case| case.level == *level))))
            .collect();
        let classes: BTreeMap<&str, Value> =
            CLASSES.into_iter().map(|class| (class, object(self.counts(|case| case.class == class)))).collect();
        json!({
            "format": super::FORMAT, "subject": self.subject, "ground": self.ground,
            "counts": object(self.counts(|_| true)), "levels": levels, "classes": classes,
            "not_failed": self.stale(), "cases": cases.collect::<Vec<_>>(),
        })
    }

    pub(crate) fn junit(&self) -> String {
        let counts = self.counts(|_| true);
        let seconds: f64 = self.played.iter().map(|played| played.took.as_secs_f64()).sum();
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">\n",
            escaped(&self.subject),
            self.played.len(),
            counts.failed,
            counts.skipped + counts.expected,
        );
        for played in &self.played {
            let case = &played.case;
            let class = format!("{}.{}", case.level, case.class);
            let _ = write!(
                out,
                "  <testcase name=\"{}\" classname=\"{class}\" time=\"{:.3}\"",
                escaped(&case.id),
                played.took.as_secs_f64()
            );
            let inner = match (&played.outcome, self.word(played)) {
                (Outcome::Failed(why), "failed") => {
                    format!("<failure message=\"{}\">{}</failure>", escaped(why), escaped(&about(case)))
                }
                (Outcome::Failed(why), _) => format!("<skipped message=\"expected: {}\"/>", escaped(why)),
                (Outcome::Skipped(why), _) => format!("<skipped message=\"{}\"/>", escaped(why)),
                (Outcome::Passed, _) => String::new(),
            };
            out += &if inner.is_empty() { "/>\n".to_owned() } else { format!(">{inner}</testcase>\n") };
        }
        out + "</testsuite>\n"
    }
}

/// What there is to play.
pub(crate) fn list<'a>(cases: impl Iterator<Item = &'a Case>) -> String {
    let mut out = String::new();
    for case in cases {
        let _ = writeln!(out, "{:36} {:8} {:9} {}", case.id, case.level.to_string(), case.class, about(case));
    }
    out
}

fn about(case: &Case) -> String {
    let words = [case.source.as_str(), case.title.as_str()];
    let words: Vec<&str> = words.into_iter().filter(|words| !words.is_empty()).collect();
    words.join(": ")
}

/// The list of expected failures: an id a line, and comments behind `#`.
pub(crate) fn expected(text: &str, side: Side) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|id| !id.is_empty()).map(|id| full_id(id, side)).collect()
}

/// `order` is `server/order`.
pub(crate) fn full_id(id: &str, side: Side) -> String {
    match side {
        _ if id.contains('/') => id.to_owned(),
        Side::Server => format!("server/{id}"),
        Side::Client => format!("client/{id}"),
    }
}

/// For XML, which has no other controls than these (XML 1.0 2.2).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            letter if letter.is_control() => out.extend(letter.escape_default()),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Level, Played, Report, Side, escaped, expected};
    use crate::conform::case::Case;
    use crate::conform::play::Outcome;

    fn report() -> Report {
        let played = |id: &str, marks: &str, outcome| Played {
            case: Case::parse(id, &format!("# RFC 5321 3.3: a <title>\nwire: {marks}\n"))
                .expect("read")
                .expect("a case"),
            outcome,
            took: Duration::from_millis(5),
        };
        Report {
            subject: "127.0.0.1:25".to_owned(),
            ground: "mail in plaintext".to_owned(),
            played: vec![
                played("server/a", "MUST order", Outcome::Passed),
                played("server/b", "MUST order", Outcome::Failed("said \"<no>\"".to_owned())),
                played("server/c", "practice text", Outcome::Failed("no".to_owned())),
                played("server/d", "SHOULD text", Outcome::Skipped("SIZE is not announced".to_owned())),
            ],
            expected: expected("# known\nb # since 2020\n\nserver/a\n", Side::Server),
        }
    }

    #[test]
    fn failures_that_are_expected_are_no_news() {
        let mut report = report();
        assert!(!report.has_failed(Level::Should) && report.has_failed(Level::Practice));
        assert_eq!(report.stale(), ["server/a"]);
        report.expected.clear();
        assert!(report.has_failed(Level::Must));
    }

    #[test]
    fn all_forms_tell_the_same_counts() {
        let report = report();
        let json = report.json();
        assert_eq!(json["counts"], serde_json::json!({ "passed": 1, "failed": 1, "expected": 1, "skipped": 1 }));
        assert_eq!(json["classes"]["order"]["expected"], 1);
        assert_eq!(json["cases"][3]["detail"], "SIZE is not announced");
        let text = report.text();
        assert!(text.contains("expected server/b (MUST order, RFC 5321 3.3: a <title>): said \"<no>\""), "{text}");
        assert!(text.contains("in all           1       1         1        1"), "{text}");
        let junit = report.junit();
        assert!(junit.contains("tests=\"4\" failures=\"1\" skipped=\"2\""), "{junit}");
        assert!(junit.contains("expected: said &quot;&lt;no&gt;&quot;"), "{junit}");
    }

    #[test]
    fn xml_has_no_controls() {
        assert_eq!(escaped("a\0<\u{7}&"), "a\\u{0}&lt;\\u{7}&amp;");
    }
}
