//! Parsers of commands, each given a line with its CRLF, as it lies in a buffer: finding the end is part of the work. And of
//! replies to EHLO.

use std::hint::black_box;

use smtp_proto::syntax::{Command, Options, ReplyLimits, ReplyReader};

/// Whether the line was accepted.
pub type Parser = fn(&[u8]) -> bool;

/// Ours, and those of crates.io.
pub const PARSERS: &[(&str, Parser)] =
    &[("this", this), ("smtp-proto of crates.io", stalwart), ("smtp-message", message), ("smtp-codec", codec)];

#[path = "../../smtp-proto/src/line_end.rs"]
mod line_end;

/// The end of the line by what the core's framing finds it with, then the command.
#[inline(never)]
pub fn this(input: &[u8]) -> bool {
    let end = line_end::line_end(input).unwrap_or(input.len());
    let line = &input[..end.saturating_sub(1)];
    black_box(Command::parse(black_box(line), &Options::new())).is_ok()
}

/// `smtp-proto` of crates.io.
#[inline(never)]
pub fn stalwart(input: &[u8]) -> bool {
    black_box(stalwart_smtp_proto::Request::parse(&mut black_box(input).iter())).is_ok()
}

/// `smtp-message`, made with nom; knows neither AUTH nor BDAT.
#[inline(never)]
pub fn message(input: &[u8]) -> bool {
    let parsed = black_box(smtp_message::Command::<&str>::parse(black_box(input)));
    matches!(parsed, Ok((rest, _)) if rest.is_empty())
}

/// `smtp-codec`, made with nom; does not know BDAT.
#[inline(never)]
pub fn codec(input: &[u8]) -> bool {
    let parsed = black_box(smtp_codec::parse::command::command(black_box(input)));
    matches!(parsed, Ok((rest, _)) if rest.is_empty())
}

/// Readers of a reply to EHLO, ours and those of crates.io, each by the number of extensions that it finds and knows.
pub const REPLIES: &[(&str, ReplyParser)] =
    &[("this", this_reply), ("smtp-proto of crates.io", stalwart_reply), ("smtp-codec", codec_reply)];

/// How many extensions were found.
pub type ReplyParser = fn(&[u8]) -> usize;

/// Read within its limits, and each line taken apart.
#[inline(never)]
pub fn this_reply(input: &[u8]) -> usize {
    let mut reader = ReplyReader::new(ReplyLimits::default());
    let reply = reader.next(&mut black_box(input)).ok().flatten();
    reply.map_or(0, |reply| reply.capabilities().filter(|each| black_box(each).extension().is_some()).count())
}

/// `smtp-proto` of crates.io: a set of bits, and values.
#[inline(never)]
pub fn stalwart_reply(input: &[u8]) -> usize {
    let reply = stalwart_smtp_proto::EhloResponse::parse(&mut black_box(input).iter());
    reply.map_or(0, |reply| black_box(reply).capabilities.count_ones() as usize)
}

/// `smtp-codec`: a list of what it owns.
#[inline(never)]
pub fn codec_reply(input: &[u8]) -> usize {
    match smtp_codec::parse::response::ehlo_ok_rsp(black_box(input)) {
        Ok((_, smtp_codec::types::Response::Ehlo { capabilities, .. })) => black_box(capabilities).len(),
        _ => 0,
    }
}
