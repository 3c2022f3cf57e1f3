//! What mail was made of over time: versions of TLS, groups of the key exchange. As columns that are all as high.

use std::fmt::Write as _;

use super::plots::{escape, open};
use super::side::Side;
use super::values::ratio;
use super::words::percent;

/// A part of each column: its name, and the class by which it has its colour.
type Part = (String, &'static str);

/// A column: its day, and as many messages as there are parts.
type Column = (String, Vec<u64>);

/// The versions of TLS over time; nothing for a single day, or where no version is known.
pub(crate) fn versions(side: &Side) -> String {
    let names = [("TLS 1.3", "p0"), ("TLS 1.2", "p1"), ("older", "p2"), ("version unknown", "p4"), ("plaintext", "p5")];
    let columns: Vec<Column> = side
        .versions
        .iter()
        .map(|point| (point.from.clone(), vec![point.tls13, point.tls12, point.older, point.unknown, point.plaintext]))
        .collect();
    let known = side.versions.iter().any(|point| point.tls13 + point.tls12 + point.older > 0);
    if !known {
        return String::new();
    }
    let parts: Vec<Part> = names.into_iter().map(|(name, class)| (name.to_owned(), class)).collect();
    plot(&parts, &columns, &format!("v-{}", side.direction), "Versions of TLS over time")
}

/// The groups over time: those that are used most, and the rest.
pub(crate) fn groups(side: &Side) -> String {
    let mut all = std::collections::BTreeMap::<&str, u64>::new();
    for (name, messages) in side.groups.iter().flat_map(|point| &point.groups) {
        *all.entry(name).or_default() += messages;
    }
    all.remove("");
    let mut names: Vec<(&str, u64)> = all.into_iter().collect();
    if names.is_empty() {
        return String::new();
    }
    names.sort_by_key(|(name, messages)| (std::cmp::Reverse(*messages), *name));
    names.truncate(4);
    let columns: Vec<Column> = side
        .groups
        .iter()
        .map(|point| {
            let of = |name: &str| point.groups.get(name).copied().unwrap_or_default();
            let mut column: Vec<u64> = names.iter().map(|(name, _)| of(name)).collect();
            let all: u64 = point.groups.values().sum();
            let rest = all - column.iter().sum::<u64>() - of("");
            column.extend([rest, of("")]);
            (point.from.clone(), column)
        })
        .collect();
    let classes = ["p0", "p1", "p2", "p3"];
    let mut parts: Vec<Part> =
        names.iter().zip(classes).map(|((name, _), class)| ((*name).to_owned(), class)).collect();
    parts.extend([("other groups".to_owned(), "p4"), ("plaintext".to_owned(), "p5")]);
    plot(&parts, &columns, &format!("g-{}", side.direction), "Groups of the key exchange over time")
}

fn plot(parts: &[Part], columns: &[Column], id: &str, title: &str) -> String {
    const GROUND: f64 = 130.0;
    const HEIGHT: u32 = 160;
    let [first, .., last] = columns else { return String::new() };
    let used = |at: usize| columns.iter().any(|(_, counts)| counts[at] > 0);
    let sum = |(_, counts): &Column| counts.iter().sum::<u64>();
    let described: Vec<String> = (0..parts.len())
        .filter(|at| used(*at))
        .map(|at| {
            let share = |column: &Column| percent(ratio(column.1[at], sum(column)));
            format!("{}: {} to {}", parts[at].0, share(first), share(last))
        })
        .collect();
    let mut svg = open(HEIGHT, id, title, &described.join("; "));
    #[expect(clippy::cast_precision_loss, reason = "a place")]
    let step = 100.0 / columns.len() as f64;
    for (index, column) in columns.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a place")]
        let x = step * index as f64 + step * 0.08;
        let all = sum(column);
        let words: Vec<String> = (0..parts.len())
            .filter(|at| column.1[*at] > 0)
            .map(|at| format!("{} {}", parts[at].0, percent(ratio(column.1[at], all))))
            .collect();
        let _ = write!(svg, "<g><title>{}: {}</title>", escape(&column.0), escape(&words.join(", ")));
        let mut below = GROUND;
        for (at, (_, class)) in parts.iter().enumerate() {
            let height = ratio(column.1[at], all) * GROUND;
            if height > 0.0 {
                below -= height;
                let width = step * 0.84;
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.2}%\" y=\"{below:.1}\" width=\"{width:.2}%\" height=\"{height:.1}\"/>"
                );
            }
        }
        svg.push_str("</g>\n");
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"0\" y=\"{0}\">{1}</text>\
         <text class=\"tick\" x=\"100%\" y=\"{0}\" text-anchor=\"end\">{2}</text></svg>",
        HEIGHT - 10,
        escape(&first.0),
        escape(&last.0)
    );
    let legend: String = parts
        .iter()
        .enumerate()
        .filter(|(at, _)| used(*at))
        .map(|(_, (name, class))| format!("<span class=\"{class}\">{}</span>", escape(name)))
        .collect();
    format!("<div class=\"whole\"><p class=\"legend\" aria-hidden=\"true\">{legend}</p>\n{svg}</div>\n")
}
