//! Many connections: held idle, used in turn, and crawling.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::client::{Load, Run, Script, Step, drive};
use crate::peers::Place;
use crate::{message, opening, say};

const IDLE: usize = 50_000;
/// Connections from one address: fewer than the ports that the system gives out.
const PER_ADDRESS: usize = 20_000;

pub fn many(place: &Place) -> io::Result<()> {
    flat(place)?;
    crawlers(place)?;
    idle(place)
}

/// CPU a message, each connection in its turn.
fn flat(place: &Place) -> io::Result<()> {
    println!("4 KiB messages, each of so many connections in its turn, 10 in flight; ms per 1,000:");
    for connections in [10, 100, 1_000, 10_000] {
        let peer = place.start("smtp-mio", connections)?;
        let mut run = Run::new(peer.address)?;
        let script = Script { once: opening(false), each: Vec::new(), last: Vec::new() };
        for _ in 0..connections {
            let key = run.connect(None, &script, 0)?;
            while !run.drive(key)? {
                run.turn()?;
            }
        }
        let (each, messages) = (message(4 << 10), 40_000);
        let before = peer.cpu();
        let (mut next, mut done) = (0, 0);
        while done < messages {
            while next < messages && next - done < 10 {
                run.go_on(next % connections, &each, 1, &[]);
                run.drive(next % connections)?;
                next += 1;
            }
            done += run.turn()?.len();
        }
        println!("  {connections:6} {:9.3}", (peer.cpu() - before) * 1e6 / messages as f64);
    }
    Ok(())
}

/// CPU and time a message beside peers that read and write an octet at a time, or nothing at all.
fn crawlers(place: &Place) -> io::Result<()> {
    println!("4 KiB messages beside 1,000 peers in the middle of a text that never goes on; ms per 1,000:");
    for crawling in [0, 1_000] {
        let peer = place.start("smtp-mio", crawling)?;
        let mut run = Run::new(peer.address)?;
        let mut once = opening(false);
        once.push(say("MAIL FROM:<a@load.example>\r\nRCPT TO:<b@load.example>\r\nDATA\r\n", 3));
        once.push(say("half a line", 0));
        let script = Script { once, each: Vec::new(), last: Vec::new() };
        for _ in 0..crawling {
            let key = run.connect(None, &script, 0)?;
            while !run.drive(key)? {
                run.turn()?;
            }
        }
        let before = peer.cpu();
        drive(&some_mail(peer.address, 40_000))?;
        println!("  {crawling:6} {:9.3}", (peer.cpu() - before) * 1e6 / 40_000.0);
    }
    Ok(())
}

/// So many held, and new mail as before.
fn idle(place: &Place) -> io::Result<()> {
    println!("4 KiB messages beside idle connections; ms per 1,000, and KiB of the server in all:");
    let peer = place.start("smtp-mio", IDLE)?;
    let mut run = Run::new(peer.address)?;
    let script = Script { once: vec![Step::Hear(1)], each: Vec::new(), last: Vec::new() };
    for held in [0, IDLE] {
        for n in 0..held {
            let last = u8::try_from(2 + n / PER_ADDRESS).unwrap_or(u8::MAX);
            let key = run.connect(Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))), &script, 0)?;
            while !run.drive(key)? {
                run.turn()?;
            }
        }
        let before = peer.cpu();
        drive(&some_mail(peer.address, 40_000))?;
        println!("  {held:6} {:9.3} {:9.0}", (peer.cpu() - before) * 1e6 / 40_000.0, peer.resident());
    }
    Ok(())
}

fn some_mail(address: std::net::SocketAddr, messages: usize) -> Load {
    let script = Script { once: opening(false), each: message(4 << 10), last: vec![say("QUIT\r\n", 1)] };
    Load { address, script, connections: 10, messages, per_connection: messages / 10 }
}
