//! Groups of key exchanges, as Postfix's log, Exim's and stored mail name them.

use smtp_audit::{Audit, Options};
use smtp_proto::tls::Condition;

/// A session with a message, and what its line about TLS says.
fn session(number: u32, tls: &str) -> String {
    let at = |second: u32, text: &str| format!("Nov 24 08:{number:02}:{second:02} mx postfix/{text}\n");
    let client = format!("mx.s{number}.example[192.0.2.{number}]");
    let mut log = at(0, &format!("smtpd[{number}]: connect from {client}"));
    if !tls.is_empty() {
        log += &at(1, &format!("smtpd[{number}]: Anonymous TLS connection established from {client}: {tls}"));
    }
    log += &at(2, &format!("smtpd[{number}]: 4ABC{number:03}: client={client}"));
    log += &at(3, &format!("qmgr[9]: 4ABC{number:03}: from=<a@s{number}.example>, size=1, nrcpt=1 (queue active)"));
    log += &at(4, &format!("smtpd[{number}]: disconnect from {client} ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"));
    log
}

/// What is told of mail in such a log.
fn inbound(sessions: &[&str]) -> serde_json::Value {
    let log: String = (1..).zip(sessions).map(|(number, tls)| session(number, tls)).collect();
    let mut audit = Audit::new(&Options::default());
    audit.stream("mail.log".as_ref(), log.as_bytes(), &()).expect("read");
    let report = audit.report(Condition::Tls).expect("a report");
    let told: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    told["inbound"].clone()
}

const SUITE: &str = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)";

/// As Postfix 3.4 and later write them, with OpenSSL 1.1.1, 3 and 3.5.
#[test]
fn post_quantum_key_exchange_is_priced_by_what_was_used() {
    let hybrid =
        format!("{SUITE} key-exchange X25519MLKEM768 server-signature RSA-PSS (4096 bits) server-digest SHA256");
    let classic = format!("{SUITE} key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256");
    let curve = format!(
        "{SUITE} key-exchange ECDHE (prime256v1) server-signature ECDSA (prime256v1) server-digest SHA256 \
         client-signature ECDSA (prime256v1) client-digest SHA256"
    );
    let older = "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)";
    let told = inbound(&[&hybrid, &classic, &curve, &hybrid, older, ""]);
    assert_eq!(
        told["groups"][0]["groups"],
        serde_json::json!({"": 1, "X25519MLKEM768": 2, "x25519": 1, "secp256r1": 1})
    );
    let row = &told["could"][2];
    assert_eq!(row["policy"], "X25519MLKEM768");
    assert_eq!((&row["used"]["lost"], &row["used"]["of"]), (&4.into(), &6.into()), "{row}");
    assert_eq!(row["offered"], serde_json::Value::Null, "a log does not know it");
}

/// OpenSSL 1.1.0 and before have nothing to say of it: nothing is guessed.
#[test]
fn a_log_without_groups_prices_none() {
    let told = inbound(&[SUITE, "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)", ""]);
    assert_eq!(told["groups"], serde_json::json!([]));
    assert_eq!(told["could"][2]["used"], serde_json::Value::Null);
    assert_eq!(told["what_if"][0]["wanted"]["lost"]["messages"], 1);
}

fn priced(name: &str, source: &str, by: &[&str]) -> serde_json::Value {
    let by = by.iter().map(|name| (*name).to_owned()).collect();
    let mut audit = Audit::new(&Options { by, ..Options::default() });
    audit.stream(name.as_ref(), source.as_bytes(), &()).expect("read");
    let report = audit.report(Condition::Tls).expect("a report");
    let told: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    told["inbound"].clone()
}

/// Exim as Debian builds it, with GnuTLS: its names of ciphers have the group in them, also before TLS 1.3.
#[test]
fn exim_with_gnutls_tells_groups() {
    let log: String = [
        "P=esmtps X=TLS1.3:HYBRID_X25519_MLKEM768__RSA_PSS_RSAE_SHA256__AES_256_GCM:256",
        "P=esmtps X=TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256",
        "P=esmtps X=TLS1.2:ECDHE_SECP256R1__RSA_SHA256__AES_256_GCM:256",
        "P=esmtp",
    ]
    .iter()
    .zip(1..)
    .map(|(tls, n)| {
        format!(
            "2026-11-24 08:00:0{n} 1vNXYZ-00AB{n}0-2k <= a@s{n}.example H=mx.s{n}.example [192.0.2.{n}] {tls} S=1\n"
        )
    })
    .collect();
    let told = priced("mainlog", &log, &[]);
    let groups = serde_json::json!({"": 1, "X25519MLKEM768": 1, "x25519": 1, "secp256r1": 1});
    assert_eq!(told["groups"][0]["groups"], groups);
    let used = &told["could"][2]["used"];
    assert_eq!((&used["lost"], &used["of"]), (&3.into(), &4.into()), "{used}");
}

/// A server names them in its Received fields or never does: its mail before TLS 1.3 is then known to have had none.
#[test]
fn groups_in_received_fields_are_priced_for_the_server_that_names_them() {
    let message = |n: u32, by: &str, tls: &str| {
        format!(
            "From s@s{n}.example Tue Nov 24 08:00:00 2026\nReturn-Path: <s@s{n}.example>\n\
             Received: from mx.s{n}.example (mx.s{n}.example [192.0.2.{n}])\n\t{tls}by {by} (Postfix) with ESMTP{} id 4X{n};\n\t\
             Tue, 24 Nov 2026 08:00:00 +0000\nFrom: s@s{n}.example\n\ntext\n\n",
            if tls.is_empty() { "" } else { "S" }
        )
    };
    let using = |rest: &str| format!("(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits){rest})\n\t");
    let (ours, other) = ("mx.example.net", "old.example.net");
    let mbox = message(1, ours, &using("\n\t key-exchange X25519MLKEM768 server-signature RSA-PSS (2048 bits)"))
        + &message(2, ours, &using("\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits)"))
        + &message(3, ours, "(using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits))\n\t")
        + &message(4, ours, "")
        + &message(5, other, "");
    let told = priced("mbox", &mbox, &[ours, other]);
    let groups = serde_json::json!({"": 1, "X25519MLKEM768": 1, "x25519": 1});
    assert_eq!(told["groups"][0]["groups"], groups);
    let used = &told["could"][2]["used"];
    assert_eq!((&used["lost"], &used["of"]), (&3.into(), &4.into()), "{used}");
    assert_eq!(told["what_if"][0]["wanted"]["of"]["messages"], 5, "{told}");
}
