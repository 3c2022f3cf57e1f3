//! Mail that goes out: which relay has taken it, and over what.

use smtp_proto::tls::{ClientCertificate, Hop};

use super::phrases::{established, queue_name};
use super::state::{Postfix, hash, key, place};
use crate::count::desk::Desk;
use crate::read::generations::FOLLOWED;
use crate::read::scan::{bracketed, find};
use crate::read::syslog::{Calendar, Line};

impl Postfix {
    pub(crate) fn smtp(&mut self, line: &Line<'_>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let place = place(line);
        let text = line.text;
        if let Some((queue, text)) = queue_name(text) {
            let Some((to, rest)) = text.strip_prefix(b"to=<").and_then(bracketed) else { return Some(()) };
            let Some(sent) = find(rest, b", status=sent ") else { return Some(()) };
            let Some(relay) = find(&rest[..sent], b"relay=") else { return Some(()) };
            let relay = &rest[relay + 6..];
            let relay = &relay[..memchr::memchr(b',', relay).unwrap_or(relay.len())];
            let queue = key(line.host, queue);
            if self.recipients {
                self.recipient(line);
            }
            let delivery = self.deliveries.entry(place).or_default();
            if delivery.mail != queue || delivery.relay != relay || delivery.recipients == 0 {
                delivery.give(desk);
                let mail = self.mails.get_mut(queue);
                let tls = delivery.tls.take().filter(|(of, _)| of == relay).map(|(_, hop)| hop);
                let plain = if delivery.failed == relay {
                    Hop::FailedThenPlaintext
                } else if self.tells_tls_out.holds(hash(line.host)) {
                    Hop::NotTried
                } else {
                    Hop::Unknown
                };
                delivery.failed.clear();
                delivery.hop = Some(tls.unwrap_or(plain));
                delivery.mail = queue;
                delivery.time = calendar.time(line.stamp)?;
                delivery.relay.clear();
                delivery.relay.extend_from_slice(relay);
                delivery.recipient.clear();
                delivery.recipient.extend_from_slice(to);
                delivery.sender.clear();
                delivery.bytes = 0;
                if let Some(mail) = mail {
                    delivery.sender.extend_from_slice(&mail.sender);
                    delivery.bytes = mail.bytes;
                }
            }
            delivery.recipients += 1;
        } else if let Some(tls) = established(text, b" TLS connection established to ")
            .or_else(|| established(text, b" TLS connection reused to "))
        {
            self.tells_tls_out.add(hash(line.host));
            // A server always shows a certificate; what it is worth is not what is asked here.
            let hop = Hop::Used { version: self.ciphers.find(tls.tls).0, certificate: ClientCertificate::Unknown };
            self.deliveries.entry(place).or_default().tls = Some((tls.whom.into(), hop));
        } else if let Some(whom) = text.strip_prefix(b"SSL_connect error to ") {
            let end = find(whom, b": ").unwrap_or(whom.len());
            let delivery = self.deliveries.entry(place).or_default();
            delivery.failed.clear();
            delivery.failed.extend_from_slice(&whom[..end]);
        }
        if self.deliveries.len() > FOLLOWED {
            for (_, mut delivery) in std::mem::take(&mut self.deliveries) {
                delivery.give(desk);
            }
        }
        Some(())
    }

    /// `4XYZ: to=<r@b>, orig_to=<alias@b>, …`: whom a message was for.
    pub(crate) fn recipient(&mut self, line: &Line<'_>) {
        let Some((queue, text)) = queue_name(line.text) else { return };
        let Some((mut to, rest)) = text.strip_prefix(b"to=<").and_then(bracketed) else { return };
        if let Some((original, _)) = rest.strip_prefix(b", orig_to=<").and_then(bracketed) {
            to = original;
        }
        if let Some(mail) = self.mails.get_mut(key(line.host, queue))
            && mail.to.len() < 64
            && !mail.to.iter().any(|known| **known == *to)
        {
            mail.to.push(to.into());
        }
    }
}
