//! Logs of other servers than Postfix, with known counts.

use serde_json::Value;

use super::{Place, at, counts, json};

const SENDMAIL: &str = "\
Nov 24 07:59:00 mx sm-mta[1]: starting daemon (8.18.1): SMTP+queueing@00:10:00
Nov 24 07:59:30 mx sm-mta[2]: 6AO7xUab000002: from=<s@early.example>, size=900, class=0, nrcpts=1, msgid=<0@early.example>, proto=ESMTP, daemon=MTA-v4, relay=mx.early.example [192.0.2.5]
Nov 24 07:59:30 mx sm-mta[2]: 6AO7xUab000002: to=<u@example.net>, delay=00:00:00, xdelay=00:00:00, mailer=local, pri=30000, dsn=2.0.0, stat=Sent
Nov 24 08:00:00 mx sm-mta[10]: STARTTLS=server, relay=mx.a.example [192.0.2.1], version=TLSv1.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384, bits=256/256
Nov 24 08:00:00 mx sm-mta[10]: 6AO800ab000010: from=<s@a.example>, size=1000, class=0, nrcpts=2, msgid=<1@a.example, proto=ESMTP, relay=x [203.0.113.1]>, proto=ESMTPS, daemon=MTA-v4, relay=mx.a.example [192.0.2.1]
Nov 24 08:00:01 mx sm-mta[11]: 6AO800ab000010: to=<u@example.net>,<v@example.net>, delay=00:00:01, xdelay=00:00:01, mailer=local, pri=60000, dsn=2.0.0, stat=Sent
Nov 24 08:00:02 mx sm-mta[12]: 6AO802ab000012: from=<s@b.example>, size=2000, class=0, nrcpts=1, msgid=<2@b.example>, bodytype=8BITMIME, proto=ESMTP, daemon=MTA-v4, relay=mx.b.example [192.0.2.2] (may be forged)
Nov 24 08:00:03 mx sm-mta[13]: 6AO802ab000012: to=<u@example.net>, delay=00:00:01, xdelay=00:00:01, mailer=local, pri=30000, dsn=4.0.0, stat=Deferred: local mailer
Nov 24 08:01:03 mx sm-mta[14]: 6AO802ab000012: to=<u@example.net>, delay=00:01:01, xdelay=00:00:01, mailer=local, pri=30000, dsn=2.0.0, stat=Sent
Nov 24 08:02:00 mx sm-mta[20]: 6AO820ab000020: ruleset=check_rcpt, arg1=<u@d.example>, relay=[203.0.113.9], reject=550 5.7.1 <u@d.example>... Relaying denied
Nov 24 08:02:00 mx sm-mta[20]: 6AO820ab000020: from=<s@bad.example>, size=0, class=0, nrcpts=0, proto=ESMTP, daemon=MTA-v4, relay=[203.0.113.9]
Nov 24 08:02:10 mx sm-mta[21]: 6AO821ab000021: ruleset=check_rcpt, arg1=<no@example.net>, relay=mx.a.example [192.0.2.1], reject=450 4.7.1 greylisted
Nov 24 08:02:10 mx sm-mta[21]: 6AO821ab000021: from=<s@grey.example>, size=0, class=0, nrcpts=0, proto=ESMTP, daemon=MTA-v4, relay=mx.grey.example [192.0.2.9]
Nov 24 08:03:00 mx sm-mta[22]: STARTTLS=server, relay=spam.example [192.0.2.30], version=TLSv1.2, verify=FAIL, cipher=ECDHE-RSA-AES256-GCM-SHA384, bits=256/256
Nov 24 08:03:00 mx sm-mta[22]: 6AO830ab000022: from=<s@spam.example>, size=700, class=0, nrcpts=1, msgid=<3@spam.example>, proto=ESMTPS, daemon=MTA-v4, relay=spam.example [192.0.2.30]
Nov 24 08:03:00 mx sm-mta[22]: 6AO830ab000022: Milter: data, reject=554 5.7.1 Spam
Nov 24 08:03:00 mx sm-mta[22]: 6AO830ab000022: to=<u@example.net>, delay=00:00:00, pri=30700, stat=Spam
Nov 24 08:04:00 mx sm-mta[30]: 6AO840ab000030: STARTTLS=server, relay=part.example [192.0.2.40], version=TLSv1.2, verify=NOT, cipher=ECDHE-RSA-AES256-GCM-SHA384, bits=256/256
Nov 24 08:04:00 mx sm-mta[30]: 6AO840ab000030: <no@example.net>... User unknown
Nov 24 08:04:00 mx sm-mta[30]: 6AO840ab000030: from=<s@part.example>, size=300, class=0, nrcpts=1, msgid=<4@part.example>, proto=ESMTPS, daemon=MTA-v4, relay=part.example [192.0.2.40]
Nov 24 08:04:01 mx sm-mta[31]: 6AO840ab000030: to=<u@example.net>, delay=00:00:01, mailer=local, pri=30000, dsn=2.0.0, stat=Sent
Nov 24 08:05:00 mx sm-mta[40]: STARTTLS=server, relay=laptop.example [192.0.2.50], version=TLSv1.3, verify=NO, cipher=TLS_AES_256_GCM_SHA384, bits=256/256
Nov 24 08:05:00 mx sm-mta[40]: AUTH=server, relay=laptop.example [192.0.2.50], authid=u, mech=PLAIN, bits=0
Nov 24 08:05:00 mx sm-mta[40]: 6AO850ab000040: from=<u@example.net>, size=400, class=0, nrcpts=3, msgid=<5@example.net>, proto=ESMTP, daemon=MTA-v4, relay=laptop.example [192.0.2.50]
Nov 24 08:05:01 mx sm-mta[41]: STARTTLS=client, relay=mx.c.example., version=TLSv1.3, verify=FAIL, cipher=TLS_AES_256_GCM_SHA384, bits=256/256
Nov 24 08:05:01 mx sm-mta[41]: 6AO850ab000040: to=<x@c.example>,<y@c.example>, delay=00:00:01, xdelay=00:00:01, mailer=esmtp, pri=90400, relay=mx.c.example. [198.51.100.1], dsn=2.0.0, stat=Sent (250 2.0.0 Ok, stat=Sent)
Nov 24 08:05:02 mx sm-mta[41]: 6AO850ab000040: to=<z@e.example>, delay=00:00:02, xdelay=00:00:01, mailer=esmtp, pri=90400, relay=mx.e.example. [198.51.100.2], dsn=2.0.0, stat=Sent (ok)
Nov 24 08:06:00 mx sendmail[50]: 6AO860ab000050: from=root, size=300, class=0, nrcpts=1, msgid=<6@mx.example.net>, relay=root@localhost
Nov 24 08:07:00 mx sm-mta[60]: STARTTLS=server, error: accept failed=-1, reason=no shared cipher, SSL_error=1, errno=0, retry=-1, relay=old.example [192.0.2.77]
";

#[test]
fn a_sendmail_log_is_joined() {
    let place = Place::new();
    let report = json(&[], &[&place.file("maillog", SENDMAIL)]);
    // Before the first line about TLS nothing is known: early.example.
    assert_eq!(counts(&report, "inbound"), [[2, 1, 1, 0], [1, 1, 0, 0]], "{report:#}");
    assert_eq!(report.pointer("/inbound/mail/0/versions"), Some(&serde_json::json!([["TLS1.3", 1], ["TLS1.2", 1]])));
    assert_eq!(at(&report, "/inbound/mail/2/failed"), 1, "old.example");
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/recipients"), 4);
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/bytes"), 3300);
    assert_eq!(counts(&report, "outbound")[0], [1, 1, 0, 0]);
    assert_eq!(at(&report, "/outbound/what_if/0/wanted/of/recipients"), 3);
    for (what, count) in [("submissions", 1), ("internal", 1), ("deferred", 1), ("broken", 0)] {
        assert_eq!(at(&report, &format!("/not_counted/{what}")), count, "{what}");
    }
    assert_eq!(report.pointer("/sources/0/kind"), Some(&"Sendmail log".into()));
    let why = report["not_told"][0]["why"].as_str().expect("why");
    assert!(why.contains("LogLevel"), "{why}");
}

const OPENSMTPD: &str = "\
Nov 24 08:00:00 mx smtpd[9]: info: OpenSMTPD 7.6.0-portable starting
Nov 24 08:00:00 mx smtpd[1]: f274cf34b7d00001 smtp connected address=192.0.2.1 host=mx.a.example
Nov 24 08:00:00 mx smtpd[1]: f274cf34b7d00001 smtp tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256
Nov 24 08:00:00 mx smtpd[1]: f274cf34b7d00002 smtp connected address=[2001:db8::2] host=<unknown>
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00001 smtp message msgid=78e5c401 size=1000 nrcpt=2 proto=ESMTP
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00001 smtp envelope evpid=78e5c401920bcc01 from=<s@a.example> to=<u@example.net>
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00001 smtp envelope evpid=78e5c401920bcc02 from=<s@a.example> to=<v@example.net>
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00002 smtp message msgid=78e5c402 size=2000 nrcpt=1 proto=ESMTP
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00002 smtp envelope evpid=78e5c402920bcc01 from=<s@b.example> to=<u@example.net>
Nov 24 08:00:02 mx smtpd[1]: f274cf34b7d00001 smtp disconnected reason=quit
Nov 24 08:00:02 mx smtpd[1]: f274cf34b7d00002 smtp disconnected reason=quit
Nov 24 08:00:03 mx smtpd[1]: f274cf34b7d00003 smtp connected address=203.0.113.9 host=bad.example
Nov 24 08:00:03 mx smtpd[1]: f274cf34b7d00003 smtp failed-command command=\"RCPT TO:<u@d.example>\" result=\"550 Invalid recipient: <u@d.example>\"
Nov 24 08:00:03 mx smtpd[1]: f274cf34b7d00003 smtp failed-command command=\"EHLO\" result=\"501 Invalid\"
Nov 24 08:00:03 mx smtpd[1]: f274cf34b7d00003 smtp disconnected reason=quit
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00004 smtp connected address=198.51.100.50 host=laptop.example
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00004 smtp tls ciphers=TLSv1.3:TLS_AES_256_GCM_SHA384:256
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00004 smtp authentication user=u result=ok
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00004 smtp message msgid=78e5c404 size=400 nrcpt=1 proto=ESMTP
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00004 smtp envelope evpid=78e5c404920bcc01 from=<u@example.net> to=<x@c.example>
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00004 smtp disconnected reason=quit
Nov 24 08:00:05 mx smtpd[1]: f274cf34b7d00005 mta connecting address=smtp://198.51.100.1:25 host=mx.c.example
Nov 24 08:00:05 mx smtpd[1]: f274cf34b7d00005 mta connected
Nov 24 08:00:05 mx smtpd[1]: f274cf34b7d00005 mta tls ciphers=TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384:256
Nov 24 08:00:05 mx smtpd[1]: f274cf34b7d00005 mta cert-check result=\"unverified\" fingerprint=\"SHA256:x\"
Nov 24 08:00:06 mx smtpd[1]: f274cf34b7d00005 mta delivery evpid=78e5c404920bcc01 from=<u@example.net> to=<x@c.example> rcpt=<-> source=\"192.0.2.25\" relay=\"198.51.100.1 (mx.c.example)\" delay=1s result=\"Ok\" stat=\"250 2.0.0 Ok\"
Nov 24 08:00:06 mx smtpd[1]: f274cf34b7d00005 mta delivery evpid=78e5c404920bcc02 from=<u@example.net> to=<y@c.example> rcpt=<-> source=\"192.0.2.25\" relay=\"198.51.100.1 (mx.c.example)\" delay=1s result=\"Ok\" stat=\"250 2.0.0 Ok\"
Nov 24 08:00:07 mx smtpd[1]: f274cf34b7d00005 mta disconnected reason=quit messages=1
Nov 24 08:00:08 mx smtpd[1]: f274cf34b7d00006 smtp connected address=192.0.2.77 host=old.example
Nov 24 08:00:08 mx smtpd[1]: f274cf34b7d00006 smtp disconnected reason=\"io-error: handshake failed: error:0A000102:SSL routines::unsupported protocol\"
Nov 24 08:00:09 mx smtpd[1]: f274cf34b7d00007 smtp connected address=local host=mx.example.net
Nov 24 08:00:09 mx smtpd[1]: f274cf34b7d00007 smtp message msgid=78e5c407 size=300 nrcpt=1 proto=ESMTP
Nov 24 08:00:09 mx smtpd[1]: f274cf34b7d00007 smtp envelope evpid=78e5c407920bcc01 from=<root@mx.example.net> to=<u@example.net>
Nov 24 08:00:09 mx smtpd[1]: f274cf34b7d00007 smtp disconnected reason=quit
Nov 24 08:00:10 mx smtpd[1]: f274cf34b7d00008 mda delivery evpid=78e5c402920bcc01 from=<s@b.example> to=<u@example.net> rcpt=<u@example.net> user=u delay=9s result=Ok stat=Delivered
";

/// The same in the words of versions before 6.4, which tell of each recipient by itself.
const OPENSMTPD_5: &str = "\
Nov 24 08:00:00 mx smtpd[1]: f274cf34b7d00001 smtp event=connected address=192.0.2.1 host=mx.a.example
Nov 24 08:00:00 mx smtpd[1]: f274cf34b7d00001 smtp event=starttls address=192.0.2.1 host=mx.a.example ciphers=\"version=TLSv1.2, cipher=ECDHE-RSA-AES256-GCM-SHA384, bits=256\"
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00001 smtp event=message address=192.0.2.1 host=mx.a.example msgid=78e5c401 from=<s@a.example> to=<u@example.net> size=1000 ndest=1 proto=ESMTP
Nov 24 08:00:01 mx smtpd[1]: f274cf34b7d00001 smtp event=message address=192.0.2.1 host=mx.a.example msgid=78e5c401 from=<s@a.example> to=<v@example.net> size=1000 ndest=1 proto=ESMTP
Nov 24 08:00:02 mx smtpd[1]: f274cf34b7d00001 smtp event=closed address=192.0.2.1 host=mx.a.example reason=quit
Nov 24 08:00:03 mx smtpd[1]: f274cf34b7d00002 smtp event=connected address=192.0.2.2 host=mx.b.example
Nov 24 08:00:04 mx smtpd[1]: f274cf34b7d00002 smtp event=message address=192.0.2.2 host=mx.b.example msgid=78e5c402 from=<s@b.example> to=<u@example.net> size=2000 ndest=1 proto=ESMTP
";

#[test]
fn an_opensmtpd_log_is_joined() {
    let place = Place::new();
    let report = json(&[], &[&place.file("maillog", OPENSMTPD)]);
    assert_eq!(counts(&report, "inbound"), [[1, 1, 0, 0], [0, 1, 0, 0]], "{report:#}");
    assert_eq!(at(&report, "/inbound/mail/2/failed"), 1, "old.example");
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/recipients"), 3);
    assert_eq!(report.pointer("/inbound/heaviest/0/sender"), Some(&"b.example".into()));
    assert_eq!(counts(&report, "outbound")[0], [1, 0, 0, 0]);
    assert_eq!(at(&report, "/outbound/what_if/0/wanted/of/recipients"), 2);
    assert_eq!(report.pointer("/outbound/mail/0/versions"), Some(&serde_json::json!([["TLS1.2", 1]])));
    for (what, count) in [("submissions", 1), ("internal", 1), ("broken", 0)] {
        assert_eq!(at(&report, &format!("/not_counted/{what}")), count, "{what}");
    }
    let old = json(&[], &[&place.file("old", OPENSMTPD_5)]);
    assert_eq!(counts(&old, "inbound"), [[1, 1, 0, 0], [0; 4]], "{old:#}");
    assert_eq!(at(&old, "/inbound/what_if/0/wanted/of/recipients"), 3);
}

/// One file may hold several programs' lines; `--as` reads one's alone.
#[test]
fn a_log_of_several_programs_is_read_whole_or_in_part() {
    let place = Place::new();
    let log = place.file("mail.log", format!("{OPENSMTPD}{SENDMAIL}"));
    let all = json(&[], &[&log]);
    assert_eq!(counts(&all, "inbound")[0], [3, 2, 1, 0]);
    let one = json(&["--as", "opensmtpd"], &[&log]);
    assert_eq!(counts(&one, "inbound")[0], [1, 1, 0, 0]);
}

fn exim(lines: &str) -> Value {
    let place = Place::new();
    let log = lines.trim().lines().map(|line| format!("2026-11-24 08:00:{line}\n")).collect::<String>();
    json(&[], &[&place.file("mainlog", log)])
}

/// What Exim says of mail that goes out: `X=` is there by default, so that without it there was no TLS, unless the log
/// shows that it is left out.
#[test]
fn exims_deliveries_without_x_are_plaintext_unless_x_is_left_out() {
    let plain = "00 1vNXYZ-00ABCF-2k => x@d.example R=dnslookup T=remote_smtp H=mx.d.example [198.51.100.1] C=\"250 OK\"\n\
                 01 1vNXYZ-00ABCF-2k Completed\n";
    let with_x = "02 1vNXYZ-00ABCG-2k => x@e.example R=dnslookup T=remote_smtp H=mx.e.example [198.51.100.2] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=yes C=\"250 OK\"\n\
                  03 1vNXYZ-00ABCG-2k Completed\n";
    let left_out = "04 1vNXYZ-00ABCH-2k <= s@a.example H=mx.a.example [192.0.2.1] P=esmtps S=100 id=1@a.example\n";
    let note = |report: &Value| report["notes"].to_string().contains("log_selector");
    let all_plain = exim(plain);
    assert_eq!(counts(&all_plain, "outbound")[0], [0, 1, 0, 0]);
    assert!(note(&all_plain), "it says that this was taken for granted");
    let before_the_first_x = exim(&format!("{plain}{with_x}"));
    assert_eq!(counts(&before_the_first_x, "outbound")[0], [1, 1, 0, 0]);
    assert!(!note(&before_the_first_x));
    let left = exim(&format!("{plain}{left_out}"));
    assert_eq!(counts(&left, "outbound")[0], [0, 0, 1, 0]);
    let why = left["not_told"][0]["why"].as_str().expect("why");
    assert!(why.contains("log_selector = +tls_cipher"), "{why}");
}

#[test]
fn a_message_of_which_a_recipient_was_refused_counts_once() {
    let report = exim(
        "00 H=mx.a.example [192.0.2.1] F=<s@a.example> rejected RCPT <no@example.net>: Unknown user\n\
         01 1vNXYZ-00ABCH-2k <= s@a.example H=mx.a.example [192.0.2.1] P=esmtp S=100 id=1@a.example\n\
         02 H=mx.a.example [192.0.2.1] F=<s@a.example> A=plain:u rejected RCPT <no@example.net>: Unknown user\n",
    );
    assert_eq!(counts(&report, "inbound"), [[0, 1, 0, 0], [0; 4]], "{report:#}");
    assert_eq!(at(&report, "/not_counted/submissions"), 1);
}

const EXCHANGE: &str = "\
\u{feff}#Software: Microsoft Exchange Server\r
#Version: 15.02.1544.004\r
#Log-type: SMTP Receive Protocol Log\r
#Date: 2026-11-24T08:00:00.000Z\r
#Fields: date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context\r
2026-11-24T08:00:00.000Z,MX\\Default Frontend MX,01,0,192.0.2.25:25,198.51.100.7:56026,+,,\r
2026-11-24T08:00:00.001Z,MX\\Default Frontend MX,01,1,192.0.2.25:25,198.51.100.7:56026,>,\"220 MX Microsoft ESMTP MAIL Service ready at Tue, 24 Nov 2026 08:00:00 +0000\",\r
2026-11-24T08:00:00.002Z,MX\\Default Frontend MX,01,2,192.0.2.25:25,198.51.100.7:56026,<,EHLO mx.a.example,\r
2026-11-24T08:00:00.003Z,MX\\Default Frontend MX,01,3,192.0.2.25:25,198.51.100.7:56026,>,250  MX Hello [198.51.100.7] SIZE 37748736 PIPELINING STARTTLS,\r
2026-11-24T08:00:00.004Z,MX\\Default Frontend MX,01,4,192.0.2.25:25,198.51.100.7:56026,<,STARTTLS,\r
2026-11-24T08:00:00.005Z,MX\\Default Frontend MX,01,5,192.0.2.25:25,198.51.100.7:56026,>,220 2.0.0 SMTP server ready,\r
2026-11-24T08:00:00.006Z,MX\\Default Frontend MX,01,6,192.0.2.25:25,198.51.100.7:56026,*,,\"TLS protocol SP_PROT_TLS1_2_SERVER negotiation succeeded using bulk encryption algorithm CALG_AES_256 with strength 256 bits, MAC hash algorithm CALG_SHA_384\"\r
2026-11-24T08:00:00.007Z,MX\\Default Frontend MX,01,7,192.0.2.25:25,198.51.100.7:56026,<,EHLO mx.a.example,\r
2026-11-24T08:00:00.008Z,MX\\Default Frontend MX,01,8,192.0.2.25:25,198.51.100.7:56026,>,250  MX Hello [198.51.100.7] SIZE 37748736 PIPELINING,\r
2026-11-24T08:00:00.009Z,MX\\Default Frontend MX,01,9,192.0.2.25:25,198.51.100.7:56026,<,MAIL FROM:<s@a.example> SIZE=1000,\r
2026-11-24T08:00:00.010Z,MX\\Default Frontend MX,01,10,192.0.2.25:25,198.51.100.7:56026,<,RCPT TO:<u@example.net>,\r
2026-11-24T08:00:00.011Z,MX\\Default Frontend MX,01,11,192.0.2.25:25,198.51.100.7:56026,<,RCPT TO:<no@example.net>,\r
2026-11-24T08:00:00.012Z,MX\\Default Frontend MX,02,0,192.0.2.25:25,198.51.100.8:1234,+,,\r
2026-11-24T08:00:00.012Z,MX\\Default Frontend MX,02,1,192.0.2.25:25,198.51.100.8:1234,<,EHLO mx.b.example,\r
2026-11-24T08:00:00.012Z,MX\\Default Frontend MX,02,2,192.0.2.25:25,198.51.100.8:1234,>,250  MX Hello,\r
2026-11-24T08:00:00.012Z,MX\\Default Frontend MX,02,3,192.0.2.25:25,198.51.100.8:1234,<,MAIL FROM:<s@b.example>,\r
2026-11-24T08:00:00.012Z,MX\\Default Frontend MX,02,4,192.0.2.25:25,198.51.100.8:1234,>,250 2.1.0 Sender OK,\r
2026-11-24T08:00:00.013Z,MX\\Default Frontend MX,01,12,192.0.2.25:25,198.51.100.7:56026,<,BDAT 1000 LAST,\r
2026-11-24T08:00:00.014Z,MX\\Default Frontend MX,01,13,192.0.2.25:25,198.51.100.7:56026,>,250 2.1.0 Sender OK,\r
2026-11-24T08:00:00.015Z,MX\\Default Frontend MX,01,14,192.0.2.25:25,198.51.100.7:56026,>,250 2.1.5 Recipient OK,\r
2026-11-24T08:00:00.016Z,MX\\Default Frontend MX,01,15,192.0.2.25:25,198.51.100.7:56026,>,550 5.1.10 RESOLVER.ADR.RecipientNotFound,\r
2026-11-24T08:00:00.017Z,MX\\Default Frontend MX,01,16,192.0.2.25:25,198.51.100.7:56026,>,\"250 2.6.0 <1@a.example> [InternalId=1, Hostname=MX] 1000 bytes Queued mail for delivery\",\r
2026-11-24T08:00:00.018Z,MX\\Default Frontend MX,01,17,192.0.2.25:25,198.51.100.7:56026,-,,Remote\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,5,192.0.2.25:25,198.51.100.8:1234,<,RCPT TO:<u@example.net>,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,6,192.0.2.25:25,198.51.100.8:1234,>,250 2.1.5 Recipient OK,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,7,192.0.2.25:25,198.51.100.8:1234,<,DATA,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,8,192.0.2.25:25,198.51.100.8:1234,>,354 Start mail input; end with <CRLF>.<CRLF>,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,9,192.0.2.25:25,198.51.100.8:1234,>,250 2.6.0 <2@b.example> Queued mail for delivery,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,10,192.0.2.25:25,198.51.100.8:1234,<,MAIL FROM:<s@bad.example>,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,11,192.0.2.25:25,198.51.100.8:1234,>,250 2.1.0 Sender OK,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,12,192.0.2.25:25,198.51.100.8:1234,<,RCPT TO:<x@elsewhere.example>,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,13,192.0.2.25:25,198.51.100.8:1234,>,550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain,\r
2026-11-24T08:00:01.000Z,MX\\Default Frontend MX,02,14,192.0.2.25:25,198.51.100.8:1234,-,,Local\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,0,192.0.2.25:587,198.51.100.9:1234,+,,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,1,192.0.2.25:587,198.51.100.9:1234,<,AUTH LOGIN,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,2,192.0.2.25:587,198.51.100.9:1234,>,235 <authentication information>,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,3,192.0.2.25:587,198.51.100.9:1234,<,MAIL FROM:<u@example.net>,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,4,192.0.2.25:587,198.51.100.9:1234,<,RCPT TO:<x@c.example>,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,5,192.0.2.25:587,198.51.100.9:1234,<,BDAT 10 LAST,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,6,192.0.2.25:587,198.51.100.9:1234,>,250 2.1.0 Sender OK,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,7,192.0.2.25:587,198.51.100.9:1234,>,250 2.1.5 Recipient OK,\r
2026-11-24T08:00:02.000Z,MX\\Client Frontend MX,03,8,192.0.2.25:587,198.51.100.9:1234,>,250 2.6.0 Queued mail for delivery,\r
";

const TRACKING: &str = "\
#Software: Microsoft Exchange Server
#Version: 15.01.2375.007
#Log-type: Message Tracking Log
#Date: 2026-11-24T08:00:00.000Z
#Fields: date-time,client-ip,client-hostname,server-ip,server-hostname,source-context,connector-id,source,event-id,internal-message-id,message-id,network-message-id,recipient-address,recipient-status,total-bytes,recipient-count,related-recipient-address,reference,message-subject,sender-address,return-path,message-info,directionality,tenant-id,original-client-ip,original-server-ip,custom-data,transport-traffic-type,log-id,schema-version
2026-11-24T08:00:00.000Z,192.0.2.25,MX,192.0.2.25,MX,08DE;,MX\\Default MX,SMTP,RECEIVE,1,<1@a.example>,n1,u@example.net;v@example.net,,1000,2,,,\"Subject, with \"\"commas\"\"\",s@a.example,s@a.example,0cA: ,Incoming,,198.51.100.7,192.0.2.25,S:x=1,Email,l1,15.01
2026-11-24T08:00:00.100Z,,MX,,MX,\"MDB:1, Mailbox:2\",,STOREDRIVER,DELIVER,1,<1@a.example>,n1,u@example.net,,1000,1,,,x,s@a.example,s@a.example,,Incoming,,,,,Email,l2,15.01
2026-11-24T08:00:01.000Z,192.0.2.30,pc,192.0.2.25,MX,08DE;,MX\\Client MX,SMTP,RECEIVE,2,<2@example.net>,n2,x@c.example,,500,1,,,x,u@example.net,u@example.net,,Originating,,198.51.100.9,,,Email,l3,15.01
2026-11-24T08:00:02.000Z,192.0.2.25,MX,198.51.100.1,mx.c.example,;250 ok,Out,SMTP,SEND,2,<2@example.net>,n2,x@c.example,250 2.1.5,500,1,,,x,u@example.net,u@example.net,,Originating,,,,,Email,l4,15.01
";

#[test]
fn exchanges_logs_are_read() {
    let place = Place::new();
    let report = json(&[], &[&place.file("RECV.LOG", EXCHANGE)]);
    assert_eq!(counts(&report, "inbound"), [[1, 1, 0, 0], [0, 1, 0, 0]], "{report:#}");
    assert_eq!(report.pointer("/inbound/mail/0/versions"), Some(&serde_json::json!([["TLS1.2", 1]])));
    assert_eq!(at(&report, "/inbound/what_if/0/wanted/of/recipients"), 2, "one of a.example's was refused");
    assert_eq!(report.pointer("/inbound/heaviest/0/sender"), Some(&"b.example".into()));
    assert_eq!(at(&report, "/not_counted/submissions"), 1);
    assert_eq!((at(&report, "/not_counted/broken"), at(&report, "/lines/unread")), (0, 0));
    // The other direction: who speaks is the other way round.
    let sent = EXCHANGE
        .replace("Receive Protocol", "Send Protocol")
        .replace(",<,", ",?,")
        .replace(",>,", ",<,")
        .replace(",?,", ",>,")
        .replace("_SERVER", "_CLIENT");
    let report = json(&[], &[&place.file("SEND.LOG", sent)]);
    assert_eq!(counts(&report, "outbound")[0], [1, 2, 0, 0], "{report:#}");
    let tracked = json(&[], &[&place.file("MSGTRK.LOG", TRACKING)]);
    assert_eq!(counts(&tracked, "inbound"), [[0, 0, 1, 0], [0; 4]], "{tracked:#}");
    assert_eq!(counts(&tracked, "outbound")[0], [0, 0, 1, 0]);
    assert_eq!(at(&tracked, "/not_counted/submissions"), 1);
    assert!(tracked["not_told"][0]["why"].as_str().is_some_and(|why| why.contains("ProtocolLoggingLevel")));
}
