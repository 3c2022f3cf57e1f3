//! What Postfix's log has beside plain sessions: filters, postscreen, submission, beginnings and ends that are missing.

use serde_json::Value;

use super::{Place, at, counts, json};

/// A log with a line for each of `lines`, a second apart.
fn log(lines: &[&str]) -> String {
    let line =
        |(second, line): (usize, &&str)| format!("Nov 24 08:{:02}:{:02} mx postfix/{line}\n", second / 60, second % 60);
    lines.iter().enumerate().map(line).collect()
}

fn read(lines: &[&str], arguments: &[&str]) -> Value {
    let place = Place::new();
    json(&[&["--as", "postfix"], arguments].concat(), &[&place.file("mail.log", log(lines))])
}

/// Why it cannot be told, and of how many.
fn not_told(report: &Value) -> Vec<(String, i64)> {
    let list = report["not_told"].as_array().expect("a list");
    list.iter().map(|one| (one["why"].as_str().expect("words").into(), at(one, "/messages"))).collect()
}

const TLS_13: &str = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)";

/// `smtpd_proxy_filter`: the border's sessions have no queue; the filter gives the message back under a name.
#[test]
fn a_filter_before_the_queue_is_no_hop() {
    let established = format!("smtpd[1]: Anonymous TLS connection established from a.example[192.0.2.1]: {TLS_13}");
    let accept = |who: &str, sender: &str, queued: &str| {
        format!(
            "proxy-accept: END-OF-MESSAGE from {who}: 250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok{queued}; from=<{sender}> to=<u@example.net> proto=ESMTP helo=<x>"
        )
    };
    let first = format!("smtpd[1]: NOQUEUE: {}", accept("a.example[192.0.2.1]", "s@a.example", ": queued as BBBBB1"));
    let second = format!("smtpd[3]: NOQUEUE: {}", accept("b.example[192.0.2.2]", "s@b.example", ": queued as BBBBB2"));
    let third = format!("smtpd[3]: NOQUEUE: {}", accept("b.example[192.0.2.2]", "s@b.example", ""));
    let login = format!("smtpd[4]: NOQUEUE: {}", accept("c.example[192.0.2.3]", "s@c.example", ""));
    let lines = [
        "smtpd[1]: connect from a.example[192.0.2.1]",
        &established,
        "smtpd[1]: NOQUEUE: client=a.example[192.0.2.1]",
        "smtpd[2]: connect from localhost[127.0.0.1]",
        "smtpd[2]: BBBBB1: client=localhost[127.0.0.1], orig_client=a.example[192.0.2.1]",
        "cleanup[9]: BBBBB1: message-id=<1@a.example>",
        "qmgr[8]: BBBBB1: from=<s@a.example>, size=1000, nrcpt=2 (queue active)",
        &first,
        "smtpd[1]: disconnect from a.example[192.0.2.1] ehlo=2 starttls=1 mail=1 rcpt=2 data=1 quit=1 commands=8",
        "qmgr[8]: BBBBB1: removed",
        // In plaintext, and queued only after the filter has answered; and a message that has no name.
        "smtpd[3]: connect from b.example[192.0.2.2]",
        "smtpd[3]: NOQUEUE: client=b.example[192.0.2.2]",
        "smtpd[2]: BBBBB2: client=localhost[127.0.0.1]",
        &second,
        "qmgr[8]: BBBBB2: from=<s@b.example>, size=500, nrcpt=1 (queue active)",
        "smtpd[3]: NOQUEUE: client=b.example[192.0.2.2]",
        &third,
        "smtpd[3]: NOQUEUE: proxy-reject: END-OF-MESSAGE from b.example[192.0.2.2]: 554 5.7.1 Spam; from=<s@b.example> to=<u@example.net> proto=ESMTP helo=<x>",
        "smtpd[3]: disconnect from b.example[192.0.2.2] ehlo=1 mail=3 rcpt=3 data=2/3 quit=1 commands=10/11",
        "smtpd[2]: disconnect from localhost[127.0.0.1] ehlo=1 mail=2 rcpt=2 data=2 quit=1 commands=8",
        "smtpd[4]: connect from c.example[192.0.2.3]",
        "smtpd[4]: NOQUEUE: client=c.example[192.0.2.3], sasl_method=PLAIN, sasl_username=u",
        &login,
        "smtpd[4]: disconnect from c.example[192.0.2.3] ehlo=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=6",
    ];
    for arguments in [&[][..], &["--internal"]] {
        let report = read(&lines, arguments);
        assert_eq!(counts(&report, "inbound"), [[1, 2, 0, 0], [0, 1, 0, 0]], "{report:#}");
        assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/bytes"), 1500);
        assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/recipients"), 4);
        assert_eq!(at(&report, "/inbound/what_if/0/wanted/lost/recipients"), 2);
        assert_eq!((at(&report, "/not_counted/submissions"), at(&report, "/not_counted/internal")), (1, 0));
    }
}

/// A filter behind the queue gives the message back; by XFORWARD it says so, and without, it is this machine's.
#[test]
fn a_filter_behind_the_queue_is_no_hop() {
    let lines = [
        "smtpd[1]: connect from b.example[192.0.2.2]",
        "smtpd[1]: AAAAA1: client=b.example[192.0.2.2]",
        "qmgr[8]: AAAAA1: from=<s@b.example>, size=500, nrcpt=1 (queue active)",
        "smtpd[1]: disconnect from b.example[192.0.2.2] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
        "smtpd[2]: connect from localhost[127.0.0.1]",
        "smtpd[2]: BBBBB1: client=localhost[127.0.0.1], orig_queue_id=AAAAA1, orig_client=b.example[192.0.2.2]",
        "qmgr[8]: BBBBB1: from=<s@b.example>, size=900, nrcpt=1 (queue active)",
        "smtp[7]: AAAAA1: to=<u@example.net>, relay=127.0.0.1[127.0.0.1]:10024, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as BBBBB1)",
        "smtpd[2]: BBBBB2: client=localhost[127.0.0.1]",
        "qmgr[8]: BBBBB2: from=<s@c.example>, size=900, nrcpt=1 (queue active)",
        "smtpd[2]: disconnect from localhost[127.0.0.1] ehlo=1 mail=2 rcpt=2 data=2 quit=1 commands=8",
        "qmgr[8]: AAAAA1: removed",
    ];
    let report = read(&lines, &[]);
    assert_eq!(counts(&report, "inbound")[0], [0, 1, 0, 0], "{report:#}");
    // What went to the filter, and what came from this machine.
    assert_eq!((at(&report, "/not_counted/internal"), &report["outbound"]), (2, &Value::Null));
}

#[test]
fn postscreen_and_its_tls() {
    let established = format!("tlsproxy[5]: Anonymous TLS connection established from [192.0.2.1]:4711: {TLS_13}");
    let reject = |client: &str, sender: &str, to: &str| {
        format!(
            "postscreen[4]: NOQUEUE: reject: RCPT from {client}: 550 5.7.1 Service unavailable; client [x] blocked using zen.example; from=<{sender}>, to=<{to}>, proto=ESMTP, helo=<x>"
        )
    };
    let lines = [
        "postscreen[4]: CONNECT from [192.0.2.1]:4711 to [198.51.100.9]:25",
        "postscreen[4]: CONNECT from [192.0.2.2]:4711 to [198.51.100.9]:25",
        "tlsproxy[5]: CONNECT from [192.0.2.1]:4711",
        &established,
        &reject("[192.0.2.1]:4711", "s@a.example", "u@example.net"),
        &reject("[192.0.2.2]:4711", "s@b.example", "u@example.net"),
        &reject("[192.0.2.2]:4711", "s@b.example", "v@example.net"),
        "postscreen[4]: NOQUEUE: reject: RCPT from [192.0.2.3]:99: 450 4.3.2 Service currently unavailable; from=<s@c.example>, to=<u@example.net>, proto=ESMTP, helo=<x>",
        "tlsproxy[5]: DISCONNECT [192.0.2.1]:4711",
        "postscreen[4]: DISCONNECT [192.0.2.1]:4711",
        "postscreen[4]: DISCONNECT [192.0.2.2]:4711",
        "postscreen[4]: NOQUEUE: reject: CONNECT from [192.0.2.4]:99: too many connections",
    ];
    let report = read(&lines, &[]);
    assert_eq!(counts(&report, "inbound")[1], [1, 1, 0, 0], "{report:#}");
    assert_eq!(at(&report, "/inbound/what_if/0/unwanted/lost/recipients"), 2, "two recipients of one message");
    assert_eq!(at(&report, "/not_counted/deferred"), 1);
}

/// Users' mail is no other server's, accepted or refused; what is refused before there is a sender is no message.
#[test]
fn what_is_no_mail_from_outside() {
    let lines = [
        "submission/smtpd[1]: connect from x[192.0.2.1]",
        "submission/smtpd[1]: NOQUEUE: reject: RCPT from x[192.0.2.1]: 554 5.7.1 <x>: Client host rejected: Access denied; from=<s@a.example> to=<u@example.net> proto=ESMTP helo=<x>",
        "submission/smtpd[1]: disconnect from x[192.0.2.1] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4",
        "smtps/smtpd[1]: connect from x[192.0.2.1]",
        "smtps/smtpd[1]: SSL_accept error from x[192.0.2.1]: lost connection",
        "smtps/smtpd[1]: disconnect from x[192.0.2.1] commands=0/0",
        "submissions/smtpd[2]: connect from x[192.0.2.1]",
        "submissions/smtpd[2]: AAAAA1: client=x[192.0.2.1]",
        "qmgr[8]: AAAAA1: from=<s@a.example>, size=500, nrcpt=1 (queue active)",
        "submissions/smtpd[2]: disconnect from x[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
        "qmgr[8]: AAAAA1: removed",
        "smtpd[3]: connect from y[192.0.2.2]",
        "smtpd[3]: NOQUEUE: reject: CONNECT from y[192.0.2.2]: 554 5.7.1 <y[192.0.2.2]>: Client host rejected: Access denied; proto=SMTP",
        "smtpd[3]: NOQUEUE: milter-reject: EHLO from y[192.0.2.2]: 550 5.7.1 Command rejected; proto=SMTP helo=<y>",
        "smtpd[3]: disconnect from y[192.0.2.2] ehlo=0/1 quit=1 commands=1/2",
        "smtpd[3]: connect from z[192.0.2.3]",
        "smtpd[3]: NOQUEUE: milter-reject: RCPT from z[192.0.2.3]: 550 5.7.1 No; from=<s@z.example> to=<u@example.net> proto=ESMTP helo=<z>",
        "smtpd[3]: disconnect from z[192.0.2.3] ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4",
        "smtpd[3]: warning: z[192.0.2.3]: SASL PLAIN authentication failed: x",
    ];
    let report = read(&lines, &[]);
    assert_eq!(counts(&report, "inbound"), [[0, 0, 0, 0], [0, 1, 0, 0]], "{report:#}");
    assert_eq!(at(&report, "/inbound/mail/2/failed"), 0);
    assert_eq!(at(&report, "/not_counted/submissions"), 1);
}

/// What is not there is not guessed, and the report says why.
#[test]
fn sessions_that_are_not_whole() {
    let established = format!("smtpd[2]: Anonymous TLS connection established from c.example[192.0.2.3]: {TLS_13}");
    let lines = [
        // Begun before the log: without counts at its end nothing is known of TLS.
        "smtpd[1]: AAAAA1: client=a.example[192.0.2.1]",
        "qmgr[8]: AAAAA1: from=<s@a.example>, size=1, nrcpt=1 (queue active)",
        "smtpd[2]: connect from c.example[192.0.2.3]",
        // A message before STARTTLS, and one after it.
        "smtpd[2]: AAAAA2: client=c.example[192.0.2.3]",
        "qmgr[8]: AAAAA2: from=<s@c.example>, size=10, nrcpt=1 (queue active)",
        &established,
        "smtpd[2]: AAAAA3: client=c.example[192.0.2.3]",
        "qmgr[8]: AAAAA3: from=<s@c.example>, size=100, nrcpt=1 (queue active)",
        "smtpd[2]: disconnect from c.example[192.0.2.3]",
        "smtpd[1]: disconnect from a.example[192.0.2.1]",
        // Cut off by the end of the log, after lines about TLS were seen: it has begun, and no TLS with it.
        "smtpd[4]: connect from d.example[192.0.2.4]",
        "smtpd[4]: AAAAA4: client=d.example[192.0.2.4]",
        "qmgr[8]: AAAAA4: from=<s@d.example>, size=1000, nrcpt=1 (queue active)",
    ];
    let report = read(&lines, &[]);
    assert_eq!(counts(&report, "inbound")[0], [1, 2, 1, 0], "{report:#}");
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/lost/bytes"), 1010);
    assert_eq!(not_told(&report), [("in sessions that began or ended outside of the log".into(), 1)]);
    // Nothing tells of TLS at all.
    let lines = [
        "smtpd[1]: connect from a.example[192.0.2.1]",
        "smtpd[1]: 4ZbTq52kLmz1XyZ: client=a.example[192.0.2.1]",
        "qmgr[8]: 4ZbTq52kLmz1XyZ: from=<s@a.example>, size=1, nrcpt=1 (queue active)",
        "smtpd[1]: disconnect from a.example[192.0.2.1]",
    ];
    let report = read(&lines, &[]);
    assert_eq!(counts(&report, "inbound")[0], [0, 0, 1, 0]);
    assert!(not_told(&report)[0].0.contains("smtpd_tls_loglevel"));
}

/// `Dec 31` and `Jan  1` of one file are a day apart.
#[test]
fn a_year_ends_in_the_middle_of_a_file() {
    let place = Place::new();
    let session = |day: &str, id: &str| {
        format!(
            "{day} 12:00:00 mx postfix/smtpd[1]: connect from a.example[192.0.2.1]\n{day} 12:00:00 mx postfix/smtpd[1]: {id}: client=a.example[192.0.2.1]\n\
             {day} 12:00:00 mx postfix/qmgr[8]: {id}: from=<s@a.example>, size=1, nrcpt=1 (queue active)\n\
             {day} 12:00:00 mx postfix/smtpd[1]: disconnect from a.example[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5\n"
        )
    };
    let file = place.file("mail.log", session("Dec 31", "AAAAA1") + &session("Jan  1", "AAAAA2"));
    let report = json(&[], &[&file]);
    assert_eq!(at(&report, "/period/days"), 2);
    assert_eq!(counts(&report, "inbound")[0], [0, 2, 0, 0]);
}
