//! `mix PARSER ROUNDS [VERB]`: parses the mix, or its line with that verb, so many times. For `instructions.sh`.

use smtp_benches::COMMANDS;
use smtp_benches::parsers::PARSERS;

fn main() -> Result<(), &'static str> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("mix PARSER ROUNDS [VERB]")?;
    let rounds: usize = arguments.next().and_then(|text| text.parse().ok()).ok_or("ROUNDS is a number")?;
    let verb = arguments.next().unwrap_or_default();
    let (_, parse) = PARSERS.iter().find(|(each, _)| *each == name).ok_or("no such parser")?;
    let lines: Vec<_> = COMMANDS.iter().filter(|line| line.starts_with(&verb)).collect();
    let mut accepted = 0;
    for _ in 0..rounds {
        accepted += lines.iter().filter(|line| parse(line.as_bytes())).count();
    }
    println!("{} {accepted}", rounds * lines.len());
    Ok(())
}
