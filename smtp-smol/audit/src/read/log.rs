//! Logs of mail servers: each line is taken apart, and goes to the reader of the program that wrote it. Several programs
//! may write one log.

use std::path::Path;

use super::blocks::{self, Blocks, Lines};
use super::forms::{Form, Forms, Room};
use super::journal::{Shapes, export};
use super::scan::find;
use super::syslog::{Calendar, Line, Stamp};
use super::threads::{self, Spare};
use super::{exim, opensmtpd, postfix, sendmail};
use crate::count::desk::Desk;
use crate::source::{Kind, Source};

/// A reader for each program.
#[derive(Debug)]
pub(crate) struct Logs {
    postfix: postfix::Postfix,
    exim: exim::Exim,
    sendmail: sendmail::Sendmail,
    opensmtpd: opensmtpd::Opensmtpd,
}

/// Whose a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What<'a> {
    /// A mail server's.
    Mail(Kind, Stamp<'a>),
    /// Another program's, of this name, or of a mail server's about something else.
    Other(&'a [u8]),
    /// In no form that is read.
    Unread,
}

/// Whose line this is, in any of the forms.
pub(crate) fn what<T>(line: &[u8], then: impl FnOnce(What<'_>) -> T) -> T {
    Form::of(blocks::Line::Line(line), &mut Shapes::default(), |form| {
        then(match form {
            Form::Line(line) => of(&line),
            Form::Exim(time, ..) => What::Mail(Kind::Exim, Stamp::At(time)),
            Form::Other if exim::is_other(line) => What::Other(b"exim"),
            Form::Other => What::Other(&[]),
            Form::Unread(_) | Form::TooLong => What::Unread,
        })
    })
}

/// Whose line this is.
pub(crate) fn of<'a>(line: &Line<'a>) -> What<'a> {
    if let Some(kind) = program(line) {
        return What::Mail(kind, line.stamp);
    }
    let inner = of_container(line);
    let inner = inner.as_ref().and_then(|inner| Some(What::Mail(program(inner)?, inner.stamp)));
    inner.unwrap_or(What::Other(line.program))
}

/// The line that a container of a mail server's wrote, where the runtime hands it to syslog with the container's name for a
/// tag: `mailu-smtp[4711]: Nov 24 08:00:00 mx postfix/smtpd[10]: …`. What other programs say is theirs, whatever it looks
/// like.
fn of_container<'a>(line: &Line<'a>) -> Option<Line<'a>> {
    const NAMES: [&[u8]; 5] = [b"smtp", b"postfix", b"mailserver", b"exim", b"sendmail"];
    let begins = line.text.first().is_some_and(u8::is_ascii_alphanumeric);
    (begins && NAMES.iter().any(|name| find(line.program, name).is_some())).then(|| Line::parse(line.text)).flatten()
}

#[inline]
fn program(line: &Line<'_>) -> Option<Kind> {
    if !line.instance.is_empty() {
        return postfix::writes(line).then_some(Kind::Postfix);
    }
    if opensmtpd::writes(line) {
        Some(Kind::Opensmtpd)
    } else if exim::writes(line) {
        Some(Kind::Exim)
    } else {
        sendmail::writes(line).then_some(Kind::Sendmail)
    }
}

impl Logs {
    pub(crate) fn new(recipients: bool) -> Self {
        Self {
            postfix: postfix::Postfix::new(recipients),
            exim: exim::Exim::default(),
            sendmail: sendmail::Sendmail::default(),
            opensmtpd: opensmtpd::Opensmtpd::default(),
        }
    }

    /// Reads a log; where `only` is given, lines of that program alone.
    pub(crate) fn read(
        &mut self,
        mut blocks: Blocks<'_>,
        source: &Source,
        only: Option<Kind>,
        threads: usize,
        desk: &mut Desk,
    ) {
        let mut calendar = Calendar::new(source.written);
        if export::is(blocks.at_least(32)) {
            self.export(&mut blocks, source, only, &mut calendar, desk);
        } else if threads > 1 {
            self.lines_on(threads, &mut Lines::new(blocks), source, only, &mut calendar, desk);
        } else {
            self.lines(&mut Lines::new(blocks), source, only, &mut calendar, desk);
        }
        if let Some(years) = calendar.found() {
            desk.years(years, &source.path, calendar.turned());
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self, desk: &mut Desk) {
        self.postfix.finish(desk);
        self.exim.finish(desk);
        self.sendmail.finish(desk);
        self.opensmtpd.finish(desk);
        desk.finish();
    }

    fn lines(
        &mut self,
        lines: &mut Lines<'_>,
        source: &Source,
        only: Option<Kind>,
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) {
        let mut shapes = Shapes::default();
        let (mut number, mut room) = (0, Vec::new());
        while let Some(piece) = lines.piece(room) {
            for line in piece.lines() {
                number += 1;
                Form::of(line, &mut shapes, |form| self.form(form, number, source, only, calendar, desk));
            }
            room = piece.into_room();
        }
        if let Some(error) = lines.failed() {
            desk.broken.cut_short(&source.path, number, &error);
        }
    }

    /// The same on several threads: one cuts lines, some find out of what form they are, one joins them to messages, and one
    /// counts these.
    fn lines_on(
        &mut self,
        threads: usize,
        lines: &mut Lines<'_>,
        source: &Source,
        only: Option<Kind>,
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) {
        let mut number = 0;
        let spare: Spare<Room> = Spare::default();
        threads::hand_in(
            threads,
            || {
                let mut room = spare.take();
                lines.piece(std::mem::take(&mut room.block)).map(|piece| (piece, room))
            },
            |(piece, room)| Forms::of(piece, room, &mut Shapes::default()),
            |forms, desk| {
                forms.each(|form| {
                    number += 1;
                    self.form(form, number, source, only, calendar, desk);
                });
                spare.give(forms.into_room());
            },
            desk,
        );
        if let Some(error) = lines.failed() {
            desk.broken.cut_short(&source.path, number, &error);
        }
    }

    /// Takes a line, of which this is the number.
    #[inline]
    fn form(
        &mut self,
        form: Form<'_>,
        number: u64,
        source: &Source,
        only: Option<Kind>,
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) {
        match form {
            Form::Line(line) => {
                if self.line(&line, only, calendar, desk).is_none() {
                    timeless(&source.path, number, desk);
                }
            }
            Form::Exim(time, id, text) => {
                desk.lines.mail += 1;
                if only.is_none_or(|only| only == Kind::Exim) {
                    self.exim.entry(time, id, text, desk);
                }
            }
            Form::Other => desk.lines.other += 1,
            Form::Unread(line) => desk.lines.unread(&source.path, number, line),
            Form::TooLong => {
                desk.lines.broken += 1;
                desk.broken.add(&source.path, number, "a line too long for a log");
            }
        }
    }

    fn export(
        &mut self,
        blocks: &mut Blocks<'_>,
        source: &Source,
        only: Option<Kind>,
        calendar: &mut Calendar,
        desk: &mut Desk,
    ) {
        let (mut entry, mut number) = (export::Entry::default(), 0);
        while entry.read(blocks, &mut number) {
            match entry.line() {
                Some(line) => {
                    if self.line(&line, only, calendar, desk).is_none() {
                        timeless(&source.path, number, desk);
                    }
                }
                None if entry.is_timed() => desk.lines.other += 1,
                None => timeless(&source.path, number, desk),
            }
        }
        if let Some(error) = blocks.failed() {
            desk.broken.cut_short(&source.path, number, &error);
        }
    }

    /// Takes a line; `None` where it is needed and has no time.
    #[inline]
    fn line(&mut self, line: &Line<'_>, only: Option<Kind>, calendar: &mut Calendar, desk: &mut Desk) -> Option<()> {
        let kind = program(line).filter(|kind| only.is_none_or(|only| only == *kind));
        let Some(program) = kind else {
            if let Some(inner) = of_container(line).filter(|inner| program(inner).is_some()) {
                return self.line(&inner, only, calendar, desk);
            }
            desk.lines.other += 1;
            return Some(());
        };
        let done = match program {
            Kind::Postfix => self.postfix.line(line, calendar, desk),
            Kind::Exim => self.exim.line(line, calendar, desk),
            Kind::Sendmail => self.sendmail.line(line, calendar, desk),
            _ => self.opensmtpd.line(line, calendar, desk),
        };
        desk.lines.mail += u64::from(done.is_some());
        done
    }
}

fn timeless(path: &Path, number: u64, desk: &mut Desk) {
    desk.lines.broken += 1;
    desk.broken.add(path, number, "a line of a mail server's without a time that is read");
}
