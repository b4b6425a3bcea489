//! `make soak`: the proxy under a mixed load and random faults, and a reckoning of every single request afterwards.
//!
//! `soak PROGRAM DESCRIPTORS`; `SOAK_SECONDS` says how long, `SOAK_SEED` repeats what was thrown before.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for developers: a wrong index ends it, and it prints"
)]

mod account;
mod dice;
mod faults;
mod load;
mod oracle;
mod relay;
mod world;

use account::Reckoning;
use dice::Dice;
use faults::Played;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use load::{Done, Load, Saw};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use world::World;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many callers there are at a time.
const CALLERS_AT_A_TIME: u64 = 24;
/// How many disagreements are printed.
const SHOWN: usize = 20;

/// What the process holds when nothing happens.
#[derive(Clone, Copy, Debug)]
struct Held {
    kibibytes: usize,
    files: usize,
    threads: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let number = |name: &str| std::env::vars().find(|(key, _)| key == name)?.1.parse::<u64>().ok();
    let seconds = number("SOAK_SECONDS").unwrap_or(60).max(10);
    let seed = number("SOAK_SEED").unwrap_or_else(|| SystemClock.now().subsec_nanos().into());
    println!("soak: {seconds} s, seed {seed} (SOAK_SEED={seed} SOAK_SECONDS={seconds} make soak)");
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("no directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    let problems = match soak(seconds, seed, directory.path().to_owned()).await {
        Ok(problems) => problems,
        Err(error) => vec![error.to_string()],
    };
    if problems.is_empty() {
        println!("\nno disagreement");
        return ExitCode::SUCCESS;
    }
    println!("\nFAILED with seed {seed}: {} disagreements", problems.len());
    for problem in problems.iter().take(SHOWN) {
        println!("- {problem}");
    }
    println!("the files are kept in {}", directory.keep().display());
    ExitCode::FAILURE
}

async fn soak(seconds: u64, seed: u64, directory: PathBuf) -> Result<Vec<String>, Failure> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(program), Some(descriptors)) = (arguments.next(), arguments.next()) else {
        return Err("usage: soak PROGRAM DESCRIPTORS".into());
    };
    let world = Arc::new(World::start(&program, &directory, std::fs::read(descriptors)?).await?);
    let load = Arc::new(Load::new(&world)?);
    for version in 0..oracle::VERSIONS.len() {
        world.enact(version, true).await?;
    }
    world.enact(0, true).await?;
    let mut dice = Dice::of(seed);
    let mut played = Played::new();
    let mut problems = Vec::new();

    let warm = Duration::from_secs(seconds / 5);
    let mut done = round(&world, &load, seed, warm, &mut dice, &mut played).await?;
    let before = quiet(&world, &mut problems).await?;
    let rest = Duration::from_secs(seconds).saturating_sub(warm);
    done.extend(round(&world, &load, seed + 1000, rest, &mut dice, &mut played).await?);
    let after = quiet(&world, &mut problems).await?;
    compare(before, after, &mut problems);
    let ending = end(
        &world,
        &load,
        seed + 2000,
        &mut dice,
        &mut played,
        &mut done,
        &mut problems,
    )
    .await?;

    let records = account::records(&world)?;
    let arrivals = world.arrivals();
    let history = world.history();
    let reckoning = Reckoning {
        history: &history,
        ending,
    };
    problems.extend(reckoning.disagreements(&done, &records, &arrivals));
    print!(
        "{}",
        summary(&done, ending, &records, arrivals.len(), &played, before, after)
    );
    Ok(problems)
}

/// Load and faults for a while.
async fn round(
    world: &Arc<World>,
    load: &Arc<Load>,
    seed: u64,
    time: Duration,
    dice: &mut Dice,
    played: &mut Played,
) -> Result<Vec<Done>, Failure> {
    let until = Instant::now() + time;
    let mut callers = callers(load, seed, until);
    let faults = faults::play(world, dice, until, played).await;
    let done = gather(&mut callers).await?;
    faults.map(|()| done)
}

fn callers(load: &Arc<Load>, seed: u64, until: Instant) -> JoinSet<Result<Vec<Done>, Failure>> {
    let mut callers = JoinSet::new();
    for number in 0..CALLERS_AT_A_TIME {
        let load = Arc::clone(load);
        callers.spawn(async move { load.run(Dice::of(seed + number), until).await });
    }
    callers
}

async fn gather(callers: &mut JoinSet<Result<Vec<Done>, Failure>>) -> Result<Vec<Done>, Failure> {
    let mut all = Vec::new();
    while let Some(done) = callers.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

/// Waits until nothing happens any more; then the counts agree. Returns what is held.
async fn quiet(world: &World, problems: &mut Vec<String>) -> Result<Held, Failure> {
    world.usual_faults();
    world.cut(u32::MAX);
    world
        .wait(
            |text| !text.contains("flyte_authz_connections_open") || open(text) == 0,
            "/metrics",
        )
        .await?;
    world.cut(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let records = account::records(world)?;
    for outcome in ["", "forwarded", "answered", "denied", "failed", "aborted"] {
        let label = if outcome.is_empty() {
            String::new()
        } else {
            format!("outcome=\"{outcome}\"")
        };
        let counted = world.metric("requests_total", &label).await?;
        let written = records
            .iter()
            .filter(|record| outcome.is_empty() || record.outcome == outcome)
            .count();
        if counted != written {
            problems.push(format!(
                "{counted} requests {outcome} are counted, {written} are recorded"
            ));
        }
    }
    let (refusals, reasons) = (
        world.metric("refusals_total", "").await?,
        records.iter().filter(|record| record.reason.is_some()).count(),
    );
    if refusals != reasons {
        problems.push(format!("{refusals} refusals are counted, {reasons} are recorded"));
    }
    for (name, expected) in [("audit_records_total", records.len()), ("audit_dropped_total", 0)] {
        let counted = world.metric(name, "").await?;
        if counted != expected {
            problems.push(format!("{name} is {counted}, not {expected}"));
        }
    }
    held(world.id())
}

/// How many connections are open, from the metrics without white space.
fn open(text: &str) -> usize {
    let series = text.split("flyte_authz_connections_open{").skip(1);
    let values = series.filter_map(|rest| rest.split_once('}')?.1.chars().next()?.to_digit(10));
    values.map(|value| value as usize).sum()
}

fn held(process: u32) -> Result<Held, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let value = |name: &str| -> Option<usize> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Ok(Held {
        kibibytes: value("VmRSS:").ok_or("no VmRSS")?,
        files: std::fs::read_dir(format!("/proc/{process}/fd"))?.count(),
        threads: value("Threads:").ok_or("no Threads")?,
    })
}

fn compare(before: Held, after: Held, problems: &mut Vec<String>) {
    let bound = before.kibibytes + before.kibibytes / 2 + (32 << 10);
    if after.kibibytes > bound {
        problems.push(format!("memory has grown: {before:?}, {after:?}"));
    }
    // The library's pools may keep a connection or a thread for a while.
    if after.files > before.files + 4 || after.threads > before.threads + 4 {
        problems.push(format!("files or threads have been left: {before:?}, {after:?}"));
    }
}

/// Load and faults once more, and SIGTERM in the middle of it. Returns when that was.
async fn end(
    world: &Arc<World>,
    load: &Arc<Load>,
    seed: u64,
    dice: &mut Dice,
    played: &mut Played,
    done: &mut Vec<Done>,
    problems: &mut Vec<String>,
) -> Result<Instant, Failure> {
    let start = Instant::now();
    let until = start + Duration::from_secs(4);
    let mut callers = callers(load, seed, until);
    faults::play_at_the_end(world, dice, start + Duration::from_secs(2), played).await?;
    let ending = Instant::now();
    world.signal("TERM")?;
    faults::play_at_the_end(world, dice, until, played).await?;
    done.extend(gather(&mut callers).await?);
    let status = loop {
        match world.ended() {
            Some(status) => break status,
            None if ending.elapsed() > Duration::from_secs(20) => {
                problems.push("the proxy has not ended 20 s after SIGTERM".to_owned());
                return Ok(ending);
            }
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if status.code() != Some(0) {
        problems.push(format!("the proxy ended with {status}"));
    }
    let log = std::fs::read_to_string(world.directory.join("stderr"))?;
    problems.extend(log.lines().filter(|line| line.contains("a defect")).map(str::to_owned));
    Ok(ending)
}

fn summary(
    done: &[Done],
    ending: Instant,
    records: &[account::Record],
    arrivals: usize,
    played: &Played,
    before: Held,
    after: Held,
) -> String {
    let mut requests: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    for one in done {
        let row = requests
            .entry(format!("{:?} {:?}", one.asked.kind, one.asked.manner))
            .or_default();
        let column = match one.saw {
            Saw::Answer { .. } => 0,
            Saw::Refusal { .. } => 1,
            Saw::Nothing(_) if one.end < ending => 2,
            Saw::Nothing(_) => 3,
        };
        row[column] += 1;
    }
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for record in records {
        let end = format!("{} {}", record.outcome, record.reason.as_deref().unwrap_or_default());
        *ends.entry(end).or_default() += 1;
    }
    let mut text =
        String::from("\n| requests | answered | refused | without answer | after SIGTERM |\n|---|---|---|---|---|\n");
    for (name, [answered, refused, nothing, ended]) in &requests {
        _ = writeln!(text, "| {name} | {answered} | {refused} | {nothing} | {ended} |");
    }
    _ = writeln!(
        text,
        "| all: {} | {} in the audit log | {arrivals} at the control plane | | |",
        done.len(),
        records.len()
    );
    text.push_str("\n| how requests ended | records |\n|---|---|\n");
    for (name, count) in &ends {
        _ = writeln!(text, "| {name} | {count} |");
    }
    text.push_str("\n| fault | times |\n|---|---|\n");
    for (name, count) in played {
        _ = writeln!(text, "| {name} | {count} |");
    }
    _ = writeln!(text, "\n| held | after warming up | at the end |\n|---|---|---|");
    for (name, before, after) in [
        ("memory, KiB", before.kibibytes, after.kibibytes),
        ("files", before.files, after.files),
        ("threads", before.threads, after.threads),
    ] {
        _ = writeln!(text, "| {name} | {before} | {after} |");
    }
    text
}
