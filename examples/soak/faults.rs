//! What goes wrong around the proxy, one thing after the other, by chance.

use crate::Failure;
use crate::dice::Dice;
use crate::oracle::VERSIONS;
use crate::relay::Way;
use crate::world::{Trouble, World};
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::issuer;
use flyte_authz_proxy::demo::stack::replace;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often each fault was played.
pub(crate) type Played = BTreeMap<&'static str, usize>;

/// Plays faults until the time is over, at first under version 0 of the policy.
pub(crate) async fn play(world: &World, dice: &mut Dice, until: Instant, played: &mut Played) -> Result<(), Failure> {
    let mut version = 0;
    while Instant::now() < until {
        if let Some(status) = world.ended() {
            return Err(format!("the proxy has ended: {status}").into());
        }
        let name = match dice.below(16) {
            0..=4 => {
                version = dice.below(VERSIONS.len());
                world.enact(version, dice.below(2) == 0).await?;
                "policy replaced"
            }
            5 => broken_policy(world, dice, version).await?,
            6 => certificates(world, dice).await?,
            7..=8 => way(world, dice).await,
            9..=12 => scripted(world, dice).await,
            13 => identity(world, dice).await?,
            14 => {
                let noted = world.trouble(Trouble::Issuer);
                world.rotate_keys()?;
                noted();
                "keys rotated"
            }
            _ => {
                world.hang_up()?;
                "SIGHUP and rotation"
            }
        };
        *played.entry(name).or_default() += 1;
        world.gather_arrivals();
        tokio::time::sleep(dice.between(50, 300)).await;
    }
    world.enact(0, true).await
}

/// Plays faults that need nothing of the proxy, which is about to end.
pub(crate) async fn play_at_the_end(
    world: &World,
    dice: &mut Dice,
    until: Instant,
    played: &mut Played,
) -> Result<(), Failure> {
    while Instant::now() < until {
        let name = match dice.below(4) {
            0 => way(world, dice).await,
            1 => identity(world, dice).await?,
            _ => scripted(world, dice).await,
        };
        *played.entry(name).or_default() += 1;
        world.gather_arrivals();
    }
    Ok(())
}

/// A policy that is broken, or gone: the last good one stays.
async fn broken_policy(world: &World, dice: &mut Dice, version: usize) -> Result<&'static str, Failure> {
    let path = world.directory.join("policy.yaml");
    let before = world.policy_label().await?;
    let name = if dice.below(2) == 0 {
        replace(
            &path,
            dice.one(&[
                "version: 1\nrules: [",
                "",
                "version: 1\nrules:\n  - name: everybody\n    subjects: [{ anyone: yes }]\n",
            ]),
        )?;
        "policy broken"
    } else {
        std::fs::remove_file(&path)?;
        "policy removed"
    };
    if dice.below(2) == 0 {
        world.hang_up()?;
    }
    tokio::time::sleep(dice.between(200, 1800)).await;
    if world.policy_label().await? != before {
        return Err(format!("{name}: another policy came into force").into());
    }
    replace(&path, &VERSIONS[version].yaml())?;
    Ok(name)
}

/// Another certificate, or none that can be read for a while.
async fn certificates(world: &World, dice: &mut Dice) -> Result<&'static str, Failure> {
    let path = |name: &str| world.directory.join(name);
    let garbage = dice.below(2) == 0;
    if garbage {
        replace(
            &path("tls.crt"),
            dice.one(&[
                "no certificate",
                "",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ]),
        )?;
        tokio::time::sleep(dice.between(100, 1000)).await;
    }
    let next = &world.certificates[dice.below(2)];
    replace(&path("tls.crt"), &next.certificate)?;
    replace(&path("tls.key"), &next.key)?;
    Ok(if garbage {
        "certificate broken"
    } else {
        "certificate replaced"
    })
}

/// The way to the control plane is closed, stalled, or cut.
async fn way(world: &World, dice: &mut Dice) -> &'static str {
    let noted = world.trouble(Trouble::Upstream);
    let number = u32::try_from(dice.below(1 << 30)).unwrap_or_default();
    let relay = dice.below(3);
    let concerned = || {
        world
            .relays
            .iter()
            .enumerate()
            .filter(move |(index, _)| relay == 2 || relay == *index)
    };
    let (name, way, pause) = match dice.below(3) {
        0 => ("control plane gone", Way::Closed, dice.between(200, 1200)),
        1 => ("control plane stalled", Way::Stalled, dice.between(200, 2000)),
        _ => ("connections cut", Way::Open(number + 1), Duration::ZERO),
    };
    for (_, relay) in concerned() {
        relay.set(way);
    }
    tokio::time::sleep(pause).await;
    for (_, relay) in concerned() {
        relay.set(Way::Open(number + 1));
    }
    noted();
    name
}

/// The control plane answers some calls as it should not.
async fn scripted(world: &World, dice: &mut Dice) -> &'static str {
    let noted = world.trouble(Trouble::Upstream);
    let (name, fault) = match dice.below(9) {
        0 => ("hang", Fault::Hang),
        1 => ("reset", Fault::Reset),
        2 => ("reset midway", Fault::ResetMidway),
        3 => ("stall midway", Fault::StallMidway),
        4 => ("garbage", Fault::Garbage),
        5 => ("no trailers", Fault::NoTrailers),
        6 => {
            let busy = Fault::Http {
                status: 503,
                body: "<html>busy</html>".to_owned(),
            };
            ("busy", busy)
        }
        7 => (
            "slow",
            Fault::Slow {
                piece: 20,
                milliseconds: 30,
            },
        ),
        _ => {
            let status = Fault::Status {
                code: 13,
                message: "as scripted".to_owned(),
                details: None,
            };
            ("status", status)
        }
    };
    let times = dice.below(12) + 1;
    world.control_plane.script(Script::on("*", fault).times(times));
    tokio::time::sleep(dice.between(200, 900)).await;
    world.usual_faults();
    noted();
    name
}

/// The issuer fails; sometimes it has new keys meanwhile.
async fn identity(world: &World, dice: &mut Dice) -> Result<&'static str, Failure> {
    let noted = world.trouble(Trouble::Issuer);
    let (name, fault) = match dice.below(4) {
        0 => ("issuer down", issuer::Fault::Down),
        1 => ("issuer slow", issuer::Fault::Slow(Duration::from_secs(5))),
        2 => ("issuer sends 5 MB", issuer::Fault::Big),
        _ => ("issuer sends garbage", issuer::Fault::Garbage),
    };
    world.issuer.fail(fault);
    if dice.below(2) == 0 {
        world.rotate_keys()?;
    }
    tokio::time::sleep(dice.between(500, 2500)).await;
    world.issuer.fail(issuer::Fault::None);
    noted();
    Ok(name)
}
