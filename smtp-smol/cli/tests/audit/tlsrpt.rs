//! TLS reports (RFC 8460), in every way in which they come.

use std::io::Write as _;

use serde_json::{Value, json as object};

use super::{Place, at, counts, json, run, text};

/// As RFC 8460 Appendix B has it, with a policy in the mode given.
fn report(organisation: &str, id: &str, day: u32, mode: &str, sessions: [u64; 2]) -> Value {
    let [succeeded, failed] = sessions;
    object!({
        "organization-name": organisation,
        "date-range": {
            "start-datetime": format!("2026-10-{day:02}T00:00:00Z"),
            "end-datetime": format!("2026-10-{day:02}T23:59:59Z"),
        },
        "contact-info": "sts-reporting@company-x.example",
        "report-id": id,
        "policies": [{
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", format!("mode: {mode}"), "mx: *.mail.company-y.example", "max_age: 86400"],
                "policy-domain": "company-y.example",
                "mx-host": "*.mail.company-y.example",
            },
            "summary": { "total-successful-session-count": succeeded, "total-failure-session-count": failed },
            "failure-details": if failed == 0 { object!([]) } else { object!([{
                "result-type": "certificate-expired",
                "sending-mta-ip": "2001:db8:abcd:0012::1",
                "receiving-mx-hostname": "mx1.mail.company-y.example",
                "failed-session-count": failed,
            }]) },
        }],
    })
}

fn gz(octets: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(octets).expect("compressed");
    gz.finish().expect("compressed")
}

/// The mail that brings it (RFC 8460 5.3), with lines of 76 digits.
fn mail(report: &Value, signed: bool) -> String {
    use base64ct::{Base64, Encoding as _};
    let digits = Base64::encode_string(&gz(report.to_string().as_bytes()));
    let lines: Vec<&str> =
        digits.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("digits")).collect();
    let signature = if signed { "DKIM-Signature: v=1; a=rsa-sha256; d=company-x.example; s=x; b=AAAA\n" } else { "" };
    format!(
        "Received: from mail.company-x.example ([192.0.2.1]) by mx.example.org with ESMTPS id 1;\n\tThu, 8 Oct 2026 08:00:00 +0000\n\
         {signature}From: tlsrpt@mail.sender.example.com\nSubject: Report Domain: example.net\n\
         TLS-Report-Domain: example.net\nTLS-Report-Submitter: mail.sender.example.com\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=\"tlsrpt\";\n\tboundary=\"----=_NextPart_000_024E\"\n\n\
         This is a multi-part message.\n\n------=_NextPart_000_024E\nContent-Type: text/plain; charset=\"us-ascii\"\n\n\
         A report.\n\n------=_NextPart_000_024E\nContent-Type: application/tlsrpt+gzip\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename=\"a!b!1!2.json.gz\"\n\n{}\n\n------=_NextPart_000_024E--\n",
        lines.join("\n")
    )
}

fn policy<'r>(answer: &'r Value, name: &str) -> &'r Value {
    let policies = answer["tls_reports"]["policies"].as_array().expect("policies");
    policies.iter().find(|policy| policy["policy"] == name).unwrap_or_else(|| panic!("no {name} in {answer:#}"))
}

#[test]
fn reports_are_read_in_every_way_in_which_they_come() {
    let place = Place::new();
    let reports: Vec<Value> = (1..=8)
        .map(|id| {
            let failed = [0, 3, 0, 0, 303, 0, 0, 0][id - 1];
            report(
                &format!("Company-{id}"),
                &format!("id-{id}"),
                u32::try_from(id).expect("small"),
                "testing",
                [5326, failed],
            )
        })
        .collect();
    let octets = |id: usize| reports[id - 1].to_string().into_bytes();
    let mbox: String =
        [3, 4].map(|id| format!("From x@y Thu Oct  8 08:00:00 2026\n{}\n", mail(&reports[id - 1], true))).concat();
    place.file("mail/cur/1", mail(&reports[4], true));
    place.file("mail/new/2", mail(&reports[5], false).replace('\n', "\r\n"));
    let sources = [
        place.file("1.json", octets(1)),
        place.file("2.json.gz", gz(&octets(2))),
        place.file("mbox", &mbox),
        place.0.path().join("mail"),
        place.file("7.eml", mail(&reports[6], false)),
        place.file("folder/8.json", octets(8)).parent().expect("a folder").to_path_buf(),
        // The same report once more.
        place.file("copy.json", octets(2)),
    ];
    let answer = json(&[], &sources.each_ref().map(std::path::PathBuf::as_path));
    assert_eq!(at(&answer, "/not_counted/broken"), 0, "{answer:#}");
    let told = |what: &str| at(&answer, &format!("/tls_reports/{what}"));
    assert_eq!([told("reports"), told("copies"), told("signed"), told("unsigned")], [8, 1, 3, 2]);
    let testing = policy(&answer, "sts-testing");
    assert_eq!((testing["succeeded"].as_u64(), testing["failed"].as_u64()), (Some(8 * 5326), Some(306)));
    assert_eq!(testing["organisations"], object!([2, 8]));
    assert_eq!(testing["results"], object!([{ "result": "certificate-expired", "sessions": 306 }]));
    let heaviest = &answer["tls_reports"]["heaviest"][0];
    assert_eq!((&heaviest["organisation"], &heaviest["failed"]), (&"Company-5".into(), &303.into()));
    assert_eq!(answer["tls_reports"]["trend"].as_array().map(Vec::len), Some(8), "a point a day");
    assert_eq!(answer["tls_reports"]["period"]["days"], 8);
    // Mail that brings a report is no mail to be counted.
    assert_eq!(answer["inbound"], Value::Null);

    let screen = text(&[], &sources.each_ref().map(std::path::PathBuf::as_path));
    let first = screen.split("\n\n").next().expect("an answer").replace('\n', " ");
    assert!(
        first.starts_with("Of 42,914 sessions in 8 days that 8 organisations reported under MTA-STS in mode testing, 306 (0.71 %, 95 % interval "),
        "{first}"
    );
    assert!(first.contains("Had the mode been enforce, mail would not have come in these sessions"), "{first}");
    assert!(!first.contains("The interval is that wide"), "{first}");
    let two = [("Company-1", [10_652, 606]), ("Company-2", [0, 3])]
        .map(|(name, sessions)| place.file(name, report(name, name, 1, "testing", sessions).to_string()));
    let few = text(&[], &two.each_ref().map(std::path::PathBuf::as_path)).replace('\n', " ");
    assert!(few.contains("The interval is that wide because few organisations report"), "{few}");
    assert!(screen.contains("Sessions, not messages.") && !screen.contains("No mail was found"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    let page = place.0.path().join("page.html");
    run(&["--html", page.to_str().expect("a name")], &sources.each_ref().map(std::path::PathBuf::as_path));
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("certificate-expired") && page.contains("Company-5"));
}

/// What a policy costs today, what it would cost, and what cannot be known are told apart.
#[test]
fn policies_and_modes_are_told_apart() {
    let place = Place::new();
    let mut tlsa = report("d", "4", 4, "x", [70, 7]);
    tlsa["policies"][0]["policy"] =
        object!({ "policy-type": "tlsa", "policy-string": ["3 1 1 ab"], "policy-domain": "a" });
    let mut none = report("e", "5", 5, "x", [50, 5]);
    none["policies"][0]["policy"] = object!({ "policy-type": "no-policy-found", "policy-domain": "a" });
    // Numbers as text, and a policy in one string, as some write them.
    let mut words = report("c", "3", 3, "x", [0, 0]);
    words["policies"][0]["policy"]["policy-string"] = "version: STSv1\r\nmode: enforce\r\n".into();
    words["policies"][0]["summary"]["total-successful-session-count"] = "30".into();
    let all = [report("a", "1", 1, "testing", [10, 1]), report("b", "2", 2, "none", [20, 2]), words, tlsa, none];
    let file = place.file("reports.json", all.map(|report| report.to_string()).join("\n"));
    let answer = json(&[], &[&file]);
    for (name, succeeded, failed) in
        [("sts-testing", 10, 1), ("sts", 20, 2), ("sts-enforce", 30, 0), ("tlsa", 70, 7), ("no-policy-found", 50, 5)]
    {
        let policy = policy(&answer, name);
        assert_eq!(
            (policy["succeeded"].as_u64(), policy["failed"].as_u64()),
            (Some(succeeded), Some(failed)),
            "{name}"
        );
    }
    let since = json(&["--since", "2026-10-04"], &[&file]);
    assert_eq!((at(&since, "/tls_reports/reports"), at(&since, "/not_counted/early")), (2, 3));
}

/// Reports are other people's words.
#[test]
fn broken_and_hostile_reports_do_no_harm() {
    let place = Place::new();
    let good = report("<script>x</script>\u{202e}", "1", 1, "testing", [u64::MAX, u64::MAX]);
    let second = report("b", "2", 1, "testing", [u64::MAX, 1]);
    let page = place.0.path().join("page.html");
    let sources = [place.file("1.json", good.to_string()), place.file("2.json", second.to_string())];
    let output = run(
        &["--html", page.to_str().expect("a name"), "--json"],
        &sources.each_ref().map(std::path::PathBuf::as_path),
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains('\u{202e}'));
    // A bomb within a mail, a report cut short, one that lacks what it must have: named, and the rest counts.
    let bomb = gz(&vec![b' '; 40 << 20]);
    use base64ct::{Base64, Encoding as _};
    let bomb = mail(&good, true).split("filename").next().expect("a head").to_owned()
        + "filename=x\n\n"
        + &Base64::encode_string(&bomb)
        + "\n";
    let mut missing = report("c", "3", 1, "testing", [1, 1]);
    missing["policies"][0]["summary"] = Value::Null;
    let cut = second.to_string();
    place.file("mail/cur/1", bomb);
    place.file("mail/cur/2", mail(&missing, true));
    place.file("mail/cur/3", mail(&report("d", "4", 1, "testing", [7, 0]), true));
    let cut = place.file("cut.json", &cut[..cut.len() - 9]);
    let answer = json(&[], &[&place.0.path().join("mail"), &cut]);
    assert_eq!(at(&answer, "/not_counted/broken"), 3, "{answer:#}");
    assert_eq!(at(&answer, "/tls_reports/reports"), 1);
}

/// In a mailbox with other mail both are told.
#[test]
fn reports_among_mail_are_told_beside_it() {
    let place = Place::new();
    let other = "Received: from mail.example.net ([198.51.100.7]) by mx.example.org with ESMTPS id 1;\n\tTue, 24 Nov 2026 08:00:00 +0000\nSubject: tlsrpt\n\nx\n";
    place.file("mail/cur/1", other);
    place.file("mail/cur/2", mail(&report("d", "4", 1, "testing", [7, 0]), true));
    let answer = json(&["--by", "mx.example.org"], &[&place.0.path().join("mail")]);
    assert_eq!(counts(&answer, "inbound")[0], [1, 0, 0, 0], "{answer:#}");
    assert_eq!(at(&answer, "/tls_reports/reports"), 1);
}
