//! What a line of a log is, before anybody asks what it says.

use std::ops::Range;

use super::blocks::{self, Piece};
use super::exim;
use super::journal::{Shapes, json};
use super::syslog::{Line, Stamp};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'a> {
    /// In the form of syslog's, or wrapped so that it can be taken for one.
    Line(Line<'a>),
    /// Of Exim's main log: its time, the message's identity, and the rest.
    Exim(i64, &'a [u8], &'a [u8]),
    /// Of none that tells of mail.
    Other,
    /// In no form that is read.
    Unread(&'a [u8]),
    TooLong,
}

impl Form<'_> {
    #[inline]
    pub(crate) fn of<T>(line: blocks::Line<'_>, shapes: &mut Shapes, then: impl FnOnce(Form<'_>) -> T) -> T {
        let line = match line {
            blocks::Line::Line(line) => line,
            blocks::Line::TooLong => return then(Form::TooLong),
        };
        if line.first() == Some(&b'{') {
            if let Some(entry) = json::Entry::parse(line, shapes) {
                return then(entry.line().map_or(Form::Other, Form::Line));
            }
        } else if let Some((time, id, text)) = exim::native(line) {
            return then(Form::Exim(time, id, text));
        } else if let Some(line) = Line::parse(line) {
            return then(Form::Line(line));
        }
        let other = goes_on(line) || exim::is_other(line) || Line::is_bare(line);
        then(if other { Form::Other } else { Form::Unread(line) })
    }
}

/// Whether this is empty, or goes on what the line before it says, as Exim's do that begin with a space.
pub(crate) fn goes_on(line: &[u8]) -> bool {
    line.first().is_none_or(u8::is_ascii_whitespace)
}

/// The forms of a piece's lines, on their way to another thread.
#[derive(Debug)]
pub(crate) struct Forms {
    piece: Piece,
    forms: Vec<Kept>,
    /// What does not stand in the piece as it is: text that had escapes in it.
    beside: Vec<u8>,
}

/// Room that such have taken, for those that follow.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) block: Vec<u8>,
    forms: Vec<Kept>,
    beside: Vec<u8>,
}

/// A [`Form`] with places for what it borrows.
#[derive(Debug)]
enum Kept {
    Line(KeptStamp, [Place; 5]),
    Exim(i64, [Place; 2]),
    Other,
    Unread(Place),
    TooLong,
}

#[derive(Debug)]
enum KeptStamp {
    Old(Place),
    Full(Place),
    NoYear(u8, u8, u32),
    At(i64),
}

/// Where octets stand: behind the end of the piece is what stands beside it.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    length: u32,
}

impl Forms {
    /// Of the room the block is in the piece.
    pub(crate) fn of(piece: Piece, room: Room, shapes: &mut Shapes) -> Self {
        let Room { mut forms, mut beside, .. } = room;
        let within = piece.octets().as_ptr_range();
        let within = within.start.addr()..within.end.addr();
        for line in piece.lines() {
            forms.push(Form::of(line, shapes, |form| {
                let mut place = |octets: &[u8]| Place::of(octets, &within, &mut beside);
                match form {
                    Form::Line(Line { stamp, host, instance, program, process, text }) => {
                        let stamp = match stamp {
                            Stamp::Old(text) => KeptStamp::Old(place(text)),
                            Stamp::Full(text) => KeptStamp::Full(place(text)),
                            Stamp::NoYear(month, day, second) => KeptStamp::NoYear(month, day, second),
                            Stamp::At(time) => KeptStamp::At(time),
                        };
                        Kept::Line(stamp, [host, instance, program, process, text].map(place))
                    }
                    Form::Exim(time, id, text) => Kept::Exim(time, [id, text].map(place)),
                    Form::Other => Kept::Other,
                    Form::Unread(line) => Kept::Unread(place(line)),
                    Form::TooLong => Kept::TooLong,
                }
            }));
        }
        Self { piece, forms, beside }
    }

    /// Hands them out again, in order.
    pub(crate) fn each(&self, mut then: impl FnMut(Form<'_>)) {
        let octets = self.piece.octets();
        let get = |place: Place| {
            let range = place.start as usize..place.start as usize + place.length as usize;
            octets.get(range.clone()).unwrap_or_else(|| self.beside_at(range))
        };
        for kept in &self.forms {
            then(match kept {
                Kept::Line(stamp, parts) => {
                    let stamp = match stamp {
                        KeptStamp::Old(text) => match get(*text).try_into() {
                            Ok(text) => Stamp::Old(text),
                            Err(_) => continue,
                        },
                        KeptStamp::Full(text) => Stamp::Full(get(*text)),
                        KeptStamp::NoYear(month, day, second) => Stamp::NoYear(*month, *day, *second),
                        KeptStamp::At(time) => Stamp::At(*time),
                    };
                    let [host, instance, program, process, text] = parts.map(get);
                    Form::Line(Line { stamp, host, instance, program, process, text })
                }
                Kept::Exim(time, parts) => {
                    let [id, text] = parts.map(get);
                    Form::Exim(*time, id, text)
                }
                Kept::Other => Form::Other,
                Kept::Unread(line) => Form::Unread(get(*line)),
                Kept::TooLong => Form::TooLong,
            });
        }
    }

    #[cold]
    fn beside_at(&self, place: Range<usize>) -> &[u8] {
        let before = self.piece.octets().len();
        &self.beside[place.start - before..place.end - before]
    }

    /// The room, when the lines are no longer needed.
    pub(crate) fn into_room(mut self) -> Room {
        self.forms.clear();
        self.beside.clear();
        Room { block: self.piece.into_room(), forms: self.forms, beside: self.beside }
    }
}

impl Place {
    /// Of octets that stand within a piece, or are put beside it.
    #[inline]
    fn of(octets: &[u8], piece: &Range<usize>, beside: &mut Vec<u8>) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut start = octets.as_ptr().addr().wrapping_sub(piece.start);
        if start >= piece.len() {
            start = 0;
            if !octets.is_empty() {
                start = piece.len() + beside.len();
                beside.extend_from_slice(octets);
            }
        }
        Self { start: number(start), length: number(octets.len()) }
    }
}
