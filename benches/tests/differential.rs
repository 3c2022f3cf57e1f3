//! The tables of the grammar, strict and ASCII, through two other parsers. Where they and we part, `DIFFERENCES` must say
//! so, by section, with the reason; a row of it that is no longer needed fails too.

use std::collections::BTreeMap;

use smtp_benches::parsers;

const TABLES: [&str; 3] = [
    include_str!("../../smtp-proto/tests/grammar/commands.txt"),
    include_str!("../../smtp-proto/tests/grammar/addresses.txt"),
    include_str!("../../smtp-proto/tests/grammar/parameters.txt"),
];

#[test]
fn every_difference_is_intended() {
    let mut found: BTreeMap<(&str, char, bool), Vec<String>> = BTreeMap::new();
    let mut same = 0;
    for table in TABLES {
        let mut section = "";
        for row in table.lines() {
            if let Some(title) = row.strip_prefix("== ") {
                section = title.split_once(": ").map_or(title, |(section, _)| section);
            }
            // Rows with a switch have no counterpart; those with braces are spelt out by the core's own test.
            let Some(rest) = row.strip_prefix(['+', '-']).filter(|rest| !rest.contains('{')) else { continue };
            let text = rest.rsplit_once(" => ").map_or(rest, |(text, _)| text);
            let line = format!("{}\r\n", text.strip_prefix(' ').unwrap_or(text));
            let ours = row.starts_with('+');
            for (name, parse) in [('A', parsers::stalwart as parsers::Parser), ('B', parsers::message)] {
                if parse(line.as_bytes()) == ours {
                    same += 1;
                } else {
                    found.entry((section, name, ours)).or_default().push(line.trim_end().to_owned());
                }
            }
        }
    }
    let mut wrong = Vec::new();
    for (&(section, name, ours), lines) in &found {
        let accepted = if ours { "only here" } else { "only there" };
        if !DIFFERENCES.iter().any(|row| (row.0, row.1, row.2) == (section, name, accepted)) {
            wrong.push(format!(
                "    ({section:?}, {name:?}, {accepted:?}, \"\"), // {}: {:?}",
                lines.len(),
                &lines[..lines.len().min(3)]
            ));
        }
    }
    for row in DIFFERENCES {
        if !found.contains_key(&(row.0, row.1, row.2 == "only here")) {
            wrong.push(format!("no longer: {row:?}"));
        }
    }
    let lines: usize = found.values().map(Vec::len).sum();
    println!("{same} the same, {lines} not, in {} sections", found.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(same > 400, "hardly anything was compared");
}

/// Section, parser, who accepts, and why that is meant.
#[rustfmt::skip]
const DIFFERENCES: &[(&str, char, &str, &str)] = &[
    ("RFC 1870 3", 'A', "only there", "SIZE takes 1*20DIGIT, once (RFC 5321 4.1.1.11)"),
    ("RFC 1870 3", 'A', "only here", "20 digits are a size as long as 64 bits hold them"),
    ("RFC 1870 3", 'B', "only there", "SIZE takes 1*20DIGIT, once (RFC 5321 4.1.1.11)"),
    ("RFC 1985 5.1", 'A', "only there", "a node name is a domain or a literal; `@` and `#` need one behind them"),
    ("RFC 1985 5.1", 'B', "only here", "ETRN"),
    ("RFC 2033 4.1", 'A', "only there", "as EHLO: one argument"),
    ("RFC 2645 5", 'A', "only there", "domains, commas alone between them"),
    ("RFC 2645 5", 'A', "only here", "ATRN, its domains optional"),
    ("RFC 2645 5", 'B', "only here", "ATRN, its domains optional"),
    ("RFC 2852 4", 'A', "only there", "one to nine digits; with R the time is yet to come"),
    ("RFC 2852 4", 'B', "only there", "one to nine digits; with R the time is yet to come"),
    ("RFC 3030 2", 'A', "only there", "single spaces, digits, and at most one LAST, which 64 bits hold"),
    ("RFC 3030 2", 'A', "only here", "BDAT, up to what 64 bits hold"),
    ("RFC 3030 2", 'B', "only here", "BDAT, up to what 64 bits hold"),
    ("RFC 3207 4", 'A', "only there", "STARTTLS takes no parameters"),
    ("RFC 3461 4.1", 'A', "only there", "NEVER stands alone; three other words"),
    ("RFC 3461 4.1", 'B', "only there", "NEVER stands alone; three other words"),
    ("RFC 3461 4.2, RFC 6533 3", 'A', "only there", "a type, and an address that decodes to printable text"),
    ("RFC 3461 4.2, RFC 6533 3", 'A', "only here", "a type is in any case, and any registered one"),
    ("RFC 3461 4.2, RFC 6533 3", 'B', "only there", "a type, and an address that decodes to printable text"),
    ("RFC 3461 4.3", 'B', "only there", "FULL or HDRS"),
    ("RFC 3461 4.4, 4", 'A', "only there", "xtext has capital hexadecimal digits, and decodes to printable text; 100 characters"),
    ("RFC 3461 4.4, 4", 'B', "only there", "xtext has capital hexadecimal digits, and decodes to printable text; 100 characters"),
    ("RFC 3865", 'A', "only there", "words that begin with a letter"),
    ("RFC 3865", 'B', "only there", "words that begin with a letter"),
    ("RFC 3885", 'A', "only there", "base64 and at most nine digits"),
    ("RFC 3885", 'B', "only there", "base64 and at most nine digits"),
    ("RFC 4141, RFC 1845, RFC 4405", 'A', "only here", "SUBMITTER is xtext"),
    ("RFC 4141, RFC 1845, RFC 4405", 'B', "only there", "no value; a name in brackets; a mailbox"),
    ("RFC 4468 3", 'A', "only there", "an absolute URI (RFC 3986 4.3)"),
    ("RFC 4468 3", 'B', "only here", "BURL"),
    ("RFC 4865 3", 'A', "only there", "no leading zero; a date that exists; one of the two"),
    ("RFC 4865 3", 'B', "only there", "no leading zero; a date that exists; one of the two"),
    ("RFC 4954 4, RFC 4422 3.1", 'A', "only there", "canonical base64 (RFC 4648 3.5), one argument behind the mechanism"),
    ("RFC 4954 4, RFC 4422 3.1", 'B', "only here", "AUTH"),
    ("RFC 4954 5", 'A', "only there", "`<>` or a mailbox as xtext"),
    ("RFC 4954 5", 'B', "only there", "`<>` or a mailbox as xtext"),
    ("RFC 5321 2.4", 'A', "only here", "XCLIENT in any case"),
    ("RFC 5321 2.4", 'B', "only here", "XCLIENT in any case"),
    ("RFC 5321 4.1.1", 'A', "only there", "trailing space SHOULD be tolerated: here by a switch, off unless asked for"),
    ("RFC 5321 4.1.1", 'B', "only there", "trailing space SHOULD be tolerated: here by a switch, off unless asked for"),
    ("RFC 5321 4.1.1.1", 'A', "only there", "one domain or literal, by the grammar of 4.1.2"),
    ("RFC 5321 4.1.1.1", 'B', "only there", "one domain or literal, by the grammar of 4.1.2"),
    ("RFC 5321 4.1.1.11, 4.1.2", 'A', "only here", "unknown parameters are kept, for those who proxy; the session answers 555"),
    ("RFC 5321 4.1.1.11, 4.1.2", 'B', "only there", "single spaces; no parameter twice, none on the other command"),
    ("RFC 5321 4.1.1.2", 'A', "only there", "one space, brackets, a mailbox, and a space before parameters"),
    ("RFC 5321 4.1.1.2", 'B', "only there", "one space, brackets, a mailbox, and a space before parameters"),
    ("RFC 5321 4.1.1.3", 'A', "only there", "a mailbox, or Postmaster and no other name alone"),
    ("RFC 5321 4.1.1.3", 'B', "only there", "a mailbox, or Postmaster and no other name alone"),
    ("RFC 5321 4.1.1.4, 4.1.1.5, 4.1.1.10", 'A', "only there", "no argument"),
    ("RFC 5321 4.1.2", 'A', "only there", "dots only between atoms, a quoted string alone"),
    ("RFC 5321 4.1.2", 'A', "only here", "a quoted string may be empty: *QcontentSMTP"),
    ("RFC 5321 4.1.2", 'B', "only there", "dots only between atoms, a quoted string alone"),
    ("RFC 5321 4.1.2", 'B', "only here", "a quoted string may be empty: *QcontentSMTP"),
    ("RFC 5321 4.1.2 and appendix C", 'A', "only there", "a route is at-domains with commas, a colon, and a mailbox"),
    ("RFC 5321 4.1.2, 2.3.5", 'A', "only there", "labels begin and end with a letter or digit; no dot at the end"),
    ("RFC 5321 4.1.2, 2.3.5", 'B', "only there", "labels begin and end with a letter or digit; no dot at the end"),
    ("RFC 5321 4.1.3", 'A', "only here", "literals, their tag in any case, and tags to come"),
    ("RFC 5321 4.1.3", 'B', "only there", "`::` stands for at least two groups"),
    ("RFC 5321 4.1.3", 'B', "only here", "literals, their tag in any case, and tags to come"),
    ("RFC 5321 4.2.4", 'A', "only there", "a line begins with its verb"),
    ("RFC 5321 appendix F", 'A', "only here", "recognised for what they are, so that 502 can be said"),
    ("RFC 5321 appendix F", 'B', "only here", "recognised for what they are, so that 502 can be said"),
    ("RFC 6152 2, RFC 3030 3", 'B', "only there", "three values"),
    ("RFC 6531 3.4", 'A', "only there", "no value, and once"),
    ("RFC 6531 3.4", 'B', "only there", "no value, and once"),
    ("RFC 6710", 'A', "only there", "-9 to 9, without sign or leading zero"),
    ("RFC 6710", 'B', "only there", "-9 to 9, without sign or leading zero"),
    ("RFC 7293", 'B', "only there", "a date, and C or R"),
    ("RFC 8689 2", 'B', "only there", "no value, and on MAIL"),
    ("The documents named in attributes.rs", 'A', "only here", "XCLIENT and XFORWARD"),
    ("The documents named in attributes.rs", 'B', "only here", "XCLIENT and XFORWARD"),
];
