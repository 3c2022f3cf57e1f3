//! How a sink misbehaves: rules by verb, each with a share, a count or a word that it looks for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smtp_proto::syntax::{self, Enhanced, Reply};

/// Where a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A connection is made: instead of the greeting.
    Connect,
    /// EHLO, HELO or LHLO.
    Ehlo,
    /// STARTTLS, before the handshake.
    StartTls,
    /// AUTH: what is answered when the exchange has come to its end.
    Auth,
    /// MAIL, whose argument is the sender.
    Mail,
    /// RCPT, whose argument is the recipient: each of them.
    Rcpt,
    /// DATA, before the text.
    Data,
    /// BDAT, at the first chunk of a message.
    Bdat,
    /// The end of the text: what is answered to it.
    Message,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

impl Verb {
    /// Of a command that applications are asked about when they ask about all.
    #[must_use]
    pub const fn of(verb: syntax::Verb) -> Self {
        match verb {
            syntax::Verb::Rset => Self::Rset,
            syntax::Verb::Vrfy => Self::Vrfy,
            syntax::Verb::Help => Self::Help,
            syntax::Verb::Quit => Self::Quit,
            _ => Self::Noop,
        }
    }
}

/// All of them, by name.
pub const VERBS: [(&str, Verb); 14] = [
    ("CONNECT", Verb::Connect),
    ("EHLO", Verb::Ehlo),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("MESSAGE", Verb::Message),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("VRFY", Verb::Vrfy),
    ("HELP", Verb::Help),
    ("QUIT", Verb::Quit),
];

/// A rule. Its conditions must all hold; `first` and `every` count those events for which the others did.
///
/// ```
/// use std::time::Duration;
/// use smtp_testing::{Rule, Verb};
///
/// let unknown = Rule::refuse(Verb::Rcpt, "550 5.1.1 No such user")?.with("unknown@");
/// let busy = Rule::refuse(Verb::Mail, "450 4.2.1 Busy")?.first(2);
/// let slow = Rule::wait(Verb::Data, Duration::from_millis(200)).share(0.1);
/// let gone = Rule::drop(Verb::Message).every(20);
/// # let _ = [unknown, busy, slow, gone];
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct Rule {
    verb: Verb,
    with: Option<String>,
    first: Option<u64>,
    every: u64,
    share: f64,
    action: Action,
    /// Events that met the condition `with`.
    met: AtomicU64,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Reply(Act),
    Delay(Duration),
    Drop,
}

/// What rules say to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How much later it is answered.
    pub delay: Duration,
    /// What is answered then.
    pub act: Act,
}

/// What rules have a sink answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// The command is accepted.
    Accept,
    /// The command is refused: code, enhanced code, text. They make a valid [`Reply`].
    Refuse(u16, Option<Enhanced>, String),
    /// No answer: the connection is closed, without a word.
    HangUp,
}

/// All rules, in the order in which they are looked at.
#[derive(Debug, Default)]
pub struct Rules([Vec<Rule>; VERBS.len()]);

impl Rules {
    /// Adds one, to be looked at after the others.
    pub fn add(&mut self, rule: Rule) {
        self.0[rule.verb as usize].push(rule);
    }

    /// What is answered at `verb`, whose argument is `argument`: accepted, unless rules say otherwise. A delay is added
    /// up, and the next rule looked at; a reply or a drop is the last word.
    pub fn decide(&self, verb: Verb, argument: impl FnOnce() -> String) -> Decision {
        let rules = &self.0[verb as usize];
        let mut decision = Decision { delay: Duration::ZERO, act: Act::Accept };
        if rules.is_empty() {
            return decision;
        }
        let argument = argument();
        for rule in rules.iter().filter(|rule| rule.applies(&argument)) {
            match &rule.action {
                Action::Delay(time) => decision.delay += *time,
                Action::Reply(reply) => {
                    decision.act = reply.clone();
                    break;
                }
                Action::Drop => {
                    decision.act = Act::HangUp;
                    break;
                }
            }
        }
        decision
    }
}

impl Rule {
    /// Refuses with this reply: `CODE [ENHANCED] TEXT`.
    ///
    /// # Errors
    /// What is wrong with the reply: it is not of 400 to 599, or cannot be written; AUTH has 454 and 535 alone.
    pub fn refuse(verb: Verb, words: &str) -> Result<Self, String> {
        Self::at(verb, Action::Reply(reply(words)?)).checked()
    }

    /// Answers so much later; what, the other rules say.
    #[must_use]
    pub const fn wait(verb: Verb, time: Duration) -> Self {
        Self::at(verb, Action::Delay(time))
    }

    /// Hangs up without a word.
    #[must_use]
    pub const fn drop(verb: Verb) -> Self {
        Self::at(verb, Action::Drop)
    }

    /// Only where the argument, such as `<a@example.org>`, contains this, in any case.
    #[must_use]
    pub fn with(mut self, text: &str) -> Self {
        self.with = Some(text.to_ascii_lowercase());
        self
    }

    /// Only the first `n` times.
    #[must_use]
    pub const fn first(mut self, n: u64) -> Self {
        self.first = Some(n);
        self
    }

    /// Only every `n`-th time.
    #[must_use]
    pub fn every(mut self, n: u64) -> Self {
        self.every = n.max(1);
        self
    }

    /// Only this share of the time, 0 to 1, evenly spread.
    #[must_use]
    pub const fn share(mut self, share: f64) -> Self {
        self.share = share.clamp(0.0, 1.0);
        self
    }

    /// `VERB=REPLY[:SHARE]`, as in `RCPT=450 4.2.1 Busy:0.1`.
    ///
    /// # Errors
    /// What is wrong with it, and what it could be.
    pub fn fail(text: &str) -> Result<Self, String> {
        let (verb, rest) = text.split_once('=').ok_or("give VERB=REPLY, such as RCPT=450 4.2.1 Busy")?;
        // A colon may belong to the reply.
        let (words, share) = match rest.rsplit_once(':').map(|(words, share)| (words, share.parse::<f64>())) {
            Some((words, Ok(share))) => (words, share),
            _ => (rest, 1.0),
        };
        Self::new(verb, Action::Reply(reply(words)?))?.checked().and_then(|rule| rule.in_share_of(share))
    }

    /// `VERB=TIME`, as in `DATA=200ms`.
    ///
    /// # Errors
    /// What is wrong with it, and what it could be.
    pub fn delay(text: &str) -> Result<Self, String> {
        let (verb, time) = text.split_once('=').ok_or("give VERB=TIME, such as DATA=200ms")?;
        Self::new(verb, Action::Delay(duration(time)?))
    }

    /// `VERB[:SHARE]`, as in `MESSAGE:0.05`.
    ///
    /// # Errors
    /// What is wrong with it, and what it could be.
    pub fn hang_up(text: &str) -> Result<Self, String> {
        let (verb, share) = match text.split_once(':') {
            Some((verb, share)) => {
                (verb, share.parse().map_err(|_| format!("{share:?} is no share; give one of 0 to 1"))?)
            }
            None => (text, 1.0),
        };
        Self::new(verb, Action::Drop)?.in_share_of(share)
    }

    /// A line of a script; `None` where there is nothing on it but a comment.
    ///
    /// # Errors
    /// What is wrong with it, and what it could be.
    pub fn from_line(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (verb, mut rest) = word(line);
        let mut rule = Self::new(verb, Action::Drop)?;
        loop {
            let (name, behind) = word(rest);
            match name {
                "with" => {
                    let quoted = behind.strip_prefix('"').and_then(|text| text.split_once('"'));
                    let (text, behind) = quoted.ok_or("the word behind `with` stands in double quotes")?;
                    rule.with = Some(text.to_ascii_lowercase());
                    rest = behind.trim_start();
                    continue;
                }
                "first" | "every" | "share" => {
                    let (value, behind) = word(behind);
                    let wrong = || format!("{name} {value}: not a number that fits");
                    match name {
                        "first" => rule.first = Some(value.parse().map_err(|_| wrong())?),
                        "every" => rule.every = value.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
                        _ => rule.share = share(value.parse().map_err(|_| wrong())?)?,
                    }
                    rest = behind;
                    continue;
                }
                "delay" => rule.action = Action::Delay(duration(behind)?),
                "drop" if behind.is_empty() => {}
                _ => rule.action = Action::Reply(reply(rest)?),
            }
            return rule.checked().map(Some);
        }
    }

    fn new(verb: &str, action: Action) -> Result<Self, String> {
        let known = VERBS.iter().find(|(name, _)| verb.eq_ignore_ascii_case(name));
        let (_, verb) = known.ok_or_else(|| {
            let names: Vec<&str> = VERBS.iter().map(|(name, _)| *name).collect();
            format!("{verb:?} is none of {}", names.join(", "))
        })?;
        Ok(Self::at(*verb, action))
    }

    const fn at(verb: Verb, action: Action) -> Self {
        Self { verb, with: None, first: None, every: 1, share: 1.0, action, met: AtomicU64::new(0) }
    }

    /// AUTH alone is answered by the mechanism, which knows two refusals.
    fn checked(self) -> Result<Self, String> {
        match (self.verb, &self.action) {
            (Verb::Auth, Action::Reply(Act::Refuse(code, ..))) if !matches!(code, 454 | 535) => {
                Err(format!("AUTH is refused with 454 (not now) or 535 (wrong), not with {code}"))
            }
            _ => Ok(self),
        }
    }

    fn applies(&self, argument: &str) -> bool {
        if self.with.as_ref().is_some_and(|with| !argument.to_ascii_lowercase().contains(with)) {
            return false;
        }
        let met = self.met.fetch_add(1, Ordering::Relaxed) + 1;
        self.first.is_none_or(|first| met <= first) && met.is_multiple_of(self.every) && self.in_share(met / self.every)
    }

    fn in_share_of(self, value: f64) -> Result<Self, String> {
        Ok(Self { share: share(value)?, ..self })
    }

    /// Exactly this share, evenly spread: the n-th counts when the whole part of n * share grows with it.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn in_share(&self, n: u64) -> bool {
        // A share such as 0.1 is a little more or less than a tenth.
        let whole = |n: u64| (n as f64 * self.share + 1e-9).floor();
        whole(n) > whole(n - 1)
    }
}

fn share(share: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{share} is no share; give one of 0 to 1")) }
}

/// Such as `200ms`, `1.5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; give one such as 200ms, 1.5s or 2m");
    let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// `CODE [ENHANCED] TEXT`.
fn reply(text: &str) -> Result<Act, String> {
    let (code, rest) = word(text);
    let code: u16 =
        code.parse().ok().filter(|code| (400..=599).contains(code)).ok_or_else(|| {
            format!("{text:?} does not begin with a reply code of 400 to 599, such as 450 4.2.1 Busy")
        })?;
    let (first, behind) = word(rest);
    let (enhanced, words) = match enhanced(first) {
        Some(enhanced) => (Some(enhanced), behind),
        None => (None, rest),
    };
    let words = if words.is_empty() { "Refused on request" } else { words };
    Reply::new(code, enhanced, words).map_err(|error| format!("{text:?}: {error}"))?;
    Ok(Act::Refuse(code, enhanced, words.to_owned()))
}

fn enhanced(text: &str) -> Option<Enhanced> {
    let mut parts = text.split('.');
    let (class, subject, detail) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    if parts.next().is_some() { None } else { Some(Enhanced::new(class, subject, detail)) }
}

#[cfg(test)]
mod tests {
    use super::{Act, Decision, Duration, Rule, Rules, Verb};

    /// What each of so many events is answered: `.` accepted, `-` refused, `x` dropped, `~` delayed.
    fn answers(rules: &[Result<Rule, String>], verb: Verb, arguments: &[&str]) -> String {
        let mut all = Rules::default();
        for rule in rules {
            let rule = rule.as_ref().expect("a rule");
            all.add(Rule { with: rule.with.clone(), action: rule.action.clone(), met: 0.into(), ..*rule });
        }
        let answer = |argument: &&str| match all.decide(verb, || (*argument).into()) {
            Decision { delay: Duration::ZERO, act: Act::Refuse(..) } => '-',
            Decision { delay: Duration::ZERO, act: Act::HangUp } => 'x',
            Decision { delay: Duration::ZERO, act: Act::Accept } => '.',
            Decision { delay, act: Act::Accept } if delay == Duration::from_millis(200) => '~',
            other => panic!("{other:?}"),
        };
        arguments.iter().map(answer).collect()
    }

    #[test]
    fn shares_are_exact_and_evenly_spread() {
        let ten = ["a"; 20];
        assert_eq!(answers(&[Rule::fail("RCPT=450 4.2.1 Busy:0.1")], Verb::Rcpt, &ten), ".........-.........-");
        assert_eq!(answers(&[Rule::fail("RCPT=450 4.2.1 Busy: later")], Verb::Rcpt, &ten[..2]), "--");
        assert_eq!(answers(&[Rule::hang_up("MESSAGE:0.5")], Verb::Message, &ten[..4]), ".x.x");
        assert_eq!(answers(&[Rule::hang_up("MESSAGE")], Verb::Mail, &ten[..4]), "....");
        assert_eq!(answers(&[Rule::delay("DATA=200ms")], Verb::Data, &ten[..2]), "~~");
    }

    #[test]
    fn a_script_s_conditions_hold_together() {
        let line = |text: &str| Rule::from_line(text).map(|rule| rule.expect("not a comment"));
        let mixed = ["<a@x>", "<B@x>", "<a@x>", "<b@x>", "<b@x>"];
        assert_eq!(answers(&[line("RCPT with \"b@\" 550 5.1.1 Unknown")], Verb::Rcpt, &mixed), ".-.--");
        assert_eq!(answers(&[line("rcpt with \"b@\" first 2 drop")], Verb::Rcpt, &mixed), ".x.x.");
        assert_eq!(answers(&[line("RCPT every 2 451 Not now")], Verb::Rcpt, &mixed), ".-.-.");
        assert_eq!(
            answers(&[line("RCPT every 2 delay 200ms"), line("RCPT share 0 drop")], Verb::Rcpt, &mixed),
            ".~.~."
        );
        assert!(Rule::from_line("  # nothing").expect("a comment").is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "RCPT",
            "RCPT 250 Yes",
            "QUIX drop",
            "RCPT with b drop",
            "RCPT every 0 drop",
            "RCPT share 2 drop",
            "RCPT delay soon",
            "RCPT drop it",
            "RCPT 450 5.1.1 Class",
            "RCPT 550 \u{fc}",
        ] {
            assert!(Rule::from_line(line).is_err(), "{line}");
        }
        for text in
            ["RCPT", "RCPT=", "RCPT=Busy", "RCPT=450 Busy:1.5", "AUTH=454 Later:2", "AUTH=550 No", "EXPN=550 No"]
        {
            assert!(Rule::fail(text).is_err(), "{text}");
        }
    }
}
