//! Small inputs, each with what must come out. Names and addresses are made up; the forms are those of public files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Place, at, counts, json, run, text};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/cases").join(name)
}

/// The answer on some of the inputs. None of them is so broken that anything is.
fn answer(names: &[&str]) -> Value {
    let paths: Vec<PathBuf> = names.iter().map(|name| case(name)).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let arguments: &[&str] =
        if names[0].starts_with("received") || names[0].ends_with("eml") { &["--by", "mx.example.org"] } else { &[] };
    let report = json(arguments, &paths);
    assert_eq!(at(&report, "/not_counted/broken"), 0, "{names:?}: {report:#}");
    assert_eq!(at(&report, "/lines/unread"), 0, "{names:?}: {report:#}");
    report
}

fn notes(report: &Value) -> String {
    report["notes"].as_array().expect("notes").iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

const NONE: [i64; 4] = [0; 4];
const TLS: [i64; 4] = [1, 0, 0, 0];
const PLAIN: [i64; 4] = [0, 1, 0, 0];
const UNTOLD: [i64; 4] = [0, 0, 1, 0];

fn is_tls13(report: &Value, name: &str) {
    assert_eq!(counts(report, "inbound"), [TLS, NONE], "{name}: {report:#}");
    assert_eq!(report.pointer("/inbound/mail/0/versions"), Some(&serde_json::json!([["TLS1.3", 1]])), "{name}");
}

#[test]
fn every_form_of_a_line_gives_the_answer_of_the_usual_one() {
    for name in [
        "good.log",
        "postfix-qmgr-other-lines.log",
        "postfix-nocolon.log",
        "postfix-unpadded.log",
        "postfix-compose.log",
        "postfix-precise.log",
        "postfix-spaceiso.log",
        "postfix-shortfull.log",
        "postfix-bsdverbose.log",
        "postfix-k8s.log",
        "postfix-rfc5424-structured-data.log",
        "postfix-journal.json",
        "syslog-mail-after-600-lines.gz",
        "exim-syslog.log",
    ] {
        is_tls13(&answer(&[name]), name);
    }
    assert_eq!(counts(&answer(&["exim-syslog-datestamp.log"]), "inbound"), [PLAIN, NONE]);
    assert_eq!(counts(&answer(&["exim-reject-no-brackets.log"]), "inbound"), [NONE, PLAIN]);
}

/// Postfix says of handshakes that fail at every log level, and of those that succeed it does not.
#[test]
fn a_handshake_that_fails_proves_nothing_about_others() {
    let report = answer(&["postfix2-handshake-failed.log"]);
    assert_eq!(counts(&report, "inbound"), [UNTOLD, NONE], "{report:#}");
    let why = report["not_told"][0]["why"].as_str().expect("why");
    assert!(why.contains("smtpd_tls_loglevel = 1"), "{why}");
    assert_eq!(counts(&answer(&["postfix-postscreen-and-failed.log"]), "inbound"), [NONE, UNTOLD]);
}

/// What one host logs says nothing of what another's silence means.
#[test]
fn one_host_that_logs_tls_proves_nothing_about_another() {
    let place = Place::new();
    let told = std::fs::read_to_string(case("good.log")).expect("a log");
    let silent =
        std::fs::read_to_string(case("postfix2-handshake-failed.log")).expect("a log").replace(" mx ", " other ");
    let report = json(&[], &[&place.file("mail.log", told + &silent)]);
    assert_eq!(counts(&report, "inbound"), [[1, 0, 1, 0], NONE], "{report:#}");
}

#[test]
fn users_are_users_where_only_a_comment_says_so() {
    for name in ["received-sendmail-authenticated.mbox", "received-authenticated-sender.mbox"] {
        let report = answer(&[name]);
        assert_eq!(report["inbound"], Value::Null, "{name}: {report:#}");
        assert_eq!(at(&report, "/not_counted/submissions"), 1, "{name}");
    }
}

#[test]
fn received_fields_of_more_servers_are_read() {
    assert_eq!(counts(&answer(&["received-encrypted-smtp.mbox"]), "inbound"), [TLS, NONE]);
    for name in ["received-opensmtpd5.mbox", "received-mailenable.mbox"] {
        assert_eq!(counts(&answer(&[name]), "inbound"), [PLAIN, NONE], "{name}");
    }
}

#[test]
fn files_of_messages_are_read() {
    for name in ["one-message.eml", "folder-of-eml"] {
        assert_eq!(counts(&answer(&[name]), "inbound"), [TLS, NONE], "{name}");
    }
}

#[test]
fn a_file_without_mail_does_not_end_the_run() {
    for (name, why) in
        [("empty.log", "empty.log is empty"), ("exim-quiet.log", "exim-quiet.log holds no line of a mail server")]
    {
        for names in [[name, "good.log"], ["good.log", name]] {
            let report = answer(&names);
            is_tls13(&report, name);
            assert!(notes(&report).contains(why), "{}", notes(&report));
        }
        // Alone there is no answer.
        let output = run(&[], &[&case(name)]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
    let place = Place::new();
    let quiet =
        place.file("other.log", "Nov 24 08:00:00 mx sshd[1]: Connection closed\nNov 24 08:00:00 mx kernel: boot\n");
    let report = json(&[], &[&quiet, &case("good.log")]);
    is_tls13(&report, "other.log");
    assert!(notes(&report).contains("it is a log of sshd, kernel"), "{}", notes(&report));
}

#[test]
fn years_that_were_inferred_are_said_to_be() {
    let report = answer(&["good.log"]);
    assert!(notes(&report).contains("times in the log have no year"), "{}", notes(&report));
    assert!(!notes(&answer(&["postfix-spaceiso.log"])).contains("no year"));
}

/// Nothing is dropped in silence: how many lines, one of them, and which times are read.
#[test]
fn lines_in_no_form_that_is_read_are_counted_and_one_is_quoted() {
    let place = Place::new();
    let good = std::fs::read_to_string(case("good.log")).expect("a log");
    let strange: String = good.lines().map(|line| format!("24.11.2026 {}\n", &line[7..])).collect();
    let report = json(&[], &[&place.file("mail.log", format!("{good}{strange}"))]);
    is_tls13(&report, "mixed");
    assert_eq!((at(&report, "/lines/mail"), at(&report, "/lines/unread")), (6, 6));
    let notes = notes(&report);
    for words in ["6 of 12 lines are in no form that is read", "mail.log:7: 24.11.2026 08:00:00 mx", "short-iso"] {
        assert!(notes.contains(words), "{words:?} in {notes}");
    }
    let output = run(&[], &[&place.file("strange.log", strange)]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    for words in ["6 lines are in no form that is read", "24.11.2026 08:00:00 mx", "short-iso", "Sendmail", "--as"] {
        assert!(error.contains(words), "{words:?} in {error}");
    }
}

#[test]
fn what_is_unknown_is_told_what_it_looks_like() {
    let place = Place::new();
    for (octets, words) in [
        (&b"\x89PNG\r\n\x1a\n"[..], "a picture"),
        (b"LPKSHHRH\0\0\0\0", "journalctl -o short-iso"),
        (b"\xff\xfeN\0o\0v\0", "UTF-16"),
        (b"\0\x01\x02\x03", "octets that are no text"),
        (b"{\"a\":1}\n", "JSON"),
        (b"<?xml version=\"1.0\"?>", "XML"),
    ] {
        let output = run(&[], &[&place.file("what", octets)]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(words) && error.lines().count() == 1, "{words:?} in {error}");
    }
}

/// A sender's name that looks like what comes behind it is a name.
#[test]
fn a_sender_with_a_comma_is_of_its_own_domain() {
    let place = Place::new();
    let good = std::fs::read_to_string(case("good.log"))
        .expect("a log")
        .replace("Anonymous TLS", "No TLS")
        .replace(" starttls=1", "");
    for sender in [r#""x@good.example>, size=1"@evil.example"#, "x@good.example>, size=1@evil.example"] {
        let log = good.replace("from=<a@example.org>", &format!("from=<{sender}>"));
        let report = json(&[], &[&place.file("mail.log", log)]);
        assert_eq!(report.pointer("/inbound/heaviest/0/sender"), Some(&"evil.example".into()), "{report:#}");
        assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/bytes"), 100);
    }
}

#[test]
fn all_ways_to_compress_are_read() {
    use std::io::Write as _;
    let place = Place::new();
    let good = std::fs::read(case("good.log")).expect("a log");
    let (first, second) = good.split_at(200);
    let mut bz2 = Vec::new();
    let mut xz = Vec::new();
    let mut zst = b"\x50\x2a\x4d\x18\x05\0\0\0left!".to_vec();
    for part in [first, second] {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(part).expect("compressed");
        bz2.extend(encoder.finish().expect("compressed"));
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).expect("a writer");
        encoder.write_all(part).expect("compressed");
        xz.extend(encoder.finish().expect("compressed"));
        zst.extend(ruzstd::encoding::compress_to_vec(part, ruzstd::encoding::CompressionLevel::Fastest));
        zst.extend(b"\x5f\x2a\x4d\x18\0\0\0\0");
    }
    for (name, octets) in [("mail.log.bz2", &bz2), ("mail.log.xz", &xz), ("mail.log.zst", &zst)] {
        is_tls13(&json(&[], &[&place.file(name, octets)]), name);
        // Cut short, it counts up to there, and is named.
        let report = json(&[], &[&place.file(name, &octets[..octets.len() - 20]), &case("good.log")]);
        assert!(at(&report, "/not_counted/broken") > 0, "{name}");
    }
}

#[test]
fn the_journal_is_read_in_each_of_its_formats() {
    let place = Place::new();
    let json_lines = std::fs::read_to_string(case("postfix-journal.json")).expect("a file");
    let mut export = String::new();
    for line in json_lines.lines() {
        let object: Value = serde_json::from_str(line).expect("JSON");
        export.push_str("__CURSOR=s=1\n");
        for (name, value) in object.as_object().expect("an object") {
            export.push_str(&format!("{name}={}\n", value.as_str().expect("text")));
        }
        export.push('\n');
    }
    let path = place.file("journal.export", &export);
    is_tls13(&json(&[], &[&path]), "export");
    // From a pipe, where it cannot be looked at twice.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_smtp-smol"))
        .args(["audit", "--json", "-"])
        .stdin(std::fs::File::open(&path).expect("a file"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("a pipe"), &mut out).expect("read");
    child.wait().expect("ended");
    is_tls13(&serde_json::from_str(&out).expect("JSON"), "a pipe");
}

/// Whatever stands in the report, the first screen says that lines were not read.
#[test]
fn no_mail_was_found_says_why() {
    let place = Place::new();
    let log = place.file("mail.log", "Nov 24 08:00:00 mx postfix/qmgr[1]: AAAAA1: removed\nwhat is this\n");
    let screen = text(&[], &[&log]).replace("\n  ", " ");
    assert!(screen.starts_with("No mail was found.") && screen.contains("1 of 2 lines"), "{screen}");
}

/// A few messages that tell of mail from outside make no border server of the one that wrote their fields.
#[test]
fn a_guess_from_a_few_messages_is_none() {
    let place = Place::new();
    let field = |from: &str| {
        format!("Received: from {from} by mx.example.org with ESMTP id 1;\n\tTue, 24 Nov 2026 08:00:00 +0000\n")
    };
    let known = field("mail.example.net (mail.example.net [198.51.100.7])");
    let inside = field("store.example.org (store.example.org [10.0.0.7])");
    for others in [inside, String::new()] {
        let mbox: String = (0..45)
            .map(|index| {
                let received = if index < 2 { &known } else { &others };
                format!("From a@example.org Tue Nov 24 08:00:00 2026\n{received}Subject: {index}\n\nx\n\n")
            })
            .collect();
        let output = run(&[], &[&place.file("mbox", &mbox)]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("2 of 45") && error.contains("--by"), "{error}");
    }
}

#[test]
fn one_is_one() {
    let told = text(&["--by", "mx.example.org"], &[&case("one-message.eml")]);
    assert!(told.contains("Of 1 wanted message of one day, none came"), "{told}");
    assert!(told.contains("\n1 sender and 1 host; "), "{told}");
}

/// When summer time ends an hour of local time comes twice: sessions go on over it, an attempt that was put off comes again
/// «before» it was made, and no year is over.
#[test]
fn the_hour_that_comes_twice_in_autumn() {
    let log = "\
Oct 25 02:59:57 mx postfix/smtpd[11]: connect from a.example[192.0.2.1]
Oct 25 02:59:58 mx postfix/smtpd[11]: Anonymous TLS connection established from a.example[192.0.2.1]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
Oct 25 02:59:58 mx postfix/smtpd[12]: connect from grey.example[192.0.2.10]
Oct 25 02:59:58 mx postfix/smtpd[12]: NOQUEUE: reject: RCPT from grey.example[192.0.2.10]: 450 4.2.0 <u@example.net>: Greylisted; from=<s@grey.example> to=<u@example.net> proto=ESMTP helo=<grey.example>
Oct 25 02:59:59 mx postfix/smtpd[12]: disconnect from grey.example[192.0.2.10] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4
Oct 25 02:00:00 mx postfix/smtpd[11]: AAAA1: client=a.example[192.0.2.1]
Oct 25 02:00:00 mx postfix/qmgr[31]: AAAA1: from=<x@a.example>, size=1000, nrcpt=1 (queue active)
Oct 25 02:00:01 mx postfix/smtpd[11]: disconnect from a.example[192.0.2.1] ehlo=2 starttls=1 mail=1 rcpt=1 data=1 quit=1 commands=7
Oct 25 02:00:01 mx postfix/lmtp[41]: AAAA1: to=<u@example.net>, relay=mx.example.net[private/lmtp], delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Saved)
Oct 25 02:00:01 mx postfix/qmgr[31]: AAAA1: removed
Oct 25 02:04:58 mx postfix/smtpd[12]: connect from grey.example[192.0.2.10]
Oct 25 02:04:59 mx postfix/smtpd[12]: AAAA2: client=grey.example[192.0.2.10]
Oct 25 02:04:59 mx postfix/qmgr[31]: AAAA2: from=<s@grey.example>, size=300, nrcpt=1 (queue active)
Oct 25 02:05:00 mx postfix/smtpd[12]: disconnect from grey.example[192.0.2.10] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Oct 25 02:05:01 mx postfix/lmtp[41]: AAAA2: to=<u@example.net>, relay=mx.example.net[private/lmtp], delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Saved)
Oct 25 02:05:01 mx postfix/qmgr[31]: AAAA2: removed
";
    let place = Place::new();
    let report = json(&[], &[&place.file("mail.log", log)]);
    assert_eq!(counts(&report, "inbound")[0], [1, 1, 0, 0], "{report:#}");
    assert_eq!(at(&report, "/period/days"), 1, "no year is over");
    assert!(!report["notes"].to_string().contains("more than a year"), "{report:#}");
}

/// A container's runtime hands lines to syslog under the container's name: such of a mail server's are read, and nothing that
/// any other program says.
#[test]
fn lines_of_containers_that_came_by_syslog() {
    let told = std::fs::read_to_string(case("good.log")).expect("a log");
    let under = |tag: &str| -> String {
        told.lines().map(|line| format!("Nov 24 13:00:00 docker1 {tag}[4062297]: {line}\n")).collect()
    };
    let place = Place::new();
    is_tls13(&json(&[], &[&place.file("mail.log", under("mailu-smtp"))]), "mailu-smtp");
    let both = under("webmail") + &under("postfix-mailcow");
    let report = json(&[], &[&place.file("both.log", both)]);
    is_tls13(&report, "postfix-mailcow");
    let lines = i64::try_from(told.lines().count()).expect("few");
    assert_eq!(at(&report, "/lines/other"), lines, "{report:#}");
}

/// Mail kept by a provider of many servers: their own hops, whose addresses are public, stand above the one that matters, and
/// of its border servers there are more than a look at some messages shows.
#[test]
fn the_inside_of_a_large_provider_is_no_border() {
    let message = |n: u32| {
        let tls = if n.is_multiple_of(4) { "" } else { "S (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384)" };
        format!(
            "From s@s{n}.example Tue Nov 24 08:00:00 2026\n\
             Received: from f{n}.prod.provider.example (2001:db8:408:e6::{n}) by\n m{n}.prod.provider.example (2001:db8:806:317::{n}) with \
             Microsoft SMTP Server (version=TLS1_2,\n cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20; Tue, 24 Nov 2026 08:00:02 +0000\n\
             Received: from mx.s{n}.example (198.51.100.{})\n by f{n}.mail.provider.example (10.13.177.138) with ESMTP{tls} id {n};\n \
             Tue, 24 Nov 2026 08:00:01 +0000\nFrom: s@s{n}.example\n\ntext\n\n",
            1 + n % 250
        )
    };
    let place = Place::new();
    let mbox = place.file("mbox", (1..=400).map(message).collect::<String>());
    for by in [&[][..], &["--by", ".mail.provider.example"]] {
        let report = json(by, &[&mbox]);
        assert_eq!(counts(&report, "inbound"), [[300, 100, 0, 0], NONE], "{by:?}: {report:#}");
        assert_eq!(at(&report, "/not_counted/foreign"), 0, "{report:#}");
    }
    let told = notes(&json(&[], &[&mbox]));
    assert!(told.contains("those of provider.example"), "{told}");
}
