//! Many connections: used in turn, held idle, and such as crawl, beside mail that must not feel it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::client::{Load, Run, Script, drive};
use crate::crowd::{Crowd, Habit};
use crate::peers::{Peer, Place};
use crate::{descriptors, median, message, opening, say};

/// Descriptors that a program has open besides its connections, and more.
const SPARE: usize = 200;
const MESSAGES: usize = 20_000;

/// What mail cost, and how long it took, beside others.
#[derive(Default)]
struct Figures {
    /// Server CPU, ms per 1,000 messages; of ten connections at once.
    cpu: Vec<f64>,
    /// From the first octet of MAIL to the last reply, of messages one after the other: ms.
    middle: Vec<f64>,
    late: Vec<f64>,
    /// Server CPU without any mail, ms a second.
    alone: Vec<f64>,
    resident: Vec<f64>,
}

pub fn many(place: &Place, rounds: usize, held: usize) -> io::Result<()> {
    flat(place, rounds)?;
    println!("\n4 KiB messages beside others: server CPU, ms per 1,000; the median and the 99th percentile of what a");
    println!("message takes, ms; CPU for the others alone, ms a second; the server's memory, KiB:");
    println!("  {:55} {:>8} {:>8} {:>8} {:>8} {:>9}", "beside", "CPU", "median", "99th", "alone", "KiB");
    // Fewer of the last kind: a megabyte of replies waits in the system for each.
    for (habit, count) in
        [(Habit::Stuck, 1_000), (Habit::WriteSlowly, 1_000), (Habit::ReadSlowly, 200), (Habit::Idle, held)]
    {
        compare(place, rounds, habit, count)?;
    }
    Ok(())
}

/// CPU a message, each connection in its turn; beside the floor, which has no more than the system's share of it.
fn flat(place: &Place, rounds: usize) -> io::Result<()> {
    println!("4 KiB messages, each of so many connections in its turn, 10 in flight; server CPU, ms per 1,000:");
    println!("  {:>11} {:>9} {:>9} {:>9}", "connections", "floor", "smtp-mio", "smtp-smol");
    for connections in [10, 100, 1_000, 10_000] {
        if connections + SPARE > descriptors() {
            println!("  {connections:11} left out: it needs {} open files", connections + SPARE);
            continue;
        }
        let mut figures = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for (name, figures) in ["floor", "smtp-mio", "smtp-smol"].into_iter().zip(&mut figures) {
                figures.push(in_turn(place, name, connections)?);
            }
        }
        let [floor, mio, smol] = figures.map(|mut figures| median(&mut figures));
        println!("  {connections:11} {floor:9.2} {mio:9.2} {smol:9.2}");
    }
    Ok(())
}

fn in_turn(place: &Place, name: &str, connections: usize) -> io::Result<f64> {
    let peer = place.start(name, connections)?;
    let mut run = Run::new(peer.address)?;
    let script = Script { once: opening(false), each: Vec::new(), last: Vec::new() };
    let mut resting = VecDeque::new();
    for _ in 0..connections {
        let key = run.connect(None, &script, 0)?;
        run.finish(key)?;
        resting.push_back(key);
    }
    let each = message(4 << 10);
    let mut send = |messages: usize| -> io::Result<()> {
        let (mut begun, mut done) = (0, 0);
        while done < messages {
            while begun < messages && begun - done < 10 {
                let Some(key) = resting.pop_front() else { break };
                begun += 1;
                run.go_on(key, &each, 1, &[]);
                if run.drive(key)? {
                    done += 1;
                    resting.push_back(key);
                }
            }
            if done < messages {
                let ready = run.turn()?;
                done += ready.len();
                resting.extend(ready);
            }
        }
        Ok(())
    };
    // Each once: what is done once is not counted.
    send(connections)?;
    let before = peer.cpu();
    send(MESSAGES)?;
    Ok((peer.cpu() - before) * 1e6 / MESSAGES as f64)
}

/// Mail with nobody else there, and beside a crowd, in alternation.
fn compare(place: &Place, rounds: usize, habit: Habit, count: usize) -> io::Result<()> {
    let (mut without, mut with) = (Figures::default(), Figures::default());
    for _ in 0..rounds {
        let peer = place.start("smtp-mio", count)?;
        measure(&peer, &mut without)?;
        drop(peer);
        let mut plan = Plan::of(count)?;
        let peer = place.start("smtp-mio", plan.of_a_server)?;
        let (mut others, mut crowds) = (Vec::new(), Vec::new());
        for (index, share) in plan.shares.drain(..).enumerate() {
            if index > 0 && plan.servers > 1 {
                others.push(place.start("smtp-mio", share)?);
            }
            let to = others.last().unwrap_or(&peer).address;
            let last = u8::try_from(2 + index).map_err(io::Error::other)?;
            crowds.push(Crowd::gather(habit, to, share, Ipv4Addr::new(127, 0, 0, last))?);
        }
        measure(&peer, &mut with)?;
    }
    for (words, mut figures) in [("nobody".to_owned(), without), (format!("{count} {}", habit.words()), with)] {
        println!(
            "  {words:55} {:8.2} {:8.3} {:8.3} {:8.2} {:9.0}",
            median(&mut figures.cpu),
            median(&mut figures.middle),
            median(&mut figures.late),
            median(&mut figures.alone),
            median(&mut figures.resident),
        );
    }
    Ok(())
}

fn measure(peer: &Peer, figures: &mut Figures) -> io::Result<()> {
    // Warm.
    drive(&mail(peer.address, MESSAGES / 10))?;
    let (begun, before) = (Instant::now(), peer.cpu());
    std::thread::sleep(Duration::from_secs(2));
    figures.alone.push((peer.cpu() - before) * 1e3 / begun.elapsed().as_secs_f64());
    let before = peer.cpu();
    drive(&mail(peer.address, MESSAGES))?;
    figures.cpu.push((peer.cpu() - before) * 1e6 / MESSAGES as f64);
    let mut run = Run::new(peer.address)?;
    let key = run.connect(None, &Script { once: opening(false), each: Vec::new(), last: Vec::new() }, 0)?;
    run.finish(key)?;
    let each = message(4 << 10);
    let mut times = Vec::new();
    for _ in 0..MESSAGES / 10 {
        let begun = Instant::now();
        run.go_on(key, &each, 1, &[]);
        run.finish(key)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    figures.middle.push(median(&mut times));
    figures.late.push(times[times.len() * 99 / 100]);
    figures.resident.push(peer.resident());
    Ok(())
}

fn mail(address: SocketAddr, messages: usize) -> Load {
    let script = Script { once: opening(false), each: message(4 << 10), last: vec![say("QUIT\r\n", 1)] };
    Load { address, script, connections: 10, messages, per_connection: messages / 10 }
}

/// How a crowd is spread: a share for each address of ours, and if need be a server for each share.
struct Plan {
    shares: Vec<usize>,
    servers: usize,
    of_a_server: usize,
}

impl Plan {
    fn of(count: usize) -> io::Result<Self> {
        // All connections have two ends on this machine.
        let needed = 2 * count + 10 * SPARE;
        let all = number("fs/file-max").unwrap_or(usize::MAX);
        if all < needed {
            return Err(io::Error::other(format!("{count} connections need fs.file-max = {needed}; it is {all}")));
        }
        let of_a_process = descriptors().saturating_sub(SPARE).max(1);
        // Each address of ours has the system's range of ports; others use some of them.
        let share = of_a_process.min(ports() * 2 / 3).min(count.max(1));
        let shares: Vec<usize> = (0..count).step_by(share).map(|from| share.min(count - from)).collect();
        if of_a_process >= count {
            return Ok(Self { shares, servers: 1, of_a_server: count });
        }
        let servers = shares.len();
        eprintln!(
            "{count} connections to one server need a limit of {} open files, and more than {} cannot be had here: {servers} \
             servers hold them, and mail goes to one of these",
            count + SPARE,
            descriptors()
        );
        Ok(Self { shares, servers, of_a_server: share })
    }
}

fn number(name: &str) -> Option<usize> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

fn ports() -> usize {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let ends: Vec<usize> = range.split_whitespace().filter_map(|end| end.parse().ok()).collect();
    match ends.as_slice() {
        [low, high] if high > low => high - low + 1,
        _ => 20_000,
    }
}
