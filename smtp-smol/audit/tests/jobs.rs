//! However many threads work, what is told is the same.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use smtp_audit::ledger::{Ending, Entry, Stamp};
use smtp_audit::{Audit, Options, Rows};
use smtp_proto::tls::{Condition, Direction, Hop};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").write(octets)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The report, the rows, the cells.
type Told = (String, Vec<u8>, Vec<u8>);

/// Everything that is told of these files.
fn told(files: &[&std::path::Path], jobs: usize) -> Told {
    told_of(jobs, |audit| audit.files(files, &()))
}

/// Everything that is told of what is read so.
fn told_of(jobs: usize, read: impl FnOnce(&mut Audit) -> Result<(), smtp_audit::Error>) -> Told {
    let (rows, cells) = (Page::default(), Page::default());
    let mut audit = Audit::new(&Options { jobs, internal: true, ..Options::default() });
    audit.rows(Rows::json(rows.clone(), b"a key of some length"));
    audit.cells(cells.clone(), "cells");
    let report = match read(&mut audit) {
        Ok(()) => audit.report(Condition::Tls).map_or_else(|error| error.to_string(), |report| report.json()),
        Err(error) => error.to_string(),
    };
    // But for the time at which it was made.
    let report = report.lines().filter(|line| !line.contains("\"made\"")).collect::<Vec<_>>().join("\n");
    let of = |page: &Page| page.0.lock().expect("whole").clone();
    (report, of(&rows), of(&cells))
}

/// Some lines of a session, by any of the programs and in any of the forms.
fn session(log: &mut String, number: usize, kind: u8) {
    let (host, ip) =
        (format!("mx{}.sender{}.example", number % 3, number % 97), format!("192.0.2.{}", number % 200 + 1));
    let stamp = format!("Nov {:2} 08:{:02}:{:02}", number / 3600 % 20 + 1, number / 60 % 60, number % 60);
    let queue = format!("4{number:09X}");
    let postfix = [
        ("smtpd", format!("connect from {host}[{ip}]")),
        (
            "smtpd",
            format!("Anonymous TLS connection established from {host}[{ip}]: TLSv1.3 with cipher X (256/256 bits)"),
        ),
        ("smtpd", format!("{queue}: client={host}[{ip}]")),
        ("qmgr", format!("{queue}: from=<s\"\\{number}@{host}>, size=4711, nrcpt=2 (queue active)")),
        (
            "smtpd",
            format!(
                "NOQUEUE: reject: RCPT from {host}[{ip}]: 45{} 4.7.1 No; from=<a@b> to=<c@d> proto=ESMTP",
                number % 10
            ),
        ),
        ("smtpd", format!("disconnect from {host}[{ip}] ehlo=2 mail=1 rcpt=1 data=1 quit=1 commands=6")),
        (
            "smtp",
            format!(
                "{queue}: to=<r@dest{}.example>, relay=mx[198.51.100.7]:25, delay=1, status=sent (250 ok)",
                number % 7
            ),
        ),
        ("qmgr", format!("{queue}: removed")),
    ];
    match kind {
        0 | 1 => {
            for (at, (program, text)) in postfix.iter().enumerate() {
                if kind == 1 && at == 1 {
                    continue;
                }
                writeln!(log, "{stamp} mx postfix/{program}[{}]: {text}", number % 5).expect("written");
            }
        }
        2 => {
            for (program, text) in postfix {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                writeln!(log, r#"{{"__REALTIME_TIMESTAMP":"{}000000","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"postfix/{program}","_PID":"{}","MESSAGE":"{text}"}}"#, 1_795_507_200 + number, number % 5)
                    .expect("written");
            }
        }
        3 => {
            writeln!(log, "2026-11-{:02} 08:00:{:02} 1vNXYZ-0000000{:04}-1234 <= s@{host} H={host} [{ip}] P=esmtps X=TLS1.3:X:256 CV=no S=17 for a@b c@d", number % 28 + 1, number % 60, number % 10_000)
                .expect("written");
            writeln!(
                log,
                "2026-11-24 08:00:{:02} H=(x) [{ip}] F=<s@{host}> rejected RCPT <r@b>: Unknown user",
                number % 60
            )
            .expect("written");
        }
        4 => {
            let tag = format!("{stamp} mx sm-mta[{}]:", number % 9);
            writeln!(
                log,
                "{tag} STARTTLS=server, relay={host} [{ip}], version=TLSv1.2, verify=NO, cipher=X, bits=256/256"
            )
            .expect("written");
            writeln!(log, "{tag} 6A{number:012}: from=<s@{host}>, size=17, class=0, nrcpts=1, msgid=<x>, proto=ESMTPS, daemon=MTA, relay={host} [{ip}]").expect("written");
            writeln!(log, "{tag} 6A{number:012}: to=<r@b>, delay=00:00:01, mailer=esmtp, relay=mx.b. [198.51.100.1], dsn=2.0.0, stat=Sent (ok)").expect("written");
        }
        5 => writeln!(log, "{stamp} mx cron[1]: something else\n\nwhat is this {number}").expect("written"),
        6 => writeln!(log, "{}", "x".repeat(60_000 + number * 977 % 200_000)).expect("written"),
        _ => writeln!(
            log,
            "{stamp}.5 mx mail.info postfix/smtpd[{}]: lost connection after STARTTLS from {host}[{ip}]",
            number % 5
        )
        .expect("written"),
    }
}

/// What one thread tells of these, and so many the same.
fn alike(files: &[&std::path::Path], jobs: usize) -> Result<Told, TestCaseError> {
    let (one, several) = (told(files, 1), told(files, jobs));
    prop_assert_eq!(&one.0, &several.0);
    prop_assert!(one.1 == several.1, "the rows differ");
    prop_assert!(one.2 == several.2, "the cells differ");
    Ok(one)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn logs_are_read_alike_by_one_thread_and_by_several(
        kinds in prop::collection::vec(prop::collection::vec(0_u8..8, 1..8), 1..4),
        sessions in 200_usize..2_500,
        jobs in 2_usize..7,
        ended in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut paths = Vec::new();
        for (file, kinds) in kinds.iter().enumerate() {
            // What is known by sight comes first.
            let mut log = String::new();
            session(&mut log, 0, 0);
            for number in 0..sessions {
                session(&mut log, number + file * 10_000, kinds[number % kinds.len()]);
            }
            let octets = if ended { &log[..] } else { log.trim_end() };
            let path = folder.path().join(format!("log.{file}"));
            std::fs::write(&path, octets).expect("written");
            paths.push(path);
        }
        let files: Vec<&std::path::Path> = paths.iter().map(|path| &**path).collect();
        let one = alike(&files, jobs)?;
        prop_assert!(one.0.contains("\"messages\""), "{}", one.0);
    }
}

/// A line of a ledger: of one of several hosts, now and then late, twice, with escapes in it, or none.
fn ledger_line(number: usize, file: usize, kind: u8) -> String {
    let second = 1_795_500_000 + 40 * number as i64 - i64::from(kind == 1) * 300;
    let time = jiff::Timestamp::from_second(second).expect("a time");
    let mut entry = Entry::new(time, Direction::Inbound, [Ending::Accepted, Ending::Deferred][number % 7 / 6]);
    entry.stamp = Some(Stamp::new(format!("mx{file}"), "6a1", number as u64 + 1));
    entry.id = Some(format!("1795510800.M{number}").into());
    entry.peer = Some([192, 0, 2, u8::try_from(number % 251).expect("small")].into());
    entry.sender_domain = Some(format!("news.sender{}.example", number % 97).into());
    entry.recipient_domains = (0..number % 3).map(|domain| format!("mx{domain}.example").into()).collect();
    // What was put off on one host may come to another.
    entry.envelope = (number % 500) as u64 + 1;
    entry.tls.hop = if number.is_multiple_of(5) { Hop::NotTried } else { Hop::default() };
    let line = String::from_utf8(entry.line()).expect("UTF-8");
    match kind {
        2 => line.replace(".example", "\\u002eexample"),
        3 => line.repeat(2),
        4 => "{\"v\":9,\"outcome\":\"accepted\"}\nnothing\n\n".into(),
        5 => line.replace("news", "n\u{e4}ws"),
        _ => line,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn ledgers_are_read_alike_by_one_thread_and_by_several(
        kinds in prop::collection::vec(prop::collection::vec(0_u8..6, 1..8), 1..4),
        lines in 300_usize..4_000,
        apart in 0_usize..3_000,
        jobs in 2_usize..6,
        spoilt in any::<bool>(),
        ended in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut paths = Vec::new();
        for (file, kinds) in kinds.iter().enumerate() {
            let mut ledger = ledger_line(file * apart, file, 0);
            for number in 1..lines {
                ledger.push_str(&ledger_line(number + file * apart, file, kinds[number % kinds.len()]));
            }
            let mut octets = if ended { ledger.into_bytes() } else { ledger.trim_end().as_bytes().to_vec() };
            if spoilt {
                let middle = octets.len() / 2;
                octets[middle] = 0xff;
            }
            let path = folder.path().join(format!("ledger.{file}"));
            std::fs::write(&path, octets).expect("written");
            paths.push(path);
        }
        let files: Vec<&std::path::Path> = paths.iter().map(|path| &**path).collect();
        let one = alike(&files, jobs)?;
        // Two at most are cut, and of each file one is spoilt.
        let rows = one.1.split(|octet| *octet == b'\n').filter(|row| row.first() == Some(&b'{')).count();
        let none = |file: &Vec<u8>| (1..lines).filter(|number| file[number % file.len()] == 4).count();
        let all: usize = kinds.iter().map(|file| lines - none(file)).sum();
        prop_assert!((all.saturating_sub(2 * kinds.len())..=all + 1).contains(&rows), "{rows} of {all}");
    }
}

/// A message as a mail server keeps it: some with heads or texts that one read does not reach the end of.
fn mail(number: usize, kind: u8) -> Vec<u8> {
    let tls = if kind.is_multiple_of(2) {
        " (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n\t(No client certificate requested)\r\n\t"
    } else {
        " "
    };
    let mut mail = format!(
        "Return-Path: <s@news{}.example>\r\nReceived: from mx.sender.example (mx.sender.example [192.0.2.{}]){tls}by mx.example.net (Postfix) with ESMTP{}\r\n\tid 4X{number}; Tue, 24 Nov 2026 08:00:00 +0000 (UTC)\r\nContent-Type: text/plain\r\n",
        number % 97,
        number % 200 + 1,
        if kind.is_multiple_of(2) { "S" } else { "" },
    );
    for line in 0..[0, 0, 0, 150, 200, 230, 1_000][number % 7] {
        write!(mail, "X-Long: {line} {}\r\n", "x".repeat(60)).expect("written");
    }
    mail.push_str("\r\n");
    let most = [17, 1_000, 40_000, 16 << 10][number % 4];
    let text = if most == 16 << 10 { (16_usize << 10).saturating_sub(mail.len()) } else { most };
    mail.extend(std::iter::repeat_n('y', text));
    if !number.is_multiple_of(11) {
        return mail.into_bytes();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(mail.as_bytes()).expect("written");
    gzip.finish().expect("whole")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn folders_are_read_alike_by_one_thread_and_by_several(
        kinds in prop::collection::vec(0_u8..4, 1..8),
        messages in 230_usize..900,
        jobs in 2_usize..9,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |path: &str, octets: &[u8]| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below")).expect("made");
            std::fs::write(path, octets).expect("written");
        };
        let mut octets = 0;
        for number in 0..messages {
            let mail = mail(number, kinds[number % kinds.len()]);
            octets += mail.len();
            let below = ["cur", "new", ".Archive/cur", "exported", "exported/deep"][number % 5];
            put(&format!("mail/{below}/{number}.eml"), &mail);
        }
        // Again, no message, and an mbox beside them.
        put("mail/new/copy", &mail(1, kinds[1 % kinds.len()]));
        put("mail/cur/none", b"\0\x01 nothing\n");
        put("mail/exported/none", b"nothing of mail\n");
        let mbox: Vec<u8> =
            (0..3).flat_map(|more| [b"From s@x Tue Nov 24\r\n", &*mail((messages + more) * 11 + 1, 0), b"\r\n\r\n"].concat()).collect();
        put("mail/exported/box", &mbox);
        let path = folder.path().join("mail");
        let (one, several) = (told(&[&path], 1), told(&[&path], jobs));
        prop_assert_eq!(&one.0, &several.0);
        prop_assert!(one.1 == several.1, "the rows differ");
        prop_assert!(one.2 == several.2, "the cells differ");
        let rows: Vec<serde_json::Value> =
            one.1.split(|octet| *octet == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).filter(|row: &serde_json::Value| row["bytes"].is_u64()).collect();
        prop_assert_eq!(rows.len(), messages + 3);
        let sizes: u64 = rows.iter().map(|row| row["bytes"].as_u64().expect("a number")).sum();
        prop_assert!(((octets + 1) as u64..=(octets + mbox.len()) as u64).contains(&sizes), "{sizes} of {octets}");
        prop_assert!(one.0.contains("\"copies\": 1") && one.0.contains("\"broken\": 1"), "{}", one.0);
    }
}

/// A session in a protocol log of Exchange's, an entry or two of the journal's export, or a message in an mbox.
fn put(to: &mut Vec<u8>, source: u8, number: usize, kind: u8) {
    let (name, ip) = (format!("sender{}.example", number % 97), format!("192.0.2.{}", number % 200 + 1));
    match (source, kind) {
        (0, 5) => to.extend_from_slice(b"#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\r\n"),
        (0, 6) => to.extend(std::iter::repeat_n(b'x', 60_000 + number * 977 % 200_000).chain([b'\n'])),
        (0, 7) => to.extend_from_slice(b"\r\nsomething, else\n#Log-type: SMTP Send Protocol Log\n"),
        (0, _) => {
            let says = [
                ("+", "", ""),
                ("<", "EHLO mx", ""),
                (">", "250 mx", ""),
                ("*", "", "\"TLS protocol SP_PROT_TLS1_2_SERVER negotiation, \"\"succeeded\"\"\""),
                ("<", "MAIL FROM:<s@", ""),
                (">", "250 2.1.0 Sender OK", ""),
                ("<", "RCPT TO:<r@b.example>", ""),
                (">", ["250 2.1.5 Recipient OK", "550 5.7.1 no"][number % 2], ""),
                ("<", "BDAT 4711 LAST", ""),
                (">", "250 2.6.0 Queued mail for delivery", ""),
                ("-", "", "Remote"),
            ];
            for (at, (event, data, context)) in says.iter().enumerate().filter(|(at, _)| *at != 3 || kind != 1) {
                let end = if data.ends_with('@') { format!("{name}>") } else { String::new() };
                let line = format!("2026-11-24T08:{:02}:{:02}.000Z,MX\\In,{number:016X},{at},192.0.2.25:25,{ip}:4711,{event},{data}{end},{context}", number / 60 % 60, number % 60);
                to.extend_from_slice(line.as_bytes());
                to.extend_from_slice([&b"\r\n"[..], b"\n"][number % 2]);
            }
        }
        (1, 5) => to.extend_from_slice(b"MESSAGE=no time\n\n\n"),
        (1, 6) => {
            to.extend_from_slice(format!("__REALTIME_TIMESTAMP=1795507200000000\nX={}\nCOREDUMP\n", "x".repeat(number % 90_000)).as_bytes());
            to.extend((number as u64 * 31 % 300_000).to_le_bytes());
            to.extend(b"\n\nMESSAGE=no\n".iter().cycle().take(number * 31 % 300_000));
            to.extend_from_slice(b"\n\n");
        }
        (1, _) => {
            let mut log = String::new();
            session(&mut log, number, 0);
            for line in log.lines() {
                let (tag, text) = line[19..].split_once(": ").expect("a text");
                let (program, process) = tag.trim_end_matches(']').split_once('[').expect("a process");
                write!(to, "__CURSOR=s={number}\n__REALTIME_TIMESTAMP={}000000\n_HOSTNAME=mx\nSYSLOG_IDENTIFIER={program}\n_PID={process}\n", 1_795_507_200 + number).expect("written");
                if kind == 1 {
                    to.extend_from_slice(b"MESSAGE\n");
                    to.extend((text.len() as u64).to_le_bytes());
                    to.extend_from_slice(text.as_bytes());
                } else {
                    write!(to, "MESSAGE={text}").expect("written");
                }
                to.extend_from_slice(b"\n\n");
            }
        }
        (_, 5) => to.extend_from_slice(b"From nobody\nno field\n\n"),
        (_, 6) => to.extend_from_slice(b"From s@x Tue Nov 24\nSubject: none\n\nFrom s@x Tue Nov 24\n\n"),
        (_, kind) => {
            let mut mail = mail(number * 11 + 1, kind);
            if kind == 3 {
                mail.retain(|octet| *octet != b'\r');
            }
            to.extend_from_slice(if kind == 3 { b"From s@x Tue Nov 24\n" } else { b"From s@x Tue Nov 24\r\n" });
            to.extend_from_slice(&mail);
            to.extend_from_slice(if kind == 3 { b"\n\n" } else { b"\r\n\r\n" });
        }
    }
}

/// Hands out so many octets at a time.
struct Drip<'a>(&'a [u8], usize);

impl io::Read for Drip<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let (now, later) = self.0.split_at(self.1.min(self.0.len()).min(space.len()));
        space[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However many threads there are, and wherever a read ends.
    #[test]
    fn other_sources_are_read_alike_by_one_thread_and_by_several(
        source in 0_u8..4,
        kinds in prop::collection::vec(0_u8..8, 1..8),
        sessions in 100_usize..900,
        jobs in 2_usize..6,
        drip in prop::sample::select(vec![4_093_usize, 131_071, 1 << 20]),
        cut in 0_usize..2_000,
        spoilt in any::<bool>(),
    ) {
        let mut octets = match source {
            0 => b"\xef\xbb\xbf#Software: Microsoft Exchange Server\r\n#Log-type: SMTP Receive Protocol Log\r\n".to_vec(),
            _ => Vec::new(),
        };
        if source == 3 {
            // Those that were written of a log; each line by itself, so that there are many.
            let mut log = Vec::new();
            for number in 0..sessions * 3 {
                put(&mut log, 1, number * 40, 0);
            }
            octets = told_of(1, |audit| audit.stream("log".as_ref(), &*log, &())).2;
            let lines: Vec<Vec<u8>> = octets.split_inclusive(|octet| *octet == b'\n').map(<[u8]>::to_vec).collect();
            let kind = |at: usize| kinds[at % kinds.len()];
            octets = lines[..1].concat();
            for (at, line) in lines[1..lines.len() - 1].iter().cycle().take(5_000).enumerate() {
                match kind(at) {
                    5 => octets.extend_from_slice(b"{\"day\":\"2026\"}\n\nnothing\n"),
                    6 => octets.extend(String::from_utf8_lossy(line).replace(".example", "\\u002eexample").bytes()),
                    7 => octets.extend(String::from_utf8_lossy(line).replace("inbound", "sideways").bytes()),
                    _ => octets.extend_from_slice(line),
                }
            }
            octets.extend_from_slice(&lines[lines.len() - 1]);
        } else {
            if source == 0 {
                put(&mut octets, source, 0, 5);
            }
            put(&mut octets, source, 0, 0);
            for number in 1..sessions {
                put(&mut octets, source, number, kinds[number % kinds.len()]);
            }
        }
        if spoilt {
            octets.truncate(octets.len() - cut.min(octets.len() / 2));
            let middle = octets.len() / 2;
            octets[middle] = 0xff;
        }
        let one = told_of(1, |audit| audit.stream("source".as_ref(), &*octets, &()));
        let several = told_of(jobs, |audit| audit.stream("source".as_ref(), Drip(&octets, drip), &()));
        prop_assert_eq!(&one.0, &several.0);
        prop_assert!(one.1 == several.1, "the rows differ");
        prop_assert!(one.2 == several.2, "the cells differ");
        prop_assert!(source == 2 || spoilt || !one.0.contains("\"read\": 0,"), "{}", one.0);
    }
}
