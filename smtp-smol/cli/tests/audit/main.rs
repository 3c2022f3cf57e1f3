//! `smtp-smol audit` on logs, mailboxes and ledgers with known counts.

mod cases;
mod clients;
mod exceptions;
mod postfix;
mod servers;
mod tlsrpt;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Files in a folder of their own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, content).expect("written");
        path
    }
}

fn run(arguments: &[&str], sources: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smtp-smol")).arg("audit").args(arguments).args(sources).output().expect("it runs")
}

fn text(arguments: &[&str], sources: &[&Path]) -> String {
    let output = run(arguments, sources);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn json(arguments: &[&str], sources: &[&Path]) -> Value {
    serde_json::from_str(&text(&[&["--json"], arguments].concat(), sources)).expect("JSON")
}

/// A number somewhere in the report.
fn at(report: &Value, pointer: &str) -> i64 {
    report.pointer(pointer).and_then(Value::as_i64).unwrap_or_else(|| panic!("no {pointer} in {report:#}"))
}

/// Wanted and unwanted messages: over TLS, in plaintext, unknown; and handshakes that failed.
fn counts(report: &Value, direction: &str) -> [[i64; 4]; 2] {
    [0, 1].map(|verdict| {
        ["tls", "plaintext", "unknown", "failed"].map(|what| at(report, &format!("/{direction}/mail/{verdict}/{what}")))
    })
}

fn lost(report: &Value, policy: usize) -> (i64, i64) {
    let part = format!("/inbound/what_if/{policy}/wanted");
    (at(report, &format!("{part}/lost/messages")), at(report, &format!("{part}/of/messages")))
}

const POSTFIX: &str = "\
Nov 24 07:59:58 mx postfix/postfix-script[1]: starting the Postfix mail system
Nov 24 08:00:00 mx postfix/smtpd[11]: connect from a.example[192.0.2.1]
Nov 24 08:00:00 mx postfix/smtpd[12]: connect from unknown[192.0.2.2]
Nov 24 08:00:01 mx postfix/smtpd[11]: Anonymous TLS connection established from a.example[192.0.2.1]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256
Nov 24 08:00:01 mx postfix/smtpd[12]: AAAA2: client=unknown[192.0.2.2]
Nov 24 08:00:01 mx postfix/smtpd[11]: AAAA1: client=a.example[192.0.2.1]
Nov 24 08:00:02 mx postfix/cleanup[21]: AAAA1: message-id=<1@a.example>
Nov 24 08:00:02 mx postfix/cleanup[22]: AAAA2: message-id=<2@b.example>
Nov 24 08:00:02 mx postfix/qmgr[31]: AAAA2: from=<x@b.example>, size=2000, nrcpt=3 (queue active)
Nov 24 08:00:02 mx postfix/qmgr[31]: AAAA1: from=<x@news.a.example>, size=1000, nrcpt=1 (queue active)
Nov 24 08:00:02 mx postfix/smtpd[11]: AAAA3: client=a.example[192.0.2.1]
Nov 24 08:00:02 mx postfix/lmtp[41]: AAAA1: to=<u@example.net>, relay=mx.example.net[private/lmtp], delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Saved)
Nov 24 08:00:02 mx postfix/lmtp[41]: AAAA2: to=<u@example.net>, relay=mx.example.net[private/lmtp], delay=1, delays=1/0/0/0, dsn=4.2.0, status=deferred (451 busy)
Nov 24 08:00:03 mx postfix/qmgr[31]: AAAA3: from=<x@a.example>, size=1500, nrcpt=1 (queue active)
Nov 24 08:00:03 mx postfix/smtpd[12]: disconnect from unknown[192.0.2.2] ehlo=1 mail=1 rcpt=3 data=1 quit=1 commands=7
Nov 24 08:00:03 mx postfix/smtpd[11]: disconnect from a.example[192.0.2.1] ehlo=2 starttls=1 mail=2 rcpt=2 data=2 quit=1 commands=10
Nov 24 08:00:04 mx postfix/qmgr[31]: AAAA1: removed
Nov 24 08:10:04 mx postfix/qmgr[31]: AAAA2: from=<x@b.example>, size=2000, nrcpt=3 (queue active)
Nov 24 08:10:05 mx postfix/qmgr[31]: AAAA2: removed
Nov 24 08:11:00 mx postfix/smtpd[11]: connect from bad.example[192.0.2.9]
Nov 24 08:11:00 mx postfix/smtpd[11]: NOQUEUE: reject: RCPT from bad.example[192.0.2.9]: 554 5.7.1 <u@example.net>: Relay access denied; from=<s@bad.example> to=<u@example.net> proto=ESMTP helo=<bad.example>
Nov 24 08:11:00 mx postfix/smtpd[11]: NOQUEUE: reject: RCPT from bad.example[192.0.2.9]: 554 5.7.1 <v@example.net>: Relay access denied; from=<s@bad.example> to=<v@example.net> proto=ESMTP helo=<bad.example>
Nov 24 08:11:01 mx postfix/smtpd[11]: disconnect from bad.example[192.0.2.9] ehlo=1 mail=1 rcpt=0/2 quit=1 commands=3/5
Nov 24 08:12:00 mx postfix/smtpd[13]: connect from grey.example[192.0.2.10]
Nov 24 08:12:00 mx postfix/smtpd[13]: NOQUEUE: reject: RCPT from grey.example[192.0.2.10]: 450 4.2.0 <u@example.net>: Greylisted; from=<s@grey.example> to=<u@example.net> proto=ESMTP helo=<grey.example>
Nov 24 08:12:01 mx postfix/smtpd[13]: disconnect from grey.example[192.0.2.10] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4
Nov 24 08:13:00 mx postfix/smtpd[13]: connect from old.example[192.0.2.11]
Nov 24 08:13:00 mx postfix/smtpd[13]: SSL_accept error from old.example[192.0.2.11]: -1
Nov 24 08:13:00 mx postfix/smtpd[13]: warning: TLS library problem: error:0A000102:SSL routines::unsupported protocol:../ssl/statem/statem_srvr.c:1657:
Nov 24 08:13:00 mx postfix/smtpd[13]: lost connection after STARTTLS from old.example[192.0.2.11]
Nov 24 08:13:00 mx postfix/smtpd[13]: disconnect from old.example[192.0.2.11] ehlo=1 starttls=0/1 commands=1/2
Nov 24 08:13:20 mx postfix/smtpd[14]: connect from old.example[192.0.2.11]
Nov 24 08:13:20 mx postfix/smtpd[14]: AAAA4: client=old.example[192.0.2.11]
Nov 24 08:13:21 mx postfix/qmgr[31]: AAAA4: from=<s@old.example>, size=300, nrcpt=1 (queue active)
Nov 24 08:13:21 mx postfix/smtpd[14]: disconnect from old.example[192.0.2.11] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Nov 24 08:14:00 mx postfix/smtpd[13]: connect from scan.example[203.0.113.12]
Nov 24 08:14:00 mx postfix/smtpd[13]: SSL_accept error from scan.example[203.0.113.12]: lost connection
Nov 24 08:14:00 mx postfix/smtpd[13]: disconnect from scan.example[203.0.113.12] ehlo=1 starttls=0/1 commands=1/2
Nov 24 08:15:00 mx postfix/submission/smtpd[15]: connect from laptop.example[192.0.2.20]
Nov 24 08:15:00 mx postfix/submission/smtpd[15]: Anonymous TLS connection established from laptop.example[192.0.2.20]: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
Nov 24 08:15:00 mx postfix/submission/smtpd[15]: AAAA5: client=laptop.example[192.0.2.20], sasl_method=PLAIN, sasl_username=u
Nov 24 08:15:01 mx postfix/qmgr[31]: AAAA5: from=<u@example.net>, size=700, nrcpt=3 (queue active)
Nov 24 08:15:01 mx postfix/smtp[51]: Trusted TLS connection established to mx.c.example[198.51.100.1]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
Nov 24 08:15:01 mx postfix/smtp[52]: AAAA5: to=<y@d.example>, relay=mx.d.example[198.51.100.2]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
Nov 24 08:15:02 mx postfix/smtp[51]: AAAA5: to=<y@c.example>, relay=mx.c.example[198.51.100.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
Nov 24 08:15:02 mx postfix/smtp[51]: AAAA5: to=<z@c.example>, relay=mx.c.example[198.51.100.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)
Nov 24 08:15:02 mx postfix/submission/smtpd[15]: disconnect from laptop.example[192.0.2.20] ehlo=2 starttls=1 auth=1 mail=1 rcpt=3 data=1 quit=1 commands=10
Nov 24 08:15:03 mx postfix/qmgr[31]: AAAA5: removed
Nov 24 08:16:00 mx postfix/smtpd[16]: connect from spam.example[192.0.2.30]
Nov 24 08:16:00 mx postfix/smtpd[16]: Untrusted TLS connection established from spam.example[192.0.2.30]: TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)
Nov 24 08:16:00 mx postfix/smtpd[16]: AAAA6: client=spam.example[192.0.2.30]
Nov 24 08:16:01 mx postfix/cleanup[21]: AAAA6: milter-reject: END-OF-MESSAGE from spam.example[192.0.2.30]: 5.7.1 Spam message rejected; from=<s@spam.example> to=<u@example.net> proto=ESMTP helo=<spam.example>
Nov 24 08:16:01 mx postfix/smtpd[16]: disconnect from spam.example[192.0.2.30] ehlo=2 starttls=1 mail=1 rcpt=1 data=0/1 quit=1 commands=6/7
Nov 24 08:17:00 mx postfix/smtpd[16]: connect from localhost[127.0.0.1]
Nov 24 08:17:00 mx postfix/smtpd[16]: AAAA7: client=localhost[127.0.0.1], orig_queue_id=AAAA1, orig_client=a.example[192.0.2.1]
Nov 24 08:17:01 mx postfix/qmgr[31]: AAAA7: from=<x@news.a.example>, size=1400, nrcpt=1 (queue active)
Nov 24 08:17:01 mx postfix/smtpd[16]: disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Nov 24 08:18:00 mx postfix/smtpd[17]: connect from part.example[192.0.2.40]
Nov 24 08:18:00 mx postfix/smtpd[17]: AAAA8: client=part.example[192.0.2.40]
Nov 24 08:18:00 mx postfix/smtpd[17]: AAAA8: reject: RCPT from part.example[192.0.2.40]: 550 5.1.1 <no@example.net>: unknown; from=<s@part.example> to=<no@example.net> proto=ESMTP helo=<part.example>
Nov 24 08:18:01 mx postfix/smtpd[17]: lost connection after DATA from part.example[192.0.2.40]
Nov 24 08:18:01 mx postfix/smtpd[17]: disconnect from part.example[192.0.2.40] ehlo=1 mail=1 rcpt=1/2 data=0/1 commands=3/5
";

fn is_what_postfix_logged(report: &Value) {
    // Wanted: two of a.example over TLS; b.example and old.example in plaintext.
    assert_eq!(counts(report, "inbound"), [[2, 2, 0, 0], [1, 1, 0, 0]], "{report:#}");
    assert_eq!(at(report, "/inbound/mail/0/after_failure"), 1, "old.example failed, and came back in plaintext");
    assert_eq!(at(report, "/inbound/mail/2/failed"), 1, "scan.example");
    assert_eq!(lost(report, 0), (2, 4));
    assert_eq!(at(report, "/inbound/what_if/0/wanted/lost/recipients"), 4);
    assert_eq!(at(report, "/inbound/what_if/0/wanted/of/bytes"), 4800);
    assert_eq!(at(report, "/inbound/what_if/0/wanted/senders/of"), 3);
    assert_eq!(report.pointer("/inbound/mail/0/versions"), Some(&serde_json::json!([["TLS1.3", 2]])));
    assert_eq!(counts(report, "outbound")[0], [1, 1, 0, 0], "two to c.example are one message");
    assert_eq!(at(report, "/outbound/what_if/0/wanted/of/recipients"), 3);
    assert_eq!(report.pointer("/outbound/heaviest/0/sender"), Some(&"d.example".into()));
    for (what, count) in [("submissions", 1), ("deferred", 1), ("broken", 0), ("internal", 0)] {
        assert_eq!(at(report, &format!("/not_counted/{what}")), count, "{what}");
    }
}

#[test]
fn a_postfix_log_is_joined() {
    let place = Place::new();
    let log = place.file("mail.log", POSTFIX);
    is_what_postfix_logged(&json(&[], &[&log]));
    // The same, said in so many words.
    is_what_postfix_logged(&json(&["--as", "postfix"], &[&log]));
}

#[test]
fn rotated_and_compressed_logs_are_read_in_their_order() {
    let place = Place::new();
    // Cut in the middle of sessions, and named so that the alphabet gets it wrong.
    let half = POSTFIX.match_indices('\n').nth(15).expect("a line").0 + 1;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(&POSTFIX.as_bytes()[..half]).expect("compressed");
    let old = place.file("mail.log.1.gz", gz.finish().expect("compressed"));
    let mut zst = Vec::new();
    for part in POSTFIX.as_bytes()[half..].chunks(3000) {
        zst.extend(ruzstd::encoding::compress_to_vec(part, ruzstd::encoding::CompressionLevel::Fastest));
    }
    let new = place.file("mail.log", zst);
    is_what_postfix_logged(&json(&[], &[&new, &old]));
}

#[test]
fn other_forms_of_a_line_say_the_same() {
    let place = Place::new();
    let modern: String = POSTFIX
        .lines()
        .map(|line| {
            let (stamp, rest) = line.split_at(15);
            let rest = rest.trim_start_matches(" mx ");
            let (tag, text) = rest.split_once(": ").expect("a tag");
            let (program, process) = tag.trim_end_matches(']').split_once('[').expect("a process");
            format!("<22>1 2026-11-24T{}.5Z mx {program} {process} - - {text}\r\n", &stamp[7..])
        })
        .collect();
    is_what_postfix_logged(&json(&[], &[&place.file("mail.log", modern)]));
}

#[test]
fn without_lines_about_tls_the_disconnect_tells_and_without_that_nothing_does() {
    let place = Place::new();
    let quiet: String = POSTFIX
        .lines()
        .filter(|line| !line.contains("TLS connection") && !line.contains("SSL_") && !line.contains("after STARTTLS"))
        .map(|line| format!("{line}\n"))
        .collect();
    let report = json(&[], &[&place.file("mail.log", &quiet)]);
    assert_eq!(counts(&report, "inbound")[0], [2, 2, 0, 0]);
    assert_eq!(report.pointer("/inbound/mail/0/versions"), Some(&serde_json::json!([["unknown", 2]])));
    assert_eq!(counts(&report, "outbound")[0], [0, 0, 2, 0]);
    let old: String = quiet
        .lines()
        .map(|line| match line.find(" ehlo=") {
            Some(at) => format!("{}\n", &line[..at]),
            None => format!("{line}\n"),
        })
        .collect();
    let report = json(&[], &[&place.file("mail.log", old)]);
    assert_eq!(counts(&report, "inbound")[0], [0, 0, 4, 0], "unknown, and not guessed");
}

#[test]
fn recipients_are_asked_for_by_domain() {
    let place = Place::new();
    let log = POSTFIX.replace("AAAA1: to=<u@example.net>", "AAAA1: to=<u@store.invalid>, orig_to=<u@example.net>");
    let report = json(&["--recipients", "example.net"], &[&place.file("mail.log", log)]);
    assert_eq!(counts(&report, "inbound")[0], [1, 1, 0, 0], "AAAA1 and AAAA2 have known recipients");
    assert_eq!(report.pointer("/recipients"), Some(&serde_json::json!(["example.net"])));
}

const EXIM: &str = "\
2026-11-24 08:00:00 exim 4.96 daemon started: pid=1, -q30m, listening for SMTP on [::]:25
2026-11-24 08:00:00 1vNXYZ-0000000abcd-1234 <= s@a.example H=mx.a.example [192.0.2.1] P=esmtps X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no S=1000 id=1@a.example for u@example.net v@example.net
2026-11-24 08:00:01 1vNXYZ-0000000abcd-1234 => u <u@example.net> R=local_user T=maildir_home
2026-11-24 08:00:01 1vNXYZ-0000000abcd-1234 Completed
2026-11-24 08:00:02 [77] 1vNXYZ-00ABCD-2k <= s@b.example H=(helo.b.example) [192.0.2.2]:4711 I=[198.51.100.9]:25 P=esmtp S=2000 id=x P=esmtps X=TLS1.3:forged@b.example T=\"X=TLS1.3 A=plain:u\"
2026-11-24 08:00:03 1vNXYZ-00ABCE-2k <= <> H=mx.c.example (c) [192.0.2.3] P=esmtps X=TLS1.2:ECDHE_RSA_AES_256_GCM_SHA384:256 CV=yes DN=\"CN=mx.c.example P=esmtp\" S=300
2026-11-24 08:00:04 1vNXYZ-00ABCF-2k <= u@example.net H=(laptop) [192.0.2.4] P=esmtpsa X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no A=plain:u S=400 id=2@example.net
2026-11-24 08:00:05 1vNXYZ-00ABCF-2k => x@d.example R=dnslookup T=remote_smtp H=mx.d.example [198.51.100.1] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes DN=\"CN=mx.d.example\" C=\"250 OK id=1\"
2026-11-24 08:00:05 1vNXYZ-00ABCF-2k -> y@d.example R=dnslookup T=remote_smtp H=mx.d.example [198.51.100.1] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes DN=\"CN=mx.d.example\" C=\"250 OK id=1\"
2026-11-24 08:00:06 1vNXYZ-00ABCF-2k => x@e.example R=dnslookup T=remote_smtp H=mx.e.example [198.51.100.2] C=\"250 OK\"
2026-11-24 08:00:06 1vNXYZ-00ABCF-2k Completed
2026-11-24 08:00:07 H=(x) [203.0.113.9] F=<s@bad.example> rejected RCPT <u@example.net>: Unknown user
2026-11-24 08:00:07 H=(x) [203.0.113.9] F=<s@bad.example> rejected RCPT <v@example.net>: Unknown user
2026-11-24 08:00:08 H=(x) [203.0.113.10] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no F=<s@grey.example> temporarily rejected RCPT <u@example.net>: greylisted
2026-11-24 08:00:09 TLS error on connection from (old) [198.51.100.77] (SSL_accept): error:0A000102:SSL routines::unsupported protocol
2026-11-24 08:00:10 1vNXYZ-00ABCG-2k <= root@mx.example.net U=root P=local S=500
";

#[test]
fn an_exim_log_is_read() {
    let place = Place::new();
    let log = place.file("mainlog", EXIM);
    let report = json(&[], &[&log]);
    assert_eq!(counts(&report, "inbound"), [[2, 1, 0, 0], [0, 1, 0, 0]], "{report:#}");
    assert_eq!(at(&report, "/inbound/mail/2/failed"), 1);
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/recipients"), 4);
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/bytes"), 3300);
    assert_eq!(at(&report, "/inbound/what_if/4/wanted/untold"), 1, "CV=no without DN tells nothing");
    assert_eq!(counts(&report, "outbound")[0], [1, 1, 0, 0]);
    assert_eq!(at(&report, "/outbound/what_if/0/wanted/of/recipients"), 3);
    for (what, count) in [("submissions", 1), ("deferred", 1), ("internal", 1)] {
        assert_eq!(at(&report, &format!("/not_counted/{what}")), count, "{what}");
    }
    // A zone, in either way.
    let zoned: String =
        EXIM.lines().map(|line| format!("{} +0100{}\n", line[..19].replace(" 08:", " 09:"), &line[19..])).collect();
    let zoned = json(&[], &[&place.file("zoned", zoned)]);
    assert_eq!(counts(&zoned, "inbound")[0], [2, 1, 0, 0]);
}

fn mail(sender: &str, received: &str, fields: &str, body: &str) -> String {
    format!(
        "Return-Path: <s@{sender}>\nDelivered-To: u@example.net\nReceived: {received};\n\tTue, 24 Nov 2026 08:00:00 +0000\n\
         {fields}From: s@{sender}\nSubject: x\n\n{body}\n"
    )
}

const TLS: &str = "from mx.a.example (mx.a.example [192.0.2.1])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n\t(No client certificate requested)\n\tby mx.example.net (Postfix) with ESMTPS id ID";
const PLAIN: &str = "from mx.b.example (mx.b.example [192.0.2.2])\n\tby mx.example.net (Postfix) with ESMTP id ID";

/// Eight messages, and copies and strangers among them.
fn mails() -> Vec<String> {
    let received = |hop: &str, id: u32| hop.replace("ID", &format!("4X{id}"));
    let filter = "from localhost (localhost [127.0.0.1])\n\tby mx.example.net (Postfix) with ESMTP id F1;\n\tTue, 24 Nov 2026 08:00:01 +0000\nReceived: ";
    vec![
        mail("a.example", &received(TLS, 1), "", "one\n\n>From here on\nno message begins"),
        mail(
            "b.example",
            &received(PLAIN, 2),
            "Content-Type: multipart/encrypted;\n\tprotocol=\"application/pgp-encrypted\"\n",
            "x",
        ),
        mail("b.example", &received(PLAIN, 3), "", "-----BEGIN PGP MESSAGE-----\n\nabc"),
        mail("b.example", &received(PLAIN, 4), "X-Spam-Flag: YES\n", "buy"),
        mail("b.example", &received(PLAIN, 5), "X-Spam-Status: Yes, score=9.1\n", "buy"),
        mail("b.example", &received(PLAIN, 6), "X-Mood:   Bad (very)\n", "buy"),
        mail("a.example", &format!("{filter}{}", received(TLS, 7)), "", "seven"),
        // The same message in another mailbox; one of ours that never crossed the border; one without a date.
        mail("a.example", &received(TLS, 7), "", "seven"),
        "From: me@example.net\nSubject: a draft\n\nnot sent\n".into(),
        format!("Received: {} ; whenever\nSubject: x\n\n\n", received(TLS, 8)),
        mail("c.example", &received(&TLS.replace("ESMTPS", "ESMTPSA"), 9), "", "from a user"),
        mail(
            "d.example",
            &received(PLAIN, 10),
            "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n",
            "x",
        ),
    ]
}

fn is_what_lies_there(report: &Value) {
    assert_eq!(counts(report, "inbound"), [[2, 4, 0, 0], [0, 2, 0, 0]], "{report:#}");
    for (what, count) in [("copies", 1), ("foreign", 1), ("dateless", 1), ("submissions", 1), ("internal", 0)] {
        assert_eq!(at(report, &format!("/not_counted/{what}")), count, "{what}");
    }
    let protected: Vec<_> = report["inbound"]["end_to_end"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|kind| (kind["kind"].as_str().expect("a word"), kind["messages"].as_i64(), kind["plaintext"].as_i64()))
        .collect();
    assert_eq!(
        protected,
        [
            ("pgp-mime", Some(1), Some(1)),
            ("s-mime", Some(1), Some(1)),
            ("pgp-inline", Some(1), Some(1)),
            ("none", Some(3), Some(1))
        ]
    );
    assert_eq!(report.pointer("/inbound/heaviest/0/sender"), Some(&"b.example".into()));
    assert!(report["notes"][0].as_str().is_some_and(|note| note.contains("mx.example.net")), "it says what it guessed");
}

fn mbox_of(mails: &[String]) -> String {
    mails.iter().map(|mail| format!("From s@a.example Tue Nov 24 08:00:00 2026\n{mail}\n")).collect()
}

#[test]
fn an_mbox_is_read() {
    let place = Place::new();
    let mbox = mbox_of(&mails());
    is_what_lies_there(&json(&[], &[&place.file("mbox", &mbox)]));
    is_what_lies_there(&json(&[], &[&place.file("windows", mbox.replace('\n', "\r\n"))]));
    let bad = json(&["--unwanted-if", "X-Mood=bad", "--by", "MX.example.net"], &[&place.file("mbox", &mbox)]);
    assert_eq!(counts(&bad, "inbound"), [[2, 3, 0, 0], [0, 3, 0, 0]]);
    assert_eq!(bad["notes"], serde_json::json!([]));
}

/// A body that is larger than what is read at once, with what looks like a message at every place of its edge.
#[test]
fn an_mbox_of_large_messages_is_read_whatever_the_reads() {
    let place = Place::new();
    for size in [262_000, 262_100, 262_144, 262_150, 524_288] {
        let mut mails = mails();
        mails.truncate(1);
        mails[0].push_str(&"x".repeat(size));
        for offset in 0..8 {
            let mbox =
                format!("{}\n{}", mbox_of(&mails), mbox_of(&[mails[0].replace("4X1", "4X2"), "y".repeat(offset)]));
            let report = json(&["--by", "mx.example.net"], &[&place.file("mbox", mbox)]);
            assert_eq!(counts(&report, "inbound")[0], [2, 0, 0, 0], "{size} {offset}");
            // The "y" is no message.
            assert_eq!(at(&report, "/not_counted/broken"), 1, "{size} {offset}");
        }
    }
}

#[test]
fn a_maildir_is_read_with_all_below_it() {
    let place = Place::new();
    for (index, mail) in mails().iter().enumerate() {
        let folder = ["cur", "new", ".Archive.2026/cur", "deep/down/new"][index % 4];
        place.file(&format!("mail/{folder}/{index}.host:2,S"), mail);
    }
    place.file("mail/tmp/half", "Received: half");
    place.file("mail/dovecot.index", "not mail");
    is_what_lies_there(&json(&[], &[&place.0.path().join("mail")]));
    place.file("mail/cur/broken", "\u{0}\u{1}\u{2}");
    place.file("mail/cur/empty", "");
    let report = json(&[], &[&place.0.path().join("mail")]);
    assert_eq!(at(&report, "/not_counted/broken"), 2);
}

#[test]
fn an_unclear_border_is_asked_for() {
    let place = Place::new();
    let other = PLAIN.replace("mx.example.net", "gate.example.com");
    let mails = [mail("a.example", TLS, "", "x"), mail("b.example", &other, "", "x")];
    let output = run(&[], &[&place.file("mbox", mbox_of(&mails))]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("--by") && error.contains("gate.example.com"), "{error}");
    // A store behind the border has all its mail from one host.
    let mails: Vec<String> =
        (0..30).map(|id| mail("a.example", &TLS.replace("ID", &format!("{id}")), "", "x")).collect();
    let output = run(&[], &[&place.file("mbox", mbox_of(&mails))]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn hops_within_count_only_when_asked_for() {
    let place = Place::new();
    let log =
        POSTFIX.replace("192.0.2.", "10.0.0.").replace("198.51.100.", "192.168.1.").replace("203.0.113.", "172.16.0.");
    let log = place.file("mail.log", log);
    let report = json(&[], &[&log]);
    assert_eq!(report["inbound"], Value::Null);
    assert!(at(&report, "/not_counted/internal") > 5);
    is_what_postfix_logged(&json(&["--internal"], &[&log]));
}

#[test]
fn a_ledger_is_read() {
    let place = Place::new();
    let line = |domain: &str, tls: &str, outcome: &str| {
        format!(
            r#"{{"v":1,"time":"2026-11-24T08:00:00Z","direction":"inbound","peer":"192.0.2.1","sender_domain":"{domain}","recipients":1,"bytes":10,"outcome":"{outcome}","tls":{tls}}}"#
        ) + "\n"
    };
    let tls = r#"{"outcome":"used","version":"TLS1.2","client_certificate":"none"}"#;
    let lines = [
        line("a.example", tls, "accepted"),
        line("b.example", r#"{"outcome":"not-tried"}"#, "accepted"),
        line("c.example", r#"{"outcome":"not-tried"}"#, "refused"),
        "{\"v\":1,\"time\":\"2026".into(),
    ];
    let ledger = place.file("ledger.jsonl", lines.concat());
    let report = json(&["--policy", "tls1.3"], &[&ledger]);
    assert_eq!(counts(&report, "inbound"), [[1, 1, 0, 0], [0, 1, 0, 0]]);
    assert_eq!((lost(&report, 0), lost(&report, 2)), ((1, 2), (2, 2)));
    assert_eq!(at(&report, "/not_counted/broken"), 1);
    let place_named = report["not_counted"]["first_broken"][0].as_str().expect("a place");
    assert!(place_named.contains("ledger.jsonl:4: "), "{place_named}");
    let since = json(&["--since", "2026-11-25"], &[&ledger]);
    assert_eq!((at(&since, "/not_counted/early"), &since["inbound"]), (3, &Value::Null));
}

#[test]
fn what_is_cut_short_counts_up_to_there() {
    let place = Place::new();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    gz.write_all(POSTFIX.repeat(50).as_bytes()).expect("compressed");
    let whole = gz.finish().expect("compressed");
    let report = json(&[], &[&place.file("mail.log.gz", &whole[..whole.len() - 100])]);
    assert_eq!(counts(&report, "inbound")[0][0], 100, "all sessions over TLS are there");
    assert_eq!(at(&report, "/not_counted/broken"), 1);
    assert!(report["not_counted"]["first_broken"][0].as_str().is_some_and(|place| place.contains("cut short")));
}

/// Whatever lies there: an answer or one line of complaint, never a crash.
#[test]
fn rubbish_does_no_harm() {
    let place = Place::new();
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let samples = [POSTFIX.as_bytes().to_vec(), EXIM.as_bytes().to_vec(), mbox_of(&mails()).into_bytes()];
    for round in 0..60 {
        let mut octets = samples[round % 3].clone();
        for _ in 0..1 + random() % 200 {
            let at = usize::try_from(random()).expect("small") % octets.len();
            match random() % 3 {
                0 => octets[at] = u8::try_from(random() % 256).expect("small"),
                1 => octets.truncate(at.max(1)),
                _ => octets.insert(
                    at,
                    *b" <>[]:;=()\n\r\0\xff\"\\".get(usize::try_from(random() % 18).expect("small")).unwrap_or(&b'x'),
                ),
            }
        }
        let file = place.file("rubbish", octets);
        let kind = ["postfix", "exim", "mbox", "ledger"][usize::try_from(random() % 4).expect("small")];
        let output = run(&["--as", kind, "--by", "mx.example.net", "--html", "/dev/null"], &[&file]);
        assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Lines and heads without an end, folders without a bottom, NULs: named, skipped, and what is good beside them counts.
#[test]
fn what_has_no_end_is_skipped() {
    let place = Place::new();
    let endless = "x".repeat(3 << 20);
    let log =
        format!("{endless}\n{POSTFIX}Nov 24 08:20:00 mx postfix/smtpd[1]: connect from {endless}[192.0.2.1]\n\0\0\0\n");
    let report = json(&["--as", "postfix"], &[&place.file("mail.log", log)]);
    assert_eq!(counts(&report, "inbound")[0], [2, 2, 0, 0]);
    let named = report["not_counted"]["first_broken"].as_array().expect("places");
    let named: Vec<_> = named.iter().filter_map(Value::as_str).map(|place| place.rsplit('/').next()).collect();
    let last = POSTFIX.lines().count() + 2;
    let expected = [1, last].map(|line| format!("mail.log:{line}: a line too long for a log"));
    assert_eq!(named, expected.iter().map(|place| Some(place.as_str())).collect::<Vec<_>>());

    // A head of 3 MB is read as far as heads are; the next message is found.
    let [first, second] =
        [TLS, PLAIN].map(|hop| mail("a.example", &hop.replace("ID", &format!("4X{}", hop.len())), "", "x"));
    let long = first.replace("Subject: x", &format!("Subject: {endless}"));
    let mbox = place.file("mbox", mbox_of(&[long, second.clone()]));
    let report = json(&["--by", "mx.example.net"], &[&mbox]);
    assert_eq!(counts(&report, "inbound")[0], [1, 1, 0, 0], "{report:#}");

    let deep = format!("mail/{}cur/1", "d/".repeat(500));
    place.file(&deep, second);
    std::os::unix::fs::symlink(place.0.path().join("mail"), place.0.path().join("mail/d/circle")).expect("a link");
    std::os::unix::fs::symlink("nowhere", place.0.path().join("mail/d/cur")).expect("a link");
    let report = json(&["--by", "mx.example.net"], &[&place.0.path().join("mail")]);
    assert_eq!(counts(&report, "inbound")[0], [0, 1, 0, 0], "{report:#}");
}

/// Compressed a thousandfold, it is read as it comes.
#[test]
fn what_was_compressed_well_is_read_as_it_comes() {
    let place = Place::new();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(POSTFIX.as_bytes()).expect("compressed");
    for _ in 0..32 {
        gz.write_all(&vec![b'x'; 1 << 20]).expect("compressed");
    }
    let mut bomb = gz.finish().expect("compressed");
    assert!(bomb.len() < 100_000);
    bomb.extend(b"no gzip");
    let report = json(&[], &[&place.file("mail.log.gz", bomb)]);
    assert_eq!(counts(&report, "inbound")[0], [2, 2, 0, 0]);
    // The line without an end, and what follows the end.
    assert_eq!(at(&report, "/not_counted/broken"), 2);
}

#[test]
fn a_wrong_source_is_said_in_one_line() {
    let place = Place::new();
    let nothing = place.0.path().join("nothing");
    let picture = place.file("picture", b"\x89PNG\r\n\x1a\n");
    let folder = place.0.path().join("empty");
    std::fs::create_dir(&folder).expect("a folder");
    let xz = place.file("mail.log.xz", b"\xfd7zXZ\0\0");
    for (source, word) in
        [(&nothing, "No such file"), (&picture, "--as"), (&folder, "holds no mail"), (&xz, "can be read")]
    {
        let output = run(&[], &[source]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("SOURCE") && error.contains(word) && error.lines().count() == 1, "{error}");
    }
    assert_eq!(run(&["--policy", "ssl"], &[&picture]).status.code(), Some(2));
    let output = run(&["--as", "postfix"], &[Path::new("/dev/null")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input"));
}

#[test]
fn the_screen_reads_like_this() {
    let place = Place::new();
    let text = text(&[], &[&place.file("mail.log", POSTFIX)]);
    let answer = text.split("\n\n").next().expect("an answer").replace('\n', " ");
    assert!(answer.starts_with("Of 4 wanted messages of one day, 2 (50 %, 95 % interval "), "{answer}");
    assert!(
        answer.contains("from 2 senders came without TLS. Had you required TLS, you would have lost at most that"),
        "{answer}"
    );
    for line in [
        "old.example                                             1 of 1",
        "wanted                               2             2             0             4",
        "Handshakes that failed: 1 came back in plaintext, 1 not at all.",
        "RFC 3207 section 4",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour where there is no terminal");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// Names of senders are other people's words.
#[test]
fn the_page_escapes_what_others_wrote_and_needs_nothing() {
    let place = Place::new();
    let log = POSTFIX.replace("from=<x@b.example>", "from=<x@<script>alert(1)</script>&\"'.example>");
    let page = place.0.path().join("report.html");
    let file = page.to_str().expect("a name").to_owned();
    text(&["--html", &file], &[&place.file("mail.log", log)]);
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;.example"), "{page}");
    for outside in ["<script", "http:", "https:", "src=", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    // Each that opens closes, and no identity is there twice.
    for tag in ["svg", "g", "section", "table", "div", "ul", "dl", "main", "tr", "td", "th", "p"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    let mut identities: Vec<_> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = identities.len();
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), all);
}
