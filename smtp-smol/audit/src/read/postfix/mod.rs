//! Postfix's log. What belongs together stands apart in it, with other processes' lines between:
//!
//! ```text
//! smtpd[1]: connect from a[192.0.2.1]                         a session begins; one at a time in each process
//! smtpd[1]: Anonymous TLS connection established from …        where smtpd_tls_loglevel is 1 or more
//! smtpd[1]: 4XYZ: client=a[192.0.2.1]                          a message, of this session, by its queue's name for it
//! qmgr[2]:  4XYZ: from=<s@a>, size=4711, nrcpt=2 (queue active) only now it was accepted
//! smtpd[1]: disconnect from a[192.0.2.1] ehlo=2 starttls=1 …   tells whether there was TLS, whatever the log level
//! smtp[3]:  Trusted TLS connection established to b[…]:25: …   the other way: this hop is encrypted
//! smtp[3]:  4XYZ: to=<r@b>, relay=b[…]:25, …, status=sent (…)  and has taken the message
//! qmgr[2]:  4XYZ: removed
//! ```

mod ciphers;
mod delivery;
mod inbound;
mod mail;
mod outbound;
mod phrases;
mod rejects;
mod session;
mod state;

use crate::count::desk::Desk;
use crate::read::syslog::{Calendar, Line};
use phrases::queue_name;
pub(crate) use state::Postfix;
use state::{hash, key};

/// Whether this is a line of Postfix's, whatever `syslog_name` calls it: the program's name comes behind a slash.
#[inline]
pub(crate) fn writes(line: &Line<'_>) -> bool {
    const OTHERS: [&[u8]; 24] = [
        b"local",
        b"virtual",
        b"pipe",
        b"pickup",
        b"bounce",
        b"defer",
        b"trace",
        b"verify",
        b"error",
        b"retry",
        b"discard",
        b"master",
        b"anvil",
        b"scache",
        b"sendmail",
        b"postdrop",
        b"postqueue",
        b"postsuper",
        b"postfix-script",
        b"proxymap",
        b"trivial-rewrite",
        b"dnsblog",
        b"postlogd",
        b"showq",
    ];
    matches!(
        line.program,
        b"smtpd" | b"qmgr" | b"nqmgr" | b"cleanup" | b"smtp" | b"lmtp" | b"postscreen" | b"tlsproxy" | b"tlsmgr"
    ) || OTHERS.contains(&line.program)
}

impl Postfix {
    /// Nothing more comes: what is still open is counted as it is known.
    pub(crate) fn finish(&mut self, desk: &mut Desk) {
        self.forget_sessions(desk);
        let mut deliveries: Vec<_> = std::mem::take(&mut self.deliveries).into_iter().collect();
        deliveries.sort_unstable_by_key(|(key, _)| *key);
        for (_, mut delivery) in deliveries {
            delivery.give(desk);
        }
        for mut mail in self.mails.take_all() {
            mail.delivered = true;
            mail.give(self.recipients, desk);
        }
    }

    /// Takes a line; `None` where it is needed and has no time.
    #[inline]
    pub(crate) fn line(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        match line.program {
            b"smtpd" => self.smtpd(line, calendar, desk),
            b"qmgr" | b"nqmgr" => {
                self.qmgr(line, desk);
                Some(())
            }
            b"cleanup" => {
                if let Some((queue, text)) = queue_name(line.text)
                    && matches!(text, [b'r' | b'd', ..] | [b'm', b'i', ..])
                {
                    self.verdict(hash(line.host), key(line.host, queue), text, calendar.time(line.stamp)?, desk);
                }
                Some(())
            }
            b"smtp" => self.smtp(line, calendar, desk),
            b"lmtp" | b"local" | b"virtual" | b"pipe" if self.recipients => {
                self.recipient(line);
                Some(())
            }
            b"postscreen" => self.postscreen(line, calendar, desk),
            b"tlsproxy" => {
                self.tlsproxy(line, desk);
                Some(())
            }
            _ => Some(()),
        }
    }
}
