//! The grammar: the mix of commands, and each alone, ours and the peers' side by side.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smtp_benches::COMMANDS;
use smtp_benches::parsers::PARSERS;

fn mix(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::Elements(COMMANDS.len() as u64));
    for (name, parse) in PARSERS {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| COMMANDS.iter().filter(|line| parse(line.as_bytes())).count());
        });
    }
    group.finish();
}

fn each(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    for line in COMMANDS {
        for (name, parse) in PARSERS {
            // A command that a peer does not know says nothing about it.
            if parse(line.as_bytes()) {
                let id = BenchmarkId::new(&line[..4], name);
                group.bench_function(id, |bencher| bencher.iter(|| parse(line.as_bytes())));
            }
        }
    }
    group.finish();
}

criterion_group!(benches, mix, each);
criterion_main!(benches);
