//! What `transactions.sh` counts. `transactions mail OCTETS PIPELINED ROUNDS` prints nanoseconds a transaction;
//! `transactions attack NUMBER AS_TEXT OCTETS READ` prints nothing; `transactions names` what there is to attack with.

use std::time::Instant;

use smtp_benches::session::{HOSTILE, attack, begin, feed, transaction};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["mail", octets, pipelined, rounds] => {
            let reads = transaction(octets.parse()?, pipelined.parse()?);
            let rounds: u32 = rounds.parse()?;
            let mut session = begin();
            let started = Instant::now();
            for _ in 0..rounds {
                let accepted: usize = reads.iter().map(|read| feed(&mut session, read).0).sum();
                assert_eq!(accepted, 1, "every message is accepted");
            }
            println!("{:.1}", started.elapsed().as_secs_f64() * 1e9 / f64::from(rounds));
        }
        ["attack", number, as_text, octets, read] => {
            let (_, pattern) = HOSTILE.get(number.parse::<usize>()?).ok_or("no such pattern")?;
            attack(pattern, as_text.parse()?, octets.parse()?, read.parse()?);
        }
        ["names"] => HOSTILE.iter().for_each(|(name, _)| println!("{name}")),
        _ => return Err("see the top of this file".into()),
    }
    Ok(())
}
