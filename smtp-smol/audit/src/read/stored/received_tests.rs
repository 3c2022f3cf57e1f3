//! What each mail server writes, in fields like those of real mail.

use super::{Kind, parse};
use smtp_proto::tls::{ClientCertificate, Hop};

/// `hop address kind`, then the field. In the hop: the version or `?`, and the certificate.
const FIELDS: &[(&str, &str)] = &[
    // Postfix
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n\t(No client certificate requested)\r\n\tby mx.example.net (Postfix) with ESMTPS id 4XyZ1a2b3c\r\n\tfor <u@example.net>; Tue, 24 Nov 2026 08:00:00 +0000 (UTC)",
    ),
    (
        "1.3 none 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) (Client did not present a certificate) by mx.example.net (Postfix) with ESMTPS id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 verified 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) (Client CN \"a.example\", Issuer \"An Authority (2026)\" (verified OK)) by mx.example.net (Postfix) with ESMTPS id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.2 untrusted 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) (using TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)) (Client CN \"a.example\", Issuer \"a.example\" (not verified)) by mx.example.net (Postfix) with ESMTPS id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.0 unknown 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) (using TLSv1 with cipher ECDHE-RSA-AES256-SHA (256/256 bits)) (No client certificate requested) by mx.example.net (Postfix) with ESMTPS id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.1 unknown 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) (using TLSv1.1 with cipher ECDHE-RSA-AES256-SHA (256/256 bits)) (No client certificate requested) by mx.example.net (Postfix) with ESMTP id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) by mx.example.net (Postfix) with ESMTPS id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1])\n\tby mx.example.net (Postfix) with ESMTP id 4XyZ\n\tfor <u@example.net>; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from a.example (unknown [192.0.2.1]) by mx.example.net (Postfix) with SMTP id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from a.example (unknown [192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)) (No client certificate requested) by mx.example.net (Postfix) with SMTP id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 submission",
        "from laptop (a.example [192.0.2.1]) by mx.example.net (Postfix) with ESMTPSA id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 submission",
        "from laptop (a.example [192.0.2.1]) (Authenticated sender: u) by mx.example.net (Postfix) with ESMTPA id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from a.example (a.example [192.0.2.1]) by mx.example.net (Postfix) with UTF8SMTPS id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 2001:db8::25 smtp",
        "from a.example (a.example [IPv6:2001:db8::25]) by mx.example.net (Postfix) with ESMTP id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain - local",
        "from mx.example.net by mx.example.net with LMTP id AbC (envelope-from <s@example.org>) for <u@example.net>; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown - local",
        "from mx.example.net by store.example.net (Dovecot) with LMTPS id AbC; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    ("unknown - local", "by mx.example.net (Postfix, from userid 1000) id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000"),
    // Exim
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1])\n\tby mx.example.net with esmtps  (TLS1.3) tls TLS_AES_256_GCM_SHA384\n\t(Exim 4.96)\n\t(envelope-from <s@example.org>)\n\tid 1vNXYZ-00AbCd-2k\n\tfor u@example.net;\n\tTue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.2 unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]:48212) by mx.example.net with esmtps (TLS1.2:ECDHE_RSA_AES_256_GCM_SHA384:256) (Exim 4.89) (envelope-from <s@example.org>) id 1vNXYZ-00AbCd-2k for u@example.net; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.2 unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1] helo=a.example) by mx.example.net with esmtps (TLSv1.2:ECDHE-RSA-AES256-GCM-SHA384:256) (Exim 4.80) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from [192.0.2.1] (port=48212 helo=a.example) by mx.example.net with esmtps tls TLS_AES_256_GCM_SHA384 (Exim 4.94) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with esmtp (Exim 4.96) (envelope-from <s@example.org>) id 1vNXYZ-0000000AbCd-2k9X for u@example.net; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with smtp (Exim 4.96) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with utf8esmtps (TLS1.3) tls TLS_AES_256_GCM_SHA384 (Exim 4.96) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 unknown 192.0.2.1 submission",
        "from laptop ([192.0.2.1]) by mx.example.net with esmtpsa (TLS1.3) tls TLS_AES_128_GCM_SHA256 (Exim 4.96) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 submission",
        "from laptop ([192.0.2.1]) by mx.example.net with asmtp (Exim 3.36) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from laptop ([192.0.2.1]) by mx.example.net with smtps (Exim 4.96) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown - local",
        "from u by mx.example.net with local (Exim 4.96) (envelope-from <u@example.net>) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    // Sendmail
    (
        "1.3 none 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1])\n\tby mx.example.net (8.17.1/8.17.1) with ESMTPS id 4AO8000A012345\n\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256 verify=NO)\n\tfor <u@example.net>; Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "? verified 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (8.14.4/8.14.4) with ESMTP id tAO8000A012345 (version=TLSv1/SSLv3 cipher=DHE-RSA-AES256-SHA bits=256 verify=OK); Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "1.2 untrusted 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1] (may be forged)) by mx.example.net (8.15.2/8.15.2) with ESMTPS id 0AO8000A012345 (version=TLSv1.2 cipher=ECDHE-RSA-AES256-GCM-SHA384 bits=256 verify=FAIL); Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "1.2 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (8.15.2/8.15.2) with ESMTPS id 0AO8000A012345 (version=TLSv1.2 cipher=ECDHE-RSA-AES256-GCM-SHA384 bits=256 verify=NOT); Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org (IDENT:root@mail.example.org [192.0.2.1]) by mx.example.net (8.17.1/8.17.1) with ESMTP id 4AO8000A012345 for <u@example.net>; Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net (8.9.3/8.9.3) with SMTP id KAA01234; Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "unknown - local",
        "(from root@localhost) by mx.example.net (8.17.1/8.17.1/Submit) id 4AO8000A012345; Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    // Exchange
    (
        "1.2 unknown 192.0.2.1 smtp",
        "from mail.example.org (192.0.2.1) by MX1.example.net (198.51.100.7) with Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id 15.20.8158.21 via Frontend Transport; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 unknown 2001:db8::25 smtp",
        "from MAIL.example.org (2001:db8::25) by MX1.example.net (2001:db8:1::7) with Microsoft SMTP Server (version=TLS1_3, cipher=TLS_AES_256_GCM_SHA384) id 15.20.8158.21; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.0 unknown 192.0.2.1 smtp",
        "from mail.example.org (192.0.2.1) by MX1.example.net (198.51.100.7) with Microsoft SMTP Server (version=TLS1_0, cipher=TLS_RSA_WITH_AES_256_CBC_SHA) id 15.1.466.34; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from mail.example.org (192.0.2.1) by MX1.example.net (198.51.100.7) with Microsoft SMTP Server (TLS) id 8.3.485.1; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown 192.0.2.1 smtp",
        "from mail.example.org (192.0.2.1) by MX1.example.net (198.51.100.7) with Microsoft SMTP Server id 14.3.498.0; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org (192.0.2.1) by MX1.mail.protection.example.net (10.13.177.138) with Microsoft SMTP Server id 15.20.5834.15 via Frontend Transport; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown fe80::1 local",
        "from MX1.example.net ([fe80::1]) by MX1.example.net ([fe80::1%12]) with mapi id 15.20.8158.021; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    // Gmail
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org. [192.0.2.1])\r\n        by mx.example.net with ESMTPS id d9443c01a7336-2126cf\r\n        for <u@example.net>\r\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n        Tue, 24 Nov 2026 00:00:00 -0800 (PST)",
    ),
    (
        "1.2 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org. [192.0.2.1]) by mx.example.net with ESMTPS id a-20020 for <u@example.net> (version=TLS1_2 cipher=ECDHE-ECDSA-AES128-GCM-SHA256 bits=128/128); Tue, 24 Nov 2026 00:00:00 -0800 (PST)",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org. [192.0.2.1]) by mx.example.net with ESMTP id a-20020 for <u@example.net>; Tue, 24 Nov 2026 00:00:00 -0800 (PST)",
    ),
    ("plain - local", "by 2002:a05:6a00:1a01:b0 with SMTP id gj1csp100; Tue, 24 Nov 2026 00:00:00 -0800 (PST)"),
    ("unknown - local", "from user named unknown by mail.example.net with HTTP; Tue, 24 Nov 2026 00:00:00 -0800"),
    // OpenSMTPD
    (
        "1.3 none 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1])\n\tby mx.example.net (OpenSMTPD) with ESMTPS id 0a1b2c3d (TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO)\n\tfor <u@example.net>;\n\tTue, 24 Nov 2026 08:00:00 +0000 (UTC)",
    ),
    (
        "1.2 verified 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (OpenSMTPD) with ESMTPS id 0a1b2c3d (TLSv1.2:ECDHE-RSA-CHACHA20-POLY1305:256:YES) for <u@example.net>; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 untrusted 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (OpenSMTPD) with ESMTPS id 0a1b2c3d (TLSv1.3:TLS_AES_256_GCM_SHA384:256:FAIL); Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (OpenSMTPD) with ESMTP id 0a1b2c3d for <u@example.net>; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    // Our own
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from client.example ([192.0.2.1])\r\n by mx.example.net with ESMTPS (TLS1.3 TLS_AES_128_GCM_SHA256)\r\n id 1a2b3c for <user@example.net>; Mon, 23 Nov 2026 12:00:00 +0000",
    ),
    (
        "plain 2001:db8::1 smtp",
        "from client.example ([IPv6:2001:db8::1])\r\n by mx.example.net with ESMTP\r\n id 1a2b3c;\r\n Mon, 23 Nov 2026 12:00:00 +0000",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from client.example ([192.0.2.1])\r\n by mx.example.net with ESMTPS\r\n id 1a2b3c for <user@example.net>\r\n tls TLS_AES_128_GCM_SHA256;\r\n Mon, 23 Nov 2026 12:00:00 +0000",
    ),
    (
        "1.2 unknown 192.0.2.1 submission",
        "from client.example ([192.0.2.1])\r\n by mx.example.net with ESMTPSA (TLS1.2)\r\n id 1a2b3c\r\n tls TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256;\r\n Mon, 23 Nov 2026 12:00:00 +0000",
    ),
    // qmail, Courier, Haraka, others
    (
        "plain 192.0.2.1 smtp",
        "from unknown (HELO mail.example.org) (192.0.2.1)\n  by 0 with SMTP; 24 Nov 2026 08:00:00 -0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from mail.example.org (HELO a.example) (s@192.0.2.1) by mx.example.net with (ECDHE-RSA-AES256-GCM-SHA384 encrypted) SMTP; 24 Nov 2026 08:00:00 -0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from unknown (HELO 203.0.113.9) (192.0.2.1) by mx.example.net with ESMTP; 24 Nov 2026 08:00:00 -0000",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) (TLS: TLSv1.3,256bits,TLS_AES_256_GCM_SHA384) by mx.example.net with ESMTPS; Tue, 24 Nov 2026 08:00:00 +0000 id 00000000000A1B2C",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (Haraka) with ESMTPS id 5A1B.1 envelope-from <s@example.org> (cipher=TLS_AES_256_GCM_SHA384); Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown 192.0.2.1 local",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with carrier-pigeon; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    // Gateways and appliances
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by relay.example.net with ESMTP with STARTTLS (version=TLSv1_3, cipher=TLS_AES_256_GCM_SHA384) id gw-12-AbC; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with ESMTP/TLS/ECDHE-RSA-AES256-GCM-SHA384; 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with ESMTP/TLS/TLS_AES_256_GCM_SHA384; 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with ESMTP; 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.2 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.net (8.17.1/8.17.1) with ESMTPS id 4AO8 (version=TLSv1.2 cipher=ECDHE-RSA-AES256-GCM-SHA384 bits=256 verify=NOT) for <u@example.net>; Tue, 24 Nov 2026 08:00:00 GMT",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from 192.0.2.1 (EHLO mail.example.org) by 198.51.100.7 with SMTPs (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256); Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1] verified) by mx.example.net (CommuniGate Pro SMTP 6.2.1) with ESMTPS id 1234567 for u@example.net; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "? unknown - smtp",
        "from mail.example.org by mx.example.net (MDaemon PRO v23) with ESMTPS id md50000000001.msg for <u@example.net>; Tue, 24 Nov 2026 08:00:00 +0000 (not processed: message from trusted or authenticated source) ([192.0.2.1])",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from mail.example.org (mail.example.org [192.0.2.1])\r\n\t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\r\n\tby mx.example.net (Stalwart SMTP) with ESMTPS id 1A2B3C;\r\n\tTue, 24 Nov 2026 08:00:00 +0000",
    ),
    ("none", "(qmail 4711 invoked by uid 89); 24 Nov 2026 08:00:00 -0000"),
    (
        "? unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net over TLS secured channel with Microsoft SMTPSVC(7.5.7601.24000); Tue, 24 Nov 2026 08:00:00 -0800",
    ),
    (
        "unknown 192.0.2.1 smtp",
        "from mail.example.org ([192.0.2.1]) by mx.example.net with Microsoft SMTPSVC(7.5.7601.24000); Tue, 24 Nov 2026 08:00:00 -0800",
    ),
    (
        "1.3 unknown 192.0.2.1 smtp",
        "from [192.0.2.1] (helo=a.example) by mx.example.net with esmtps (Cipher TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256) (Exim) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "1.0 unknown 192.0.2.1 smtp",
        "from a.example ([192.0.2.1]) by mx.example.net with esmtps (Cipher TLS-1.0:RSA_AES_256_CBC_SHA1:32) (Exim 4.63 #1) id 1vNXYZ-00AbCd-2k; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    // What a client says of itself is not believed.
    (
        "plain 192.0.2.1 smtp",
        "from [203.0.113.9] (mail.example.org [192.0.2.1]) by mx.example.net (Postfix) with ESMTP id 4XyZ; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "none",
        "from x by mx.evil.example with ESMTPS (TLS1.3 X) ([192.0.2.1]) by mx.example.net with ESMTP id 1; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown - smtp",
        "from x with STARTTLS ([192.0.2.1]) by mx.example.net with ESMTP id 1; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "unknown - smtp",
        "from x with ESMTPS ([192.0.2.1]) by mx.example.net with ESMTP id 1; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from a.example ([192.0.2.1]) by mx.example.net with ESMTP id 1 for <\"a with ESMTPS b\"@example.net>; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from a.example (using.a.version=TLS1_9.example [192.0.2.1]) by mx.example.net with ESMTP id 1; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    (
        "plain 192.0.2.1 smtp",
        "from over (TLS [192.0.2.1]) by mx.example.net with ESMTP id 1; Tue, 24 Nov 2026 08:00:00 +0000",
    ),
    ("none", "from a.example ([192.0.2.1]); Tue, 24 Nov 2026 08:00:00 +0000"),
    ("none", ""),
    ("none", "(((((((("),
    ("none", "from \"x by y"),
];

fn told(field: &str) -> String {
    let Some(received) = parse(field.as_bytes()) else { return "none".into() };
    let hop = match received.hop {
        Hop::Used { version, certificate } => {
            let version = version.map_or("?", |version| version.as_str().trim_start_matches("TLS"));
            format!("{version} {}", certificate.as_str())
        }
        Hop::NotTried => "plain".into(),
        _ => "unknown".into(),
    };
    let address = received.address.map_or_else(|| "-".into(), |address| address.to_string());
    let kind = match received.kind {
        Kind::Smtp => "smtp",
        Kind::Submission => "submission",
        Kind::Local => "local",
    };
    format!("{hop} {address} {kind}")
}

/// RFC 5321 4.4, RFC 3848, and the manuals of the servers.
#[test]
fn the_fields_of_every_server() {
    let wrong: Vec<String> = FIELDS
        .iter()
        .map(|(expected, field)| (expected, told(field), field))
        .filter(|(expected, told, _)| *expected != told)
        .map(|(expected, told, field)| format!("{field}\n  is {told}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The group of the key exchange, of those servers that name it.
#[test]
fn groups_of_key_exchanges() {
    let hybrid = FIELDS[0].1.replace("X25519 ", "X25519MLKEM768 ");
    for (field, group) in [
        (FIELDS[0].1, Some("x25519")),
        (&hybrid, Some("X25519MLKEM768")),
        (FIELDS[1].1, None),
        (
            "from a.example ([192.0.2.1]) by mx.example.net with esmtps (TLS1.3:HYBRID_X25519_MLKEM768__RSA_PSS_RSAE_SHA256__AES_256_GCM:256) (Exim 4.98) id 1; Tue, 24 Nov 2026 08:00:00 +0000",
            Some("X25519MLKEM768"),
        ),
        (
            "from a.example ([192.0.2.1]) by mx.example.net with esmtps (Cipher TLS1.2:ECDHE_SECP256R1__RSA_SHA256__AES_256_GCM:256) (Exim) id 1; Tue, 24 Nov 2026 08:00:00 +0000",
            Some("secp256r1"),
        ),
        (
            "from a.example (192.0.2.1) by mx.example.net (198.51.100.7) with Microsoft SMTP Server (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384_P384) id 15.1.1; Tue, 24 Nov 2026 08:00:00 +0000",
            Some("secp384r1"),
        ),
        // What a client says of itself is not believed.
        (
            "from a (cipher=TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384_P384 [192.0.2.1]) by mx.example.net with ESMTP id 1; Tue, 24 Nov 2026 08:00:00 +0000",
            None,
        ),
    ] {
        assert_eq!(parse(field.as_bytes()).expect("a field").group, group, "{field}");
    }
}

#[test]
fn the_parts_of_a_field() {
    let received = parse(FIELDS[0].1.as_bytes()).expect("a field");
    assert_eq!((received.by, received.is_within()), (&b"mx.example.net"[..], false));
    assert_eq!(received.from, b"mail.example.org");
    assert_eq!(received.id, b"4XyZ1a2b3c");
    assert_eq!(received.recipient, b"u@example.net");
    assert_eq!(received.date, b" Tue, 24 Nov 2026 08:00:00 +0000 (UTC)");
    assert!(matches!(received.hop, Hop::Used { certificate: ClientCertificate::Unknown, .. }));
}

/// Hops within a provider, whose addresses are public.
#[test]
fn a_hop_from_one_network_into_the_same_is_within() {
    for (from, by, within) in [
        ("2001:db8:408:e6::28", "2001:db8:806:317::17", true),
        ("2001:db8:408:e6::28", "2001:da6:806:317::17", true),
        ("2001:db8:408:e6::28", "2001:eb8:806:317::17", false),
        ("192.0.2.1", "192.0.2.9", true),
        ("192.0.2.1", "198.51.100.9", false),
        ("192.0.2.1", "10.13.177.138", false),
    ] {
        let field = format!(
            "from A.example.net ({from}) by B.example.net ({by}) with Microsoft SMTP Server (version=TLS1_2, cipher=X) id 15.20; \
             Tue, 24 Nov 2026 08:00:00 +0000"
        );
        assert_eq!(parse(field.as_bytes()).expect("a field").is_within(), within, "{field}");
    }
    assert!(!parse(FIELDS[0].1.as_bytes()).expect("a field").is_within(), "one address alone says nothing");
}

/// RFC 5322 2.2.3: white space may be folded, also within a comment.
#[test]
fn a_comment_may_be_folded_anywhere() {
    for (expected, field) in FIELDS {
        let (head, date) = field.rsplit_once(';').unwrap_or((field, ""));
        let folded = format!("{};{date}", head.split_whitespace().collect::<Vec<_>>().join("\r\n\t"));
        assert!(*expected == "none" || told(&folded) == *expected, "{folded}: {}", told(&folded));
    }
}

/// Every beginning of every field, and every field with any octet in its place, is read without harm.
#[test]
fn no_field_does_harm() {
    for (_, field) in FIELDS {
        let mut octets = field.as_bytes().to_vec();
        for end in 0..octets.len() {
            let _ = parse(&octets[..end]);
            let _ = parse(&octets[end..]);
        }
        for at in 0..octets.len() {
            for octet in *b"()[]\"\\<>;: \x00\xff" {
                let before = std::mem::replace(&mut octets[at], octet);
                if let Some(received) = parse(&octets) {
                    assert!(!received.by.is_empty());
                }
                octets[at] = before;
            }
        }
    }
}
