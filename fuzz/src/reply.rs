//! Replies: bounds, pieces, and that what was read can be written and read again.

use smtp_proto::syntax::{Capability, ReplyFault, ReplyLimits, ReplyLines, ReplyReader, ReplyWriter};

/// The same replies, and the same fault, at every cut; nothing lost between them; nothing shown raw.
pub fn run(data: &[u8]) {
    let whole = read(data, usize::MAX);
    for size in [1, 2, 5] {
        assert_eq!(read(data, size), whole, "in pieces of {size}");
    }
    let length: usize = whole.0.iter().map(Vec::len).sum();
    assert!(data.starts_with(&whole.0.concat()) && length <= data.len());
    for raw in &whole.0 {
        let reply = ReplyLines::parse(raw).expect("it was read before").expect("whole");
        assert!((200..600).contains(&reply.code()));
        assert!(raw.len() <= limits().total && reply.lines().len() <= limits().lines);
        assert_eq!(reply.lines().count(), reply.lines().len());
        assert!(reply.to_string().bytes().all(|octet| matches!(octet, b' '..=b'~')));
        write_again(&reply);
    }
}

fn limits() -> ReplyLimits {
    let mut limits = ReplyLimits::default();
    (limits.line, limits.lines, limits.total) = (512, 16, 2000);
    limits
}

fn read(data: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<ReplyFault>, usize) {
    let mut reader = ReplyReader::new(limits());
    let (mut held, mut replies) = (Vec::new(), Vec::new());
    for piece in data.chunks(size.min(data.len().max(1))) {
        held.extend_from_slice(piece);
        let mut input = &held[..];
        loop {
            match reader.next(&mut input) {
                Ok(Some(reply)) => replies.push(reply.raw().to_vec()),
                Ok(None) => break,
                Err(fault) => return (replies, Some(fault), 0),
            }
        }
        assert!(input.len() <= limits().total, "what is held is bounded");
        held = input.to_vec();
    }
    (replies, None, held.len())
}

/// Lines that may be written at all are read back the same; so are capabilities.
fn write_again(reply: &ReplyLines<'_>) {
    let mut out = Vec::new();
    let mut writer = ReplyWriter::new(&mut out, reply.code(), None).expect("a code");
    let mut kept = Vec::new();
    for line in reply.lines() {
        if let Some(text) = str::from_utf8(line.text()).ok().filter(|text| writer.line(text).is_ok()) {
            kept.push(text);
        }
    }
    let mut capabilities = Vec::new();
    let lines = reply.lines().skip(1);
    assert!(
        reply.capabilities().eq(lines.filter_map(|line| Capability::parse(line.text()))),
        "line by line as all at once"
    );
    for capability in reply.capabilities() {
        if writer.capability(&capability).is_ok() {
            capabilities.push(capability);
        }
    }
    writer.finish();
    let again = ReplyLines::parse(&out).expect("a reply").expect("whole");
    let mut lines = again.lines();
    for text in &kept {
        assert_eq!(lines.next().map(|line| line.text()), Some(text.as_bytes()));
    }
    for capability in capabilities {
        let line = lines.next().expect("a line for each").text();
        // In its normal form: one blank between words.
        let mut normal = Vec::new();
        Capability::parse(line).expect("what was written").write(&mut normal);
        assert_eq!(normal, line);
        assert_eq!(Capability::parse(line).and_then(|again| again.extension()), capability.extension());
    }
}
