//! Numbers and sentences, the same in every form of the report.

use smtp_proto::tls::Condition;

use super::report::Report;
use super::side::{Part, Side};
use super::values::Period;

/// Escape codes for a terminal, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colour on a terminal only, and not where NO_COLOR is set.
    #[must_use]
    pub fn of_terminal(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { colour: terminal && !set("NO_COLOR") && !dumb }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into() }
    }
}

/// The answer in three pieces, of which the middle one is the figure; and what it means.
pub(crate) struct Answer {
    pub(crate) before: String,
    pub(crate) figure: String,
    pub(crate) after: String,
    pub(crate) meaning: String,
}

impl Answer {
    pub(crate) fn new(report: &Report, side: &Side) -> Self {
        let policy = if side.what_if.iter().any(|what_if| what_if.policy == report.policy) {
            report.require
        } else {
            Condition::Tls
        };
        let part = &side.asked(policy.as_str()).wanted;
        let without = without(policy);
        let outbound = side.direction == "outbound";
        let came = if outbound { "left" } else { "came" };
        let days = match report.period.as_ref().map_or(0, |period| period.days) {
            0 => String::new(),
            1 => " of one day".into(),
            days => format!(" in {} days", number(days.unsigned_abs())),
        };
        let scope = match (report.senders.as_slice(), report.recipients.as_slice()) {
            ([], []) => String::new(),
            (senders, []) => format!(" from {}", senders.join(", ")),
            (_, recipients) => format!(" to {}", recipients.join(", ")),
        };
        let of = part.of.messages;
        if of == 0 {
            return Self {
                before: "There is ".into(),
                figure: format!("no wanted message{scope}"),
                after: format!("{days} of which it can be told whether it {came} {without}."),
                meaning: not_told(report).map_or_else(String::new, |words| format!("It cannot be told of {words}.")),
            };
        }
        let messages = if of == 1 { "message" } else { "messages" };
        let before = format!("Of {} wanted {messages}{scope}{days}, ", number(of));
        if part.lost.messages == 0 {
            let bound = match part.interval {
                Some([_, high]) if high > 0.95 => "; that is too little to say more".into(),
                Some([_, high]) => format!("; with 95 % confidence at most {} do", percent(high)),
                None => String::new(),
            };
            return Self {
                before,
                figure: "none".into(),
                after: format!(" {came} {without}{bound}."),
                meaning: meaning(policy, part, outbound) + &hint(report, part),
            };
        }
        let interval = part
            .interval
            .map_or_else(String::new, |[low, high]| format!(", 95 % interval {}", range(low, high, " to ")));
        let parties = match (outbound, part.senders.lost) {
            (false, 1) => "from one sender".into(),
            (false, count) => format!("from {} senders", about(count, part.senders.exact)),
            (true, 1) => "to one domain".into(),
            (true, count) => format!("to {} domains", about(count, part.senders.exact)),
        };
        Self {
            before,
            figure: format!("{} ({}{interval})", number(part.lost.messages), percent(share(part))),
            after: format!(" {parties} {came} {without}."),
            meaning: meaning(policy, part, outbound) + &hint(report, part) + wide(part),
        }
    }
}

/// Where it cannot be told of much, what would make it so: the setting of whoever wrote the source.
fn hint(report: &Report, part: &Part) -> String {
    if part.untold * 20 < part.of.messages {
        return String::new();
    }
    not_told(report).map_or_else(String::new, |words| format!(" Why: {words}."))
}

/// Why an interval goes over two powers of ten, and what would narrow it.
fn wide(part: &Part) -> &'static str {
    match part.interval {
        Some([low, high]) if part.lost.messages > 0 && low * 100.0 < high => {
            " The interval is that wide because few heavy senders decide it; more days, or a rehearsal, would narrow it."
        }
        _ => "",
    }
}

fn meaning(require: Condition, part: &Part, outbound: bool) -> String {
    let mut meaning = consequence(require, part, outbound);
    if part.untold > 0 {
        meaning.push_str(&format!(" Of {} more it cannot be told.", number(part.untold)));
    }
    meaning
}

fn consequence(require: Condition, part: &Part, outbound: bool) -> String {
    let what = required(require);
    if part.lost.messages == 0 {
        return format!("Had you required {what}, nothing of it would have been lost.");
    }
    let (party, sent) = if outbound { ("domain", "took mail") } else { ("sender", "sent") };
    let silenced = match (part.silenced, part.senders.lost) {
        (0, 1) => format!("That {party} {sent} with it as well."),
        (0, _) => format!("Each of these {party}s {sent} with it as well."),
        (1, 1) => format!("That {party} never {sent} with it."),
        (silenced, all) if silenced == all => format!("None of these {party}s ever {sent} with it."),
        (silenced, _) => format!("{} of these {party}s never {sent} with it.", number(silenced)),
    };
    if outbound {
        format!("Had you required {what}, at most that would have stayed with you. {silenced}")
    } else {
        format!(
            "Had you required {what}, you would have lost at most that: a sender that is turned away may come back \
             with it. {silenced}"
        )
    }
}

/// What came without what was asked for.
pub(crate) const fn without(require: Condition) -> &'static str {
    match require {
        Condition::Tls => "without TLS",
        Condition::Tls12 => "without TLS 1.2 or later",
        Condition::Tls13 => "without TLS 1.3",
        Condition::Certificate => "without a client certificate",
        _ => "without a client certificate that verifies",
    }
}

/// What is asked for.
pub(crate) const fn required(require: Condition) -> &'static str {
    match require {
        Condition::Tls => "TLS",
        Condition::Tls12 => "TLS 1.2 or later",
        Condition::Tls13 => "TLS 1.3",
        Condition::Certificate => "a client certificate",
        _ => "a verified certificate",
    }
}

pub(crate) fn require_of(policy: &str) -> Condition {
    Condition::ALL.into_iter().find(|require| require.as_str() == policy).unwrap_or(Condition::Tls)
}

/// The days that are looked at.
pub(crate) fn days(period: &Period) -> String {
    if period.from == period.to { period.from.clone() } else { format!("{} to {}", period.from, period.to) }
}

/// What the number does not mean: a title, and what is to be said.
pub(crate) const CAVEATS: [(&str, &str); 4] = [
    ("One hop.", "This is about the last hop before your server, and about no other."),
    ("No protection from spam.", "Spam comes over TLS too. What counts is the wanted mail."),
    (
        "A rule for public servers.",
        "RFC 3207 section 4: a publicly-referenced SMTP server, one that the MX records of a domain lead to, MUST NOT \
         require STARTTLS for mail to its users. A server that serves known peers only is free to.",
    ),
    (
        "The past.",
        "The interval says how far chance goes, the messages of one sender taken as one; it knows nothing of senders that \
         have not written yet.",
    ),
];

/// What was read and is not in the figures, as clauses.
pub(crate) fn set_aside(report: &Report) -> Vec<String> {
    let aside = &report.not_counted;
    [
        (aside.early, "before the time asked for"),
        (aside.outside_of_scope, "of other senders or recipients"),
        (aside.submissions, "from users: logged in, or on a port for them"),
        (aside.internal, "from or to this machine and private networks (--internal counts them)"),
        (
            aside.copies,
            one_or(
                aside.copies,
                "further copy of a message that is counted",
                "further copies of a message that is counted",
            ),
        ),
        (
            aside.deferred,
            one_or(aside.deferred, "attempt that was told to come again", "attempts that were told to come again"),
        ),
        (aside.foreign, "without a Received field of the border server"),
        (aside.dateless, "without a date"),
        (aside.excepted, "that came by an exception, without what is required of others"),
        (aside.doubled, "lines of ledgers that came twice"),
        (aside.other_version, "lines of ledgers that a later program wrote"),
        (aside.broken, "that could not be read"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", number(count)))
    .collect()
}

const fn one_or(count: u64, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

/// Of which mail it cannot be told, and why; `None` where of all it can.
pub(crate) fn not_told(report: &Report) -> Option<String> {
    let clauses: Vec<String> =
        report.not_told.iter().map(|not_told| format!("{} {}", number(not_told.messages), not_told.why)).collect();
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

pub(crate) fn share(part: &Part) -> f64 {
    part.share.unwrap_or_default()
}

/// `48,211`
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `2 messages`
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", number(count), if count == 1 { "" } else { "s" })
}

/// A number that may be an estimate.
pub(crate) fn about(count: u64, exact: bool) -> String {
    if exact { number(count) } else { format!("about {}", number(count)) }
}

pub(crate) fn about_so_many(count: u64, exact: bool, what: &str) -> String {
    format!("{}{}", if exact { "" } else { "about " }, counted(count, what))
}

/// `0.44 %`, `4.4 %`, `44 %`: two digits that mean something.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", digits(share))
}

/// `0.21 – 0.83 %`
pub(crate) fn range(low: f64, high: f64, between: &str) -> String {
    // Beside a bound that is a hundred times as large, digits of the other mean nothing.
    let low = if low > 0.0 && low * 100.0 < high { one_digit(low) } else { digits(low) };
    format!("{low}{between}{} %", digits(high))
}

/// `0.006`, `0.01`: the first digit, and no other.
fn one_digit(share: f64) -> String {
    let percent = (share * 100.0).max(1e-6);
    let mut power = 1.0;
    let mut places = 0;
    while percent * power < 0.95 && places < 6 {
        power *= 10.0;
        places += 1;
    }
    format!("{:.places$}", (percent * power).round() / power)
}

fn digits(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent <= 0.0 => "0".into(),
        _ if percent < 0.01 => format!("{percent:.4}"),
        _ if percent < 1.0 => format!("{percent:.2}"),
        _ if percent < 10.0 => format!("{percent:.1}"),
        // "100" is all and nothing less.
        _ if percent < 100.0 && percent > 99.5 => format!("{:.2}", percent.min(99.99)),
        _ => format!("{percent:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{about_so_many, counted, number, percent, range};

    #[test]
    fn numbers_read_well() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), text);
        }
        for (count, text) in [(0, "0 messages"), (1, "1 message"), (2, "2 messages"), (1001, "1,001 messages")] {
            assert_eq!(counted(count, "message"), text);
        }
        assert_eq!(about_so_many(1, false, "sender"), "about 1 sender");
        for (value, text) in [
            (0.0, "0 %"),
            (0.000_03, "0.0030 %"),
            (0.0044, "0.44 %"),
            (0.044, "4.4 %"),
            (0.44, "44 %"),
            (0.9999, "99.99 %"),
            (0.999_999, "99.99 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(value), text);
        }
        assert_eq!(range(0.0021, 0.0083, " to "), "0.21 to 0.83 %");
        assert_eq!(range(0.000_059, 0.17, " to "), "0.006 to 17 %");
        assert_eq!(range(0.0012, 0.17, " to "), "0.1 to 17 %");
        assert_eq!(range(0.0, 0.17, " to "), "0 to 17 %");
    }
}
