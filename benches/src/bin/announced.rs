//! `announced PARSER ROUNDS`: reads a reply to EHLO of 13 lines so many times. For `hello.sh`.

use smtp_benches::parsers::REPLIES;
use smtp_benches::reply_to_ehlo;

fn main() -> Result<(), &'static str> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("announced PARSER ROUNDS")?;
    let rounds: usize = arguments.next().and_then(|text| text.parse().ok()).ok_or("ROUNDS is a number")?;
    let (_, parse) = REPLIES.iter().find(|(each, _)| *each == name).ok_or("no such parser")?;
    let reply = reply_to_ehlo(13).ok_or("so many lines there are not")?;
    let found: usize = (0..rounds).map(|_| parse(reply.as_bytes())).sum();
    println!("{}", found / rounds);
    Ok(())
}
