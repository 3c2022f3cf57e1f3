//! The grammar: commands.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use smtp_benches::COMMANDS;
use smtp_proto::syntax::{Command, Options};

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commands");
    group.throughput(Throughput::Elements(COMMANDS.len() as u64));
    let options = Options::new();
    group.bench_function("this", |bencher| {
        bencher.iter(|| {
            for line in COMMANDS {
                let _ = black_box(Command::parse(black_box(line.as_bytes()), &options));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, commands);
criterion_main!(benches);
