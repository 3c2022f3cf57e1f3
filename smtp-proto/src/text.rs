//! Message text (RFC 5321 4.5.2): the end of DATA found and dots removed, as slices of the input.

use memchr::memchr3;

/// Which departures from RFC 5321 2.3.8 are let pass, as content; none of them ever ends a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextLeniency {
    /// CR without LF.
    pub bare_cr: bool,
    /// LF without CR.
    pub bare_lf: bool,
    /// NUL.
    pub nul: bool,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextFlaw {
    /// CR without LF (RFC 5321 2.3.8).
    BareCr,
    /// LF without CR (RFC 5321 2.3.8).
    BareLf,
    /// NUL (RFC 5321 4.5.2, RFC 6152).
    Nul,
}

/// Finds the end of DATA: CRLF . CRLF over the octet stream, whatever the reads, and nothing else.
#[derive(Clone, Debug)]
pub struct Scanner {
    lenient: TextLeniency,
    /// Whether the next octet begins a line: it follows a true CRLF, or DATA's own.
    line_start: bool,
    octets: u64,
    refused: Option<(TextFlaw, u64)>,
    tolerated: bool,
}

/// What the input begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan<'i> {
    /// Text, dots removed; taken off the input, never empty.
    Chunk(&'i [u8]),
    /// More is needed; at most two octets are left in the input, which the caller keeps.
    Need,
    /// CRLF . CRLF has been taken off.
    End,
}

impl Scanner {
    /// At the start of the text.
    #[must_use]
    pub const fn new(lenient: TextLeniency) -> Self {
        Self { lenient, line_start: true, octets: 0, refused: None, tolerated: false }
    }

    /// The first flaw that is not let pass, and the octets before it.
    #[must_use]
    pub const fn refused(&self) -> Option<(TextFlaw, u64)> {
        self.refused
    }

    /// Whether a flaw was let pass.
    #[must_use]
    pub const fn tolerated(&self) -> bool {
        self.tolerated
    }

    /// Takes the next piece off the front of `input`.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Scan<'i> {
        if self.line_start {
            match **input {
                // RFC 5321 4.1.1.4: the end.
                [b'.', b'\r', b'\n', ..] => {
                    self.take(input, 3);
                    return Scan::End;
                }
                [] | [b'.'] | [b'.', b'\r'] => return Scan::Need,
                // RFC 5321 4.5.2: a leading dot goes, when other octets follow on the line.
                [b'.', ..] => {
                    self.take(input, 1);
                }
                _ => {}
            }
            self.line_start = false;
        }
        let mut at = 0;
        while let Some(found) = input.get(at..).and_then(|rest| memchr3(b'\r', b'\n', 0, rest)) {
            let here = at + found;
            match input.get(here..).unwrap_or_default() {
                [b'\r', b'\n', b'.', ..] => {
                    self.line_start = true;
                    return Scan::Chunk(self.take(input, here + 2));
                }
                [b'\r', b'\n', ..] => {
                    at = here + 2;
                    if at == input.len() {
                        self.line_start = true;
                        return Scan::Chunk(self.take(input, at));
                    }
                }
                [b'\r'] => {
                    return if here == 0 { Scan::Need } else { Scan::Chunk(self.take(input, here)) };
                }
                [octet, ..] => {
                    self.flaw(*octet, here);
                    at = here + 1;
                }
                [] => break,
            }
        }
        if input.is_empty() { Scan::Need } else { Scan::Chunk(self.take(input, input.len())) }
    }

    fn flaw(&mut self, octet: u8, at: usize) {
        let (flaw, let_pass) = match octet {
            b'\r' => (TextFlaw::BareCr, self.lenient.bare_cr),
            b'\n' => (TextFlaw::BareLf, self.lenient.bare_lf),
            _ => (TextFlaw::Nul, self.lenient.nul),
        };
        if let_pass {
            self.tolerated = true;
        } else if self.refused.is_none() {
            self.refused = Some((flaw, self.octets + at as u64));
        }
    }

    fn take<'i>(&mut self, input: &mut &'i [u8], n: usize) -> &'i [u8] {
        let (taken, rest) = input.split_at_checked(n).unwrap_or((input, &[]));
        *input = rest;
        self.octets += n as u64;
        taken
    }
}
